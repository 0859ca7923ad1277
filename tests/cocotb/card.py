"""The simulated card between a host's bus masters and the host's memory, and what a host does with it."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from sentinel.host.cards.limits import TICKS_PER_S, CardLimits, commit_crc
from sentinel.host.cards.registers import (
    ARM_KEY_1,
    ARM_KEY_2,
    ARM_MIN_TICKS,
    OCL_WORDS,
    LimitsStatus,
    Ocl,
    Sda,
    Status,
    SymbolStatus,
    TripCause,
    join,
    split,
)
from sentinel.units import E8
from sentinel.wire import (
    CARD_BEAT,
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    REFERENCE_BEAT,
    SLOT_BYTES,
    BeatKind,
    Kind,
    Side,
)
from tests.cocotb.pressure import TICK_NS, Pressure, apply
from tests.cocotb.ring import Ring
from tests.cocotb.stores import Stores, Transfer

OKAY, SLVERR = 0, 2
PCIS_SLOTS = 32
ALL_ONES = 0xFFFFFFFF
#: Longer than anything takes, back-pressure included.
PATIENCE = 20_000
SYMBOL, PRICE, QTY, EQUITY = 7, 2 * E8, 10 * E8, 100_000 * E8
MAX_QTY, MAX_POSITION = 1_000 * E8, 5_000 * E8
#: Ages so far apart from everything a test lets pass that no verdict depends on a few cycles.
LIMITS = CardLimits(
    version=3,
    max_order_notional=25_000 * E8 * E8,
    max_gross_notional=100_000 * E8 * E8,
    max_daily_loss=5_000 * E8,
    duplicate_window=TICKS_PER_S // 10,
    permits_per_window=50,
    reject_trip=0,
    watchdog_period=100 * TICKS_PER_S,
    watchdog_min=10,
    watchdog_max=50 * TICKS_PER_S,
    heartbeat_max_age=20 * TICKS_PER_S,
    reference_max_age=15 * TICKS_PER_S,
    equity_max_age=30 * TICKS_PER_S,
)


def random_of(what: str) -> Random:
    """A source of chance that depends on the run's seed, which cocotb prints, and on what it is for."""
    return Random(f"{cocotb.RANDOM_SEED} {what}")


def core_of(dut: Any) -> Any:
    """The core inside: at once, or behind the top of the custom logic."""
    return dut.core.cl.SHELL.core if hasattr(dut.core, "cl") else dut.core


class Card:
    """One card, its clock running. ``ring``: what it wrote to the host; ``stores``: the way in for beats."""

    def __init__(self, dut: Any, pressure: Pressure = Pressure.IDLE) -> None:
        self.dut, self.clk, self.pressure = dut, dut.clk, pressure
        # The masters of cocotbext-axi tell every access.
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
        self.random = random_of(f"{pressure.name}")
        self.next_seq = 0
        self._slot = 0
        self._challenges = 0
        Clock(dut.clk, TICK_NS, "ns").start()
        for name in ("vdip", "jump", "pcis_arid", "pcis_araddr", "pcis_arlen", "pcis_arsize", "pcis_arvalid", "pcis_rready"):
            getattr(dut, name).value = 0
        for name in ("pcis_arburst", "pcim_arready", "pcim_rvalid", "pcim_rid", "pcim_rdata", "pcim_rresp", "pcim_rlast"):
            getattr(dut, name).value = 0
        self._masters(dut)
        self.ring = Ring(dut)
        self.limits = LIMITS

    def _masters(self, dut: Any) -> None:
        self.stores = self._write_master(dut)
        self.ocl = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "ocl"), dut.clk, dut.rst)
        self.sda = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "sda"), dut.clk, dut.rst)

    def _write_master(self, dut: Any) -> Stores:
        return Stores(dut)

    @classmethod
    async def out_of_reset(cls, dut: Any, pressure: Pressure = Pressure.IDLE) -> Card:
        """A card just reset; its gate still clears."""
        card = cls(dut, pressure)
        await card.reset()
        return card

    @classmethod
    async def started(cls, dut: Any, pressure: Pressure = Pressure.IDLE) -> Card:
        """A card with its ring placed, under ``pressure``."""
        card = await cls.out_of_reset(dut, pressure)
        await card.start()
        return card

    @classmethod
    async def armed(cls, dut: Any, pressure: Pressure = Pressure.IDLE, limits: CardLimits = LIMITS) -> Card:
        """A card that trades: limits, one symbol, fresh levels, the watchdog answered."""
        card = await cls.started(dut, pressure)
        await card.configure(limits)
        await card.arm()
        return card

    async def reset(self) -> None:
        """Reset for a few cycles."""
        # Icarus looks at `always @*` of the emitted Verilog when something changes first: a reset before the reset.
        for _ in range(2 if cocotb.SIM_NAME.startswith("Icarus") else 1):
            self.dut.rst.value = 1
            await self.cycles(4)
            self.dut.rst.value = 0
            await self.cycles(2)

    async def start(self) -> None:
        """Wait until memories are clear, place the ring, and put the host's side under pressure."""
        await self.until(lambda: not int(self.dut.vled.value) >> 4 & 1, "the end of clearing")
        await self.place_ring()
        apply(self.pressure, self.clk, [*self.ring.channels, *(self.stores.channels if self.stores else [])], self.random)

    async def place_ring(self) -> None:
        await self.write_wide("PCIM_BASE", self.ring.address)
        await self.write(Ocl.PCIM_SLOTS, self.ring.slots)
        await self.write(Ocl.PCIM_ENABLE, 1)

    # Time

    async def cycles(self, count: int) -> None:
        """So many clock edges."""
        if count > 1:
            await Timer((count - 1) * TICK_NS, "ns")
        await RisingEdge(self.clk)

    async def pass_time(self, ticks: int) -> None:
        """``now`` goes ``ticks`` further, the clock by a cycle."""
        self.dut.jump.value = ticks & (1 << 64) - 1
        await RisingEdge(self.clk)
        self.dut.jump.value = 0
        await RisingEdge(self.clk)

    async def until(self, condition: Callable[[], bool], what: str, patience: int = PATIENCE) -> None:
        """Look every few cycles until something holds; fail if it never does."""
        for _ in range(patience // 8):
            if condition():
                return
            await self.cycles(8)
        self.ring.check()
        raise AssertionError(f"never came: {what}")

    @property
    def now(self) -> int:
        return int(self.dut.now.value)

    @property
    def tripped(self) -> bool:
        """As the card's own light says."""
        return bool(int(self.dut.vled.value) & 1)

    # Registers

    async def read(self, register: Ocl) -> int:
        """A register of the application; the access must be answered well and not with all ones."""
        value, response = await self.look(self.ocl, register)
        assert response == OKAY, f"{register.name}: response {response}"
        assert value != ALL_ONES, f"{register.name} reads as a lost card"
        return value

    async def read_sda(self, register: Sda) -> int:
        """The same by the management window."""
        value, response = await self.look(self.sda, register)
        assert response == OKAY, f"{register.name}: response {response}"
        return value

    async def write(self, register: Ocl, value: int) -> None:
        """Write a register; it must be accepted."""
        response = await self.put(self.ocl, register, value)
        assert response == OKAY, f"{register.name} = {value:#x}: response {response}"

    async def look(self, master: AxiLiteMaster, address: int) -> tuple[int, int]:
        """Any address of a register bus: value and response."""
        answer = await master.read(address, 4)
        return int.from_bytes(answer.data, "little"), int(answer.resp)

    async def put(self, master: AxiLiteMaster, address: int, value: int) -> int:
        """Write any address; the response."""
        return int((await master.write(address, value.to_bytes(4, "little"))).resp)

    async def write_wide(self, name: str, value: int) -> None:
        for register, word in split(name, value):
            await self.write(register, word)

    async def read_wide(self, name: str) -> int:
        return join([await self.read(word) for word in OCL_WORDS[name]])

    async def causes(self) -> TripCause:
        return TripCause(await self.read(Ocl.TRIP_CAUSES))

    async def standing(self) -> TripCause:
        return TripCause(await self.read(Ocl.STANDING))

    # Configuration

    async def configure(self, limits: CardLimits = LIMITS) -> None:
        """Limits in force, symbol SYMBOL enabled."""
        await self.set_limits(limits)
        await self.set_symbol(SYMBOL, MAX_QTY, MAX_POSITION)

    async def set_limits(self, limits: CardLimits, crc_error: int = 0) -> None:
        writes = limits.writes()
        for register, word in writes:
            await self.write(register, word)
        await self.write(Ocl.LIMITS_COMMIT, commit_crc(writes) ^ crc_error)
        self.limits = limits
        while (status := await self.read(Ocl.LIMITS_STATUS)) & LimitsStatus.BUSY:
            pass
        if not crc_error:
            assert status == LimitsStatus.LOADED, f"LIMITS_STATUS {status:#x}"

    async def set_symbol(self, symbol: int, max_qty: int, max_position: int, enabled: bool = True) -> None:
        await self.write(Ocl.SYMBOL_INDEX, symbol)
        await self.write(Ocl.SYMBOL_FLAGS, int(enabled))
        await self.write_wide("SYMBOL_MAX_QTY", max_qty)
        await self.write_wide("SYMBOL_MAX_POSITION", max_position)
        await self.write(Ocl.SYMBOL_COMMIT, 1)
        while await self.read(Ocl.SYMBOL_STATUS) & SymbolStatus.BUSY:
            pass

    # Beats

    def beat(self, layout: np.dtype[Any], kind: BeatKind | int, **fields: Any) -> bytes:
        """A sound beat under the next number; ``fields`` spoil what they name."""
        beat = np.zeros(1, layout)
        beat["kind"], beat["seq"] = kind, self.next_seq
        for name, value in fields.items():
            beat[name] = value
        if "check" not in fields:
            beat["check"] = ~beat["seq"]
        return bytes(beat.tobytes())

    def store(self, beat: bytes) -> None:
        """One store of a whole beat into the next slot, behind what is already under way."""
        self.stores.burst(self._slot * SLOT_BYTES, [Transfer(int.from_bytes(beat, "little"))], awid=self._slot)
        self._slot = (self._slot + 1) % PCIS_SLOTS

    def send(self, layout: np.dtype[Any], kind: BeatKind, **fields: Any) -> bytes:
        """Send a sound beat; returns it."""
        beat = self.beat(layout, kind, **fields)
        self.next_seq = self.next_seq + 1 & ALL_ONES
        self.store(beat)
        return beat

    def order(self, client_key: int, arm_epoch: int, **fields: Any) -> bytes:
        """Send an order that would pass, but for what ``fields`` say."""
        values = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE, "qty": QTY, "limits_version": self.limits.version}
        return self.send(ORDER_BEAT, BeatKind.ORDER, client_key=client_key, arm_epoch=arm_epoch, **{**values, **fields})

    def vector(self, features: np.ndarray[Any, Any], symbol: int = SYMBOL, part: int = 0, last: bool = True) -> int:
        """Send 13 float32 of a vector; returns its number. ``last`` False: the other 13 follow under the same number."""
        seq = self.next_seq
        self.store(self.beat(CARD_BEAT, BeatKind.VECTOR, symbol=symbol, part=part, words=features.view(np.uint32)))
        self.next_seq = seq + last & ALL_ONES
        return seq

    def heartbeat(self) -> bytes:
        return self.send(HEARTBEAT_BEAT, BeatKind.HEARTBEAT)

    def equity(self, equity: int = EQUITY, day_start: int = EQUITY) -> bytes:
        return self.send(EQUITY_BEAT, BeatKind.EQUITY, equity=equity, day_start=day_start)

    def reference(self, bid: int = PRICE - 1, ask: int = PRICE + 1, symbol: int = SYMBOL) -> bytes:
        return self.send(REFERENCE_BEAT, BeatKind.REFERENCE_PRICE, symbol=symbol, bid=bid, ask=ask)

    async def settled(self) -> None:
        """Every store answered and every beat worked off: nothing is under way but records."""
        await self.stores.answered()
        quiet = 0
        for _ in range(PATIENCE):
            await self.cycles(32)
            quiet = 0 if await self.read(Ocl.STATUS) & Status.GATE_BUSY else quiet + 1
            if quiet == 2:
                return
        raise AssertionError("the gate never rests")

    async def take(self, kind: Kind, count: int = 1, patience: int = PATIENCE) -> list[Any]:
        """The next ``count`` records of a kind, once they are there; removed from the ring's list."""
        held = self.ring.records[kind]
        deadline = patience * TICK_NS
        while len(held) < count:
            self.ring.arrival.clear()
            timeout = Timer(deadline, "ns")
            if await First(self.ring.arrival.wait(), timeout) is timeout:
                self.ring.check()
                raise AssertionError(f"{len(held)} of {count} {kind.name} records came")
        self.ring.check()
        taken, held[:count] = held[:count], []
        return taken

    async def verdict(self) -> Any:
        """The next permit record."""
        return (await self.take(Kind.PERMIT))[0]

    # Arming

    async def feed(self) -> None:
        """Fresh heartbeat, equity and reference price."""
        self.heartbeat()
        self.equity()
        self.reference()
        await self.settled()

    async def answer_watchdog(self) -> None:
        """Answer the newest challenge the ring has."""
        statuses = self.ring.records[Kind.CARD_STATUS]
        await self.until(lambda: bool(statuses), "a challenge")
        await self.cycles(self.limits.watchdog_min)
        await self.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])))

    async def arm(self, feed: bool = True) -> int:
        """Both keys, with what has to be fresh before; returns the arm epoch."""
        if feed:
            await self.feed()
        if await self.standing() & TripCause.WATCHDOG:
            await self.answer_watchdog()
        standing = await self.standing()
        assert not standing, f"not to be armed: {standing!r}"
        await self.press_keys()
        assert not self.tripped, f"not armed: {await self.causes()!r}"
        return await self.read(Ocl.ARM_EPOCH)

    async def press_keys(self, wait: int = ARM_MIN_TICKS + 1) -> None:
        """The two keyed steps, ``wait`` ticks apart."""
        nonce = await self.read(Ocl.ARM_NONCE)
        await self.write(Ocl.ARM_KEY, ARM_KEY_1 ^ nonce)
        await self.pass_time(wait)
        await self.write(Ocl.ARM_KEY, ARM_KEY_2 ^ nonce ^ ALL_ONES)
        await self.cycles(4)


def inside(handle: Any, name: str) -> Any:
    """A part of the emitted core by its name; what has a namesake bears a number behind it."""
    parts = (child for child in handle if isinstance(child, HierarchyObject))
    return next(child for child in parts if str(child._name).strip("\\ ").split("$")[0] == name)


def gates(card: Card) -> tuple[Any, Any]:
    """The gate and its second."""
    return core_of(card.dut).gate, core_of(card.dut).gate_again


def next_answer(challenge: int) -> int:
    """One step of the watchdog's Galois register."""
    return challenge >> 1 ^ (0xA3000000 if challenge & 1 else 0)


def crc_of(words: list[int]) -> int:
    """CRC-32 of 32-bit words, little-endian."""
    return zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))


def other(limits: CardLimits, **fields: int) -> CardLimits:
    """Limits with some of them changed."""
    return replace(limits, **fields)
