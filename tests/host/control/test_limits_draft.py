"""A drafted file says exactly what the settings say, and can be signed as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.errors import LimitsError
from sentinel.host.control.limits_draft import draft_limits, settings_limits
from sentinel.host.control.limits_file import LIMITS, NOT_ASKED, parse_limits
from sentinel.units import E8, NS_PER_S
from tests.host.plain_config import plain_config

NOW_NS = 1_790_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


@given(
    order=hs.integers(1, 10**15),
    factor=hs.integers(1, 9),
    drawdown=hs.integers(50, 10_000),
    gap=hs.sampled_from([0, 5, 30, 10_000]),
    orders=hs.integers(1, 1_000),
)
def test_draft_states_the_settings_and_nothing_else(order: int, factor: int, drawdown: int, gap: int, orders: int) -> None:
    money = {"max_order_notional": order, "max_position_notional": order * factor, "max_gross_notional": order * factor}
    risk: dict[str, Any] = {name: f"{value // E8}.{value % E8:08d}" for name, value in money.items()}
    risk |= {"max_drawdown_bps": drawdown, "max_source_gap_bps": gap, "max_trades_per_minute": orders}
    config = plain_config(Path("unused"), risk=risk)
    limits = parse_limits(draft_limits(config, 7, NOW_NS, 30).encode())
    asked = {name: value for name, value in settings_limits(config).items() if value != NOT_ASKED}
    assert limits.firm == asked
    assert {name: limits.firm[name] for name in money} == money
    assert (limits.firm["max_drawdown_bps"], limits.firm.get("max_source_gap_bps", 0)) == (drawdown, gap)
    assert set(LIMITS) - set(asked) == (set() if gap else {"max_source_gap_bps"})
    assert (limits.version, limits.mode) == (7, "paper")
    assert (limits.valid_from_ns, limits.expires_ns) == (NOW_NS, NOW_NS + 30 * DAY_NS)
    assert (limits.symbols, limits.restricted) == ({}, None)


def test_limits_and_bans_of_symbols_are_drafted_too() -> None:
    risk: dict[str, Any] = {"symbols": {"BTCUSDT": {"max_order_notional": "5", "max_open_orders": 2}}}
    risk |= {"restricted_symbols": ["BTCUSDT"], "max_order_notional": "20"}
    limits = parse_limits(draft_limits(plain_config(Path("unused"), risk=risk), 1, NOW_NS + 999, 1).encode())
    assert limits.symbols == {"BTCUSDT": {"max_order_notional": 5 * E8, "max_open_orders": 2}}
    assert limits.restricted is not None
    assert (limits.restricted.symbols, limits.restricted.issued_ns) == (("BTCUSDT",), NOW_NS)


def test_a_limit_tighter_than_a_file_may_say_is_drafted_at_the_least_it_may() -> None:
    config = plain_config(Path("unused"), risk={"max_drawdown_bps": 20})
    assert tomllib.loads(draft_limits(config, 1, NOW_NS, 1))["firm"]["max_drawdown_bps"] == 50


def test_a_version_no_file_may_have_is_refused() -> None:
    with pytest.raises(LimitsError, match=r"limits\.version"):
        draft_limits(plain_config(Path("unused")), 0, NOW_NS, 1)
