"""``sentinel route``: how an order would be spread over venues, checked, and printed; nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sentinel.config import StrategyConfig, load_config
from sentinel.errors import ConfigError, RouteError, UnitError
from sentinel.host.router.books import read_book
from sentinel.host.router.check import approve
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Plan, RouteOrder, VenueState
from sentinel.units import BPS, INT64_MAX, format_e8_short, parse_e8
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
    config: Path | None,
    rest: bool,
    drift_bps_per_s: int,
    dry_run: bool,
) -> dict[str, Any]:
    """Plan, check and print. Raises ConfigError or RouteError for an argument or a book that cannot be used."""
    if not dry_run:
        raise ConfigError("--dry-run", dry_run, "given", "add it: this version plans and sends nothing")
    states = [_state(text) for text in books]
    names = [state.name for state in states]
    if not states or len(set(names)) != len(names):
        raise ConfigError("--book", names, "VENUE=FILE, once a venue", "name each venue's book; settings reach one venue only")
    wanted, amount = Side.BUY if side == "buy" else Side.SELL, _decimal("--qty", qty)
    strategy = load_config(config).strategy if config is not None else StrategyConfig()
    price = _decimal("--limit", limit) if limit is not None else _reach(states, wanted, strategy.slippage_bps)
    order = RouteOrder(wanted, amount, price, rest, drift_bps_per_s * _E6_IN_BPS)
    approved = approve(order, states, plan(order, states))
    _show(console, symbol, approved.plan)
    return _result(symbol, approved.plan)


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


def _show(console: Console, symbol: str, found: Plan) -> None:
    order = found.order
    head = f"{order.side.name} {format_e8_short(order.qty)} {symbol}, limit {format_e8_short(order.limit)}; nothing is sent"
    table = Table(title=head, title_justify="left")
    for column in ("venue", "order", "price", "quantity", "expected notional", "fee"):
        table.add_column(column, justify="left" if column in ("venue", "order") else "right")
    for child in found.children:
        numbers = (child.price, child.qty, child.notional, child.fee)
        table.add_row(child.venue, f"{child.order_type.name} {child.tif.name}", *map(format_e8_short, numbers))
    console.print(table)
    if found.unrouted:
        console.print(f"not routed: {format_e8_short(found.unrouted)}", highlight=False)
    for name, why in found.unused:
        console.print(f"{name}: not used, {why}", highlight=False, markup=False)


def _result(symbol: str, found: Plan) -> dict[str, Any]:
    order = found.order
    return {
        "symbol": symbol,
        "side": order.side.name.lower(),
        "qty": format_e8_short(order.qty),
        "limit": format_e8_short(order.limit),
        "dry_run": True,
        "children": [
            {
                "venue": child.venue,
                "order_type": child.order_type.name,
                "tif": child.tif.name,
                "price": format_e8_short(child.price),
                "qty": format_e8_short(child.qty),
                "notional": format_e8_short(child.notional),
                "fee": format_e8_short(child.fee),
            }
            for child in found.children
        ],
        "unrouted": format_e8_short(found.unrouted),
        "unused": dict(found.unused),
    }
