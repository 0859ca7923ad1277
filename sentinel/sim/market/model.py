"""A seeded market: thin and busy coins, bursts of taker orders, and pumps and dumps shaped like measured ones.

Each coin has a fair price that wanders around a slow one. Makers keep a ladder of levels around their view of it, which lags;
takers arrive in clusters, some of many orders within one millisecond, and trade through the exchange's own book. Random numbers
use uniform draws, sums and square roots only, so one seed gives one market on every platform.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from random import Random
from typing import Any

from sentinel.errors import ConfigError
from sentinel.sim.market.coins import COINS, Coin
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.source import Market
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Side

#: 2025-01-06 12:00:00 UTC
DEFAULT_START_NS = 1_736_164_800 * NS_PER_S
MIN_MINUTES = 4.0
#: Share of takers that come several in one millisecond, usually and in an episode, and the mean size of all clusters then.
TOGETHER, MEAN_CLUSTER = 0.07, 1.2
TOGETHER_IN_EPISODE, MEAN_CLUSTER_IN_EPISODE = 0.45, 2.3
QUOTES_PER_TRADE = 0.8
#: Levels a requote adds after the price jumped, and how far beyond the target price takers still trade (a fraction).
MAX_REFILL = 12
TAKER_PATIENCE = 0.015

QUOTE, TAKE, RUSH = 0, 1, 2
#: Rush orders of an episode: (seconds since onset, taker orders in that millisecond, with the move or against it).
RUSHES = (
    (0.0, 110, True),
    (0.04, 30, True),
    (0.6, 25, True),
    (0.9, 18, False),
    (2.1, 30, True),
    (3.3, 18, False),
    (5.3, 25, True),
    (8.1, 15, False),
    (11.7, 20, True),
    (15.2, 15, False),
    (21.4, 15, True),
    (33.0, 35, False),
    (36.5, 20, False),
)


def exponential(rng: Random) -> float:
    """A standard exponential variate from comparisons alone (von Neumann 1951): no logarithm, equal on every platform."""
    whole = 0
    while True:
        first = previous = rng.random()
        runs = 1
        while (current := rng.random()) < previous:
            previous = current
            runs += 1
        if runs % 2:
            return whole + first
        whole += 1


def gaussian(rng: Random) -> float:
    """Nearly normal, mean 0, variance 1: four uniforms."""
    random = rng.random
    return (random() + random() + random() + random() - 2.0) * 1.7320508075688772


class _CoinState:
    """What the model keeps of one coin; ``fair``, ``anchor`` and ``view`` are e8 prices as floats."""

    __slots__ = ("anchor", "coin", "episodes", "fair", "index", "last_ns", "rng", "view")

    def __init__(self, index: int, coin: Coin, episodes: list[tuple[int, Episode]], seed: int) -> None:
        self.index = index
        self.coin = coin
        self.episodes = episodes
        self.rng = Random(f"market/{seed}/{coin.instrument.symbol}")
        self.fair = self.view = self.anchor = float(coin.price)
        self.last_ns = 0


class MarketModel:
    """A MarketSource of ``minutes`` virtual minutes of the given coins.

    The same arguments give the same market, as long as the same account orders meet it. Raises ConfigError for an episode on an
    unknown symbol or outside the run.
    """

    relays = False

    def __init__(
        self,
        seed: int,
        coins: Sequence[Coin] = COINS,
        minutes: float = 10.0,
        events: Sequence[Episode] = (),
        start_ns: int = DEFAULT_START_NS,
    ) -> None:
        self.instruments = tuple(coin.instrument for coin in coins)
        self.start_ns = start_ns
        self.end_ns: int | None = start_ns + round(minutes * 60) * NS_PER_S
        self.events = tuple(events)
        self.maker_size = tuple(_whole_steps(coin, coin.trade_quote * 1.5, coin.price) for coin in coins)
        symbols = {coin.instrument.symbol for coin in coins}
        for event in events:
            if event.symbol not in symbols:
                raise ConfigError("events.symbol", event.symbol, f"one of {sorted(symbols)}", "name a coin of the market")
            if not 0 < event.onset_s < minutes * 60:
                raise ConfigError("events.onset_s", event.onset_s, f"between 0 and {minutes * 60:g}", "start it inside the run")
        self._coins = []
        for index, coin in enumerate(coins):
            mine = [(start_ns + int(e.onset_s * NS_PER_S), e) for e in events if e.symbol == coin.instrument.symbol]
            self._coins.append(_CoinState(index, coin, mine, seed))
        self._agenda: list[tuple[int, int, int, int]] = []

    def open(self, market: Market) -> None:
        for state in self._coins:
            state.last_ns = self.start_ns
            for side, direction in ((Side.BUY, -1), (Side.SELL, 1)):
                touch = self._touch(state, direction)
                for k in range(state.coin.levels):
                    price = touch + direction * k * state.coin.grid
                    market.set_level(state.index, side, price, self._level_qty(state, k))
            for kind in (QUOTE, TAKE):
                # Every coin is alive from the first second on, however rarely it trades.
                heapq.heappush(self._agenda, (self.start_ns + int(state.rng.random() * NS_PER_S), state.index, kind, 0))
            for onset_ns, _ in state.episodes:
                for number, (since_s, _, _) in enumerate(RUSHES):
                    heapq.heappush(self._agenda, (onset_ns + int(since_s * NS_PER_S), state.index, RUSH, number))

    def next_time(self) -> int | None:
        if not self._agenda:
            return None
        due = self._agenda[0][0]
        return due if self.end_ns is None or due <= self.end_ns else None

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        return None

    def fire(self, market: Market) -> None:
        now_ns, index, kind, number = heapq.heappop(self._agenda)
        state = self._coins[index]
        self._wander(state, now_ns)
        if kind == QUOTE:
            self._requote(market, state, now_ns)
        elif kind == TAKE:
            self._cluster(market, state, now_ns)
        else:
            self._rush(market, state, now_ns, number)
        market.commit(index)
        if kind != RUSH:
            self._schedule(state, kind, now_ns)

    # Timing

    def _schedule(self, state: _CoinState, kind: int, now_ns: int) -> None:
        """Next arrival at the rate of now; an onset cuts the wait short, because the rate changes there."""
        trades = sum(e.trades_per_s((now_ns - onset_ns) / NS_PER_S) for onset_ns, e in state.episodes)
        if kind == QUOTE:
            rate = state.coin.quotes_per_s + QUOTES_PER_TRADE * trades
        else:
            rate = state.coin.trades_per_s / MEAN_CLUSTER + trades / MEAN_CLUSTER_IN_EPISODE
        due = now_ns + max(int(exponential(state.rng) / rate * NS_PER_S), 1)
        for onset_ns, _ in state.episodes:
            if now_ns < onset_ns < due:
                due = onset_ns + 1
        heapq.heappush(self._agenda, (due, state.index, kind, 0))

    # Prices

    def _wander(self, state: _CoinState, now_ns: int) -> None:
        """Move the coin's own price: a random walk pulled to its anchor within about two minutes."""
        elapsed_s = (now_ns - state.last_ns) / NS_PER_S
        state.last_ns = now_ns
        spread = state.coin.volatility_bps * 1e-4 * (min(elapsed_s, 60.0) / 60.0) ** 0.5
        pull = min(elapsed_s / 120.0, 1.0)
        state.fair *= 1.0 + spread * gaussian(state.rng)
        state.fair += (state.anchor - state.fair) * pull

    def _target(self, state: _CoinState, now_ns: int) -> float:
        price = state.fair
        for onset_ns, episode in state.episodes:
            price *= episode.move((now_ns - onset_ns) / NS_PER_S)
        return price

    def _touch(self, state: _CoinState, direction: int) -> int:
        """The makers' best price on the bid (-1) or ask (+1) side, a multiple of the grid."""
        grid = state.coin.grid
        bound = state.view * (1.0 + direction * state.coin.half_spread_bps * 1e-4)
        steps = int(bound // grid)
        return max(steps + (1 if direction > 0 else 0), 1) * grid

    def _level_qty(self, state: _CoinState, k: int) -> int:
        quote = state.coin.level_quote * (0.25 + 1.5 * state.rng.random()) * (1.0 + 0.08 * k)
        return _whole_steps(state.coin, quote, int(state.view))

    # Makers

    def _requote(self, market: Market, state: _CoinState, now_ns: int) -> None:
        """Makers step towards the target, pull quotes it has passed, refill the touch and refresh some levels."""
        rng, coin, index = state.rng, state.coin, state.index
        state.view += (self._target(state, now_ns) - state.view) * 0.4
        bid, _, ask, _ = market.top(index)
        best = {Side.BUY: bid, Side.SELL: ask}
        touches = {side: self._touch(state, direction) for side, direction in ((Side.BUY, -1), (Side.SELL, 1))}
        for side in (Side.BUY, Side.SELL):
            market.clear_beyond(index, side, touches[side])
        for side, direction in ((Side.BUY, -1), (Side.SELL, 1)):
            touch = touches[side]
            if best[side] != touch and (best[side] == 0 or rng.random() < 0.85):
                market.set_level(index, side, touch, self._level_qty(state, 0))
            # After a jump there is more to fill.
            for _ in range(1 + min(abs(touch - best[side]) // coin.grid, MAX_REFILL)):
                k = int(coin.levels * rng.random() * rng.random())
                # Beyond the touch, nearly half of all level changes of a real book are removals.
                removed = k > 0 and rng.random() < 0.45
                qty = 0 if removed else self._level_qty(state, k)
                market.set_level(index, side, max(touch + direction * k * coin.grid, coin.grid), qty)

    # Takers

    def _cluster(self, market: Market, state: _CoinState, now_ns: int) -> None:
        """One to a few dozen taker orders of one side in the same millisecond."""
        rng = state.rng
        buy_share, size, together = 0.5, 1.0, TOGETHER
        for onset_ns, episode in state.episodes:
            since_s = (now_ns - onset_ns) / NS_PER_S
            if since_s >= 0.0:
                buy_share, size = episode.buy_share(since_s), episode.size_factor(since_s)
                own = state.coin.trades_per_s
                share = episode.trades_per_s(since_s) / (own + episode.trades_per_s(since_s))
                together += (TOGETHER_IN_EPISODE - TOGETHER) * share
        side = Side.BUY if rng.random() < buy_share else Side.SELL
        orders = 1 if rng.random() >= together else min(int(2.0 / (1.0 - rng.random()) ** 0.5), 25)
        for _ in range(orders):
            self._take(market, state, now_ns, side, size)

    def _rush(self, market: Market, state: _CoinState, now_ns: int, number: int) -> None:
        """The rush orders of an episode: many takers within one millisecond, quotes updated between groups of them."""
        _, orders, along = RUSHES[number]
        since_s = RUSHES[number][0]
        direction = 1
        size = 1.0
        for onset_ns, episode in state.episodes:
            if now_ns // NS_PER_MS == (onset_ns + int(since_s * NS_PER_S)) // NS_PER_MS:
                direction, size = episode.direction, episode.size_factor(since_s)
        side = Side.BUY if (direction > 0) == along else Side.SELL
        orders = int(orders * (0.75 + 0.5 * state.rng.random()))
        for position in range(orders):
            self._take(market, state, now_ns, side, size)
            if position % 8 == 7:
                market.commit(state.index)

    def _take(self, market: Market, state: _CoinState, now_ns: int, side: Side, size: float) -> None:
        """One taker order: it trades at a touch not far beyond the target price, and through further levels up to the target."""
        rng, coin = state.rng, state.coin
        bid, _, ask, _ = market.top(state.index)
        touch = ask if side == Side.BUY else bid
        target = int(self._target(state, now_ns))
        beyond = touch - target if side == Side.BUY else target - touch
        if not touch or beyond > target * TAKER_PATIENCE:
            return
        quote = coin.trade_quote * size * min(0.5 / (1.0 - rng.random()) ** 0.5, 12.0)
        qty = _whole_steps(coin, quote, touch)
        limit = max(touch, target) if side == Side.BUY else max(min(touch, target), coin.grid)
        market.take(state.index, side, qty, limit)
        bid, _, ask, _ = market.top(state.index)
        if not (ask if side == Side.BUY else bid):
            # Somebody always quotes: one step beyond the price that was taken last.
            price = limit + coin.grid if side == Side.BUY else max(limit - coin.grid, coin.grid)
            opposite = Side.SELL if side == Side.BUY else Side.BUY
            market.set_level(state.index, opposite, price // coin.grid * coin.grid, self._level_qty(state, 0))


def _whole_steps(coin: Coin, quote: float, price: int) -> int:
    """Quantity e8 worth about ``quote``, at least one step."""
    step = coin.instrument.step
    return max(int(quote) * E8 // price // step, 1) * step


def demo_events(minutes: float) -> tuple[Episode, ...]:
    """A pump and, later, a dump on two thin coins, placed so that averages exist before and trades can end after."""
    if minutes < MIN_MINUTES:
        raise ConfigError("minutes", minutes, f"{MIN_MINUTES:g} or more", "features need two minutes of history before an event")
    total_s = minutes * 60.0
    pump_s = max(130.0, 0.3 * total_s)
    dump_s = min(pump_s + 0.25 * (total_s - pump_s), total_s - 96.0)
    decay_s = min(3600.0, max(60.0, 0.9 * (total_s - dump_s - 32.0)))
    return (
        Episode("NOVAUSDT", pump_s, direction=1, decay_s=decay_s),
        Episode("ORBIUSDT", dump_s, direction=-1, decay_s=decay_s),
    )


def demo_market(seed: int, minutes: float = 10.0, start_ns: int = DEFAULT_START_NS) -> MarketModel:
    """The market of the demo: all coins, one pump, one dump."""
    return MarketModel(seed, COINS, minutes, demo_events(minutes), start_ns)
