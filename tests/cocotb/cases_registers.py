"""Both register windows against the RDL: resets, access, strobes, reserved bits, locks, holes, and an answer for everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cocotb
from sentinel_hdl.register_map import ALL_ONES, Register, RegisterMap, Source, load

from sentinel.host.cards.registers import Ocl, Sda, Status, TripCause
from tests.cocotb.card import LIMITS, OKAY, SLVERR, Card, random_of
from tests.cocotb.lite import FULL_STROBE, BareCard
from tests.cocotb.pressure import Pressure, apply

WINDOWS = ("ocl", "sda")
STORED = (Source.SOFTWARE, Source.CONSTANT, Source.BAD_WRITES, Source.STICKY)
#: What hardware says once memories are clear; what is not named is 0.
AFTER_RESET = {
    "STATUS": Status.TRIPPED,
    "ARM_EPOCH": 1,
    "TRIP_CAUSES": TripCause.POWER_ON
    | TripCause.WATCHDOG
    | TripCause.HEARTBEAT
    | TripCause.STALE_EQUITY
    | TripCause.LIMIT_FAULT
    | TripCause.PCIM_FAULT
    | TripCause.CLEARING,
    "FIRST_CAUSE": TripCause.POWER_ON,
    "STANDING": TripCause.WATCHDOG | TripCause.HEARTBEAT | TripCause.STALE_EQUITY | TripCause.LIMIT_FAULT | TripCause.PCIM_FAULT,
}
#: Random, or running on.
UNKNOWN_AFTER_RESET = ("NOW_LO", "NOW_HI", "ARM_NONCE")
#: A write of these does something besides being kept.
ACTS = ("KILL", "BEAT_FAULTS")


def window(name: str) -> RegisterMap:
    return load()[f"sentinel_{name}"]


def stored(register: Register) -> bool:
    """What was written can be read back."""
    return register.name not in ACTS and any(f.source is Source.SOFTWARE and f.readable for f in register.fields)


def read_back(register: Register, value: int) -> int:
    """What a register shows after ``value`` was written."""
    return value & sum(f.mask for f in register.fields if f.source is Source.SOFTWARE and f.readable)


def holes(registers: RegisterMap) -> Iterator[int]:
    """Every word of the window and of one as large behind it that no register has."""
    used = {register.address for register in registers}
    return (address for address in range(0, 2 * (max(used) + 4), 4) if address not in used)


async def clear(dut: Any) -> BareCard:
    """A card whose memories are clear, before anything was written."""
    card = BareCard(dut)
    await card.reset()
    await card.until(lambda: not int(dut.vled.value) >> 4 & 1, "the end of clearing")
    return card


@cocotb.test()
@cocotb.parametrize(bus=WINDOWS)
async def every_register_has_its_reset_value(dut: Any, bus: str) -> None:
    card = await clear(dut)
    for register in window(bus):
        value, response = await card.look(getattr(card, bus), register.address)
        assert response == OKAY, register.name
        assert value != ALL_ONES, register.name
        assert value & ~register.read_mask == 0, f"{register.name} {value:#x}"
        if register.name not in UNKNOWN_AFTER_RESET:
            expected = register.reset | int(AFTER_RESET.get(register.name, 0))
            assert value == expected, f"{register.name}: {value:#x}, expected {expected:#x}"


@cocotb.test()
@cocotb.parametrize(bus=WINDOWS)
async def written_values_are_kept_and_reserved_bits_ignored(dut: Any, bus: str) -> None:
    card, random = await clear(dut), random_of(f"values {bus}")
    master, bad = getattr(card, bus), 0
    registers = [register for register in window(bus) if register.writable]
    kept: dict[str, int] = {}
    for value in (ALL_ONES, 0, 0x5555_5555, 0xAAAA_AAAA, None):
        random.shuffle(registers)
        for register in registers:
            word = random.getrandbits(32) if value is None else value
            assert await card.put(master, register.address, word) == OKAY, register.name
            bad += bool(word & ~register.write_mask & ALL_ONES)
            if stored(register):
                kept[register.name] = read_back(register, word)
        for register in registers:
            found, response = await card.look(master, register.address)
            assert response == OKAY
            assert found != ALL_ONES, register.name
            if register.name != "BEAT_FAULTS":
                assert found == kept.get(register.name, 0), f"{register.name}: {found:#x}"
    assert await card.look(master, window(bus)["BAD_WRITES"].address) == (bad, OKAY)


@cocotb.test()
@cocotb.parametrize(bus=WINDOWS)
async def register_that_is_only_read_ignores_writes(dut: Any, bus: str) -> None:
    card = await clear(dut)
    master, bad = getattr(card, bus), 0
    for register in window(bus):
        if register.writable:
            continue
        before, _ = await card.look(master, register.address)
        for word in (0, ALL_ONES):
            assert await card.put(master, register.address, word) == SLVERR, register.name
            bad += 1
        after, _ = await card.look(master, register.address)
        if register.name == "BAD_WRITES":
            assert after == before + 2
        elif register.name not in UNKNOWN_AFTER_RESET:
            assert after == before, register.name
    assert await card.look(master, window(bus)["BAD_WRITES"].address) == (bad, OKAY)


@cocotb.test()
async def write_of_less_than_a_word_is_refused(dut: Any) -> None:
    card = await clear(dut)
    bad = 0
    for register in window("ocl"):
        if not stored(register):
            continue
        assert await card.put(card.ocl, register.address, ALL_ONES) == OKAY
        bad += register.write_mask != ALL_ONES
        for strobe in range(FULL_STROBE):
            assert await card.ocl.write(register.address, 0, strobe) == SLVERR, f"{register.name} strobe {strobe:#x}"
            bad += 1
        assert await card.look(card.ocl, register.address) == (read_back(register, ALL_ONES), OKAY), register.name
    assert await card.look(card.ocl, Ocl.BAD_WRITES) == (bad, OKAY)


@cocotb.test()
@cocotb.parametrize(bus=WINDOWS)
async def address_without_a_register_is_answered(dut: Any, bus: str) -> None:
    card, random = await clear(dut), random_of("holes")
    master, bad = getattr(card, bus), 0
    far = [random.getrandbits(32) | 1 << random.randrange(12, 32) for _ in range(200)]
    aliases = [register.address | 1 << bit for register in window(bus) for bit in (10, 11, 12, 31)]
    for address in [*holes(window(bus)), *far, *aliases]:
        assert await card.look(master, address) == (0, SLVERR), f"{address:#x}"
        assert await card.put(master, address, random.getrandbits(32)) == SLVERR, f"{address:#x}"
        bad += 1
    assert await card.look(master, window(bus)["BAD_WRITES"].address) == (bad, OKAY)
    assert await card.look(master, window(bus)["MAGIC"].address) == (window(bus)["MAGIC"].reset, OKAY)


@cocotb.test()
async def two_lowest_address_bits_do_not_count(dut: Any) -> None:
    card = await clear(dut)
    for low in range(4):
        assert await card.put(card.ocl, Ocl.SCRATCH + low, 0x100 + low) == OKAY
        for other in range(4):
            assert await card.look(card.ocl, Ocl.SCRATCH + other) == (0x100 + low, OKAY)


@cocotb.test()
async def armed_card_keeps_what_is_written_only_while_tripped(dut: Any) -> None:
    card = await Card.armed(dut)
    bad = await card.read(Ocl.BAD_WRITES)
    locked = [register for register in window("ocl") if register.write_while_tripped]
    assert len(locked) > 30
    for register in locked:
        before, _ = await card.look(card.ocl, register.address)
        assert await card.put(card.ocl, register.address, ~before & register.write_mask) == SLVERR, register.name
        assert await card.look(card.ocl, register.address) == (before, OKAY), register.name
    assert await card.read(Ocl.BAD_WRITES) == bad + len(locked)
    assert not card.tripped
    card.order(1, 1)
    assert (await card.verdict())["limit"] == 0
    assert await card.read(Ocl.LIMIT_COLLAR_BPS) == LIMITS.collar_bps


@cocotb.test()
@cocotb.parametrize(bus=WINDOWS, strobe=[0, 1, 0b1010, FULL_STROBE])
async def kill_trips_whatever_is_written_to_it(dut: Any, bus: str, strobe: int) -> None:
    card = BareCard(dut)
    await card.reset()
    await card.start()
    await card.configure()
    await card.arm()
    assert await getattr(card, bus).write(Ocl.KILL if bus == "ocl" else Sda.KILL, 0, strobe) == OKAY
    assert card.tripped
    assert await card.read(Ocl.FIRST_CAUSE) == (TripCause.SOFTWARE_OCL if bus == "ocl" else TripCause.SOFTWARE_SDA)


@cocotb.test()
@cocotb.parametrize(pressure=[Pressure.RANDOM, Pressure.HEAVY])
async def random_accesses_on_both_windows_at_once(dut: Any, pressure: Pressure) -> None:
    """Reads and writes side by side with pauses on every channel: address before data, data before address, late answers."""
    card = await clear(dut)
    apply(pressure, dut.clk, [*card.ocl.channels, *card.sda.channels], random_of("lite"))
    runs = [cocotb.start_soon(_stream(card, bus, 1500 if pressure is Pressure.RANDOM else 60)) for bus in WINDOWS]
    for run in runs:
        await run
    # Reads of another register never wait for a write that is under way, and the other way round.
    reads = cocotb.start_soon(_only_reads(card))
    await _stream(card, "ocl", 200 if pressure is Pressure.RANDOM else 20, None)
    await reads


async def _only_reads(card: BareCard) -> None:
    for _ in range(50):
        assert await card.look(card.sda, Sda.MAGIC) == (window("sda")["MAGIC"].reset, OKAY)


async def _stream(card: BareCard, bus: str, count: int, seen: dict[str, int] | None = None) -> None:
    random, master = random_of(f"stream {bus} {count}"), getattr(card, bus)
    registers, empty = window(bus), list(holes(window(bus)))
    kept = {register.name: 0 for register in registers if stored(register)}
    bad_address = registers["BAD_WRITES"].address
    for name in kept:
        assert await card.put(master, registers[name].address, 0) == OKAY
    bad, _ = await card.look(master, bad_address)
    plain = [register for register in registers if stored(register) or not register.writable]
    for _ in range(count):
        register = random.choice(plain)
        word, strobe = random.getrandbits(32), random.choice([FULL_STROBE] * 3 + list(range(FULL_STROBE)))
        match random.randrange(5):
            case 0 | 1:
                value, response = await card.look(master, register.address)
                assert response == OKAY
                if register.name in kept:
                    assert value == kept[register.name], f"{register.name} {value:#x}"
                else:
                    assert value & ~register.read_mask == 0
            case 2 | 3:
                taken = register.name in kept and strobe == FULL_STROBE
                assert await master.write(register.address, word, strobe) == (OKAY if taken else SLVERR), register.name
                bad += not taken or bool(word & ~register.write_mask & ALL_ONES)
                if taken:
                    kept[register.name] = read_back(register, word)
            case _:
                address = random.choice(empty)
                assert await card.look(master, address) == (0, SLVERR)
                assert await master.write(address, word) == SLVERR
                bad += 1
    assert (await card.look(master, bad_address))[0] == bad
