"""The kill switch from outside: how fast it closes, that it needs nothing that hangs, and that only two keys open it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from cocotb.utils import get_sim_time

from sentinel.host.cards.limits import commit_crc
from sentinel.host.cards.registers import ARM_KEY_1, ARM_KEY_2, ARM_MAX_TICKS, ARM_MIN_TICKS, Ocl, Sda, Status, TripCause
from sentinel.wire import Control, Kind, Verdict
from tests.cocotb.card import ALL_ONES, LIMITS, SLVERR, Card, core_of, other, random_of
from tests.cocotb.cases_trips import CAUSES
from tests.cocotb.pressure import TICK_NS

#: A heartbeat may be as old as the second key may be late.
PATIENT = other(LIMITS, heartbeat_max_age=8 * ARM_MAX_TICKS, equity_max_age=8 * ARM_MAX_TICKS, watchdog_period=16 * ARM_MAX_TICKS)


def cycle_now() -> int:
    """Cycles since the simulation began."""
    return int(get_sim_time("ns")) // TICK_NS


async def handshake(dut: Any, bus: str) -> int:
    """The cycle in which both the address and the data of a write are through."""
    left = {"aw", "w"}
    while left:
        await RisingEdge(dut.clk)
        left -= {c for c in left if getattr(dut, f"{bus}_{c}valid").value and getattr(dut, f"{bus}_{c}ready").value}
    return cycle_now()


async def closes(dut: Any) -> int:
    """The first cycle at whose end the gate is closed: the cycle's own wires, looked at before its edge."""
    while True:
        await FallingEdge(dut.clk)
        if core_of(dut).kill.closed.value:
            # The falling edge lies within the cycle that the next rising edge ends.
            return cycle_now() + 1


@cocotb.test()
@cocotb.parametrize(bus=["ocl", "sda"])
async def write_to_kill_closes_the_gate_in_the_next_cycle(dut: Any, bus: str) -> None:
    card = await Card.armed(dut)
    accepted, closed = cocotb.start_soon(handshake(dut, bus)), cocotb.start_soon(closes(dut))
    assert await card.put(getattr(card, bus), Ocl.KILL if bus == "ocl" else Sda.KILL, 1) == 0
    assert await closed - await accepted == 1
    assert card.tripped


@cocotb.test()
async def operators_switch_closes_the_gate_in_three_cycles(dut: Any) -> None:
    """Two flip-flops and a register before them make it safe to come at any moment."""
    card = await Card.armed(dut)
    closed = cocotb.start_soon(closes(dut))
    start = cycle_now()
    dut.vdip.value = 1
    took = await closed - start
    assert took <= 4, took
    # Other bits are nobody's.
    dut.vdip.value = 0
    await card.arm()
    dut.vdip.value = 0xFFFE
    await card.cycles(20)
    assert not card.tripped


async def _by_watchdog(card: Card) -> None:
    # The host hangs, but for a thread that goes on sending heartbeats.
    for _ in range(12):
        await card.pass_time(LIMITS.watchdog_period // 8)
        card.heartbeat()
        card.equity()


KILLS: dict[str, Callable[[Card], Awaitable[None]]] = {
    "ocl": CAUSES[TripCause.SOFTWARE_OCL][0],
    "sda": CAUSES[TripCause.SOFTWARE_SDA][0],
    "vdip": CAUSES[TripCause.VDIP][0],
    "watchdog": _by_watchdog,
}


@cocotb.test()
@cocotb.parametrize(how=list(KILLS), stuck=["nothing", "pcim", "pcis", "both"])
async def kill_works_whatever_hangs(dut: Any, how: str, stuck: str) -> None:
    """Not taking a record, or holding data of a store back, keeps no kill from its work."""
    card = await Card.armed(dut)
    if stuck in ("pcim", "both"):
        for channel in card.ring.channels:
            channel.pause = True
        for key in range(1, 4):
            card.order(key, 1, qty=key)
    if stuck in ("pcis", "both") and how != "watchdog":
        card.stores.data.pause = True
        card.order(9, 1, qty=9)
    await KILLS[how](card)
    await card.cycles(40)
    assert card.tripped
    assert int(dut.vled.value) & 3 == 1
    # Behind a shell the second is the interrupt that was asked for.
    assert int(core_of(dut).irq.value)
    assert int(dut.irq.value)
    for channel in [*card.ring.channels, card.stores.data]:
        channel.pause = False
    await card.cycles(100)
    dut.vdip.value = 0
    if await card.standing() & TripCause.PCIM_FAULT:
        return
    card.order(100, 1, qty=100)
    await card.settled()
    await card.until(lambda: card.ring.records[Kind.PERMIT][-1]["client_key"] == 100, "the last verdict")
    permits = card.ring.records[Kind.PERMIT]
    assert (permits[-1]["verdict"], permits[-1]["control"]) == (Verdict.REJECT, Control.KILLED)


@cocotb.test()
async def keys_open_only_in_their_time_and_order(dut: Any) -> None:
    """The second key neither before 1 ms nor after 10 s, each with the nonce of the moment."""
    card = await Card.started(dut)
    await card.configure(PATIENT)
    await card.feed()
    await card.answer_watchdog()
    assert not await card.standing()
    for wait in (0, ARM_MIN_TICKS - 100, ARM_MAX_TICKS + 100):
        await card.press_keys(wait)
        assert card.tripped, wait
        # The right key at the wrong time is in vain, but no mistake.
        assert not await card.causes() & TripCause.WRONG_KEY
        await card.press_keys(ARM_MIN_TICKS + 10)
        assert not card.tripped
        await card.write(Ocl.KILL, 1)
    await card.press_keys(ARM_MAX_TICKS - 100)
    assert not card.tripped


@cocotb.test()
async def nonce_is_used_once(dut: Any) -> None:
    card = await Card.started(dut)
    await card.configure(PATIENT)
    await card.feed()
    await card.answer_watchdog()
    nonces = []
    for _ in range(4):
        nonces.append(await card.read(Ocl.ARM_NONCE))
        await card.press_keys()
        assert not card.tripped
        await card.write(Ocl.KILL, 1)
    assert len(set(nonces)) == 4
    # What opened the switch before opens it no more.
    await card.write(Ocl.ARM_KEY, ARM_KEY_1 ^ nonces[0])
    assert (await card.read(Ocl.STATUS)) >> 3 & 3 == 0
    await card.pass_time(ARM_MIN_TICKS + 1)
    await card.write(Ocl.ARM_KEY, ARM_KEY_2 ^ nonces[0] ^ ALL_ONES)
    await card.cycles(4)
    assert card.tripped


@cocotb.test()
async def first_key_alone_is_half_the_way(dut: Any) -> None:
    card = await Card.started(dut)
    await card.configure(PATIENT)
    await card.feed()
    await card.answer_watchdog()
    await card.write(Ocl.ARM_KEY, ARM_KEY_1 ^ await card.read(Ocl.ARM_NONCE))
    assert (await card.read(Ocl.STATUS)) >> 3 & 3 == 1
    assert card.tripped
    # A cause on the way ends it.
    await card.write(Ocl.KILL, 1)
    assert (await card.read(Ocl.STATUS)) >> 3 & 3 == 0
    assert card.tripped


@cocotb.test()
async def three_wrong_keys_lock_until_reset(dut: Any) -> None:
    card = await Card.started(dut)
    await card.configure(PATIENT)
    await card.feed()
    await card.answer_watchdog()
    random = random_of("keys")
    for attempt in range(3):
        assert not await card.read(Ocl.STATUS) & Status.LOCKED, attempt
        await card.write(Ocl.ARM_KEY, random.getrandbits(32))
    assert await card.read(Ocl.STATUS) & Status.LOCKED
    for _ in range(3):
        await card.press_keys()
        assert card.tripped
    assert await card.read(Ocl.STATUS) & Status.LOCKED
    await card.reset()
    card.ring.restart()
    card.next_seq = 0
    await card.start()
    assert not await card.read(Ocl.STATUS) & Status.LOCKED
    await card.configure()
    await card.arm()


@cocotb.test()
async def reset_of_an_armed_card_trips_and_forgets(dut: Any) -> None:
    card = await Card.armed(dut)
    card.order(1, 1)
    assert (await card.verdict())["verdict"] == Verdict.PERMIT
    card.ring.restart()
    await card.reset()
    assert card.tripped
    assert await card.read(Ocl.PERMITS) == 0
    assert await card.read(Ocl.TRIP_CAUSES) & TripCause.LIMIT_FAULT
    card.next_seq = 0
    await card.start()
    assert await card.put(card.ocl, Ocl.LIMIT_COLLAR_BPS, 1) == 0
    await card.press_keys()
    assert card.tripped


@cocotb.test()
async def refused_limits_keep_the_card_from_arming(dut: Any) -> None:
    """A wrong CRC, a limit out of range, and words changed while the commit is checked."""
    card = await Card.armed(dut)
    await card.write(Ocl.KILL, 1)
    await card.set_limits(LIMITS, crc_error=1)
    assert await card.read(Ocl.LIMITS_STATUS) & 0xF00 == 0x100
    assert await card.standing() == TripCause.LIMIT_FAULT
    await card.press_keys()
    assert card.tripped
    await card.set_limits(LIMITS)
    assert not await card.standing()
    await card.write(Ocl.LIMIT_COLLAR_BPS, 10_001)
    writes = [(register, word if register is not Ocl.LIMIT_COLLAR_BPS else 10_001) for register, word in LIMITS.writes()]
    await card.write(Ocl.LIMITS_COMMIT, commit_crc(writes))
    await card.cycles(60)
    assert await card.read(Ocl.LIMITS_STATUS) & 0xF00 == 0x200
    assert await card.standing() == TripCause.LIMIT_FAULT
    await card.set_limits(LIMITS)
    await card.write(Ocl.LIMITS_COMMIT, commit_crc(LIMITS.writes()))
    await card.write(Ocl.LIMIT_COLLAR_BPS, LIMITS.collar_bps)
    await card.cycles(60)
    assert await card.read(Ocl.LIMITS_STATUS) & 0xF00 == 0x400
    await card.set_limits(LIMITS)
    await card.arm()
    assert await card.put(card.ocl, Ocl.LIMITS_COMMIT, 0) == SLVERR
    assert not card.tripped
