"""``sentinel route`` on live venues: a plan of what they offer now, or the orders and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sentinel.cli.route_plan import plan_rows, show_plan
from sentinel.host.router.desk import Settled, summary
from sentinel.host.router.execute import Leg
from sentinel.host.router.live import VenueSetup, state_rows
from sentinel.host.router.live_run import MakeOrder, Report, execute_live, plan_live
from sentinel.units import E8, format_e8_short
from sentinel.wire import client_order_id


def dry_run(console: Console, symbol: str, setups: Sequence[VenueSetup], make_order: MakeOrder) -> dict[str, Any]:
    """Plan on what the venues offer now. Raises RouteError where none can be read."""
    found = asyncio.run(plan_live(setups, make_order))
    for row in state_rows(found.states):
        console.print(
            f"{row['venue']}: bid {row['best_bid']}, ask {row['best_ask']}, free {row['free_base']} base and "
            f"{row['free_quote']} quote, taker fee {row['taker_fee_e6']} ppm, {row['latency_us']} us, "
            f"{row['orders_left']} orders left",
            highlight=False,
            markup=False,
        )
    show_plan(console, symbol, found.plan, found.missing)
    return plan_rows(symbol, found.plan, found.missing) | {"venues": state_rows(found.states)}


def send(console: Console, symbol: str, setups: Sequence[VenueSetup], make_order: MakeOrder, replan: bool) -> dict[str, Any]:
    """Send the order and account for it. Raises RouteError, JournalError, ConfigError with nothing sent."""
    report = asyncio.run(execute_live(setups, make_order, replan))
    result = report_result(symbol, report)
    _show(console, result)
    return result


def report_result(symbol: str, report: Report) -> dict[str, Any]:
    """What was filled where, for how much, and what is not known."""
    done = report.executed
    filled = sum(leg.filled for leg in done.legs)
    quote = sum(0 if leg.settled is None else leg.settled.outcome.quote for leg in done.legs)
    fees: dict[str, int] = {}
    for leg in done.legs:
        for asset, fee in ({} if leg.settled is None else leg.settled.outcome.fees()).items():
            fees[asset.name.lower()] = fees.get(asset.name.lower(), 0) + fee
    return {
        "symbol": symbol,
        "side": done.order.side.name.lower(),
        "qty": format_e8_short(done.order.qty),
        "limit": format_e8_short(done.order.limit),
        "dry_run": False,
        "venues": state_rows(report.states),
        "legs": [_leg_row(leg) for leg in done.legs],
        "filled": format_e8_short(filled),
        "notional": format_e8_short(quote),
        "average_price": format_e8_short(quote * E8 // filled) if filled else None,
        "fees": {asset: format_e8_short(fee) for asset, fee in sorted(fees.items())},
        "unknown": format_e8_short(sum(leg.may_have_filled - leg.filled for leg in done.legs)),
        "shortfall": format_e8_short(done.shortfall),
        "plans": len(done.plans),
        "stopped": done.stopped,
        "unused": dict(done.plans[0].unused) | done.missing,
        "recovered": [_order_row(name, one) for name, orders in report.recovered.items() for one in orders],
    }


def _order_row(venue: str, settled: Settled) -> dict[str, Any]:
    order = settled.order
    row = {"venue": venue, "client_order_id": client_order_id(order.key), "symbol": order.symbol}
    return row | {"price": format_e8_short(order.price), "qty": format_e8_short(order.qty)} | summary(settled.outcome)


def _leg_row(leg: Leg) -> dict[str, Any]:
    if leg.settled is not None:
        return _order_row(leg.child.venue, leg.settled) | {"error": ""}
    numbers = {"price": format_e8_short(leg.child.price), "qty": format_e8_short(leg.child.qty)}
    nothing: dict[str, Any] = {"filled": "0", "notional": "0", "fees": {}, "error_code": 0}
    return {
        "venue": leg.child.venue,
        "client_order_id": "",
        "symbol": "",
        **numbers,
        "state": "NOT_SENT",
        **nothing,
        "error": leg.error,
    }


def _show(console: Console, result: dict[str, Any]) -> None:
    for row in result["recovered"]:
        text = f"an earlier run's order at {row['venue']} {row['client_order_id']}: {row['state']}, filled {row['filled']}"
        console.print(text, highlight=False, markup=False)
    head = f"{result['side'].upper()} {result['qty']} {result['symbol']}, limit {result['limit']}: filled {result['filled']}"
    table = Table(title=head, title_justify="left")
    for column in ("venue", "order", "state", "quantity", "filled", "notional", "fees"):
        table.add_column(column, justify="left" if column in ("venue", "order", "state") else "right", overflow="fold")
    for row in result["legs"]:
        fees = ", ".join(f"{fee} {asset}" for asset, fee in row["fees"].items())
        table.add_row(row["venue"], row["client_order_id"], row["state"], row["qty"], row["filled"], row["notional"], fees)
    console.print(table)
    if result["average_price"] is not None:
        console.print(f"average price {result['average_price']}", highlight=False)
    if result["unknown"] != "0":
        console.print(f"UNKNOWN: {result['unknown']} may or may not be filled; the next route asks again", highlight=False)
    if result["shortfall"] != "0":
        console.print(f"not filled: {result['shortfall']}", highlight=False)
    for name, why in {**result["unused"], **({"second plan": result["stopped"]} if result["stopped"] else {})}.items():
        console.print(f"{name}: {why}", highlight=False, markup=False)
