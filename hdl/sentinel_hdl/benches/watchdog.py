"""The watchdog, cycle by cycle, against its integer reference, on random answers that live on the edges."""

from __future__ import annotations

import random

from sentinel.model.kill_switch import WatchdogModel, galois_step
from sentinel_hdl.limits import WatchdogLayout
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation
from sentinel_hdl.watchdog import Watchdog

CYCLES = 20_000
TIME = (1 << 64) - 1
TIMES = ((40, 5, 20), (40, 0, 60), (30, 12, 12), (3, 0, 9), (0, 1, 2), (60, 10, 40))
OUTPUTS = ("cause", "challenge", "challenge_new")


def _times(rng: random.Random) -> tuple[int, int, int]:
    """Period, earliest and latest: of any size, mostly in an order in which answers can be right."""
    first, last, period = sorted(rng.getrandbits(rng.randrange(1, 65)) for _ in range(3))
    usual = [(period, first, last), (period, first, last), (period, first, first), (period, last, last), (last, first, period)]
    return rng.choice([*usual, (40, 5, 20), (3, 0, 9), (0, first, last), (1 << rng.randrange(64), first, last)])


def run(sim: Simulation) -> None:
    """Answers right and wrong, exactly on the edges of their time, unasked and twice; time that goes back; resets."""
    rng = random.Random(9)
    model, now, issued, times = WatchdogModel(), 0, 0, (0, 0, 0)
    answer_next = False
    for _ in range(CYCLES):
        chance, answers = rng.random(), answer_next or rng.random() < 0.03
        answer_next = False
        if chance < 0.03:
            times = _times(rng)
        elif chance < 0.5:
            # An age counts one cycle after it was reached.
            now, answer_next = issued + rng.choice(times) + rng.choice([-1, 0, 0, 1]), rng.random() < 0.8
        elif chance < 0.51:
            now += rng.choice([-5, -1, 1 << rng.randrange(64), rng.getrandbits(64)])
        else:
            now += rng.choice([0, 0, 1])
        now &= TIME
        answer = None
        if answers:
            answer = galois_step(model.challenge) ^ (1 << rng.randrange(32) if rng.random() < 0.1 else 0)
        again = rng.random() < 0.001
        sim["times"] = WatchdogLayout().const(dict(zip(("period", "min", "max"), times, strict=True))).as_bits()
        sim["now"] = now
        sim["answer"] = answer << 1 | 1 if answer is not None else rng.getrandbits(32) << 1
        sim["rst"] = int(again)
        got = {name: sim[name] for name in OUTPUTS}
        expected = {name: int(getattr(model, name)) for name in OUTPUTS}
        assert got == expected, f"{got}, not {expected}"
        sim.tick()
        if again:
            model, issued = WatchdogModel(), 0
        else:
            model.step(now, answer, *times)
            issued = now if model.challenge_new else issued


BENCH = Bench("watchdog", run, Watchdog)
