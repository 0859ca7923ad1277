"""Conduct on own orders: figures of each symbol and day, and episodes a person should look at.

An episode is a pattern, not a finding: intent is for people to judge. What is counted as what is in docs/compliance.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any

from sentinel.config import Config
from sentinel.ops.audit.fields import iso
from sentinel.ops.compliance.orders import OwnFill, OwnOrder
from sentinel.units import BPS, E8, NS_PER_MS, NS_PER_S, format_e8_short, parse_e8
from sentinel.wire import InstrumentField

LAYERS, LAYER_WINDOW_NS, LAYER_EPISODES_PER_DAY = 3, 2 * NS_PER_S, 3
PINGS, PING_WINDOW_NS, PING_TIMES = 30, 60 * NS_PER_S, 2
STUFFING_BPS, STUFFING_ORDERS = 9_500, 20
#: Without settings: the defaults of the settings.
_DEFAULTS = {"max_order_to_trade": 50, "short_quote_ms": 50, "max_short_quotes_bps": 8_000, "join_pause_ms": 5_000}
_OPPOSITE = {"BUY": "SELL", "SELL": "BUY"}
_FEWEST_QUOTES = 20


@dataclass
class Episode:
    """Orders to look at, and why."""

    pattern: str
    symbol: str
    t_first: int
    t_last: int
    orders: list[str]
    what: str

    def as_dict(self) -> dict[str, Any]:
        times = {"first": iso(self.t_first), "last": iso(self.t_last)}
        return {"pattern": self.pattern, "symbol": self.symbol, **times, "orders": self.orders, "what": self.what}


@dataclass
class MarketFacts:
    """What the trail says beside own orders: pushes by our own alarms, and the venue's least sizes."""

    pushes: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    least_qty: dict[str, int] = field(default_factory=dict)
    least_notional: dict[str, int] = field(default_factory=dict)
    self_match_refusals: int = 0

    def take(self, row: dict[str, Any]) -> None:
        """See a record."""
        record = row["record"]
        if record.get("kind") == "SIGNAL" and record["code"] == "ANOMALY":
            price, base = parse_e8(record["price"]), record["value"]
            # Without the price before it: an alarm acts against the push.
            up = price > base if base > 0 and price != base else record["side"] == "SELL"
            self.pushes[record["symbol"]].append((record["t"], "BUY" if up else "SELL"))
        elif record.get("kind") == "SIGNAL" and (record["code"], record["control"]) == ("RISK_REJECT", "SELF_MATCH"):
            self.self_match_refusals += 1
        elif record.get("kind") == "CONTROL" and record["command"] == "INSTRUMENT":
            if record["id"] == InstrumentField.MIN_QTY:
                self.least_qty[record["symbol"]] = record["value"]
            elif record["id"] == InstrumentField.MIN_NOTIONAL:
                self.least_notional[record["symbol"]] = record["value"]


def conduct_report(orders: Iterable[OwnOrder], market: MarketFacts, config: Config | None) -> dict[str, Any]:
    """Figures and episodes. ``thresholds`` are the run's settings, their defaults without ``config``."""
    limits = {name: _DEFAULTS[name] if config is None else int(getattr(config.risk, name)) for name in _DEFAULTS}
    listed = list(orders)
    by_symbol: dict[str, list[OwnOrder]] = defaultdict(list)
    for order in listed:
        by_symbol[order.symbol].append(order)
    days = daily_figures(listed, limits)
    unreasoned = [order for order in listed if lacks_reason(order)]
    joining = [order for order in listed if joins(order, market.pushes, limits["join_pause_ms"] * NS_PER_MS)]
    episodes = [
        *(_single("M0", order, "no reason, setup, reference, fair value or edge is recorded") for order in unreasoned),
        *(_single("M8", order, "an entry in the direction of a push shortly after our alarm") for order in joining),
    ]
    for symbol in sorted(by_symbol):
        episodes += [*self_trades(by_symbol[symbol]), *layering(by_symbol[symbol])]
        episodes += pinging(by_symbol[symbol], market.least_qty.get(symbol, 0), market.least_notional.get(symbol, 0))
    episodes += [_stuffing(day, by_symbol[day["symbol"]]) for day in days if day["stuffing"]]
    unknown_sizes = sorted(s for s in by_symbol if not market.least_qty.get(s) and not market.least_notional.get(s))
    return {
        "thresholds": limits,
        "days": days,
        "orders": len(listed),
        "orders_without_reason": len(unreasoned),
        "entries_with_push": len(joining),
        "self_match_refusals": market.self_match_refusals,
        "episodes": [episode.as_dict() for episode in episodes],
        "layering_days": _layering_days(episodes),
        "pinging_not_computed": unknown_sizes,
    }


def lacks_reason(order: OwnOrder) -> bool:
    """What the gate's own control of reasons refuses."""
    stated = order.reason != "NONE" and order.setup_id > 0 and order.ref_price > 0 and order.fair_value > 0
    return not stated or order.edge_bps < (0 if order.reduce_only else 1)


def joins(order: OwnOrder, pushes: dict[str, list[tuple[int, str]]], pause_ns: int) -> bool:
    """Whether an entry has the direction of the latest push no older than ``pause_ns``."""
    told = pushes.get(order.symbol, [])
    at = bisect_right(told, (order.t, "Z"))
    if order.reduce_only or not at:
        return False
    t, direction = told[at - 1]
    return order.t - t <= pause_ns and order.side == direction


def daily_figures(orders: list[OwnOrder], limits: dict[str, int]) -> list[dict[str, Any]]:
    """One dict per symbol and UTC day of the orders' making, in that order."""
    groups: dict[tuple[str, str], list[OwnOrder]] = defaultdict(list)
    for order in orders:
        groups[order.symbol, iso(order.t)[:10]].append(order)
    return [_day(symbol, day, groups[symbol, day], limits) for symbol, day in sorted(groups)]


def _day(symbol: str, day: str, orders: list[OwnOrder], limits: dict[str, int]) -> dict[str, Any]:
    filled = sum(bool(order.cum_qty or order.fills) for order in orders)
    resting = [order for order in orders if order.resting]
    cancelled = [order for order in resting if order.cancelled_unfilled]
    short = [order for order in cancelled if order.t_ended - order.t < limits["short_quote_ms"] * NS_PER_MS]
    cancels = sum(len(order.t_cancels) for order in orders)
    short_bps = _share(len(short), len(resting))
    cancel_bps = _share(len(cancelled), len(resting))
    return {
        "symbol": symbol,
        "day": day,
        "orders": len(orders),
        "cancels": cancels,
        "filled_orders": filled,
        "trades": sum(len(order.fills) for order in orders),
        "order_to_trade": _ratio(len(orders), max(filled, 1)),
        "over_order_to_trade": len(orders) > limits["max_order_to_trade"] * max(filled, 1),
        "resting": len(resting),
        "cancelled_unfilled": len(cancelled),
        "cancelled_unfilled_bps": cancel_bps,
        "short_quotes": len(short),
        "short_quotes_bps": short_bps,
        "over_short_quotes": len(resting) >= _FEWEST_QUOTES and short_bps > limits["max_short_quotes_bps"],
        "stuffing": len(resting) >= STUFFING_ORDERS and cancel_bps > STUFFING_BPS,
        "peak_messages_per_s": _peak([t for order in orders for t in (order.t, *order.t_cancels)], NS_PER_S),
    }


def layering(orders: list[OwnOrder]) -> list[Episode]:
    """M2 of one symbol: around a fill of ours, orders of the other side that lived then and were cancelled soon after, unfilled.

    At least LAYERS different prices, or LAYERS times our usual quantity, cancelled within LAYER_WINDOW_NS of the fill.
    """
    usual = median_low(order.qty for order in orders)
    cancelled = sorted((o for o in orders if o.resting and o.cancelled_unfilled), key=lambda order: (order.t_ended, order.id))
    ends = [order.t_ended for order in cancelled]
    found: list[Episode] = []
    for fill, order in _fills(orders):
        near = cancelled[bisect_right(ends, fill.t) : bisect_right(ends, fill.t + LAYER_WINDOW_NS)]
        pulled = [o for o in near if o.side == _OPPOSITE.get(order.side) and o.t <= fill.t]
        if len({o.price for o in pulled}) < LAYERS and sum(o.qty for o in pulled) < LAYERS * usual:
            continue
        ids = [order.id, *(o.id for o in pulled)]
        if found and set(found[-1].orders) & set(ids):
            found[-1].orders += [id for id in ids if id not in found[-1].orders]
            found[-1].t_last = max(found[-1].t_last, pulled[-1].t_ended)
        elif pulled:
            what = f"{len(pulled)} orders of the other side were cancelled, unfilled, within 2 s of a fill"
            found.append(Episode("M2", order.symbol, min(o.t for o in pulled), pulled[-1].t_ended, ids, what))
    return found


def pinging(orders: list[OwnOrder], least_qty: int, least_notional: int) -> list[Episode]:
    """M7 of one symbol: more than PINGS executions in a minute of entries not above PING_TIMES the venue's least size."""
    tiny = [order for order in orders if not order.reduce_only and _is_tiny(order, least_qty, least_notional)]
    fills = _fills(tiny)
    found: list[Episode] = []
    start = 0
    for k, (fill, _) in enumerate(fills):
        while fill.t - fills[start][0].t >= PING_WINDOW_NS:
            start += 1
        if k + 1 - start <= PINGS:
            continue
        ids = list(dict.fromkeys(order.id for _, order in fills[start : k + 1]))
        if found and found[-1].t_last >= fills[start][0].t:
            found[-1].orders += [id for id in ids if id not in found[-1].orders]
            found[-1].t_last = fill.t
        else:
            what = f"more than {PINGS} executions of the least size within a minute"
            found.append(Episode("M7", fills[k][1].symbol, fills[start][0].t, fill.t, ids, what))
    return found


def self_trades(orders: list[OwnOrder]) -> list[Episode]:
    """M1 of one symbol: orders of ours on both sides of one trade of the venue."""
    sides: dict[int, list[tuple[OwnFill, OwnOrder]]] = defaultdict(list)
    for fill, order in _fills(orders):
        if fill.trade_id:
            sides[fill.trade_id].append((fill, order))
    return [
        Episode("M1", both[0][1].symbol, both[0][0].t, both[-1][0].t, [o.id for _, o in both], f"both sides of trade {trade}")
        for trade, both in sides.items()
        if len({order.side for _, order in both}) > 1
    ]


def _fills(orders: list[OwnOrder]) -> list[tuple[OwnFill, OwnOrder]]:
    found = [(fill, order) for order in orders for fill in order.fills.values()]
    return sorted(found, key=lambda pair: (pair[0].t, pair[1].id, pair[0].trade_id))


def _is_tiny(order: OwnOrder, least_qty: int, least_notional: int) -> bool:
    return order.qty <= PING_TIMES * least_qty or order.price * order.qty <= PING_TIMES * least_notional * E8


def _single(pattern: str, order: OwnOrder, what: str) -> Episode:
    return Episode(pattern, order.symbol, order.t, order.t, [order.id], what)


def _stuffing(day: dict[str, Any], orders: list[OwnOrder]) -> Episode:
    cancelled = [o for o in orders if o.resting and o.cancelled_unfilled and iso(o.t)[:10] == day["day"]]
    share = format_e8_short(day["cancelled_unfilled_bps"] * 10**6)
    what = f"{share} % of resting orders cancelled, unfilled"
    return Episode("M3", day["symbol"], cancelled[0].t, cancelled[-1].t, [o.id for o in cancelled], what)


def _layering_days(episodes: list[Episode]) -> list[str]:
    """Days with so many M2 episodes of one symbol that they make a case."""
    counts = Counter((iso(e.t_first)[:10], e.symbol) for e in episodes if e.pattern == "M2")
    return [f"{day} {symbol}" for (day, symbol), count in sorted(counts.items()) if count >= LAYER_EPISODES_PER_DAY]


def _share(part: int, whole: int) -> int:
    return part * BPS // whole if whole else 0


def _ratio(orders: int, fills: int) -> str:
    hundredths = orders * 100 // fills
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _peak(times: list[int], window_ns: int) -> int:
    """Most of ``times`` in any window that is shorter than ``window_ns``."""
    times = sorted(times)
    start = most = 0
    for k, t in enumerate(times):
        while t - times[start] >= window_ns:
            start += 1
        most = max(most, k + 1 - start)
    return most
