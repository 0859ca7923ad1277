"""The PyVerilator engine on the stand-in module, access by access beside the engine of --decider rtl."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import CardError
from sentinel.host.cards.bus import ALL_ONES, Bus
from sentinel.sim.card import poke
from sentinel.sim.card.library import build_library
from sentinel.sim.card.poke import PokeCard
from sentinel.sim.card.simulated import SimulatedCard

pytestmark = pytest.mark.skipif(find_spec("pyverilator") is None, reason="the extra hdl is not installed")

STAND_IN = Path(__file__).with_name("stand_in.v").read_text()
HANG, REFUSE = 0x100, 0x200


@pytest.fixture
def card() -> Iterator[PokeCard]:
    card = PokeCard(STAND_IN, ring_slots=64)
    yield card
    card.close()


def test_poke_card_is_a_bus_too(card: PokeCard) -> None:
    bus: Bus = card
    assert bus.ring_address


def test_both_engines_agree_access_by_access(card: PokeCard) -> None:
    with SimulatedCard(build_library(STAND_IN), ring_slots=64) as other:
        seen: list[list[object]] = [[], []]
        engines: tuple[PokeCard | SimulatedCard, ...] = card, other
        for bus, log in zip(engines, seen, strict=True):
            for offset in (0, REFUSE, HANG):
                log.append((bus.ocl_read(offset), bus.response))
                bus.ocl_write(offset, 0x1234)
                log.append((bus.ocl_read(offset), bus.response))
            bus.sda_write(0, 99)
            log.append((bus.sda_read(0), bus.response))
            for k in range(40):
                assert bus.pcis_write64(64 * k, np.full(16, k + 1, np.uint32).tobytes())
            bus.write_strobed(64 * 41, bytes(64), 0xFF)
            bus.step(500)
            log.append(bus.ring.tolist())
            log.append(bus.ocl_read(0x304))
        assert seen[0] == seen[1]
        assert seen[0][:2] == [(0x5EED, 0), (0x1234, 0)]
        assert (ALL_ONES, -1) in seen[0]


def test_every_port_is_at_hand_by_name(card: PokeCard) -> None:
    card.ports["vdip"] = 6
    card.step()
    assert (card.ports["vled"], card.ports["irq"]) == (7, 1)


def test_waves_hold_every_cycle(tmp_path: Path) -> None:
    path = tmp_path / "poke.vcd"
    card = PokeCard(STAND_IN, ring_slots=64, waves=path)
    card.step(20)
    card.close()
    text = path.read_text()
    assert "ocl_awaddr" in text
    assert text.count("\n#") >= 2 * 20


def test_time_is_virtual_and_settable(card: PokeCard) -> None:
    card.now = 1 << 40
    card.wait_ticks(1000)
    assert card.now == (1 << 40) + 1008
    assert card.ocl_read(0x300) in range(1008, 1020)


def test_absent_pyverilator_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise poke.missing_tools("pyverilator", "--dev")

    monkeypatch.setattr(poke, "_pyverilator", absent)
    with pytest.raises(CardError, match=r"pyverilator.*scripts/setup --dev"):
        PokeCard(STAND_IN)
