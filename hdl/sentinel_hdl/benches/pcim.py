"""PCIM against a model of the ring: what each write must hold and where it goes, whatever closes, stalls or fails meanwhile."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from functools import partial

from sentinel.wire import PERMIT, Control, Kind, PermitFlag, Verdict
from sentinel_hdl.bus.axi_lite import Response
from sentinel_hdl.bus.pcim import Pcim
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation

CYCLES = 12_000
ID_BITS, TIMEOUT, OUTSTANDING = 2, 24, 63
KINDS = {"permits": Kind.PERMIT, "decisions": Kind.DECISION, "statuses": Kind.CARD_STATUS}
#: Where a record has its number.
SLOT = 56
#: Registers between a stream and the bus.
STAGES = 3
PARITY_BITS = 7
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1


def _place(name: str) -> tuple[int, int]:
    """First byte of a permit's field, and how many."""
    assert PERMIT.fields is not None
    kind, start = PERMIT.fields[name][:2]
    return start, kind.itemsize


def _record(rng: random.Random, stream: str) -> int:
    """A random record of a stream."""
    raw = bytearray(rng.randbytes(64))
    if stream == "permits" or raw[_place("kind")[0]] == Kind.PERMIT or rng.random() < 0.5:
        raw[_place("kind")[0]] = KINDS[stream]
    if stream == "permits":
        passes = rng.random() < 0.6
        raw[_place("verdict")[0]] = Verdict.PERMIT if passes else Verdict.REJECT
        if passes:
            # A permit has no control, and no flag yet.
            for name in ("control", "flags"):
                start, size = _place(name)
                raw[start : start + size] = bytes(size)
    return int.from_bytes(raw, "little")


def _stopped(record: int) -> int:
    """The record of a permit as it leaves once the switch is closed."""
    raw = bytearray(record.to_bytes(64, "little"))
    at = {name: _place(name)[0] for name in ("kind", "verdict", "control", "flags")}
    if raw[at["kind"]] == Kind.PERMIT and raw[at["verdict"]] == Verdict.PERMIT:
        raw[at["verdict"]], raw[at["flags"]] = Verdict.REJECT, PermitFlag.COUNTED
        raw[at["control"]] = int(Control.KILLED)
    return int.from_bytes(raw, "little")


def _sealed(record: int) -> int:
    """With its CRC-32 in the last word."""
    raw = record.to_bytes(64, "little")[:60]
    return int.from_bytes(raw + zlib.crc32(raw).to_bytes(4, "little"), "little")


class Ring:
    """PCIM after reset, one call a cycle: ``outputs`` of a cycle with these inputs, and ``step``, which ends it."""

    def __init__(self) -> None:
        # A record on its way, where it goes, and whether its parity failed after the first stage.
        self.stages: list[tuple[int, int, bool] | None] = [None] * STAGES
        self.number, self.outstanding, self.silent, self.broken = 1, 0, 0, False
        # Bits of the parity that upsets have changed since the record came.
        self.flipped = 0
        self.address = self.data = None  # type: int | None
        self.shown = 0, 0
        self.told = {"fault": 1, "dropped": 0, "writes": 0, "stalls": 0, "errors": 0, "upset": 0}

    def _usable(self, i: Mapping[str, int]) -> bool:
        return bool(i["enable"] and i["slots"] and i["base"]) and not self.broken

    def _moves(self, i: Mapping[str, int]) -> bool:
        """Whether what is on its way gets a step further."""
        busy = (self.address is not None and not i["bus__awready"]) or (self.data is not None and not i["bus__wready"])
        return self.stages[-1] is None or (not busy and self.outstanding < OUTSTANDING)

    def outputs(self, i: Mapping[str, int]) -> dict[str, int]:
        """All outputs but those that never change."""
        open_ = self._moves(i) or not self._usable(i)
        permit, decision = i["permits__valid"], i["decisions__valid"]
        return {
            "permits__ready": int(open_),
            "decisions__ready": int(open_ and not permit),
            "statuses__ready": int(open_ and not permit and not decision),
            "bus__awvalid": int(self.address is not None),
            "bus__wvalid": int(self.data is not None),
            "bus__awaddr": self.shown[0],
            "bus__wdata": self.shown[1],
            **self.told,
        }

    def step(self, i: Mapping[str, int]) -> None:
        """The clock edge."""
        usable, moves = self._usable(i), self._moves(i)
        self.flipped ^= i["upset_parity"]
        source = next((name for name in KINDS if i[f"{name}__valid"]), None)
        last, outstanding = self.stages[-1], self.outstanding
        takes = moves and last is not None
        answered = bool(i["bus__bvalid"])
        failed = answered and i["bus__bresp"] != Response.OKAY
        self.told = {
            "fault": int(not usable),
            "dropped": int(source is not None and not usable),
            "writes": int(takes),
            "stalls": int(not moves),
            "errors": int(failed),
            "upset": int(self.stages[1] is not None and self.stages[1][2]),
        }
        moved = (self.address is not None and i["bus__awready"]) or (self.data is not None and i["bus__wready"]) or answered
        stuck = self.silent == TIMEOUT
        self.silent = 0 if moved or not outstanding else min(self.silent + 1, TIMEOUT)
        self.broken = bool(i["enable"]) and (self.broken or stuck or failed)
        self.outstanding += takes - (answered and outstanding > 0)
        self.address = None if i["bus__awready"] else self.address
        self.data = None if i["bus__wready"] else self.data
        if takes:
            assert last is not None
            record, place, torn = last
            self.address, self.data = place, _sealed(_stopped(record) if i["closed"] or torn else record)
            self.shown = self.address, self.data
        if moves:
            arrived = None
            if source is not None and usable:
                record = i[f"{source}__payload"] % (1 << 8 * SLOT) | self.number << 8 * SLOT
                arrived = record, i["base"] + ((self.number - 1) % i["slots"]) * 64 & LONG, False
                self.number = self.number % WORD + 1
            first, *others = self.stages[:-1]
            self.stages = [arrived, None if first is None else (*first[:2], self.flipped != 0), *others]
            self.flipped = self.flipped if arrived is None else 0
        if not i["enable"]:
            self.number = 1


def _configure(rng: random.Random, inputs: dict[str, int]) -> None:
    """Another ring, in most cases enabled."""
    inputs["enable"] = int(rng.random() < 0.8)
    if not inputs["enable"]:
        inputs["slots"] = rng.choice([0, 1, 2, 4, 1 << rng.randrange(17)])
        inputs["base"] = rng.choice([0, 1 << rng.randrange(64), rng.getrandbits(64), rng.getrandbits(58) << 6])


def run(sim: Simulation) -> None:
    """Records on all streams, a bus that pauses, fails or falls silent, a switch that closes, rings that change."""
    rng = random.Random(17)
    model = Ring()
    inputs = dict.fromkeys(("enable", "slots", "base", "closed", "upset_parity", *(f"{name}__valid" for name in KINDS)), 0)
    inputs |= {f"{name}__payload": rng.getrandbits(512) for name in KINDS}
    rates = dict.fromkeys(("aw", "w", "b", "fails", *KINDS), 0.5)
    for _ in range(CYCLES):
        if rng.random() < 0.01:
            rates = {name: rng.choice([0.0, 0.1, 0.5, 1.0, 1.0]) for name in rates}
            rates["fails"] = rng.choice([0.0, 0.0, 0.01])
        if rng.random() < 0.02:
            _configure(rng, inputs)
        flip = 0
        if rng.random() < 0.02:
            # Records are numbered up to 2^32 - 1, which takes a minute and more: an upset gets there at once.
            flip = model.number ^ rng.choice(
                [WORD - rng.randrange(4), (1 << rng.randrange(32)) - rng.randrange(2), rng.getrandbits(32)]
            )
            model.number ^= flip
        inputs["upset_parity"] = 1 << rng.randrange(PARITY_BITS) if rng.random() < 0.05 else 0
        inputs["closed"] = int(rng.random() < 0.4)
        for name in KINDS:
            if not inputs[f"{name}__valid"] and rng.random() < rates[name]:
                inputs[f"{name}__valid"], inputs[f"{name}__payload"] = 1, _record(rng, name)
        inputs["bus__awready"], inputs["bus__wready"] = int(rng.random() < rates["aw"]), int(rng.random() < rates["w"])
        owed = model.outstanding - (model.address is not None or model.data is not None)
        inputs["bus__bvalid"] = int(owed > 0 and rng.random() < rates["b"])
        failing = rng.random() < rates["fails"] or not inputs["bus__bvalid"]
        inputs["bus__bresp"], inputs["bus__bid"] = rng.randrange(1, 4) if failing else 0, rng.getrandbits(ID_BITS)
        again = rng.random() < 0.001
        for name, value in {**inputs, "upset_number": flip, "rst": int(again)}.items():
            sim[name] = value
        expected = model.outputs(inputs)
        for name, value in expected.items():
            assert sim[name] == value, f"{name} = {sim[name]:x}, not {value:x}"
        fixed = {"bus__awid": 0, "bus__awlen": 0, "bus__awsize": 6, "bus__wlast": 1, "bus__bready": 1, "bus__wstrb": LONG}
        for name, value in fixed.items():
            assert sim[name] == value, name
        sim.tick()
        model.step(inputs)
        for name in KINDS:
            if expected[f"{name}__ready"]:
                inputs[f"{name}__valid"] = 0
        if again:
            model = Ring()


BENCH = Bench("pcim", run, partial(Pcim, ID_BITS, TIMEOUT), ("number", "parity"))
