"""Records into the host's ring: whole, numbered and in order under any back-pressure; and what a bus that fails leads to."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sentinel.host.cards.registers import Ocl, Status, TripCause
from sentinel.wire import Control, DecisionFlag, Kind, PermitFlag, Verdict
from tests.cocotb.card import OKAY, Card, random_of
from tests.cocotb.pressure import Pressure
from tests.cocotb.ring import RING_ADDRESS

FEATURES = np.zeros(13, np.float32)
#: Cycles after which a bus that owes something counts as stuck.
TIMEOUT = 1000
CHANNELS = ("address", "data", "answer")


async def mixed(card: Card, count: int, first_key: int = 1) -> tuple[list[int], list[int]]:
    """Orders and vectors in random order, as fast as the bus takes them; their client keys and numbers."""
    random, keys, numbers = random_of(f"mixed {card.pressure.name}"), list[int](), list[int]()
    for _ in range(count):
        if random.random() < 0.5:
            keys.append(first_key + len(keys))
            card.order(keys[-1], 1)
        else:
            numbers.append(card.vector(FEATURES))
        if random.random() < 0.2:
            await card.cycles(random.randint(1, 40))
    return keys, numbers


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure))
async def every_record_arrives_once_and_in_order(dut: Any, pressure: Pressure) -> None:
    """The ring checks place, number and CRC-32 of each; here their order and what they answer. It is gone round many times."""
    card = await Card.started(dut, pressure)
    keys, numbers = await mixed(card, 120 if pressure is Pressure.HEAVY else 600)
    permits = await card.take(Kind.PERMIT, len(keys), 200_000)
    decisions = await card.take(Kind.DECISION, len(numbers), 200_000)
    assert [permit["client_key"] for permit in permits] == keys
    assert [permit["seq"] for permit in permits] == list(range(1, len(keys) + 1))
    assert {(permit["verdict"], permit["control"], permit["flags"]) for permit in permits} == {
        (Verdict.REJECT, Control.KILLED, 0)
    }
    assert [decision["seq"] for decision in decisions] == numbers
    assert {decision["flags"] for decision in decisions} == {DecisionFlag.NO_MODEL}
    assert all(decision["cycle_out"] > decision["cycle_in"] for decision in decisions)
    nows = [int(permit["now"]) for permit in permits]
    assert nows == sorted(nows)
    assert not card.ring.records[Kind.PERMIT]
    assert not card.ring.records[Kind.DECISION]
    await card.cycles(400)
    assert await card.read(Ocl.PCIM_WRITES) == card.ring.next_number - 1
    assert (await card.read(Ocl.PCIM_STALLS) > 0) == (pressure is not Pressure.IDLE)
    assert not await card.standing() & TripCause.PCIM_FAULT


@cocotb.test()
@cocotb.parametrize(slots=[1, 2, 128, 1 << 16])
async def ring_of_any_size_and_place(dut: Any, slots: int) -> None:
    card = await Card.out_of_reset(dut)
    card.ring.slots, card.ring.address = slots, (1 << 62) - (1 << 22)
    await card.start()
    _, numbers = await mixed(card, 150)
    await card.take(Kind.DECISION, len(numbers))
    assert card.ring.memory.keys() == {card.ring.address + 64 * i for i in range(min(slots, card.ring.next_number - 1))}


@cocotb.test()
async def permits_go_before_decisions_and_these_before_heartbeats(dut: Any) -> None:
    card = await Card.armed(dut)
    await card.take(Kind.CARD_STATUS, len(card.ring.records[Kind.CARD_STATUS]))
    for channel in card.ring.channels:
        channel.pause = True
    del card.ring.order[:]
    # Fill what takes records, so that all three kinds wait behind it.
    for _ in range(8):
        card.vector(FEATURES)
    await card.cycles(200)
    card.order(1, 1)
    await card.write(Ocl.KILL, 1)
    await card.cycles(100)
    for channel in card.ring.channels:
        channel.pause = False
    await card.take(Kind.DECISION, 8)
    await card.take(Kind.CARD_STATUS)
    permit = card.ring.order.index(Kind.PERMIT)
    assert Kind.DECISION in card.ring.order[permit:], card.ring.order
    assert card.ring.order[-1] is Kind.CARD_STATUS, card.ring.order


def hold(card: Card, what: str, held: bool = True) -> None:
    """Stop one channel of the host's side of PCIM, or let it go."""
    card.ring.channels[CHANNELS.index(what)].pause = held


@cocotb.test()
@cocotb.parametrize(what=CHANNELS)
async def stall_below_the_time_out_loses_nothing(dut: Any, what: str) -> None:
    card = await Card.armed(dut)
    for first in range(3):
        hold(card, what)
        keys = [10 * first + 1, 10 * first + 2, 10 * first + 3]
        for key in keys:
            card.order(key, 1, qty=key)
        await card.cycles(TIMEOUT - 150)
        hold(card, what, False)
        permits = await card.take(Kind.PERMIT, 3)
        assert [(permit["client_key"], permit["verdict"]) for permit in permits] == [(key, Verdict.PERMIT) for key in keys]
    assert not card.tripped
    assert not await card.standing()


@cocotb.test()
@cocotb.parametrize(what=CHANNELS)
async def stall_beyond_the_time_out_trips_and_stalls_nobody(dut: Any, what: str) -> None:
    """PCIM_FAULT trips; what comes after is dropped, PCIS and OCL answer on; what was on the bus arrives whole and only once."""
    card = await Card.armed(dut)
    hold(card, what)
    for key in range(1, 6):
        card.order(key, 1, qty=key)
    await card.cycles(TIMEOUT + 300)
    assert card.tripped
    assert await card.read(Ocl.FIRST_CAUSE) == TripCause.PCIM_FAULT
    assert await card.standing() & TripCause.PCIM_FAULT
    assert not await card.read(Ocl.STATUS) & Status.PCIM_ENABLED
    # As many beats as could never be held anywhere.
    for _ in range(200):
        card.vector(FEATURES)
        card.heartbeat()
    await card.settled()
    assert await card.read(Ocl.DECISIONS) == 200
    assert not card.ring.records[Kind.DECISION]
    hold(card, what, False)
    await card.cycles(100)
    card.ring.check()
    # Each of the five is a permit that was on the bus, or was stopped on its way, or was dropped with the ring.
    permits = card.ring.records[Kind.PERMIT]
    keys = [int(permit["client_key"]) for permit in permits]
    assert keys == list(range(1, len(keys) + 1)), keys
    for permit in permits:
        stopped = (permit["verdict"], permit["control"], permit["flags"]) == (
            Verdict.REJECT,
            Control.KILLED,
            PermitFlag.COUNTED,
        )
        assert stopped or permit["verdict"] == Verdict.PERMIT, permit
    before = len(permits)
    # The fault stands until the ring is disabled; then numbers begin anew.
    card.vector(FEATURES)
    await card.cycles(200)
    assert not card.ring.records[Kind.DECISION]
    await card.write(Ocl.PCIM_ENABLE, 0)
    card.ring.restart()
    await card.write(Ocl.PCIM_ENABLE, 1)
    assert await card.read(Ocl.STATUS) & Status.PCIM_ENABLED
    seq = card.vector(FEATURES)
    assert (await card.take(Kind.DECISION))[0]["seq"] == seq
    assert len(card.ring.records[Kind.PERMIT]) == before
    card.ring.check()
    await card.arm()


@cocotb.test()
@cocotb.parametrize(what=["nothing", "base", "slots", "enable"])
async def ring_that_is_not_set_is_a_cause_and_holds_nobody_up(dut: Any, what: str) -> None:
    card = await Card.out_of_reset(dut)
    await card.until(lambda: not int(dut.vled.value) >> 4 & 1, "the end of clearing")
    if what != "nothing":
        await card.place_ring()
        if what == "base":
            await card.write_wide("PCIM_BASE", 0)
        else:
            await card.write(Ocl.PCIM_SLOTS if what == "slots" else Ocl.PCIM_ENABLE, 0)
    written = await card.read(Ocl.PCIM_WRITES)
    await card.configure()
    for _ in range(100):
        card.order(1, 1)
        card.vector(FEATURES)
    await card.feed()
    assert await card.read(Ocl.REJECTS) == 100
    assert await card.read(Ocl.DECISIONS) == 100
    assert await card.read(Ocl.PCIM_WRITES) == written
    assert not card.ring.order
    assert await card.standing() & TripCause.PCIM_FAULT
    await card.press_keys()
    assert card.tripped


@cocotb.test()
@cocotb.parametrize(pressure=[Pressure.IDLE, Pressure.RANDOM])
async def refused_write_trips_and_no_record_follows(dut: Any, pressure: Pressure) -> None:
    card = await Card.armed(dut, pressure)
    card.ring.refuse = True
    card.order(1, 1)
    await card.until(lambda: card.tripped, "the trip")
    assert await card.read(Ocl.FIRST_CAUSE) == TripCause.PCIM_FAULT
    # The challenge's and the trip's own heartbeat may be refused besides.
    assert await card.read(Ocl.PCIM_ERRORS) >= 1
    card.ring.refuse = False
    card.order(2, 2)
    card.vector(FEATURES)
    await card.settled()
    await card.cycles(300)
    assert not card.ring.records[Kind.PERMIT]
    assert not card.ring.records[Kind.DECISION]
    await card.write(Ocl.PCIM_ENABLE, 0)
    await card.cycles(200)
    card.ring.restart()
    await card.write(Ocl.PCIM_ENABLE, 1)
    await card.arm()
    card.order(3, 2)
    # The books count the first order, which the host never saw permitted.
    assert (await card.verdict())["client_key"] == 3


@cocotb.test()
async def bus_signals_hold_still_until_they_are_taken(dut: Any) -> None:
    """AXI: once valid, an address or data word stays as it is until ready; also while the switch closes."""
    card = await Card.armed(dut, Pressure.RANDOM)
    held: dict[str, tuple[int, ...]] = {}
    moves = {"aw": ("awaddr", "awlen", "awsize", "awid"), "w": ("wdata", "wstrb", "wlast")}

    async def watch() -> None:
        while True:
            await RisingEdge(dut.clk)
            for channel, names in moves.items():
                shown = tuple(int(getattr(dut, f"pcim_{name}").value) for name in names)
                valid, ready = (int(getattr(dut, f"pcim_{channel}{end}").value) for end in ("valid", "ready"))
                if channel in held:
                    assert valid, channel
                    assert shown == held[channel], channel
                    del held[channel]
                if valid and not ready:
                    held[channel] = shown

    watching = cocotb.start_soon(watch())
    for key in range(1, 40):
        card.order(key, 1, qty=key)
    await card.cycles(150)
    await card.write(Ocl.KILL, 1)
    permits = await card.take(Kind.PERMIT, 39)
    watching.cancel()
    verdicts = [int(permit["verdict"]) for permit in permits]
    # Never a permit after a refusal: the switch closes once.
    assert verdicts == sorted(verdicts)
    assert Verdict.PERMIT in verdicts
    assert Verdict.REJECT in verdicts
    assert (await card.look(card.ocl, Ocl.MAGIC))[1] == OKAY
    assert card.ring.address == RING_ADDRESS
