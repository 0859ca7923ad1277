"""Settings that the price collars would leave no entry are refused when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.config import load_config, parse_config
from sentinel.config_collar import require_entries_within_collars
from sentinel.errors import ConfigError
from sentinel.units import E8
from sentinel.wire import Control, SignalCode
from tests.engine.world import SECOND, World

BASE: dict[str, Any] = {
    "venue": {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:2", "api_url": "ws://127.0.0.1:3"},
    "feed": {"symbols": ["PUMPUSDT"]},
}


@pytest.mark.parametrize(
    ("strategy", "risk", "limit"),
    [
        ({"slippage_bps": 501}, {"collar_floor_bps": 1_000}, "risk.price_collar_bps"),
        ({"slippage_bps": 500}, {"collar_floor_bps": 1_000}, ""),
        ({"slippage_bps": 50}, {"price_collar_bps": 49}, "risk.price_collar_bps"),
        ({"slippage_bps": 101}, {}, "risk.collar_floor_bps"),
        ({"slippage_bps": 100}, {}, ""),
        ({}, {"collar_floor_bps": 0}, "risk.collar_floor_bps"),
        ({"slippage_bps": 0}, {"collar_floor_bps": 0, "price_collar_bps": 0}, ""),
        ({"slippage_bps": 5_000, "entry_rest_ms": 1_000}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_a_slippage_beyond_a_collar_is_refused_by_name(strategy: dict[str, int], risk: dict[str, int], limit: str) -> None:
    data = {**BASE, "strategy": strategy, "risk": risk}
    if not limit:
        parse_config(data)
        return
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    assert caught.value.field == "strategy.slippage_bps"
    assert caught.value.value == strategy.get("slippage_bps", 50)
    assert limit in caught.value.allowed
    assert limit in caught.value.remedy


def test_a_collar_of_a_symbol_alone_is_asked_too() -> None:
    own: dict[str, Any] = {"symbols": {"PUMPUSDT": {"price_collar_bps": 40}}}
    parse_config({**BASE, "strategy": {"slippage_bps": 40}, "risk": own})
    with pytest.raises(ConfigError, match=r"0 to 40, risk\.price_collar_bps of PUMPUSDT"):
        parse_config({**BASE, "strategy": {"slippage_bps": 41}, "risk": own})


def test_a_file_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:1"\nstream_url = "ws://127.0.0.1:2"\n'
        '[feed]\nsymbols = ["BTCUSDT"]\n[strategy]\nslippage_bps = 600\n'
    )
    with pytest.raises(ConfigError, match=r"slippage_bps = 600: allowed is 0 to 500"):
        load_config(path)


@given(hs.integers(0, 100_000), hs.integers(0, 100_000), hs.integers(0, 100_000))
def test_a_symbols_collars_are_asked_by_its_name(slippage: int, collar: int, floor: int) -> None:
    require_entries_within_collars(slippage, 1, collar, floor, "NOVAUSDT")
    if slippage <= min(collar, floor):
        require_entries_within_collars(slippage, 0, collar, floor, "NOVAUSDT")
        return
    with pytest.raises(ConfigError, match="NOVAUSDT"):
        require_entries_within_collars(slippage, 0, collar, floor, "NOVAUSDT")


@pytest.mark.parametrize(
    ("slippage", "collar", "floor", "control"),
    [
        (49, 50, 50, 0),
        (49, 48, 100, Control.PRICE_COLLAR),
        (49, 500, 48, Control.DYNAMIC_COLLAR),
    ],
)
def test_what_is_refused_here_is_what_the_gate_would_refuse(slippage: int, collar: int, floor: int, control: int) -> None:
    limits: dict[str, Any] = {"slippage_bps": slippage, "price_collar_bps": collar, "collar_floor_bps": floor}
    world = World(**limits, entry_immediate=1, max_drift_bps=100_000, join_pause_ns=0).start()
    world.quiet()
    for _ in range(2):
        world.wait(SECOND).market(2, price=1_200_000_000, price2=1_200_002_000, qty=E8, qty2=E8).run()
    world.wait(61 * SECOND).market(2, price=1_200_000_000, price2=1_200_002_000, qty=E8, qty2=E8).trade(12.0, 50.0).run()
    rejects = {signal["control"] for signal in world.signals(SignalCode.RISK_REJECT)}
    assert rejects == ({int(control)} if control else set())
    assert bool(world.places()) == (control == 0)
