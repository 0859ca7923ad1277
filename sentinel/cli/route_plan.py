"""The plan of ``sentinel route`` as it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from sentinel.host.router.records import Plan
from sentinel.units import format_e8_short


def show_plan(console: Console, symbol: str, found: Plan, missing: Mapping[str, str]) -> None:
    """For people. ``missing``: venues that take no part, and why."""
    order = found.order
    head = f"{order.side.name} {format_e8_short(order.qty)} {symbol}, limit {format_e8_short(order.limit)}; nothing is sent"
    table = Table(title=head, title_justify="left")
    for column in ("venue", "order", "price", "quantity", "expected notional", "fee"):
        table.add_column(column, justify="left" if column in ("venue", "order") else "right", overflow="fold")
    for child in found.children:
        numbers = (child.price, child.qty, child.notional, child.fee)
        table.add_row(child.venue, f"{child.order_type.name} {child.tif.name}", *map(format_e8_short, numbers))
    console.print(table)
    if found.unrouted:
        console.print(f"not routed: {format_e8_short(found.unrouted)}", highlight=False)
    for name, why in (*found.unused, *missing.items()):
        console.print(f"{name}: not used, {why}", highlight=False, markup=False)


def plan_rows(symbol: str, found: Plan, missing: Mapping[str, str]) -> dict[str, Any]:
    """For programs."""
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
        "unused": dict(found.unused) | dict(missing),
    }
