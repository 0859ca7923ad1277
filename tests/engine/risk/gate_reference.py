"""The gate in plain Python, from its description: unbounded integers, lists instead of rings, its own books of orders.

Money (cash, equity, what an open order counts for) and the account's switches are read from the engine's state: they have
tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from sentinel.engine.layout import AMOUNT_CAP, HALT_RESTRICTED, ORDER_NOTIONAL_CAP, SYMBOL_LIMITS, Market
from sentinel.units import BPS, E8, INT64_MAX, NS_PER_S
from sentinel.wire import Control, OrderType, Reason, Side, TimeInForce, TradingState

DAY_NS = 86_400 * NS_PER_S
Verdict = tuple[int, int, int]


def up(price: int, qty: int) -> int:
    """Notional rounded up; what a record cannot hold shows as the most it can."""
    return min(-(-price * qty // E8), INT64_MAX)


@dataclass
class Live:
    """An order that may still trade."""

    symbol: int
    side: int
    price: int
    qty: int
    unknown: bool = False


@dataclass
class Sent:
    """An order that was let through."""

    t: int
    symbol: int
    side: int
    price: int
    qty: int
    setup: int
    notional: int
    entered: int
    reduces: bool
    rests: bool
    filled: bool = False


class Quoted(NamedTuple):
    """A quote that came: time, symbol, middle (floor of the exact one)."""

    t: int
    symbol: int
    middle: int


def seconds_moves(quotes: list[tuple[int, int]], now: int) -> list[Fraction]:
    """Moves of a middle, (time, middle) in order, in each of the 60 seconds before the one of ``now``, of the price before.

    A middle of 0 is that of a quote with a side missing or crossed: a second that ends so has no move.
    """
    last = {t // NS_PER_S: middle for t, middle in quotes}
    closes = {second: middle for second, middle in last.items() if middle}
    moves = []
    for second in range(now // NS_PER_S - 60, now // NS_PER_S):
        before = [closes[k] for k in sorted(closes) if k < second]
        if second in closes and before:
            moves.append(Fraction(abs(closes[second] - before[-1]), before[-1]))
    return moves


def sigma_reach(quotes: list[tuple[int, int]], now: int, sigmas: int) -> Fraction:
    """Square of the distance that ``sigmas`` standard deviations reach, of the price; moves in whole millionths, at most 1."""
    ppm = [min(int(move * 10**6), 10**6) for move in seconds_moves(quotes, now)]
    return Fraction(sigmas**2 * sum(value**2 for value in ppm), 60)


@dataclass
class GateReference:
    """All orders let through, those that live, and the answers of people."""

    state: Any
    live: dict[int, Live] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    grants: list[dict[str, int]] = field(default_factory=list)
    off: set[tuple[int, int]] = field(default_factory=set)
    armed_at: int = 0
    quotes: list[Quoted] = field(default_factory=list)
    trades: dict[int, tuple[int, int]] = field(default_factory=dict)

    def verdict(self, q: dict[str, int]) -> Verdict:
        """The first control that refuses, what it saw and its limit; zeros to pass."""
        for check in (self._authority, self._itself, self._exposure, self._rates):
            found = check(q)
            if found[0]:
                return found
        return (0, 0, 0)

    def _authority(self, q: dict[str, int]) -> Verdict:
        g, p, y = self.state.glob[0], self.state.params[0], self.state.symbols[q["symbol"]]
        now, reduces = int(g["now"]), bool(q["reduce_only"])
        needed = int(TradingState.REDUCE_ONLY if reduces else TradingState.ACTIVE)
        state = int(g["trading_state"])
        if g["killed"]:
            return (Control.KILLED, int(g["kill_cause"]), 0)
        if g["journal_fault"]:
            return (Control.JOURNAL, int(g["journal_fault"]), 0)
        bound = int(p["max_clock_error_ns"])
        if bound:
            age, stepped = now - int(g["clock_t"]), now - int(g["clock_step_t"])
            if g["clock_t"] == 0 or g["clock_error"] < 0:
                return (Control.CLOCK, -1, bound)
            if age > p["max_clock_age_ns"]:
                return (Control.CLOCK, age, int(p["max_clock_age_ns"]))
            if g["clock_step_t"] and stepped < 10 * NS_PER_S:
                return (Control.CLOCK, stepped, 10 * NS_PER_S)
            if g["clock_error"] > bound:
                return (Control.CLOCK, int(g["clock_error"]), bound)
        if state < needed:
            cause = int(g["reduce_cause"]) if state == TradingState.REDUCE_ONLY else 0
            return (cause or int(Control.NOT_ACTIVE), state, needed)
        if q["side"] not in (Side.BUY, Side.SELL) or not 0 < q["qty"] <= AMOUNT_CAP or q["price"] <= 0:
            return (Control.BAD_INPUT, q["qty"], AMOUNT_CAP)
        if y["restricted"] or int(y["halt"]) & HALT_RESTRICTED:
            return (Control.RESTRICTED, 1, 0)
        oldest = int(p["max_restricted_age_ns"])
        if oldest and not reduces and not 0 <= now - int(g["restricted_t"]) <= oldest:
            return (Control.RESTRICTED, now - int(g["restricted_t"]) if g["restricted_t"] else -1, oldest)
        if y["halt"] or not y["trading"]:
            return (Control.SYMBOL_HALTED, int(y["halt"]), 0)
        rests = q["tif"] == TimeInForce.GTC and q["t_rest_end"] > 0
        if q["order_type"] not in (OrderType.LIMIT, OrderType.LIMIT_MAKER):
            return (Control.ORDER_TYPE, q["order_type"], int(OrderType.LIMIT_MAKER))
        if not rests and (q["tif"] not in (TimeInForce.IOC, TimeInForce.FOK) or q["order_type"] == OrderType.LIMIT_MAKER):
            return (Control.ORDER_TYPE, q["tif"], int(TimeInForce.FOK))
        known = q["reason"] != Reason.NONE and min(q["setup_id"], q["ref_price"], q["fair_value"]) > 0
        if not known or q["edge_bps"] < (0 if reduces else 1):
            return (Control.NO_REASON, q["edge_bps"], 0 if reduces else 1)
        age = now - q["t_signal"]
        if q["t_signal"] <= 0 or not 0 <= age <= p["max_signal_age_ns"]:
            return (Control.SIGNAL_AGE, age if q["t_signal"] > 0 else -1, int(p["max_signal_age_ns"]))
        unknown = sum(o.unknown for o in self.live.values() if o.symbol == q["symbol"])
        return (Control.UNKNOWN_ORDER, unknown, 0) if unknown else (0, 0, 0)

    def _itself(self, q: dict[str, int]) -> Verdict:
        g, p, y = self.state.glob[0], self.state.params[0], self.state.symbols[q["symbol"]]
        now, buys, price, qty = int(g["now"]), q["side"] == Side.BUY, q["price"], q["qty"]
        bid, ask, last = int(y["bid"]), int(y["ask"]), int(y["last_price"])
        again = [o for o in self.sent if o.symbol == q["symbol"]][-1:]
        same = (q["side"], price, qty, q["setup_id"])
        if again and (again[0].side, again[0].price, again[0].qty, again[0].setup) == same:
            age = now - again[0].t
            window = min(int(p["duplicate_window_ns"]), int(p["exit_retry_ns"]) if q["reduce_only"] else INT64_MAX)
            if age < window:
                return (Control.DUPLICATE, age, window)
        own = {name: min(int(p[name]), int(y[name])) for name in SYMBOL_LIMITS}
        if qty > own["max_order_qty"]:
            return (Control.MAX_QTY, qty, own["max_order_qty"])
        most = min(own["max_order_notional"], ORDER_NOTIONAL_CAP)
        if up(price, qty) > most:
            return (Control.MAX_NOTIONAL, up(price, qty), most)
        stale = int(p["stale_after_ns"])
        if not 0 < bid < ask or y["bbo_t"] <= 0:
            return (Control.STALE_REFERENCE, -1, stale)
        if now - int(y["bbo_t"]) > stale:
            return (Control.STALE_REFERENCE, now - int(y["bbo_t"]), stale)
        gap, other = int(p["max_source_gap_bps"]), self.trades.get(q["symbol"], (0, 0))
        if gap and not q["reduce_only"]:
            if not other[1] or now - other[0] > stale:
                return (Control.SOURCE_GAP, -1, (bid + ask) // 2)
            if abs(other[1] - (bid + ask) // 2) * BPS > gap * ((bid + ask) // 2):
                return (Control.SOURCE_GAP, other[1], (bid + ask) // 2)
        touch = ask if buys else bid
        most_away = touch * own["price_collar_bps"] // BPS
        if abs(price - touch) > most_away:
            return (Control.PRICE_COLLAR, price, touch + (most_away if price > touch else -most_away))
        middle = (bid + ask) // 2
        away = abs(price - middle)
        quotes = [(one.t, one.middle) for one in self.quotes if one.symbol == q["symbol"]]
        spreads = away <= (ask - bid) * int(p["collar_spreads"])
        sigmas = ceil(Fraction(away * 10**6, middle)) ** 2 <= sigma_reach(quotes, now, int(p["collar_sigmas"]))
        if not q["reduce_only"] and away * BPS > middle * int(p["collar_floor_bps"]) and not (spreads and sigmas):
            return (Control.DYNAMIC_COLLAR, price, middle)
        if not q["reduce_only"]:
            before = int(self.state.features.symbols[q["symbol"]]["ref_60"])
            gone = (last - before) * (1 if buys else -1)
            if gone > 0 and gone * BPS > before * int(p["max_drift_bps"]):
                return (Control.ADVERSE_DRIFT, last, before)
        push = now - int(y["push_t"])
        if not q["reduce_only"] and y["push_side"] == q["side"] and push <= p["join_pause_ns"]:
            return (Control.JOINS_PUSH, push, int(p["join_pause_ns"]))
        return self._filters(q)

    def quoted(self, t: int, symbol: int, bid: int, ask: int, last: int) -> None:
        """A trade and a quote came."""
        self.trades[symbol] = (t, last)
        self.quotes.append(Quoted(t, symbol, (bid + ask) // 2))

    def _filters(self, q: dict[str, int]) -> Verdict:
        y, price, qty = self.state.symbols[q["symbol"]], q["price"], q["qty"]
        tick, step = int(y["tick_size"]), int(y["step_size"])
        if price % tick:
            return (Control.VENUE_FILTER, price, tick)
        if qty % step or qty < y["min_qty"]:
            return (Control.VENUE_FILTER, qty, max(step, int(y["min_qty"])))
        if price * qty // E8 < y["min_notional"]:
            return (Control.VENUE_FILTER, price * qty // E8, int(y["min_notional"]))
        return (0, 0, 0)

    def _open(self, q: dict[str, int]) -> int:
        return sum(o.qty for o in self.live.values() if (o.symbol, o.side) == (q["symbol"], q["side"]))

    def asked(self, q: dict[str, int]) -> int:
        """What the order adds to exposure."""
        return min(up(max(q["price"], int(self.state.symbols[q["symbol"]]["last_price"])), q["qty"]), ORDER_NOTIONAL_CAP)

    def _only_reduces(self, q: dict[str, int]) -> Verdict:
        held = int(self.state.symbols[q["symbol"]]["position"])
        after = q["qty"] + self._open(q)
        if held * (1 if q["side"] == Side.SELL else -1) <= 0 or after > abs(held):
            return (Control.POSITION_LIMIT, after, abs(held))
        return (0, 0, 0)

    def _exposure(self, q: dict[str, int]) -> Verdict:
        g, p, symbols = self.state.glob[0], self.state.params[0], self.state.symbols
        if q["reduce_only"]:
            return self._only_reduces(q)
        alive = sum(o.symbol == q["symbol"] for o in self.live.values())
        if alive >= symbols[q["symbol"]]["max_open_orders"]:
            return (Control.OPEN_ORDERS, alive + 1, int(symbols[q["symbol"]]["max_open_orders"]))
        if len(self.live) >= p["max_open_orders"]:
            return (Control.OPEN_ORDERS, len(self.live) + 1, int(p["max_open_orders"]))
        buys, y, asked = q["side"] == Side.BUY, symbols[q["symbol"]], self.asked(q)
        held = int(y["position"]) * (1 if buys else -1)
        worst = up(max(q["price"], int(y["last_price"])), max(held, 0) + self._open(q) + q["qty"])
        most = min(int(p["max_position_notional"]), int(y["max_position_notional"]))
        if worst > most:
            return (Control.POSITION_LIMIT, worst, most)
        values = [up(int(row["last_price"]), abs(int(row["position"]))) * (1 if row["position"] > 0 else -1) for row in symbols]
        rows = self.state.orders
        reserved = sum(int(row["open_notional"]) for row in rows[np.isin(rows["key"], list(self.live))])
        last = [int(row["last_price"]) for row in symbols]
        waiting = sum(min(up(max(o.price, last[o.symbol]), o.qty), ORDER_NOTIONAL_CAP) for o in self.live.values())
        gross = sum(abs(value) for value in values) + waiting + asked
        if gross > p["max_gross_notional"]:
            return (Control.GROSS_EXPOSURE, gross, int(p["max_gross_notional"]))
        net = sum(values) * (1 if buys else -1) + waiting + asked
        if net > p["max_net_notional"]:
            return (Control.NET_EXPOSURE, net, int(p["max_net_notional"]))
        equity = int(g["cash"]) + int(g["inventory_value"])
        free = int(g["cash"]) - reserved - asked
        if buys and p["market"] == Market.SPOT and (free < 0 or free * BPS < equity * int(p["min_free_capital_bps"])):
            return (Control.FREE_CAPITAL, free, equity)
        return (0, 0, 0)

    def _rates(self, q: dict[str, int]) -> Verdict:
        g, p = self.state.glob[0], self.state.params[0]
        now, reduces, asked = int(g["now"]), bool(q["reduce_only"]), self.asked(q)
        for name, length in (("10s", 10), ("s", 1), ("minute", 60)):
            limit = int(p[f"max_orders_per_{name}"])
            if not (reduces and name == "minute") and sum(now - o.t < length * NS_PER_S for o in self.sent) >= limit:
                return (Control.ORDER_RATE, limit + 1, limit)
        today = [o for o in self.sent if o.t // DAY_NS == now // DAY_NS]
        if not reduces and len(today) >= p["max_orders_per_day"]:
            return (Control.ORDER_RATE, int(p["max_orders_per_day"]) + 1, int(p["max_orders_per_day"]))
        for name, length in (("10s", 10), ("minute", 60)):
            total = sum(o.notional for o in self.sent if now - o.t < length * NS_PER_S) + asked
            if not reduces and total > p[f"max_notional_per_{name}"]:
                return (Control.TURNOVER, total, int(p[f"max_notional_per_{name}"]))
        mine = [o for o in today if o.symbol == q["symbol"]]
        allowed = int(p["max_order_to_trade"]) * max(sum(o.filled for o in mine), 1)
        if not reduces and len(mine) + 1 > allowed:
            return (Control.ORDER_TO_TRADE, len(mine) + 1, allowed)
        return self._repeats(q) if not reduces else self._permits(q)

    def _repeats(self, q: dict[str, int]) -> Verdict:
        p, now = self.state.params[0], int(self.state.glob[0]["now"])
        limit, side = int(p["max_repeats_per_minute"]), (q["symbol"], q["side"])
        entries = [(k, o) for k, o in enumerate(self.sent) if (o.symbol, o.side) == side and not o.reduces]
        recent = sum(now - o.t < 60 * NS_PER_S for _, o in entries)
        since_armed = sum(k >= self.armed_at for k, _ in entries)
        if side in self.off:
            return (Control.REPEATED, limit + 1, limit)
        if since_armed >= limit and recent >= limit:
            self.off.add(side)
            return (Control.REPEATED, recent + 1, limit)
        return self._permits(q)

    def _permits(self, q: dict[str, int]) -> Verdict:
        p, now = self.state.params[0], int(self.state.glob[0]["now"])
        limit = int(p["max_trades_per_minute"])
        if sum(now - o.t < 60 * NS_PER_S for o in self.sent) >= limit:
            return (Control.TRADES_PER_MINUTE, limit + 1, limit)
        for o in sorted(self.live.items()):
            other = o[1]
            meets = q["price"] >= other.price if q["side"] == Side.BUY else q["price"] <= other.price
            if other.symbol == q["symbol"] and other.side != q["side"] and meets:
                return (Control.SELF_MATCH, q["price"], other.price)
        threshold = int(p["approval_notional_per_minute"])
        total = self.entered(now) + self.asked(q)
        if threshold and not q["reduce_only"] and total > threshold and self.grant(q) is None:
            return (Control.APPROVAL, total, threshold)
        return (0, 0, 0)

    def entered(self, now: int) -> int:
        """Entries of the last minute that nobody granted."""
        return sum(o.entered for o in self.sent if now - o.t < 60 * NS_PER_S)

    def grant(self, q: dict[str, int]) -> dict[str, int] | None:
        """A grant that covers the order."""
        now, asked = int(self.state.glob[0]["now"]), self.asked(q)
        fits = [a for a in self.grants if (a["symbol"], a["side"]) == (q["symbol"], q["side"]) and a["value"] >= asked]
        return next((a for a in fits if now < a["until"]), None)

    def let_through(self, key: int, q: dict[str, int]) -> None:
        """The order passed under this client key."""
        g, p = self.state.glob[0], self.state.params[0]
        now, asked = int(g["now"]), self.asked(q)
        threshold, entered = int(p["approval_notional_per_minute"]), 0 if q["reduce_only"] else asked
        if threshold and not q["reduce_only"] and self.entered(now) + asked > threshold:
            grant = self.grant(q)
            assert grant is not None
            self.grants.remove(grant)
            entered = 0
        order = (q["symbol"], q["side"], q["price"], q["qty"])
        self.sent.append(Sent(now, *order, q["setup_id"], asked, entered, bool(q["reduce_only"]), q["tif"] == TimeInForce.GTC))
        self.live[key] = Live(*order)
