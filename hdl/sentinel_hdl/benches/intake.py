"""The intake, cycle by cycle, against a model of the table in docs/cores/buses.md: sound beats and each fault, at the edges
of the count, under pauses, with flipped bits on the way in and in its registers."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from sentinel.wire import BEAT_FEATURES, MAX_FEATURES, MAX_SYMBOLS, BeatKind
from sentinel_hdl.intake import GATE_KINDS, GATE_QUEUE, SYMBOL_KINDS, WORDS, FaultLayout, Intake
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation
from sentinel_hdl.vector import ABSENT, VectorLayout

CYCLES = 12_000
WORD32 = 0xFFFFFFFF
#: Registers whose flips must be told, and whether a beat has to lie in front of them for that.
GUARDED = {"held": True, "held_parity": True, "torn": True, "known": True, "next_seq": False, "last_seq": False}


@dataclass(frozen=True)
class Beat:
    """A beat's fields, the parity it comes with, and the cycle it came in."""

    seq: int
    symbol: int
    kind: int
    part: int
    features: tuple[int, ...]
    check: int
    wrong_parity: int = 0
    cycle: int = 0

    @property
    def bits(self) -> int:
        """As it travels: 64 bytes, the first in the lowest bits."""
        words = (self.seq, self.symbol | self.kind << 16 | self.part << 24, *self.features, self.check)
        return sum(word << 32 * i for i, word in enumerate(words))

    @property
    def parity(self) -> int:
        """Of each of its words of 64 bits, but for the wrong ones."""
        words = [self.bits >> 64 * i & (1 << 64) - 1 for i in range(WORDS)]
        return sum((word.bit_count() & 1) << i for i, word in enumerate(words)) ^ self.wrong_parity


@dataclass
class Model:
    """Which beats are taken, what is said of the others, and what is passed on."""

    two_beats: bool
    next_seq: int = 0
    first: Beat | None = None
    held: Beat | None = None
    vector: int | None = None
    shown: int = 0
    queue: deque[Beat] = field(default_factory=deque)
    told: dict[str, int] = field(default_factory=lambda: {"faults": 0, "faulty": 0, "vector_counted": 0, "upset": 0})

    def judge(self, beat: Beat) -> tuple[dict[str, bool], bool]:
        """The faults of a beat, and whether it ends the vector that was begun."""
        ahead = beat.seq - self.next_seq & WORD32
        second = self.first is not None and (beat.kind, beat.part, beat.seq, beat.symbol) == (
            BeatKind.VECTOR,
            1,
            self.first.seq,
            self.first.symbol,
        )
        seen = not second and ahead >= 1 << 31
        faults = dict.fromkeys(FaultLayout().members, False)
        if beat.check != beat.seq ^ WORD32:
            return faults | {"torn": True}, second
        if seen:
            return faults | {"replay": True}, second
        symbols = beat.kind in SYMBOL_KINDS
        return {
            **faults,
            "skip": not second and ahead != 0,
            "kind": beat.kind not in (BeatKind.VECTOR, *GATE_KINDS),
            "symbol": symbols and beat.symbol >= MAX_SYMBOLS,
            "part": beat.part != 0 and not second,
        }, second

    def step(self, beat: Beat) -> dict[str, int]:
        """Take the beat that is held; what is told of it a cycle later."""
        faults, second = self.judge(beat)
        sound = not any(on for name, on in faults.items() if name != "skip")
        completes = False
        if second and faults["torn"]:
            self.first = None
        if not faults["torn"] and not faults["replay"]:
            first, self.first = self.first, None
            if not second:
                self.next_seq = beat.seq + 1 & WORD32
            if sound and beat.kind == BeatKind.VECTOR:
                completes = second or not self.two_beats
                if completes:
                    halves = (first, beat) if second and first is not None else (beat,)
                    self.vector = self.shown = _vector(halves)
                else:
                    self.first = beat
            elif sound:
                self.queue.append(beat)
        bits = sum(on << i for i, on in enumerate(faults.values()))
        return {"faults": bits, "faulty": int(bits != 0), "vector_counted": int(completes)}


def _vector(halves: tuple[Beat, ...]) -> int:
    last = halves[-1]
    features = [word for half in halves for word in half.features]
    features += [ABSENT] * (MAX_FEATURES - len(features))
    content = {"features": features, "seq": last.seq, "symbol": last.symbol, "cycle_in": last.cycle}
    return VectorLayout().const(content).as_bits()


def _beat(rng: random.Random, model: Model, cycle: int) -> Beat:
    """Mostly the beat that should come next, and everything that comes close to it."""
    pending = model.held if model.held is not None and model.held.kind == BeatKind.VECTOR else model.first
    near = rng.choice([0] * 24 + [1, -1, 2, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, rng.getrandbits(32)])
    behind = model.held is not None and model.first is None
    seq = model.next_seq + near + behind & WORD32
    kind = rng.choice([BeatKind.VECTOR] * 6 + [*GATE_KINDS] * 2 + [0, rng.randrange(256), 1 << rng.randrange(8)])
    symbol = rng.choice([rng.randrange(MAX_SYMBOLS)] * 8 + [MAX_SYMBOLS - 1, MAX_SYMBOLS, 1 << rng.randrange(10, 16)])
    part = rng.choice([0] * 16 + [1, 2, rng.randrange(256)])
    if model.two_beats and pending is not None and rng.random() < 0.8:
        seq, symbol, kind, part = pending.seq, pending.symbol, BeatKind.VECTOR, 1 - pending.part % 2
        trouble = rng.random()
        if trouble < 0.05:
            seq ^= 1 << rng.randrange(32)
        elif trouble < 0.1:
            symbol ^= 1 << rng.randrange(10)
        elif trouble < 0.15:
            kind, part = rng.choice([kind, *GATE_KINDS]), rng.choice([0, 1, 2, 3, 1 << rng.randrange(8)])
    check = seq ^ WORD32 ^ (1 << rng.randrange(32) if rng.random() < 0.04 else 0)
    wrong = 1 << rng.randrange(WORDS) if rng.random() < 0.005 else 0
    features = tuple(rng.getrandbits(32) for _ in range(BEAT_FEATURES))
    return Beat(seq, symbol, int(kind), part, features, check, wrong, cycle)


def _reset(sim: Simulation) -> None:
    sim["rst"], sim["beats__valid"], sim["set_seq"] = 1, 0, 0
    sim.tick()
    sim["rst"] = 0


def _offer(sim: Simulation, rng: random.Random, beat: Beat | None) -> None:
    sim["beats__valid"] = beat is not None
    sim["beats__payload"], sim["parity"] = (beat.bits, beat.parity) if beat else (rng.getrandbits(512), rng.getrandbits(WORDS))


def _cycle(sim: Simulation, rng: random.Random, model: Model, offered: Beat | None, ready: tuple[bool, bool]) -> Beat | None:
    """One cycle; the beat that still waits afterwards."""
    _offer(sim, rng, offered)
    sim["vectors__ready"], sim["gate__ready"] = ready
    start = rng.getrandbits(32) if rng.random() < 0.01 else None
    sim["set_seq"], sim["seq"] = start is not None, start if start is not None else rng.getrandbits(32)
    held = model.held
    is_vector = held is not None and held.kind == BeatKind.VECTOR
    room = (model.vector is None or ready[0]) if is_vector else len(model.queue) < GATE_QUEUE
    steps = held is not None and room
    accepts = held is None or steps
    expected = {**model.told, "counted": int(steps), "beats__ready": int(accepts), "gate__valid": int(bool(model.queue))}
    expected["vectors__valid"] = int(model.vector is not None)
    if model.queue:
        expected["gate__payload"] = model.queue[0].bits
    # Stands still until the next vector, taken or not.
    expected["vectors__payload"] = model.shown
    got = {name: sim[name] for name in expected}
    differing = {name: (hex(got[name]), hex(expected[name])) for name in expected if got[name] != expected[name]}
    assert not differing, f"got, not expected: {differing}"
    upset = bool((held and held.wrong_parity) or (model.queue and model.queue[0].wrong_parity))
    if ready[0]:
        model.vector = None
    taken = model.queue[0] if model.queue and ready[1] else None
    told = model.step(held) if held is not None and steps else {"faults": 0, "faulty": 0, "vector_counted": 0}
    if taken is not None:
        model.queue.popleft()
    model.told = {**told, "upset": int(upset)}
    if steps:
        model.held = None
    if start is not None:
        model.next_seq, model.first = start, None
    if accepts and offered is not None:
        model.held, offered = offered, None
    sim.tick()
    return offered


def _guarded(sim: Simulation, rng: random.Random) -> None:
    """A flipped bit in a register that is guarded is told within two cycles."""
    sim["two_beats"] = 0
    for name, needs_beat in GUARDED.items():
        _reset(sim)
        sim["vectors__ready"] = sim["gate__ready"] = 0
        # The first vector waits for the decider, the second behind it.
        for seq in range(2 if needs_beat else 0):
            features = tuple(rng.getrandbits(32) for _ in range(BEAT_FEATURES))
            _offer(sim, rng, Beat(seq, 3, int(BeatKind.VECTOR), 0, features, seq ^ WORD32))
            sim.tick()
        sim["beats__valid"] = 0
        sim.tick(2)
        port = f"upset_{name}"
        sim[port] = 1 << rng.randrange(sim.ports[port].width)
        sim.tick()
        sim[port] = 0
        told = [sim["upset"]]
        sim.tick()
        assert any([*told, sim["upset"]]), f"a flipped bit of {name} that is not told"
    for name in ("queued", "given"):
        _reset(sim)
        sim["gate__ready"] = sim[f"upset_{name}"] = 1
        sim.tick()
        sim[f"upset_{name}"] = 0
        _offer(sim, rng, Beat(0, 3, int(BeatKind.ORDER), 0, (0,) * BEAT_FEATURES, WORD32))
        told = []
        for _ in range(6):
            sim.tick()
            sim["beats__valid"] = 0
            told.append(sim["upset"])
        assert any(told), f"a flipped bit of {name} that is not told"


def run(sim: Simulation) -> None:
    """Beats under changing pauses, resets in the middle, then the flips."""
    rng = random.Random(17)
    model, offered, pauses = Model(two_beats=False), None, (0.0, 0.0, 0.0)
    for cycle in range(CYCLES):
        if rng.random() < 0.004:
            _reset(sim)
            model, offered = Model(two_beats=rng.random() < 0.6), None
            sim["two_beats"] = model.two_beats
        if rng.random() < 0.02:
            # A gate that takes nothing for long fills the queue.
            pauses = rng.choice([(0.0, 0.0, 0.0), (0.3, 0.3, 0.3), (0.9, 0.0, 0.0), (0.0, 0.9, 0.0), (0.0, 0.0, 0.99)])
        now = cycle * 0x9E3779B1 & WORD32
        sim["cycle"] = now
        if offered is None and rng.random() >= pauses[0]:
            offered = _beat(rng, model, now)
        if offered is not None:
            offered = Beat(**{**vars(offered), "cycle": now})
        offered = _cycle(sim, rng, model, offered, (rng.random() >= pauses[1], rng.random() >= pauses[2]))
    _guarded(sim, rng)


BENCH = Bench("intake", run, Intake, upsets=(*GUARDED, "queued", "given"))
