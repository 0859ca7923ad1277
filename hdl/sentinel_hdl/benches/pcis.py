"""PCIS, two slots, against a model of bytes: beats from pieces in any order, size and burst, with pauses on every channel."""

from __future__ import annotations

import random
from collections import deque
from functools import partial

from sentinel_hdl.bus.axi_lite import Response
from sentinel_hdl.bus.pcis import Pcis
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation

CYCLES = 6_000
SLOTS, OUTSTANDING, ID_BITS, BEAT = 2, 2, 2, 64
FULL = (1 << BEAT) - 1
#: Cycles within which whatever is waited for must come when nobody pauses.
PATIENCE = 40
Burst = tuple[int, int, int, list[tuple[int, int]]]


class Slots:
    """What PCIS should do with the bytes of a transfer."""

    def __init__(self, count: int = SLOTS) -> None:
        self._bytes = [bytearray(BEAT) for _ in range(count)]
        self._had = [0] * count
        self.beats: deque[int] = deque()

    def missing(self) -> list[int]:
        """By slot, the bytes of a begun beat that have not come."""
        return [FULL & ~had if had else 0 for had in self._had]

    def transfer(self, address: int, data: int, strobes: int) -> None:
        """Take the bytes that are strobed; a slot that has all gives a beat."""
        slot = address // BEAT % len(self._had)
        for byte in range(BEAT):
            if strobes >> byte & 1:
                self._bytes[slot][byte] = data >> 8 * byte & 0xFF
        self._had[slot] |= strobes
        if self._had[slot] == FULL:
            self._had[slot] = 0
            self.beats.append(int.from_bytes(self._bytes[slot], "little"))


def make_burst(rng: random.Random, before: Burst | None, missing: list[int]) -> Burst:
    """(id, address, size, transfers of data and strobes), or what the one before left out, or what a slot still misses.

    Strobes lie in the bytes that the transfer's size and address name.
    """
    number = rng.randrange(1 << ID_BITS)
    if before is not None and rng.random() < 0.4:
        _, address, size, transfers = before
        windows = [_window(address, size, i) for i in range(len(transfers))]
        left_out = [(rng.getrandbits(512), window & ~strobes) for window, (_, strobes) in zip(windows, transfers, strict=True)]
        return number, address, size, left_out
    if any(missing) and rng.random() < 0.3:
        slot = rng.choice([slot for slot, strobes in enumerate(missing) if strobes])
        # Now and then all but one byte, which must not do.
        strobes = missing[slot] & ~(1 << rng.randrange(BEAT) if rng.random() < 0.6 else 0)
        return number, rng.randrange(1 << 20) * SLOTS * BEAT + slot * BEAT, 6, [(rng.getrandbits(512), strobes)]
    size = rng.choice([6, 6, 6, 6, 5, 4, 3, 2, 0])
    # An address that is not aligned begins in the middle of its first transfer.
    address = rng.randrange(1 << 64) if rng.random() < 0.2 else rng.randrange(1 << 64) >> size << size
    transfers = []
    if size < 4 and rng.random() < 0.5:
        # Narrow transfers that go on in the next beat.
        address = (address | BEAT - 1) - rng.randrange(3 << size)
    for i in range(rng.choice([1, 1, 2, 4, 7])):
        window = _window(address, size, i)
        transfers.append((rng.getrandbits(512), window if rng.random() < 0.6 else window & rng.getrandbits(BEAT)))
    return number, address, size, transfers


def _window(address: int, size: int, number: int) -> int:
    """The lanes of transfer ``number`` of a burst."""
    start = address if number == 0 else (address >> size) + number << size
    end = (start >> size) + 1 << size
    return (1 << end - start // BEAT * BEAT) - (1 << start % BEAT)


def _parity(beat: int) -> int:
    """Of each of its words of 64 bits."""
    return sum(((beat >> 64 * i & FULL).bit_count() & 1) << i for i in range(8))


class _Bus:
    """Master, reader, and what they may expect of the slave."""

    def __init__(self, sim: Simulation, rng: random.Random) -> None:
        self.sim, self.rng = sim, rng
        #: Bursts to send before any at random.
        self.planned: deque[Burst] = deque()
        self.reset()

    def reset(self) -> None:
        """Everything under way is gone."""
        self.slots = Slots()
        self.address: Burst | None = None
        self.last: Burst | None = None
        self.payload = 0
        self.data: deque[tuple[int, int, int, bool]] = deque()
        self.owed: deque[int] = deque()
        self.taken: deque[Burst] = deque()
        self.read: tuple[int, int] | None = None
        self.offered: tuple[int, int] | None = None
        self.unread = self.accepted = 0
        self.waited = dict.fromkeys(("aw", "w", "b", "r", "beats"), 0)
        self.before: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.valid_data = False
        self.pauses = [self.rng.choice([0.0, 0.0, 0.3, 0.8, 0.97]) for _ in range(7)]

    def cycle(self) -> None:
        """Drive the inputs of a cycle, check its outputs, and end it."""
        sim, rng, pauses = self.sim, self.rng, self.pauses
        if rng.random() < 0.01:
            self.pauses = pauses = [rng.choice([0.0, 0.0, 0.3, 0.8, 0.97]) for _ in range(7)]
        if self.address is None and rng.random() >= pauses[0]:
            self.address = self.last = (
                self.planned.popleft() if self.planned else make_burst(rng, self.last, self.slots.missing())
            )
        self._drive_address()
        if not self.valid_data and self.data and rng.random() >= pauses[1]:
            self.valid_data = True
        nothing = 0, rng.getrandbits(512), rng.getrandbits(64), False
        address, data, strobes, last = self.data[0] if self.data else nothing
        sim["bus__wvalid"], sim["bus__wdata"], sim["bus__wstrb"], sim["bus__wlast"] = self.valid_data, data, strobes, last
        ready = {"b": rng.random() >= pauses[2], "beats": rng.random() >= pauses[3], "r": rng.random() >= pauses[4]}
        sim["bus__bready"], sim["beats__ready"], sim["bus__rready"] = ready["b"], ready["beats"], ready["r"]
        if self.offered is None and rng.random() >= max(0.5, pauses[5]):
            self.offered = rng.randrange(1 << ID_BITS), rng.choice([0, 0, 1, 3, 128])
        sim["bus__arvalid"] = self.offered is not None
        sim["bus__arid"], sim["bus__arlen"] = self.offered or (rng.getrandbits(2), rng.getrandbits(8))
        self._stable(ready)
        moves = {
            "aw": bool(self.address is not None and sim["bus__awready"]),
            "w": bool(self.valid_data and sim["bus__wready"]),
            "b": bool(sim["bus__bvalid"] and ready["b"]),
            "r": bool(sim["bus__rvalid"] and ready["r"]),
            "beats": bool(sim["beats__valid"] and ready["beats"]),
        }
        self._answers(moves)
        self._reads(moves)
        if sim["beats__valid"]:
            self.payload = self.slots.beats[0] if self.slots.beats else -1
        assert sim["beats__payload"] == self.payload, "other bytes than came, or a payload that does not stand still"
        assert sim["parity"] == _parity(self.payload), "another parity than that of the bytes that came"
        if moves["beats"]:
            assert self.slots.beats, "a beat that never came"
            self.slots.beats.popleft()
        if moves["w"]:
            self.slots.transfer(address, data, strobes)
            self.data.popleft()
            self.valid_data = False
            if last:
                self.owed.append(self.taken.popleft()[0])
        if moves["aw"]:
            assert self.address is not None
            self._take(self.address)
            self.address = None
        self._wait(moves, ready)
        sim.tick()

    def _drive_address(self) -> None:
        sim, rng = self.sim, self.rng
        number, address, size, transfers = self.address or (rng.getrandbits(ID_BITS), rng.getrandbits(64), rng.getrandbits(3), [])
        sim["bus__awvalid"] = self.address is not None
        sim["bus__awid"], sim["bus__awaddr"], sim["bus__awsize"] = number, address, size
        sim["bus__awlen"] = max(len(transfers) - 1, 0)

    def _take(self, burst: Burst) -> None:
        self.taken.append(burst)
        _, address, size, transfers = burst
        for number, (data, strobes) in enumerate(transfers):
            start = address if number == 0 else ((address >> size) + number) << size
            self.data.append((start, data, strobes, number == len(transfers) - 1))

    def _stable(self, ready: dict[str, bool]) -> None:
        """Once valid, valid and unchanged until the handshake."""
        sim = self.sim
        for name, fields in (("bus__b", ("id", "resp")), ("bus__r", ("id", "data", "resp", "last")), ("beats__", ("payload",))):
            now = sim[f"{name}valid"], tuple(sim[name + field] for field in fields)
            if name in self.before:
                assert now == self.before[name], f"{name} changed before it was taken"
            self.before.pop(name, None)
            if now[0] and not ready[{"bus__b": "b", "bus__r": "r", "beats__": "beats"}[name]]:
                self.before[name] = now

    def _answers(self, moves: dict[str, bool]) -> None:
        if self.sim["bus__bvalid"]:
            assert self.owed, "an answer to nothing"
            assert (self.sim["bus__bid"], self.sim["bus__bresp"]) == (self.owed[0], Response.OKAY)
        if moves["b"]:
            self.owed.popleft()

    def _reads(self, moves: dict[str, bool]) -> None:
        sim = self.sim
        assert sim["bus__rvalid"] == (self.read is not None)
        if self.read is not None:
            number, left = self.read
            got = sim["bus__rid"], sim["bus__rdata"], sim["bus__rresp"], sim["bus__rlast"]
            assert got == (number, 0, Response.SLVERR, left == 0), f"read answered with {got}"
        assert sim["bus__arready"] == (self.read is None)
        if self.read is None:
            self.read, self.offered = (self.offered, None) if self.offered else (None, None)
        elif moves["r"]:
            number, left = self.read
            self.read = (number, left - 1) if left else None

    def _wait(self, moves: dict[str, bool], ready: dict[str, bool]) -> None:
        """Nothing is kept waiting without a reason."""
        wanted = {
            "aw": self.address is not None and len(self.taken) < OUTSTANDING,
            "w": self.valid_data and len(self.owed) < OUTSTANDING and not self.slots.beats,
            "b": bool(self.owed),
            "r": self.read is not None,
            "beats": bool(self.slots.beats),
        }
        for name, wants in wanted.items():
            held = name in ready and not ready[name]
            self.waited[name] = 0 if moves[name] or not wants else self.waited[name] + (not held)
            assert self.waited[name] < PATIENCE, f"{name} waits"


def _reset(sim: Simulation, bus: _Bus) -> None:
    sim["rst"] = 1
    for name in ("bus__awvalid", "bus__wvalid", "bus__arvalid"):
        sim[name] = 0
    sim.tick(bus.rng.randrange(1, 3))
    sim["rst"] = 0
    bus.reset()
    assert sim["bus__rid"] == 0, "an id that a reset leaves"


def run(sim: Simulation) -> None:
    """Traffic with changing pauses, and a reset now and then in the middle of it; then each byte of each slot alone too late."""
    rng = random.Random(5)
    bus = _Bus(sim, rng)
    for _ in range(CYCLES):
        if rng.random() < 0.003:
            _reset(sim, bus)
        bus.cycle()
    _reset(sim, bus)
    for slot in range(SLOTS):
        for byte in range(BEAT):
            for strobes in (FULL & ~(1 << byte), 1 << byte):
                bus.planned.append((rng.randrange(1 << ID_BITS), slot * BEAT, 6, [(rng.getrandbits(512), strobes)]))
    while bus.planned or bus.data or bus.slots.beats:
        bus.cycle()


BENCH = Bench("pcis", run, partial(Pcis, SLOTS, OUTSTANDING, ID_BITS))
