"""Orders from PCIS to their verdict in the ring, equal to the integer reference: every control, alone and at random."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import reduce
from operator import xor
from random import Random
from typing import Any

import cocotb
from sentinel_hdl.ecc import CODE_BITS, DATA_BITS, POSITIONS

from sentinel.host.cards.limits import CardLimits
from sentinel.host.cards.registers import Ocl, TripCause
from sentinel.model.gate import AMOUNT_MAX, SymbolLimits
from sentinel.units import E8
from sentinel.wire import Control, ExposureEvent, OrderBeatFlag, Side, Verdict
from tests.cocotb import cross
from tests.cocotb.card import EQUITY, PRICE, QTY, SYMBOL, Card, gates, inside, other, random_of
from tests.cocotb.pressure import Pressure
from tests.cocotb.shadow import JUMP, Shadow

HALF = JUMP // 2
LIMITS = CardLimits(
    version=3,
    max_order_notional=1_500 * E8 * E8,
    max_gross_notional=4_000 * E8 * E8,
    max_daily_loss=5_000 * E8,
    reference_max_age=15 * JUMP + HALF,
    heartbeat_max_age=19 * JUMP + HALF,
    equity_max_age=22 * JUMP + HALF,
    duplicate_window=HALF,
    window=3 * JUMP + HALF,
    permits_per_window=8,
    reject_trip=0,
    # One challenge, answered before arming.
    watchdog_period=1 << 61,
    watchdog_min=10,
    watchdog_max=1 << 60,
)
NARROW, UNQUOTED, HALTED, UNSET, ALSO = SYMBOL + 1, SYMBOL + 2, SYMBOL + 3, SYMBOL + 4, SYMBOL + 5
ROWS = {
    SYMBOL: SymbolLimits(True, 1_000 * E8, 5_000 * E8),
    NARROW: SymbolLimits(True, 1_000 * E8, 50 * E8),
    UNQUOTED: SymbolLimits(True, 1_000 * E8, 5_000 * E8),
    HALTED: SymbolLimits(False, 1_000 * E8, 5_000 * E8),
    ALSO: SymbolLimits(True, 1_000 * E8, 5_000 * E8),
}
Scenario = Callable[[Shadow], Awaitable[None]]


async def armed(dut: Any, pressure: Pressure, limits: CardLimits = LIMITS) -> Shadow:
    card = await Card.started(dut, pressure)
    await card.set_limits(limits)
    shadow = await Shadow.armed(card, ROWS)
    for symbol in (NARROW, ALSO):
        shadow.reference(symbol=symbol)
    return shadow


def code_of(word: int) -> int:
    """The word as it is stored, from the definition of an extended Hamming code."""
    syndrome = reduce(xor, (position for bit, position in enumerate(POSITIONS) if word >> bit & 1), 0)
    code = word | syndrome << DATA_BITS
    return code | (code.bit_count() & 1) << CODE_BITS - 1


def asking(**fields: Any) -> Scenario:
    """One order that differs from a good one."""

    async def ask(shadow: Shadow) -> None:
        fields.setdefault("client_key", 1)
        shadow.order(**fields)

    return ask


async def _wrong_epoch(shadow: Shadow) -> None:
    shadow.order(1, arm_epoch=shadow.epoch + 1)


async def _same_again(shadow: Shadow) -> None:
    shadow.order(1)
    shadow.order(2)


async def _same_key(shadow: Shadow) -> None:
    shadow.order(1)
    shadow.order(1, qty=QTY + 1)


async def _crossed(shadow: Shadow) -> None:
    shadow.reference(PRICE + 5, PRICE + 5)
    shadow.order(1)


async def _old_reference(shadow: Shadow) -> None:
    await shadow.pass_time(8)
    shadow.heartbeat()
    shadow.equity()
    await shadow.pass_time(8)
    shadow.order(1)


async def _not_reducing(shadow: Shadow) -> None:
    shadow.event(ExposureEvent.ADJUST, symbol=SYMBOL, price=PRICE, qty=5 * E8, side=Side.BUY)
    shadow.order(1, side=Side.SELL, qty=6 * E8, flags=OrderBeatFlag.REDUCE_ONLY)


async def _third_too_many(shadow: Shadow) -> None:
    for key, symbol in enumerate((SYMBOL, ALSO, SYMBOL), 1):
        shadow.order(key, symbol=symbol, qty=(699 + key) * E8)


async def _ninth_in_the_window(shadow: Shadow) -> None:
    for key in range(1, LIMITS.permits_per_window + 2):
        shadow.order(key, qty=key * E8)


async def _lost_time_of_a_permit(shadow: Shadow) -> None:
    for key in range(1, LIMITS.permits_per_window + 1):
        shadow.order(key, qty=key * E8)
    await shadow.check()
    for gate in gates(shadow.card):
        memory = inside(gate, "window").memory
        for i in range(len(memory)):
            memory[i].value = int(memory[i].value) ^ 0b11


#: The refusals besides KILLED, by what leads to them; those of the reference, so that it can be asked.
REFUSALS: dict[str, tuple[Control, Scenario]] = {
    "side": (Control.BAD_INPUT, asking(side=3)),
    "no side": (Control.BAD_INPUT, asking(side=0)),
    "price 0": (Control.BAD_INPUT, asking(price=0)),
    "price below 0": (Control.BAD_INPUT, asking(price=-PRICE)),
    "price too high": (Control.BAD_INPUT, asking(price=AMOUNT_MAX + 1)),
    "quantity 0": (Control.BAD_INPUT, asking(qty=0)),
    "quantity too high": (Control.BAD_INPUT, asking(qty=AMOUNT_MAX + 1)),
    "flag": (Control.BAD_INPUT, asking(flags=2)),
    "epoch": (Control.ARM_EPOCH, _wrong_epoch),
    "version": (Control.LIMITS_VERSION, asking(limits_version=LIMITS.version + 1)),
    "disabled": (Control.SYMBOL_HALTED, asking(symbol=HALTED)),
    "not in the table": (Control.SYMBOL_HALTED, asking(symbol=UNSET)),
    "same content": (Control.DUPLICATE, _same_again),
    "same key": (Control.DUPLICATE, _same_key),
    "quantity": (Control.MAX_QTY, asking(qty=1_000 * E8 + 1)),
    "notional": (Control.MAX_NOTIONAL, asking(qty=750 * E8 + 1)),
    "no reference": (Control.STALE_REFERENCE, asking(symbol=UNQUOTED)),
    "crossed": (Control.STALE_REFERENCE, _crossed),
    "old reference": (Control.STALE_REFERENCE, _old_reference),
    "price above": (Control.PRICE_COLLAR, asking(price=(PRICE + 1) * 105 // 100 + 1)),
    "price below": (Control.PRICE_COLLAR, asking(price=(PRICE - 1) * 95 // 100 - 1, side=Side.SELL)),
    "position": (Control.POSITION_LIMIT, asking(symbol=NARROW, qty=50 * E8 + 1)),
    "nothing to reduce": (Control.POSITION_LIMIT, asking(flags=OrderBeatFlag.REDUCE_ONLY)),
    "more than to reduce": (Control.POSITION_LIMIT, _not_reducing),
    "exposure": (Control.GROSS_EXPOSURE, _third_too_many),
    "rate": (Control.TRADES_PER_MINUTE, _ninth_in_the_window),
}


@cocotb.test()
@cocotb.parametrize(what=list(REFUSALS), pressure=list(Pressure), reject_trip=[0, 1])
async def every_control_refuses(dut: Any, what: str, pressure: Pressure, reject_trip: int) -> None:
    """With ``reject_trip`` 1 every refusal is the cause REJECTS as well."""
    control, scenario = REFUSALS[what]
    shadow = await armed(dut, pressure, other(LIMITS, reject_trip=reject_trip))
    await scenario(shadow)
    last = (await shadow.check())[-1]
    assert (last["verdict"], last["control"]) == (Verdict.REJECT, control), what
    assert shadow.tripped == (reject_trip == 1 or control.name in cross.TRIPPING), what
    # What was refused is not in the books: a good order of another size passes unless the gate tripped.
    shadow.order(100, qty=QTY - 1)
    after = (await shadow.check())[-1]
    assert (after["verdict"] == Verdict.PERMIT) == (not shadow.tripped and what not in ("crossed", "old reference")), what


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure), reject_trip=[0, 1])
async def time_of_a_permit_that_can_not_be_read_refuses(dut: Any, pressure: Pressure, reject_trip: int) -> None:
    """Two flipped bits in the memory of the window: the one control the reference has no counterpart of."""
    shadow = await armed(dut, pressure, other(LIMITS, reject_trip=reject_trip))
    await _lost_time_of_a_permit(shadow)
    card = shadow.card
    card.order(50, shadow.epoch, qty=QTY + 1)
    record = await card.verdict()
    assert (record["verdict"], record["control"], record["observed"]) == (Verdict.REJECT, Control.MEMORY_FAULT, 0)
    await card.cycles(8)
    raised = TripCause.MEMORY_FAULT | (TripCause.REJECTS if reject_trip else TripCause(0))
    assert await card.causes() == await card.read(Ocl.FIRST_CAUSE) == raised
    cross.hit(raised, "MEMORY_FAULT", pressure)


@cocotb.test()
@cocotb.parametrize(number=[0, 1], pressure=list(Pressure))
async def gate_that_differs_from_its_second_lets_nothing_pass(dut: Any, number: int, pressure: Pressure) -> None:
    """In one of the two the position is at its limit, and well coded: that one refuses, the other permits."""
    shadow = await armed(dut, pressure)
    memory = inside(gates(shadow.card)[number], "store").memory
    assert int(memory[SYMBOL].value) & (1 << CODE_BITS) - 1 == 0
    memory[SYMBOL].value = int(memory[SYMBOL].value) | code_of(ROWS[SYMBOL].max_position_qty)
    shadow.card.order(50, shadow.epoch)
    assert (await shadow.card.verdict())["verdict"] == Verdict.REJECT
    await shadow.card.until(lambda: shadow.card.tripped, "the trip")
    assert await shadow.card.read(Ocl.FIRST_CAUSE) == TripCause.ILLEGAL_STATE


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure))
async def limits_are_met_to_the_unit(dut: Any, pressure: Pressure) -> None:
    shadow = await armed(dut, pressure)
    shadow.order(1, qty=750 * E8, price=PRICE)
    shadow.order(2, symbol=NARROW, qty=50 * E8)
    shadow.order(3, qty=E8, price=(PRICE + 1) * 105 // 100)
    shadow.order(4, qty=E8, price=-(-(PRICE - 1) * 95 // 100), side=Side.SELL)
    records = await shadow.check()
    assert [record["verdict"] for record in records] == [Verdict.PERMIT] * 4
    assert await shadow.card.read(Ocl.PERMITS) == 4


@cocotb.test()
async def books_follow_orders_fills_and_releases(dut: Any) -> None:
    shadow = await armed(dut, Pressure.RANDOM)
    side = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE}
    for round_ in range(6):
        shadow.order(10 * round_ + 1, qty=700 * E8 + round_)
        shadow.event(ExposureEvent.FILL, **side, qty=300 * E8)
        shadow.event(ExposureEvent.RELEASE, **side, qty=400 * E8 + round_)
        shadow.order(10 * round_ + 2, side=Side.SELL, qty=300 * E8, flags=OrderBeatFlag.REDUCE_ONLY)
        shadow.event(ExposureEvent.FILL, symbol=SYMBOL, side=Side.SELL, price=PRICE, qty=300 * E8)
        records = await shadow.check()
        assert [record["verdict"] for record in records] == [Verdict.PERMIT] * 2
        await shadow.pass_time(4)
        shadow.heartbeat()
        shadow.equity()
        shadow.reference()
    assert shadow.model.gross == 0


class Chance:
    """Random beats around the limits: mostly good, now and then a field astray."""

    def __init__(self, random: Random, shadow: Shadow) -> None:
        self._random, self._shadow = random, shadow
        self.key = 1

    def _amount(self, usual: int) -> int:
        odd = (0, -1, 1, AMOUNT_MAX, AMOUNT_MAX + 1, (1 << 63) - 1, -(1 << 63))
        return self._random.choice(odd) if self._random.random() < 0.02 else usual

    def send(self) -> None:
        random, shadow = self._random, self._shadow
        symbol = random.choice([SYMBOL] * 4 + [NARROW, ALSO, ALSO, UNQUOTED, HALTED, UNSET])
        price = PRICE + random.choice([-1, 1]) * random.choice([0, 1, PRICE // 100, PRICE // 20, PRICE // 20 + 1, PRICE // 10])
        side = random.choice([Side.BUY, Side.SELL] * 20 + [0, 3])
        qty = random.choice([1, QTY, 20 * E8, 50 * E8, 50 * E8 + 1, 300 * E8, 700 * E8, 760 * E8, 1_000 * E8 + 1])
        match random.choices(("order", "event", "reference", "equity", "heartbeat"), (55, 22, 15, 4, 4))[0]:
            case "order":
                if random.random() < 0.95:
                    self.key += random.randint(1, 2)
                shadow.order(
                    self.key,
                    symbol=symbol,
                    side=side,
                    price=self._amount(price),
                    qty=self._amount(qty),
                    flags=random.choice([0] * 12 + [1, 1, 2]),
                    arm_epoch=shadow.epoch - (random.random() < 0.02),
                    limits_version=LIMITS.version + (random.random() < 0.02),
                )
            case "event":
                event = random.choice([*ExposureEvent] * 12 + [0, 4])
                signed = -qty if event == ExposureEvent.ADJUST and random.random() < 0.5 else qty
                shadow.event(event, symbol=symbol, side=side, price=self._amount(PRICE), qty=self._amount(signed))
            case "reference":
                bid = PRICE + random.choice([-1, 0, 1, PRICE // 50])
                ask = bid + random.choice([1, 1, 2, PRICE // 100, 0, -1])
                shadow.reference(self._amount(bid), self._amount(ask), symbol=symbol)
            case "equity":
                equity = random.choice(
                    [EQUITY, EQUITY, EQUITY - 4_999 * E8, EQUITY - 5_000 * E8, EQUITY * 81 // 100, EQUITY * 8 // 10]
                )
                shadow.equity(equity, random.choice([EQUITY, equity, equity + 1]))
            case _:
                shadow.heartbeat()


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure), reject_trip=[0, 12])
async def random_beats_are_judged_as_by_the_reference(dut: Any, pressure: Pressure, reject_trip: int) -> None:
    shadow = await armed(dut, pressure, other(LIMITS, reject_trip=reject_trip))
    random = random_of(f"gate {pressure.name} {reject_trip}")
    chance, armings = Chance(random, shadow), 0
    for _ in range(30 if pressure is Pressure.HEAVY else 150):
        for _ in range(random.randint(1, 12)):
            chance.send()
        await shadow.check()
        if random.random() < 0.5:
            await shadow.pass_time(random.choice([1, 1, 2, 4]))
        if shadow.tripped and random.random() < 0.8:
            shadow.heartbeat()
            shadow.equity()
            shadow.reference()
            shadow.reference(symbol=ALSO)
            await shadow.check()
            if not await shadow.card.standing():
                await shadow.arm()
                armings += 1
                chance.key = random.randint(1, 5)
    assert armings > 2
    assert await shadow.card.read(Ocl.FAULTS_TORN) == 0
    assert await shadow.card.read(Ocl.PERMITS) + await shadow.card.read(Ocl.REJECTS) == shadow.answers
