"""The AXI4-Lite register file: every register of the map, every order of channels, every refusal."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sentinel_hdl.register_file import RegisterFile
from sentinel_hdl.register_map import Register, RegisterMap, Source, load

from tests.hdl.axi_lite_master import OKAY, SLVERR, Master, simulate

MAPS = list(load().values())
ONES = 0xFFFF_FFFF
# Address first, data first, both at once; response taken at once and late.
ORDERS = [
    {"address_after": 0, "data_after": 0, "take_after": 0},
    {"address_after": 0, "data_after": 3, "take_after": 0},
    {"address_after": 3, "data_after": 0, "take_after": 0},
    {"address_after": 0, "data_after": 1, "take_after": 5},
    {"address_after": 1, "data_after": 0, "take_after": 5},
]
each_map = pytest.mark.parametrize("register_map", MAPS, ids=lambda m: m.name)


def unmapped(register_map: RegisterMap) -> list[int]:
    """Word addresses without a register: every hole below the end, the first after it, and far ones."""
    used = {r.address for r in register_map}
    end = max(used) + 4
    holes = [a for a in range(0, end, 4) if a not in used]
    high = [bit | r.address for r in (register_map["MAGIC"], register_map["KILL"]) for bit in (1 << b for b in range(12, 32))]
    return [*holes, end, 0xFFC, 0x1000, 0xFFFF_FFFC, *high]


def set_hardware(ctx: SimulatorContext, dut: RegisterFile, value_of: Any) -> None:
    """Every input field of the registers to ``value_of(register, field)``."""
    for r in dut.register_map:
        for f in r.fields:
            if f.source is Source.HARDWARE:
                ctx.set(getattr(dut, f"{r.member}_{f.name}"), value_of(r, f))


def set_tripped(ctx: SimulatorContext, dut: RegisterFile, tripped: int) -> None:
    """Nothing where the map locks no register."""
    if dut.locks:
        ctx.set(dut.tripped, tripped)


def outputs(ctx: SimulatorContext, dut: RegisterFile, register: Register) -> int:
    """What the cores see of a register of software, its fields in place."""
    return sum(
        ctx.get(getattr(dut, f"{register.member}_{f.name}")) << f.low for f in register.fields if f.source is Source.SOFTWARE
    )


def stored_mask(register: Register) -> int:
    """Bits that a core sees after the cycle of the write."""
    return sum(f.mask for f in register.fields if f.source is Source.SOFTWARE and not f.pulse)


@each_map
def test_every_register_reads_its_reset_value(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        for r in register_map:
            assert await master.read(r.address) == (r.reset, OKAY), r.name

    simulate(dut, bench)


@each_map
def test_hardware_fields_read_in_place_and_only_there(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        for seed in range(2):
            values = {
                (r.name, f.name): random.Random(f"{r.name}{f.name}{seed}").getrandbits(f.width)
                for r in register_map
                for f in r.fields
            }
            set_hardware(ctx, dut, lambda r, f, values=values: values[r.name, f.name])
            for r in register_map:
                expected = sum(
                    (values[r.name, f.name] if f.source is Source.HARDWARE else f.reset) << f.low for f in r.fields if f.readable
                )
                assert await master.read(r.address) == (expected, OKAY), r.name

    simulate(dut, bench)


@each_map
@pytest.mark.parametrize("order", ORDERS, ids=lambda o: "-".join(map(str, o.values())))
def test_a_write_changes_its_register_and_no_other(register_map: RegisterMap, order: dict[str, int]) -> None:
    dut = RegisterFile(register_map)
    writable = [r for r in register_map if r.writable]

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        set_tripped(ctx, dut, 1)
        seen = {r.name: 0 for r in writable}
        stored = {r.name: r.reset for r in register_map}
        outs = {r.name: outputs(ctx, dut, r) for r in writable}
        rng = random.Random(1)
        for r in rng.sample(writable, len(writable)):
            data = rng.getrandbits(32) & r.write_mask
            assert await master.write(r.address, data, **order) == OKAY, r.name
            seen[r.name] += 1
            if r.fields[0].source is not Source.STICKY:  # a sticky bit that is not set stays so
                stored[r.name] = data & r.read_mask
                outs[r.name] = data & stored_mask(r)
            for other in writable:
                assert outputs(ctx, dut, other) == outs[other.name], (r.name, other.name)
        for r in register_map:
            assert await master.read(r.address, take_after=order["take_after"]) == (stored[r.name], OKAY), r.name

    simulate(dut, bench)


@each_map
def test_strobe_comes_one_cycle_after_the_last_handshake_for_one_cycle(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)
    writable = [r for r in register_map if r.writable]

    async def bench(ctx: SimulatorContext) -> None:
        bus = dut.bus
        set_tripped(ctx, dut, 1)
        ctx.set(bus.bready, 1)
        for r in writable:
            for address_at, data_at in ((0, 0), (0, 2), (2, 0)):
                for cycle in range(3):
                    ctx.set(bus.awvalid, int(cycle == address_at))
                    ctx.set(bus.wvalid, int(cycle == data_at))
                    ctx.set(bus.awaddr, r.address)
                    ctx.set(bus.wdata, r.write_mask)
                    ctx.set(bus.wstrb, 0xF)
                    assert not ctx.get(bus.awvalid) or ctx.get(bus.awready)
                    assert not ctx.get(bus.wvalid) or ctx.get(bus.wready)
                    assert not any(ctx.get(getattr(dut, f"{o.member}_we")) for o in writable)
                    await ctx.tick()
                    if cycle == max(address_at, data_at):
                        break
                ctx.set(bus.awvalid, 0)
                ctx.set(bus.wvalid, 0)
                assert [o.name for o in writable if ctx.get(getattr(dut, f"{o.member}_we"))] == [r.name]
                assert outputs(ctx, dut, r) == sum(f.mask for f in r.fields if f.source is Source.SOFTWARE)
                await ctx.tick()
                assert not any(ctx.get(getattr(dut, f"{o.member}_we")) for o in writable)
                pulses = [f for f in r.fields if f.pulse]
                assert not any(ctx.get(getattr(dut, f"{r.member}_{f.name}")) for f in pulses)
                await ctx.tick().repeat(2)

    simulate(dut, bench)


@each_map
def test_reserved_bits_are_ignored_and_counted(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        set_tripped(ctx, dut, 1)
        bad = 0
        for r in register_map:
            reserved = ~r.write_mask & ONES
            if not r.writable or not reserved:
                continue
            for data in (reserved, reserved & -reserved, 1 << reserved.bit_length() - 1):
                assert await master.write(r.address, data) == OKAY, r.name
                bad += 1
                assert await master.read(register_map["BAD_WRITES"].address) == (bad, OKAY), r.name
                assert await master.read(r.address) == (0, OKAY), r.name
        assert bad > 0 or register_map.name == "sentinel_sda"

    simulate(dut, bench)


@each_map
def test_partial_strobes_are_refused_except_to_kill(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        set_tripped(ctx, dut, 1)
        bad = 0
        for r in register_map:
            if not r.writable:
                continue
            strobes = range(15) if r.kill_on_write or r.name == "SCRATCH" else (0, 1, 0b1110, 0b1011)
            before = outputs(ctx, dut, r)
            for strobe in strobes:
                response = await master.write(r.address, r.write_mask, strobe)
                assert response == (OKAY if r.kill_on_write else SLVERR), (r.name, strobe)
                if not r.kill_on_write:
                    bad += 1
                    assert outputs(ctx, dut, r) == before, r.name
        assert await master.read(register_map["BAD_WRITES"].address) == (bad, OKAY)

    simulate(dut, bench)


@each_map
def test_kill_strobes_on_any_write_even_while_armed(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)
    kill = register_map["KILL"]
    assert kill.kill_on_write
    count = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal count
        master = Master(ctx, dut.bus)
        set_tripped(ctx, dut, 0)
        rng = random.Random(3)
        for strobe in range(16):
            for offset in range(4):
                data = rng.choice([0, ONES, rng.getrandbits(32)])
                order = ORDERS[(strobe + offset) % len(ORDERS)]
                assert await master.write(kill.address + offset, data, strobe, **order) == OKAY
        assert count == 64
        assert await master.read(register_map["BAD_WRITES"].address) == (0, OKAY)

    async def watch(ctx: SimulatorContext) -> None:
        nonlocal count
        async for _, _, strobe in ctx.tick().sample(dut.kill_we):
            count += strobe

    simulate(dut, bench, watch=watch)


@each_map
def test_access_without_a_register_gets_slverr_and_changes_nothing(register_map: RegisterMap) -> None:
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        set_tripped(ctx, dut, 1)
        set_hardware(ctx, dut, lambda r, f: (1 << f.width) - 1)
        addresses = unmapped(register_map)
        read_only = [r.address for r in register_map if not r.writable]
        for i, address in enumerate(addresses):
            assert await master.read(address, take_after=i % 2) == (0, SLVERR), hex(address)
        for i, address in enumerate(addresses + read_only):
            assert await master.write(address, ONES, **ORDERS[i % len(ORDERS)]) == SLVERR, hex(address)
        bad = len(addresses) + len(read_only)
        assert await master.read(register_map["BAD_WRITES"].address) == (bad, OKAY)
        for r in register_map:
            if r.writable:
                assert outputs(ctx, dut, r) == 0

    simulate(dut, bench)


def test_locked_registers_are_refused_while_armed_and_open_again_when_tripped() -> None:
    register_map = load()["sentinel_ocl"]
    dut = RegisterFile(register_map)

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        refused = 0
        for r in register_map:
            if not r.writable:
                continue
            set_tripped(ctx, dut, 0)
            response = await master.write(r.address, r.write_mask)
            assert response == (SLVERR if r.write_while_tripped else OKAY), r.name
            assert outputs(ctx, dut, r) == (0 if r.write_while_tripped else stored_mask(r)), r.name
            refused += r.write_while_tripped
            set_tripped(ctx, dut, 1)
            assert await master.write(r.address, r.write_mask) == OKAY, r.name
            assert outputs(ctx, dut, r) == stored_mask(r), r.name
        assert refused >= len(register_map.staged_limits)
        assert await master.read(register_map["BAD_WRITES"].address) == (refused, OKAY)

    simulate(dut, bench)


def test_sticky_bits_stay_until_written_with_ones_and_setting_wins() -> None:
    register_map = load()["sentinel_ocl"]
    dut = RegisterFile(register_map)
    faults = register_map["BEAT_FAULTS"]

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        ctx.set(dut.beat_faults_faults, 0b0010110)
        await ctx.tick()
        ctx.set(dut.beat_faults_faults, 0)
        assert await master.read(faults.address) == (0b0010110, OKAY)
        assert await master.write(faults.address, 0b0000010) == OKAY
        assert await master.read(faults.address) == (0b0010100, OKAY)
        ctx.set(dut.beat_faults_faults, 0b0000100)
        assert await master.write(faults.address, 0b1111111) == OKAY
        ctx.set(dut.beat_faults_faults, 0)
        assert await master.read(faults.address) == (0b0000100, OKAY)

    simulate(dut, bench)


def test_write_and_read_at_once_are_both_answered() -> None:
    dut = RegisterFile(load()["sentinel_ocl"])
    scratch, magic = load()["sentinel_ocl"]["SCRATCH"], load()["sentinel_ocl"]["MAGIC"]

    async def writer(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        for i in range(40):
            assert await master.write(scratch.address, i, take_after=i % 3) == OKAY

    async def reader(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        last = 0
        for i in range(40):
            assert await master.read(magic.address, take_after=i % 4) == (magic.reset, OKAY)
            value, response = await master.read(scratch.address)
            assert response == OKAY
            assert value >= last
            last = value
        assert last > 0

    simulate(dut, writer, reader)


ACCESS = st.tuples(
    st.sampled_from(["read", "write"]),
    st.one_of(st.sampled_from([r.address for r in load()["sentinel_ocl"]]), st.integers(0, 0x400), st.integers(0, ONES)),
    st.one_of(st.just(ONES), st.integers(0, ONES)),
    st.one_of(st.just(0xF), st.integers(0, 0xF)),
    st.integers(0, 1),
    st.sampled_from(ORDERS),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(accesses=st.lists(ACCESS, min_size=20, max_size=60))
def test_any_sequence_of_accesses_reads_back_what_the_rules_say(accesses: list[Any]) -> None:
    register_map = load()["sentinel_ocl"]
    dut = RegisterFile(register_map)
    by_word = {r.address >> 2: r for r in register_map}

    async def bench(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut.bus)
        stored = {r.name: r.reset for r in register_map}
        for kind, address, data, strobe, tripped, order in accesses:
            r = by_word.get(address >> 2)
            ctx.set(dut.tripped, tripped)
            if kind == "read":
                assert await master.read(address, take_after=order["take_after"]) == (
                    (stored[r.name], OKAY) if r else (0, SLVERR)
                )
                continue
            refused = r is None or not r.writable or strobe != 0xF or (r.write_while_tripped and not tripped)
            if r is not None and r.kill_on_write:
                refused = False
            assert await master.write(address, data, strobe, **order) == (SLVERR if refused else OKAY)
            stored["BAD_WRITES"] += refused or bool(r and data & ~r.write_mask)
            if r is not None and not refused and r.fields[0].source is Source.SOFTWARE:
                stored[r.name] = data & r.write_mask & r.read_mask

    simulate(dut, bench)
