"""``sentinel route``: how an order would be spread over venues, checked and printed; or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sentinel.cli.route_plan import plan_rows, show_plan
from sentinel.config import StrategyConfig, load_config
from sentinel.errors import ConfigError, RouteError, UnitError
from sentinel.host.router.books import read_book
from sentinel.host.router.check import approve
from sentinel.host.router.live import named_configs, state_rows, venue_setups
from sentinel.host.router.plan import plan
from sentinel.host.router.records import RouteOrder, VenueState
from sentinel.units import BPS, INT64_MAX, parse_e8
from sentinel.wire import Side

_E6_IN_BPS = 100


def execute(
    console: Console,
    *,
    symbol: str,
    side: str,
    qty: str,
    limit: str | None,
    books: list[str],
    configs: list[Path],
    rest: bool,
    drift_bps_per_s: int,
    dry_run: bool,
    send: bool,
    replan: bool,
) -> dict[str, Any]:
    """Plan and check, of files or of live venues; ``send``: and send it.

    Raises ConfigError or RouteError for an argument, a book or settings that cannot be used, JournalError for a store that is
    in use or damaged.
    """
    if dry_run == send:
        raise ConfigError("--dry-run, --execute", (dry_run, send), "one of them", "--dry-run sends nothing")
    if send and rest:
        raise ConfigError("--rest", rest, "--dry-run alone", "an order that waits needs somebody who watches it")
    wanted, amount = Side.BUY if side == "buy" else Side.SELL, _decimal("--qty", qty)
    worst = None if limit is None else _decimal("--limit", limit)
    loaded = [load_config(path) for path in configs]
    slippage_bps = min((config.strategy.slippage_bps for config in loaded), default=StrategyConfig().slippage_bps)

    def make_order(states: list[VenueState]) -> RouteOrder:
        price = _reach(states, wanted, slippage_bps) if worst is None else worst
        return RouteOrder(wanted, amount, price, rest, drift_bps_per_s * _E6_IN_BPS)

    if not books:
        from sentinel.cli import route_live

        if len(loaded) < 2:
            raise ConfigError("--config", len(loaded), "two at least, or --book", "name each venue's settings, or files of books")
        setups = venue_setups(named_configs(configs, loaded), symbol)
        if send:
            return route_live.send(console, symbol, setups, make_order, replan)
        return route_live.dry_run(console, symbol, setups, make_order)
    if send or len(loaded) > 1:
        raise ConfigError(
            "--book", books, "--dry-run and one --config at most", "leave --book away to reach the venues themselves"
        )
    states = [_state(text) for text in books]
    names = [state.name for state in states]
    if len(set(names)) != len(names):
        raise ConfigError("--book", names, "VENUE=FILE, once a venue", "name each venue's book once")
    order = make_order(states)
    approved = approve(order, states, plan(order, states))
    show_plan(console, symbol, approved.plan, {})
    return plan_rows(symbol, approved.plan, {}) | {"venues": state_rows(states)}


def _decimal(option: str, text: str) -> int:
    try:
        return parse_e8(text, option)
    except UnitError as error:
        raise ConfigError(option, text, error.allowed, error.remedy) from None


def _state(text: str) -> VenueState:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ConfigError("--book", text, "VENUE=FILE", "write for example --book binance=binance.json")
    return read_book(name, Path(path))


def _reach(states: list[VenueState], side: Side, slippage_bps: int) -> int:
    """The limit of an order that names none: the best price there is, and as far beyond as the strategy may go."""
    best = [book[0][0] for state in states if (book := state.asks if side == Side.BUY else state.bids)]
    if not best:
        raise RouteError("--limit", None, "a price: no book offers any", "give --limit, or other books")
    if side == Side.BUY:
        return min(min(best) * (BPS + slippage_bps) // BPS, INT64_MAX)
    return max(-(-max(best) * (BPS - slippage_bps) // BPS), 1)
