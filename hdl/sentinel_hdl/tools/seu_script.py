"""What the host does while bits are flipped: a script of every way to trip, with orders before and after each.

It is written once and played by the host in ``seu.cpp``, which reads nonces and epochs and answers challenges by itself.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np

from sentinel import wire
from sentinel.wire import BeatKind, ExposureEvent, Side
from sentinel_hdl.register_map import load
from sentinel_hdl.tools.cycles import random_model

#: The core in a small size; the kill path and the controls are the same in every size.
PARAMETERS = {"engines": 2, "trees_per_engine": 4, "symbols": 16, "window_depth": 16}
OP = np.dtype([("code", "<u4"), ("a", "<u4"), ("b", "<u4"), ("c", "<u4"), ("data", "u1", 64)])
WORD_BITS = 31
_PRICE = 1_000_000
_RING, _RING_SLOTS = 0x1000_0000, 64
_MODEL_ID = 0x5EED
_DAY = 1 << 40
_COLLAR_BPS, _WINDOW, _REFERENCE_AGE = 500, 600_000, 20_000
_LIMITS = {
    "WATCHDOG_PERIOD": _DAY,
    "WATCHDOG_MIN": 10,
    "WATCHDOG_MAX": _DAY >> 1,
    "LIMIT_MAX_ORDER_NOTIONAL": 45 * _PRICE,
    "LIMIT_MAX_GROSS_NOTIONAL": 1000 * _PRICE,
    "LIMIT_COLLAR_BPS": _COLLAR_BPS,
    "LIMIT_MAX_DRAWDOWN_BPS": 2000,
    "LIMIT_REFERENCE_MAX_AGE": _REFERENCE_AGE,
    "LIMIT_HEARTBEAT_MAX_AGE": _DAY,
    "LIMIT_EQUITY_MAX_AGE": _DAY,
    "LIMIT_DUPLICATE_WINDOW": 5000,
    "LIMIT_WINDOW": _WINDOW,
    "LIMIT_PERMITS_PER_WINDOW": 12,
    "LIMIT_REJECT_TRIP": 20,
    "LIMIT_MAX_DAILY_LOSS": 1 << 30,
    "LIMITS_VERSION": 7,
}
#: Cycles for the orders that wait for the gate: time that goes on before their verdicts would be another run's.
_VERDICTS = 600


class Code(IntEnum):
    """What an operation does; the numbers are those of ``seu.cpp``."""

    WRITE, READ, BEAT, HALVES, WAIT, TIME, KEY, ANSWER, VDIP, MARK, DRAIN, PAUSE, END = range(13)


class Mark(IntEnum):
    """Moments at which every flip-flop of the kill path is upset."""

    BEGIN, TRIPPED, HALF_ARMED, ARMED, PERMITTED_ORDER, REFUSED_ORDER, TRIP, KILLED_ORDER, REFUSED_ARMING, LOCKED = range(10)


class _Slot(IntEnum):
    """Where the host keeps what it has read."""

    NONCE, EPOCH, STATUS = range(3)


#: Registers a host knows the value of at any time, so another one tells it of a fault.
KNOWN = (
    *("TRIP_CAUSES", "FIRST_CAUSE", "STANDING", "LIMITS_STATUS", "MODEL_STATUS", "MODEL_ACTIVE_ID", "ARM_EPOCH", "BEAT_FAULTS"),
    *("ECC_CORRECTED", "PCIM_ERRORS", "BAD_WRITES", "SYMBOL_STATUS", "PERMITS", "REJECTS", "BEATS", "VECTORS", "DECISIONS"),
)


class Script:
    """The operations, appended one by one."""

    def __init__(self) -> None:
        self._registers = {bus: load()[f"sentinel_{bus}"] for bus in ("ocl", "sda")}
        self._ops: list[np.ndarray] = []
        self._seq, self._key, self._vectors = 0, 0, 0
        self._rng = np.random.default_rng(1)
        self._setup()
        self.mark(Mark.BEGIN)
        self._tripped()
        self._armed()
        for trip in (
            *(self._kill_ocl, self._kill_sda, self._vdip, self._torn, self._replay, self._skip, self._kind, self._symbol),
            *(self._fields, self._reverse_time, self._wrong_key, self._wrong_answer, self._gross, self._exposure),
            *(self._silence, self._loss, self._drawdown, self._ring_error, self._rejects, self._rate),
        ):
            self._trip(trip)
        self._locked()
        self._read_out()
        self.op(Code.END)

    @property
    def ops(self) -> np.ndarray:
        """All of them, as OP."""
        return np.concatenate(self._ops)

    def op(self, code: Code, a: int = 0, b: int = 0, c: int = 0, data: bytes = b"") -> None:
        """Append one."""
        one = np.zeros(1, OP)
        one["code"], one["a"], one["b"], one["c"] = code, a, b, c
        one["data"][0, : len(data)] = np.frombuffer(data, np.uint8)
        self._ops.append(one)

    def mark(self, mark: Mark) -> None:
        """Name the moment that follows."""
        self.op(Code.MARK, mark)

    def write(self, name: str, value: int, bus: str = "ocl") -> None:
        """Write a register."""
        self.op(Code.WRITE, self._registers[bus][name].address, value, int(bus == "sda"))

    def wide(self, name: str, value: int) -> list[int]:
        """Write a value of one register, or of several words of 31 bits; those words."""
        words = [r.name for r in self._registers["ocl"] if r.name == name or r.name.rpartition("_")[0] == name]
        values = [value >> WORD_BITS * i & (1 << WORD_BITS) - 1 for i in range(len(words))] if len(words) > 1 else [value]
        for word, part in zip(words, values, strict=True):
            self.write(word, part)
        return values

    def read(self, name: str, slot: _Slot = _Slot.STATUS, known: bool = False) -> None:
        """Read a register; ``known``: a value other than that of the run without upset is noticed."""
        self.op(Code.READ, self._registers["ocl"][name].address, slot, 2 * known, b"\xff")

    def wait(self, cycles: int) -> None:
        """Do nothing for so long."""
        self.op(Code.WAIT, cycles)

    def time(self, ticks: int) -> None:
        """Time goes on, the clock does not; negative: it goes back."""
        self.op(Code.TIME, ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFFFFFF)

    def drain(self) -> None:
        """Until the card has taken every beat, and the gate is through with them."""
        self.op(Code.DRAIN)
        self.wait(60)

    # --- beats ---

    def beat(self, layout: np.dtype, what: BeatKind, *, halves: bool = False, epoch: int | None = None, **fields: object) -> None:
        """Send a beat; ``epoch``: in an order, how old its arm epoch is."""
        beat = np.zeros(1, layout)
        beat["kind"], beat["seq"], beat["check"] = what, self._seq, ~np.uint32(self._seq)
        for name, value in fields.items():
            beat[name] = value
        self._seq += 1
        code = Code.HALVES if halves else Code.BEAT
        self.op(code, int(epoch is not None), _Slot.EPOCH, epoch or 0, beat.tobytes())

    def order(self, **fields: int) -> None:
        """An order that passes, but for the fields given; with ``_off`` and ``_back`` relative to it."""
        self._key += 1
        self.beat(
            wire.ORDER_BEAT,
            BeatKind.ORDER,
            halves=bool(self._key % 5 == 0),
            epoch=fields.get("epoch", 0),
            symbol=fields.get("symbol", 1),
            client_key=self._key - fields.get("key_back", 0),
            price=_PRICE + fields.get("price_off", 0),
            qty=fields.get("qty", 5 + self._key % 3),
            side=fields.get("side", Side.BUY),
            flags=fields.get("flags", 0),
            limits_version=_LIMITS["LIMITS_VERSION"] - fields.get("version_off", 0),
        )

    def event(self, event: int, qty: int, side: int = Side.BUY, symbol: int = 1, price_off: int = 0) -> None:
        """A fill, a release or an adjustment."""
        self.beat(
            wire.ORDER_EVENT_BEAT,
            BeatKind.ORDER_EVENT,
            event=event,
            qty=qty,
            side=side,
            symbol=symbol,
            price=_PRICE + price_off,
        )

    def reference(self, symbol: int, ask: int = _PRICE) -> None:
        """Bid and ask of a symbol."""
        self.beat(wire.REFERENCE_BEAT, BeatKind.REFERENCE_PRICE, symbol=symbol, bid=ask - 1000, ask=ask)

    def vector(self) -> None:
        """A vector of random features."""
        self._vectors += 1
        features = self._rng.standard_normal(wire.BEAT_FEATURES).astype("<f4").view("<u4")
        self.beat(wire.CARD_BEAT, BeatKind.VECTOR, symbol=self._vectors % 8, words=features)

    def equity(self, equity: int = 10**10, day_start: int = 10**10) -> None:
        """What the account is worth."""
        self.beat(wire.EQUITY_BEAT, BeatKind.EQUITY, equity=equity, day_start=day_start)

    def heartbeat(self) -> None:
        """The host lives."""
        self.beat(wire.HEARTBEAT_BEAT, BeatKind.HEARTBEAT, count=self._seq)

    # --- phases ---

    def _setup(self) -> None:
        self.wait(40)
        self.wide("PCIM_BASE", _RING)
        self.write("PCIM_SLOTS", _RING_SLOTS)
        self._enable_ring()
        trees = PARAMETERS["engines"] * PARAMETERS["trees_per_engine"]
        words = random_model(trees, wire.BEAT_FEATURES, 1)
        header = {"ABI": 1, "TREES": trees, "CLASSES": 1, "ID": _MODEL_ID, "FLAGS": 0, "BEGIN": 1}
        for name, value in header.items():
            self.write(f"MODEL_{name}", value)
        for word in words:
            self.write("MODEL_DATA", word)
        self.write("MODEL_SWAP", zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words)))
        for symbol in (1, 2, 3):
            self.write("SYMBOL_INDEX", symbol)
            self.write("SYMBOL_FLAGS", int(symbol != 3))
            self.wide("SYMBOL_MAX_QTY", 50)
            self.wide("SYMBOL_MAX_POSITION", 200)
            self.write("SYMBOL_COMMIT", 1)
            self.wait(8)
        staged: list[int] = []
        for name, value in _LIMITS.items():
            staged += self.wide(name, value)
        order = [r.name for r in self._registers["ocl"].staged_limits]
        written = [name for key in _LIMITS for name in order if name == key or name.rpartition("_")[0] == key]
        values = dict(zip(written, staged, strict=True))
        self._limits_crc = zlib.crc32(b"".join(values[name].to_bytes(4, "little") for name in order))
        self.write("LIMITS_COMMIT", self._limits_crc)
        self.wait(100)
        self.equity()
        self.heartbeat()
        self.wait(60)
        self.op(Code.ANSWER, self._registers["ocl"]["WATCHDOG_ANSWER"].address)
        self.wait(20)
        self.read("ARM_EPOCH", _Slot.EPOCH)

    def _enable_ring(self) -> None:
        self.op(Code.WRITE, self._registers["ocl"]["PCIM_ENABLE"].address, 1, 2)

    def _read_out(self) -> None:
        for name in KNOWN:
            self.read(name, known=True)

    def _first_key(self) -> None:
        keys = self._registers["ocl"]["ARM_KEY"]
        self.read("ARM_NONCE", _Slot.NONCE)
        self.op(Code.KEY, keys.address, _Slot.NONCE, keys.constants["arm_key_1"])

    def _second_key(self, ticks: int | None = None) -> None:
        keys = self._registers["ocl"]["ARM_KEY"]
        self.time(keys.constants["arm_min_ticks"] + 1 if ticks is None else ticks)
        self.wait(2)
        self.op(Code.KEY, keys.address, _Slot.NONCE, keys.constants["arm_key_2"] ^ 0xFFFFFFFF)

    def _arm(self) -> None:
        self.read("TRIP_CAUSES", known=True)
        self.read("STANDING", known=True)
        self._first_key()
        self._second_key()
        self.read("ARM_EPOCH", _Slot.EPOCH)
        self.reference(1)
        self.reference(2)
        self.wait(60)

    def _try_to_arm(self) -> None:
        """Both keys where they must not work, and an order that must not pass."""
        self.mark(Mark.REFUSED_ARMING)
        self._first_key()
        self._second_key()
        self.reference(1)
        self.order()
        self.vector()
        self.drain()

    def _tripped(self) -> None:
        self.reference(1)
        self.order()
        self.drain()
        self.mark(Mark.TRIPPED)
        self.wait(16)
        self.order()
        self.vector()
        self.order(symbol=2)
        self.drain()
        self.op(Code.VDIP, 1)
        self._try_to_arm()
        self.op(Code.VDIP, 0)
        self.write("LIMITS_COMMIT", self._limits_crc ^ 1)
        self.wait(60)
        self._try_to_arm()
        self.write("LIMITS_COMMIT", self._limits_crc)
        self.wait(60)
        # Half armed, then too early: not armed.
        self._first_key()
        self._second_key(100)
        self.order()
        self.drain()
        self._first_key()
        self.mark(Mark.HALF_ARMED)
        self.wait(10)
        self.order()
        self.drain()
        self._second_key()
        self.read("ARM_EPOCH", _Slot.EPOCH)

    def _armed(self) -> None:
        """Orders that pass, and one refused by each control that does not trip."""
        self.reference(1)
        self.reference(2)
        self.drain()
        self.mark(Mark.ARMED)
        self.wait(16)
        self.vector()
        self.mark(Mark.PERMITTED_ORDER)
        self.order()
        self.drain()
        self.mark(Mark.REFUSED_ORDER)
        self.order(qty=51, price_off=-40_000)  # MAX_QTY and MAX_NOTIONAL
        self.drain()
        self._refused_orders()
        self.op(Code.PAUSE, 100)
        self.order(symbol=2, side=Side.SELL)
        self.event(ExposureEvent.FILL, 3)
        self.order(symbol=2, epoch=1)
        self.vector()
        self.order(symbol=2, flags=1, side=Side.BUY)
        self.drain()
        self.op(Code.PAUSE, 0)
        self.write("KILL", 0)
        self._read_out()

    def _refused_orders(self) -> None:
        """Each misses by as little as can be, so that an upset is enough."""
        self.order(qty=51)  # MAX_QTY
        self.order(qty=46)  # MAX_NOTIONAL
        self.order(symbol=3)  # SYMBOL_HALTED
        self.vector()
        self.order(epoch=1)
        self.order(version_off=1)
        self.drain()
        self.order(price_off=_PRICE * _COLLAR_BPS // 10_000 + 1)  # PRICE_COLLAR
        self.order(side=0)  # BAD_INPUT
        self.order(flags=2)
        self.order(qty=0)
        self.order(key_back=11)  # DUPLICATE: the key of the order that was permitted
        self.drain()
        self.order(flags=1)  # POSITION_LIMIT: reduces nothing
        self.order(symbol=4)  # not in the table
        self.order(qty=9, side=Side.SELL, symbol=2)
        self.order(qty=9, side=Side.SELL, symbol=2)  # DUPLICATE: the same again
        self.drain()
        self.event(ExposureEvent.ADJUST, 180, symbol=2)
        self.order(qty=21, symbol=2)  # POSITION_LIMIT
        self.event(ExposureEvent.ADJUST, -180, symbol=2)
        self.event(ExposureEvent.RELEASE, 9, Side.SELL, 2)
        self.order()
        self.event(ExposureEvent.FILL, 5)
        self.drain()
        self.wait(60)
        self.time(_REFERENCE_AGE + 1000)
        self.order()  # STALE_REFERENCE
        self.order(symbol=2)
        self.reference(1)
        self.reference(2)
        self.drain()

    def _trip(self, trip: object) -> None:
        """Arm, an order that passes, the trip, orders that must not pass."""
        assert callable(trip)
        self._arm()
        self.order(qty=6)
        self.vector()
        self.order(symbol=2, epoch=1)
        self.drain()
        self.event(ExposureEvent.FILL, 6)
        self.event(ExposureEvent.ADJUST, -6)
        self.wait(40)
        self.order(qty=51)
        self.mark(Mark.TRIP)
        trip()
        self.wait(12)
        self.mark(Mark.KILLED_ORDER)
        self.order()
        self.order(symbol=2)
        self.drain()
        self.event(ExposureEvent.RELEASE, 1)
        self.drain()
        self._mend(trip)
        self._read_out()

    def _mend(self, trip: object) -> None:
        """End what stands as a cause, after a try to arm in spite of it."""
        name = getattr(trip, "__name__", "")
        match name:
            case "_vdip":
                self._try_to_arm()
                self.op(Code.VDIP, 0)
            case "_wrong_answer":
                self._try_to_arm()
                self.time(_DAY)
                self.wait(60)
                self.heartbeat()
                self.equity()
                self.op(Code.ANSWER, self._registers["ocl"]["WATCHDOG_ANSWER"].address)
                self.wait(20)
            case "_silence" | "_loss" | "_drawdown":
                self._try_to_arm()
                self.heartbeat()
                self.equity()
                self.drain()
                if name == "_silence":
                    self.op(Code.ANSWER, self._registers["ocl"]["WATCHDOG_ANSWER"].address)
                    self.wait(20)
            case "_rate":
                self._try_to_arm()
                self.time(_WINDOW)
            case "_ring_error":
                self._try_to_arm()
                self._enable_ring()
                self.wait(4)
            case "_torn" | "_replay" | "_skip" | "_kind" | "_symbol" | "_fields":
                self.write("BEAT_FAULTS", 0x7F)

    def _kill_ocl(self) -> None:
        self.write("KILL", 1)

    def _kill_sda(self) -> None:
        self.write("KILL", 1, "sda")

    def _vdip(self) -> None:
        self.op(Code.VDIP, 1)

    def _torn(self) -> None:
        self.beat(wire.HEARTBEAT_BEAT, BeatKind.HEARTBEAT, check=12345)
        self._seq -= 1

    def _replay(self) -> None:
        self._seq -= 3
        self.heartbeat()
        self._seq += 2

    def _skip(self) -> None:
        self._seq += 2
        self.heartbeat()

    def _kind(self) -> None:
        self.beat(wire.HEARTBEAT_BEAT, BeatKind.HEARTBEAT, kind=9)

    def _symbol(self) -> None:
        self.order(symbol=1024)

    def _fields(self) -> None:
        self.event(ExposureEvent.FILL, 0)
        self.drain()

    def _reverse_time(self) -> None:
        self.time(-100)

    def _wrong_key(self) -> None:
        self.write("ARM_KEY", 1)

    def _wrong_answer(self) -> None:
        self.write("WATCHDOG_ANSWER", 0x12345678)

    def _gross(self) -> None:
        self.event(ExposureEvent.ADJUST, 990, symbol=5)
        self.order(qty=30)
        self.event(ExposureEvent.ADJUST, -990, symbol=5)
        self.drain()

    def _exposure(self) -> None:
        self.event(ExposureEvent.RELEASE, 40, Side.SELL)
        self.drain()

    def _silence(self) -> None:
        self.time(_DAY + 100)

    def _loss(self) -> None:
        self.equity(day_start=10**10 + (1 << 30))
        self.drain()

    def _drawdown(self) -> None:
        self.equity(equity=8 * 10**9, day_start=8 * 10**9)
        self.drain()

    def _ring_error(self) -> None:
        self.write("PCIM_ENABLE", 0)
        self.wait(4)

    def _rejects(self) -> None:
        for _ in range(20):
            self.order(qty=51)
        self.drain()
        self.wait(_VERDICTS)

    def _rate(self) -> None:
        for _ in range(14):
            self.order(qty=1 + self._key % 3)
        self.drain()
        self.wait(_VERDICTS)

    def _locked(self) -> None:
        """Three wrong keys: nothing opens it any more."""
        for _ in range(3):
            self._second_key()
        self.wait(4)
        self.mark(Mark.LOCKED)
        self.wait(8)
        self._try_to_arm()
