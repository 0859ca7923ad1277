"""A small restless market: quiet while averages form, then prices that move enough for a trade every few seconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from sentinel.sim.market.source import Market
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8, NS_PER_MS, NS_PER_S, parse_e8
from sentinel.wire import Side

START_NS = 1_736_164_800 * NS_PER_S
#: Seconds from the start. Without two minutes of history nothing is decided.
BUSY_S, CALM_S, END_S = 119.0, 146.0, 158.0
#: A reconnect may wait half a minute for its turn: so long the market goes on where something is still open.
LAST_S = 230.0
_LEVELS = 4
_LEVEL_QUOTE = 500 * E8
#: Changes of one symbol in a second.
_QUIET_RATE, _BUSY_RATE, _CALM_RATE = 0.1, 3.0, 0.5
_STEP_BPS = 14.0
_BURST_S, _BURST_TIMES = 1.0, 10.0


def _instrument(base: str, tick: str, step: str) -> Instrument:
    return Instrument(f"{base}USDT", base, "USDT", tick=parse_e8(tick), step=parse_e8(step), min_qty=parse_e8(step))


#: Instruments and opening prices; the grid of levels is the tick, a few hundredths of a percent.
INSTRUMENTS = (_instrument("AAA", "0.005", "0.1"), _instrument("BBB", "0.001", "0.1"), _instrument("CCC", "0.02", "0.01"))
_PRICES = tuple(parse_e8(price) for price in ("10", "2.5", "40"))
#: About 20,000 USDT of each coin.
BALANCES = {"USDT": 100_000 * E8, "AAA": 2_000 * E8, "BBB": 8_000 * E8, "CCC": 500 * E8}


class RestlessMarket:
    """A MarketSource; the same seed gives the same prices, whatever is traded. It ends once all is ``at_rest``.

    ``bursts``: seconds from the start at which everything happens ten times as often, for a second. ``jumps``: (second, symbol
    index, factor) of prices that jump. ``counts`` counts both.
    """

    relays = False

    def __init__(
        self,
        seed: int,
        at_rest: Callable[[], bool],
        bursts: Sequence[float] = (),
        jumps: Sequence[tuple[float, int, float]] = (),
        counts: dict[str, int] | None = None,
    ) -> None:
        self._bursts = tuple(bursts)
        self._jumps = sorted(jumps)
        self._counts = {} if counts is None else counts
        self._seen: set[float] = set()
        self.instruments: tuple[Instrument, ...] = INSTRUMENTS
        self.start_ns = START_NS
        self.end_ns: int | None = START_NS + int(LAST_S * NS_PER_S)
        self.maker_size = tuple(_LEVEL_QUOTE // 2 * E8 // price for price in _PRICES)
        self._at_rest = at_rest
        self._rng = [Random(f"restless/{seed}/{instrument.symbol}") for instrument in INSTRUMENTS]
        self._price = [float(price) for price in _PRICES]
        self._levels: list[dict[int, list[int]]] = [{Side.BUY: [], Side.SELL: []} for _ in INSTRUMENTS]
        self._agenda: list[tuple[int, int]] = []

    def open(self, market: Market) -> None:
        for index, rng in enumerate(self._rng):
            self._quote(market, index)
            heapq.heappush(self._agenda, (self.start_ns + int(rng.uniform(0.1, 1.0) * NS_PER_S), index))

    def next_time(self) -> int | None:
        return self._agenda[0][0] if self._agenda else None

    def fire(self, market: Market) -> None:
        now_ns, index = heapq.heappop(self._agenda)
        rng = self._rng[index]
        since_s = (now_ns - self.start_ns) / NS_PER_S
        for jump in [one for one in self._jumps if one[1] == index and one[0] <= since_s]:
            self._jumps.remove(jump)
            self._price[index] *= jump[2]
            self._count("price_jump")
        self._price[index] *= 1.0 + (rng.random() + rng.random() - 1.0) * 2.45 * _STEP_BPS * 1e-4
        self._quote(market, index)
        if rng.random() < 0.7:
            side = Side.BUY if rng.random() < 0.5 else Side.SELL
            bid, _, ask, _ = market.top(index)
            price = ask if side == Side.BUY else bid
            step, value = INSTRUMENTS[index].step, int(_LEVEL_QUOTE * rng.uniform(0.05, 0.4))
            # A resting order of the account may have taken all that one side offered.
            if price:
                market.take(index, side, max(value * E8 // price // step, 1) * step, price)
        market.commit(index)
        rate = _QUIET_RATE if since_s < BUSY_S else _BUSY_RATE if since_s < CALM_S else _CALM_RATE
        for burst in self._bursts:
            if burst <= since_s < burst + _BURST_S:
                rate *= _BURST_TIMES
                if burst not in self._seen:
                    self._seen.add(burst)
                    self._count("burst")
        due = now_ns + int(rng.uniform(0.3, 1.7) / rate * NS_PER_S)
        if since_s < BUSY_S:
            due = min(due, self.start_ns + int(BUSY_S * NS_PER_S) + 1)
        due = due // NS_PER_MS * NS_PER_MS + index + 1
        over = since_s >= LAST_S or (since_s >= END_S and self._at_rest())
        if not over:
            heapq.heappush(self._agenda, (due, index))

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        return None

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1

    def _quote(self, market: Market, index: int) -> None:
        instrument, rng = self.instruments[index], self._rng[index]
        middle = int(self._price[index]) // instrument.tick
        for side, direction in ((Side.BUY, -1), (Side.SELL, 1)):
            prices = [(middle + direction * (k + 1)) * instrument.tick for k in range(_LEVELS)]
            for price in self._levels[index][side]:
                market.set_level(index, side, price, 0)
            self._levels[index][side] = prices
        for side in (Side.BUY, Side.SELL):
            for price in self._levels[index][side]:
                qty = int(_LEVEL_QUOTE * rng.uniform(0.2, 1.5)) * E8 // price // instrument.step * instrument.step
                market.set_level(index, side, price, qty)
