"""Every cause of a trip, end to end: raised, seen in registers and records, in the way of arming, and overcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import cocotb
import numpy as np

from sentinel.host.cards.registers import BeatFault, ModelStatus, Ocl, Sda, TripCause
from sentinel.units import E8
from sentinel.wire import (
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    CardState,
    Control,
    ExposureEvent,
    Kind,
    PermitFlag,
    Side,
    Verdict,
)
from tests.cocotb import cross
from tests.cocotb.card import (
    EQUITY,
    LIMITS,
    MAX_POSITION,
    MAX_QTY,
    PRICE,
    QTY,
    SYMBOL,
    Card,
    core_of,
    gates,
    inside,
    next_answer,
    other,
    random_of,
)
from tests.cocotb.cases_model import load
from tests.cocotb.forests import random_model
from tests.cocotb.pressure import Pressure

Step = Callable[[Card], Awaitable[None]]
#: Of the gate's memory: 72 bits a word of 64, the symbol's largest quantity in the eleventh.
CODE_BITS, WORD_OF_LIMITS = 72, 11
TRIPPABLE = other(LIMITS, permits_per_window=4, max_gross_notional=4_000 * E8 * E8, reject_trip=3)


async def nothing(card: Card) -> None:
    """The cause was a pulse."""


async def _ocl(card: Card) -> None:
    await card.write(Ocl.KILL, 0)


async def _sda(card: Card) -> None:
    assert await card.put(card.sda, Sda.KILL, 1) == 0


async def _switch(card: Card) -> None:
    card.dut.vdip.value = 1


async def _switch_back(card: Card) -> None:
    card.dut.vdip.value = 0
    await card.cycles(8)


async def _wrong_answer(card: Card) -> None:
    await card.write(Ocl.WATCHDOG_ANSWER, 1)


async def _right_answer(card: Card) -> None:
    await next_challenge(card)
    await card.answer_watchdog()


async def next_challenge(card: Card) -> None:
    """Let the rest of a period pass, with the host alive."""
    statuses = card.ring.records[Kind.CARD_STATUS]
    before = statuses[-1]["challenge"]
    for _ in range(10):
        await card.pass_time(card.limits.watchdog_period // 10)
        await card.feed()
        if statuses[-1]["challenge"] != before:
            break
    await card.until(lambda: statuses[-1]["challenge"] != before, "another challenge")


async def _silence(card: Card) -> None:
    await card.pass_time(LIMITS.heartbeat_max_age + 1)


async def _alive(card: Card) -> None:
    card.heartbeat()
    await card.settled()


async def _old_equity(card: Card) -> None:
    await card.pass_time(LIMITS.equity_max_age // 2 + 1)
    card.heartbeat()
    await card.settled()
    await card.pass_time(LIMITS.equity_max_age // 2 + 1)


async def _four_and_one(card: Card) -> None:
    for key in range(1, 6):
        card.order(key, 1, qty=key)


async def _room_again(card: Card) -> None:
    for _ in range(6):
        await card.pass_time(TRIPPABLE.window // 6 + 1)
        card.heartbeat()
        card.equity()
    await card.settled()


async def _too_much(card: Card) -> None:
    for key in range(1, 4):
        card.order(key, 1, qty=(700 + key) * E8)


async def _release_two(card: Card) -> None:
    for key in range(1, 3):
        fields = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE, "qty": (700 + key) * E8}
        card.send(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=ExposureEvent.RELEASE, **fields)
    await card.settled()


async def _fall(card: Card) -> None:
    card.equity(EQUITY * 8 // 10, EQUITY * 8 // 10)


async def _lose(card: Card) -> None:
    card.equity(EQUITY, EQUITY + 5_000 * E8)


async def _good_equity(card: Card) -> None:
    card.equity()
    await card.settled()


async def _three_bad(card: Card) -> None:
    for key in range(1, 4):
        card.order(key, 1, symbol=SYMBOL + 1)


async def _flip_row(card: Card) -> None:
    for gate in gates(card):
        word = inside(gate, "store").memory[SYMBOL]
        word.value = int(word.value) ^ 0b11 << WORD_OF_LIMITS * CODE_BITS
    card.reference()


async def _write_row(card: Card) -> None:
    await card.set_symbol(SYMBOL, MAX_QTY, MAX_POSITION)


async def _flip_limits(card: Card) -> None:
    shadow = inside(core_of(card.dut), "limits").shadow_active_limits_version
    shadow.value = int(shadow.value) ^ 1


async def _commit(card: Card) -> None:
    await card.set_limits(card.limits)


async def _release_nothing(card: Card) -> None:
    fields = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE, "qty": 1}
    card.send(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=ExposureEvent.RELEASE, **fields)


async def _refuse_record(card: Card) -> None:
    card.ring.refuse = True
    card.vector(np.zeros(13, np.float32))
    await card.until(lambda: card.tripped, "the trip")
    await card.write(Ocl.PCIM_ENABLE, 0)
    await card.cycles(600)
    # What of the ring's records was refused is unknown here; whoever enables it anew counts anew.
    card.ring.refuse = False
    card.ring.restart()


async def _enable(card: Card) -> None:
    await card.write(Ocl.PCIM_ENABLE, 1)


async def _stray_key(card: Card) -> None:
    await card.write(Ocl.ARM_KEY, 0x1234)


async def _upset_latch(card: Card) -> None:
    core_of(card.dut).kill.tripped_0.value = 1


async def _upset_model(card: Card) -> None:
    card.next_model = random_model(random_of("model"), 1)  # type: ignore[attr-defined]
    await load(card, card.next_model)  # type: ignore[attr-defined]
    leaves = core_of(card.dut).decider.forest.engine_0.leaves
    for i in range(len(leaves)):
        leaves[i].value = int(leaves[i].value) ^ 1
    card.vector(np.zeros(13, np.float32))


async def _load_anew(card: Card) -> None:
    assert await card.read(Ocl.MODEL_STATUS) & ModelStatus.ERROR_PARITY
    await load(card, card.next_model)  # type: ignore[attr-defined]


async def _clock_back(card: Card) -> None:
    await card.pass_time(-1000)


def bad_beat(**fields: Any) -> Step:
    """A heartbeat with something wrong."""

    async def send(card: Card) -> None:
        layout = {BeatKind.ORDER_EVENT: ORDER_EVENT_BEAT, BeatKind.REFERENCE_PRICE: REFERENCE_BEAT, BeatKind.ORDER: ORDER_BEAT}
        given = {name: value(card) if callable(value) else value for name, value in fields.items()}
        kind = given.pop("kind", BeatKind.HEARTBEAT)
        card.store(card.beat(layout.get(kind, HEARTBEAT_BEAT), kind, **given))

    return send


BAD_BEATS: dict[str, tuple[BeatFault, Step]] = {
    "torn": (BeatFault.TORN, bad_beat(check=0x12345678)),
    "torn, first and last equal": (BeatFault.TORN, bad_beat(check=lambda card: card.next_seq)),
    "replayed": (BeatFault.REPLAY, bad_beat(seq=0)),
    "just replayed": (BeatFault.REPLAY, bad_beat(seq=lambda card: card.next_seq - 1)),
    "half the numbers back": (BeatFault.REPLAY, bad_beat(seq=lambda card: card.next_seq + (1 << 31))),
    "skipped one": (BeatFault.SKIP, bad_beat(seq=lambda card: card.next_seq + 1)),
    "skipped as many as can be": (BeatFault.SKIP, bad_beat(seq=lambda card: card.next_seq + (1 << 31) - 1)),
    "kind 0": (BeatFault.KIND, bad_beat(kind=0)),
    "kind 7": (BeatFault.KIND, bad_beat(kind=7)),
    "kind 255": (BeatFault.KIND, bad_beat(kind=255)),
    "symbol of an order": (BeatFault.SYMBOL, bad_beat(kind=BeatKind.ORDER, symbol=1024)),
    "symbol of a vector": (BeatFault.SYMBOL, bad_beat(kind=BeatKind.VECTOR, symbol=0xFFFF)),
    "symbol of a quote": (BeatFault.SYMBOL, bad_beat(kind=BeatKind.REFERENCE_PRICE, symbol=1 << 15)),
    "symbol of an event": (BeatFault.SYMBOL, bad_beat(kind=BeatKind.ORDER_EVENT, symbol=1025)),
    "part of a heartbeat": (BeatFault.PART, bad_beat(part=1)),
    "part 2 of a vector": (BeatFault.PART, bad_beat(kind=BeatKind.VECTOR, part=2)),
    "second part without the first": (BeatFault.PART, bad_beat(kind=BeatKind.VECTOR, part=1)),
    "event": (BeatFault.FIELDS, bad_beat(kind=BeatKind.ORDER_EVENT, symbol=SYMBOL, event=4, side=1, price=1, qty=1)),
    "side": (BeatFault.FIELDS, bad_beat(kind=BeatKind.ORDER_EVENT, symbol=SYMBOL, event=1, side=3, price=1, qty=1)),
    "price": (BeatFault.FIELDS, bad_beat(kind=BeatKind.ORDER_EVENT, symbol=SYMBOL, event=1, side=1, price=0, qty=1)),
    "quantity": (BeatFault.FIELDS, bad_beat(kind=BeatKind.ORDER_EVENT, symbol=SYMBOL, event=2, side=1, price=1, qty=1 << 61)),
    "bid": (BeatFault.FIELDS, bad_beat(kind=BeatKind.REFERENCE_PRICE, symbol=SYMBOL, bid=1 << 61, ask=1)),
}

#: What raises a cause on an armed card, and what makes arming possible again.
CAUSES: dict[TripCause, tuple[Step, Step]] = {
    TripCause.SOFTWARE_OCL: (_ocl, nothing),
    TripCause.SOFTWARE_SDA: (_sda, nothing),
    TripCause.VDIP: (_switch, _switch_back),
    TripCause.WATCHDOG: (_wrong_answer, _right_answer),
    TripCause.HEARTBEAT: (_silence, _alive),
    TripCause.PERMIT_RATE: (_four_and_one, _room_again),
    TripCause.GROSS_EXPOSURE: (_too_much, _release_two),
    TripCause.DRAWDOWN: (_fall, _good_equity),
    TripCause.DAILY_LOSS: (_lose, _good_equity),
    TripCause.STALE_EQUITY: (_old_equity, _good_equity),
    TripCause.MEMORY_FAULT: (_flip_row, _write_row),
    TripCause.LIMIT_FAULT: (_flip_limits, _commit),
    TripCause.BEAT_FAULT: (bad_beat(check=99), nothing),
    TripCause.REJECTS: (_three_bad, nothing),
    TripCause.PCIM_FAULT: (_refuse_record, _enable),
    TripCause.EXPOSURE_FAULT: (_release_nothing, nothing),
    TripCause.WRONG_KEY: (_stray_key, nothing),
    TripCause.ILLEGAL_STATE: (_upset_latch, nothing),
    TripCause.MODEL_FAULT: (_upset_model, _load_anew),
    TripCause.CLOCK: (_clock_back, nothing),
}
#: Those that stand until they are removed.
STANDING = (
    TripCause.VDIP
    | TripCause.WATCHDOG
    | TripCause.HEARTBEAT
    | TripCause.PERMIT_RATE
    | TripCause.DRAWDOWN
    | TripCause.DAILY_LOSS
    | TripCause.STALE_EQUITY
    | TripCause.LIMIT_FAULT
    | TripCause.PCIM_FAULT
)


async def trip(card: Card, raise_: Step) -> None:
    statuses = card.ring.records[Kind.CARD_STATUS]
    await raise_(card)
    await card.until(lambda: card.tripped, "the trip")
    await card.settled()
    if not await card.standing() & TripCause.PCIM_FAULT:
        await card.until(lambda: statuses[-1]["arm_epoch"] > 1, "the heartbeat of the trip")


async def check_refused(card: Card, cause: TripCause) -> None:
    """An order after the trip is refused, and its record says why."""
    del card.ring.records[Kind.PERMIT][:]
    card.order(1000, await card.read(Ocl.ARM_EPOCH))
    record = await card.verdict()
    assert (record["verdict"], record["control"], record["flags"]) == (Verdict.REJECT, Control.KILLED, 0)
    assert record["observed"] & cause, f"{TripCause(int(record['observed']))!r}"
    cross.hit(TripCause(int(record["observed"])), "KILLED", card.pressure)


@cocotb.test()
async def row_that_can_not_be_read_is_not_written_back(dut: Any) -> None:
    """Whatever is told of the symbol: with a new code its words would look sound, and the books would be wrong for good."""
    card = await Card.armed(dut)
    memories = [inside(gate, "store").memory[SYMBOL] for gate in gates(card)]
    for word in memories:
        word.value = int(word.value) ^ 0b11  # of the position
    await card.cycles(2)
    spoilt = [int(word.value) for word in memories]
    fields = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE, "qty": QTY}
    for event in (ExposureEvent.ADJUST, ExposureEvent.RELEASE, ExposureEvent.FILL):
        card.send(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=event, **fields)
    card.reference()
    await card.settled()
    assert [int(word.value) for word in memories] == spoilt
    assert await card.causes() & TripCause.MEMORY_FAULT
    # Arming is not refused, but the first order of the symbol trips anew before its verdict.
    epoch = await card.arm(feed=False)
    card.order(77, epoch)
    record = await card.verdict()
    assert (record["verdict"], record["control"]) == (Verdict.REJECT, Control.KILLED)
    assert await card.causes() & TripCause.MEMORY_FAULT


@cocotb.test()
@cocotb.parametrize(cause=list(CAUSES), pressure=list(Pressure))
async def every_cause_trips_and_stands_in_the_way(dut: Any, cause: TripCause, pressure: Pressure) -> None:
    card = await Card.armed(dut, pressure, TRIPPABLE)
    raise_, remove = CAUSES[cause]
    assert not int(core_of(dut).irq.value)
    before = card.now
    await trip(card, raise_)
    assert await card.read(Ocl.FIRST_CAUSE) == cause
    assert await card.causes() & cause
    assert TripCause(await card.read_sda(Sda.TRIP_CAUSES)) & cause
    assert await card.read(Ocl.ARM_EPOCH) == 2
    # The clock may have gone back.
    assert before - 2000 <= await card.read_wide("FIRST_TIME") <= card.now + 1000
    assert int(core_of(dut).irq.value)
    assert int(dut.vled.value) & 3 == 1
    if cause is not TripCause.PCIM_FAULT:
        status = card.ring.records[Kind.CARD_STATUS][-1]
        said = (status["state"], status["first_cause"], status["arm_epoch"])
        assert said == (CardState.TRIPPED, cause, 2), said
        assert status["causes"] & cause
    standing = await card.standing()
    assert standing == (cause if cause & STANDING else 0), f"{standing!r}"
    if standing:
        await card.press_keys()
        assert card.tripped, "armed in spite of it"
        assert await card.standing() & cause
        # A key while a cause stands is no attempt: it does not count as wrong.
        assert not await card.causes() & TripCause.WRONG_KEY
    if cause is TripCause.PCIM_FAULT:
        await remove(card)
        await check_refused(card, cause)
    else:
        await check_refused(card, cause)
        await remove(card)
    await card.write(Ocl.IRQ_ACK, 0)
    await card.cycles(4)
    assert not int(core_of(dut).irq.value)
    assert await card.arm() == 2
    assert await card.causes() == 0
    card.order(1, 2)
    assert (await card.verdict())["verdict"] == Verdict.PERMIT


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure))
async def card_starts_tripped_and_clears_its_memories_first(dut: Any, pressure: Pressure) -> None:
    card = await Card.out_of_reset(dut, pressure)
    assert card.tripped
    assert await card.standing() & TripCause.CLEARING
    # Waits until the gate has cleared.
    card.order(1, 1)
    await card.start()
    # The ring may have come after the verdict.
    await card.settled()
    assert await card.read(Ocl.REJECTS) == 1
    await check_refused(card, TripCause.POWER_ON | TripCause.CLEARING)
    assert await card.read(Ocl.FIRST_CAUSE) == TripCause.POWER_ON
    assert not int(core_of(dut).irq.value)
    assert await card.read(Ocl.ARM_EPOCH) == 1
    assert not await card.standing() & TripCause.CLEARING


@cocotb.test()
@cocotb.parametrize(what=list(BAD_BEATS), pressure=list(Pressure))
async def bad_beat_trips_and_permits_nothing(dut: Any, what: str, pressure: Pressure) -> None:
    card = await Card.armed(dut, pressure, TRIPPABLE)
    fault, send = BAD_BEATS[what]
    before = {name: await card.read(Ocl[f"FAULTS_{name.name}"]) for name in BeatFault}
    await trip(card, send)
    assert await card.read(Ocl.BEAT_FAULTS) == fault, what
    assert await card.read(Ocl.FIRST_CAUSE) == TripCause.BEAT_FAULT
    for name in BeatFault:
        assert await card.read(Ocl[f"FAULTS_{name.name}"]) == before[name] + (name is fault), f"{what}: {name}"
    assert not card.ring.records[Kind.PERMIT]
    assert not card.ring.records[Kind.DECISION]
    # Sticky until written with ones, and no obstacle to arming.
    await card.write(Ocl.BEAT_FAULTS, ~int(fault) & 0x7F)
    assert await card.read(Ocl.BEAT_FAULTS) == fault
    await card.write(Ocl.BEAT_FAULTS, int(fault))
    assert await card.read(Ocl.BEAT_FAULTS) == 0
    await card.write(Ocl.BEAT_SEQ, 0x8000_0000)
    card.next_seq = 0x8000_0000
    await card.arm()
    card.order(1, 2)
    assert (await card.verdict())["verdict"] == Verdict.PERMIT
    assert await card.read(Ocl.BEAT_FAULTS) == 0


@cocotb.test()
async def numbers_of_beats_go_round(dut: Any) -> None:
    card = await Card.started(dut)
    card.next_seq = 0xFFFF_FFF0
    await card.write(Ocl.BEAT_SEQ, card.next_seq)
    sent = [card.vector(np.zeros(13, np.float32)) for _ in range(40)]
    assert [int(record["seq"]) for record in await card.take(Kind.DECISION, 40)] == sent
    assert sent[-1] == 0x17
    assert await card.read(Ocl.BEAT_FAULTS) == 0


SUDDEN: dict[TripCause, Step] = {TripCause[name]: CAUSES[TripCause[name]][0] for name in cross.SUDDEN}


@cocotb.test()
@cocotb.parametrize(cause=list(SUDDEN), pressure=list(Pressure))
async def permit_on_its_way_is_stopped_and_can_be_released(dut: Any, cause: TripCause, pressure: Pressure) -> None:
    """The switch closes at every distance from a verdict: before it nothing passes, on the bus it is gone, between it stops."""
    limits = other(LIMITS, window=1000, duplicate_window=0)
    card = await Card.armed(dut, pressure, limits)
    random, found = random_of(f"stop {cause.name}"), set()
    for attempt in range(150):
        epoch = attempt + 1
        keys = range(1, 6)
        for key in keys:
            card.order(key, epoch, qty=QTY + key)
        await card.cycles(1 + (attempt % 30 if pressure is Pressure.IDLE else random.randrange(150)))
        await SUDDEN[cause](card)
        records = await card.take(Kind.PERMIT, len(keys))
        said = [(int(record["verdict"]), int(record["control"]), int(record["flags"])) for record in records]
        passed, stopped = (Verdict.PERMIT, 0, 0), (Verdict.REJECT, Control.KILLED, PermitFlag.COUNTED)
        refused = (Verdict.REJECT, Control.KILLED, 0)
        assert set(said) <= {passed, stopped, refused}, said
        # In order: what had left, what was stopped, what came too late.
        assert said == sorted(said, key=(passed, stopped, refused).index), said
        found |= set(said)
        if stopped in said:
            cross.hit(cause, cross.COUNTED, pressure)
        # The host releases what the gate has counted: that of permits and of stopped ones, and no more.
        for key, what in zip(keys, said, strict=True):
            if what != refused:
                fields = {"symbol": SYMBOL, "side": Side.BUY, "price": PRICE, "qty": QTY + key}
                card.send(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=ExposureEvent.RELEASE, **fields)
        await card.settled()
        assert not await card.causes() & TripCause.EXPOSURE_FAULT
        if found == {passed, stopped, refused}:
            break
        await CAUSES[cause][1](card)
        await card.arm()
    assert stopped in found, "no permit was ever on its way"
    await _release_nothing(card)
    await card.settled()
    assert await card.causes() & TripCause.EXPOSURE_FAULT


@cocotb.test()
async def right_answer_is_wanted_once_and_in_its_time(dut: Any) -> None:
    """Wrong, early, late, missing, and a second one: each stands as WATCHDOG until a later challenge is answered."""
    early = other(TRIPPABLE, watchdog_min=1_000_000)
    card = await Card.started(dut)
    await card.configure(early)
    statuses = card.ring.records[Kind.CARD_STATUS]

    async def answered_well() -> None:
        await next_challenge(card)
        await card.pass_time(early.watchdog_min)
        await card.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])))
        await card.feed()
        assert not await card.standing()
        await card.arm(feed=False)

    async def trips() -> None:
        await card.cycles(8)
        assert card.tripped
        assert await card.read(Ocl.FIRST_CAUSE) == TripCause.WATCHDOG
        assert await card.standing() == TripCause.WATCHDOG

    await answered_well()
    await card.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])))  # the second
    await trips()
    await answered_well()
    await next_challenge(card)
    await card.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])))  # early
    await trips()
    await answered_well()
    await next_challenge(card)
    await card.pass_time(early.watchdog_min)
    await card.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])) ^ 1 << 31)  # wrong
    await trips()
    await answered_well()
    await next_challenge(card)
    for _ in range(4):  # missing
        assert not card.tripped
        await card.pass_time(early.watchdog_max // 4)
        await card.feed()
    await trips()
    await card.write(Ocl.WATCHDOG_ANSWER, next_answer(int(statuses[-1]["challenge"])))  # late
    await card.cycles(8)
    assert await card.standing() == TripCause.WATCHDOG
    await answered_well()
