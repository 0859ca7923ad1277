"""The seeded market: one market a seed, measured shapes, books that agree with their tickers."""

from __future__ import annotations

import hashlib
import json
import statistics
from random import Random
from typing import Any

import pytest

from sentinel.errors import ConfigError
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel, demo_events, demo_market, exponential, gaussian
from sentinel.sim.venue.exchange import Exchange
from sentinel.units import E8, NS_PER_S, parse_e8

ACCOUNTS = {"a": {"USDT": 100_000 * E8}}
Messages = list[tuple[int, str, dict[str, Any]]]


def run(model: MarketModel) -> Messages:
    exchange = Exchange(model.instruments, model, ACCOUNTS, seed=1)
    messages: Messages = []
    exchange.publish = lambda stream, payload: messages.append((exchange.now_ns, stream, payload))
    assert model.end_ns is not None
    exchange.advance(model.end_ns + NS_PER_S)
    assert exchange.ended
    return messages


@pytest.fixture(scope="module")
def demo() -> tuple[MarketModel, Messages]:
    model = demo_market(seed=11, minutes=6.0)
    return model, run(model)


def trades_of(messages: Messages, symbol: str) -> list[tuple[int, float, float, bool]]:
    """(time ns, price, quantity, taker buys)"""
    stream = f"{symbol.lower()}@trade"
    return [(t, float(p["p"]), float(p["q"]), not p["m"]) for t, name, p in messages if name == stream]


def digest(messages: Messages) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()


def test_one_seed_gives_one_market_and_another_seed_another() -> None:
    def market(seed: int) -> str:
        return digest(run(MarketModel(seed, minutes=2.0, events=[Episode("NOVAUSDT", 60.0)])))

    assert market(3) == market(3)
    assert market(3) != market(4)


def test_a_coin_draws_its_own_numbers_whatever_the_others_do() -> None:
    alone = run(MarketModel(5, COINS[4:5], minutes=1.0))
    among = [m for m in run(MarketModel(5, COINS[4:7], minutes=1.0)) if m[1].startswith("novausdt@trade")]
    assert [(t, p["p"], p["q"]) for t, _, p in among] == [(t, p["p"], p["q"]) for t, s, p in alone if s == "novausdt@trade"]
    assert among


def test_pump_and_dump_have_the_measured_size_and_pace(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    for event in model.events:
        onset_ns = model.start_ns + int(event.onset_s * NS_PER_S)
        trades = [(t - onset_ns, price, qty, buys) for t, price, qty, buys in trades_of(messages, event.symbol)]
        before = [price for t, price, _, _ in trades if t < 0]
        pre = before[-1]
        first_minute = [trade for trade in trades if 0 <= trade[0] < 60 * NS_PER_S]
        moves = [((price / pre) ** event.direction - 1.0, t) for t, price, _, _ in first_minute]
        peak, peak_ns = max(moves)
        assert peak == pytest.approx(0.20, abs=0.02)
        assert 24 * NS_PER_S < peak_ns < 40 * NS_PER_S
        assert max(move for move, t in moves if t < 5 * NS_PER_S) > 0.05
        after = [(price / pre) ** event.direction - 1.0 for t, price, _, _ in trades if t > 100 * NS_PER_S]
        assert after[-1] < 0.4 * peak
        assert max(abs(price / pre - 1.0) for price in before) < 0.025


def test_rush_orders_put_hundreds_of_trades_in_one_tenth_of_a_second(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    for event in model.events:
        onset_ns = model.start_ns + int(event.onset_s * NS_PER_S)
        burst = [trade for trade in trades_of(messages, event.symbol) if 0 <= trade[0] - onset_ns < 100_000_000]
        per_millisecond: dict[int, int] = {}
        for t, *_ in burst:
            per_millisecond[t // 1_000_000] = per_millisecond.get(t // 1_000_000, 0) + 1
        assert len(burst) > 150
        assert max(per_millisecond.values()) > 100
        assert sum(buys == (event.direction > 0) for *_, buys in burst) > 0.9 * len(burst)


def test_volume_jumps_far_beyond_the_average_before(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    for event in model.events:
        onset_ns = model.start_ns + int(event.onset_s * NS_PER_S)
        trades = trades_of(messages, event.symbol)
        before = sum(price * qty for t, price, qty, _ in trades if t < onset_ns) / event.onset_s
        minute = sum(price * qty for t, price, qty, _ in trades if 0 <= t - onset_ns < 60 * NS_PER_S) / 60
        assert before > 0
        assert minute / before > 30


def test_quiet_coins_never_look_like_a_pump(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    eventful = {event.symbol for event in model.events}
    for instrument in model.instruments:
        if instrument.symbol in eventful:
            continue
        trades = trades_of(messages, instrument.symbol)
        assert len(trades) > 20
        for position, (t, price, _, _) in enumerate(trades):
            minute = [p for u, p, _, _ in trades[max(0, position - 500) : position] if t - u < 60 * NS_PER_S]
            assert all(abs(price / earlier - 1.0) < 0.02 for earlier in minute)


def test_every_depth_event_continues_the_last_and_agrees_with_the_ticker(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    fresh = Exchange(model.instruments, demo_market(seed=11, minutes=6.0), ACCOUNTS, seed=1)
    checked = 0
    for instrument in model.instruments:
        snapshot = fresh.depth(instrument.symbol, 5000)
        books = {"b": _numbers(snapshot["bids"]), "a": _numbers(snapshot["asks"])}
        last_id, ticker = snapshot["lastUpdateId"], None
        name = instrument.symbol.lower()
        for _, stream, payload in messages:
            if stream == f"{name}@bookTicker":
                ticker = payload
                assert parse_e8(payload["b"]) < parse_e8(payload["a"])
            elif stream == f"{name}@depth@100ms":
                assert payload["U"] == last_id + 1
                last_id = payload["u"]
                for side, book in books.items():
                    book.update(_numbers(payload[side]))
                    for price in [price for price, qty in book.items() if not qty]:
                        del book[price]
                if ticker is not None:
                    bid, ask = max(books["b"]), min(books["a"])
                    seen = tuple(parse_e8(ticker[field]) for field in "bBaA")
                    assert seen == (bid, books["b"][bid], ask, books["a"][ask])
                    checked += 1
    assert checked > 5000


def test_prices_and_quantities_fit_the_filters(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    by_symbol = {instrument.symbol: instrument for instrument in model.instruments}
    for _, stream, payload in messages:
        if stream.endswith("@trade"):
            instrument = by_symbol[payload["s"]]
            assert parse_e8(payload["p"]) % instrument.tick == 0
            assert parse_e8(payload["q"]) % instrument.step == 0


def test_message_rate_and_share_of_deletions_are_those_of_a_real_market(demo: tuple[MarketModel, Messages]) -> None:
    model, messages = demo
    assert model.end_ns is not None
    rate = len(messages) / ((model.end_ns - model.start_ns) / NS_PER_S)
    assert 50 < rate < 200
    levels = [row[1] for _, s, p in messages if "@depth" in s for row in (*p["b"], *p["a"])]
    assert 0.2 < levels.count("0.00000000") / len(levels) < 0.6


def test_variates_have_their_mean_and_variance() -> None:
    rng = Random(1)
    exponentials = [exponential(rng) for _ in range(20_000)]
    normals = [gaussian(rng) for _ in range(20_000)]
    assert statistics.fmean(exponentials) == pytest.approx(1.0, abs=0.03)
    assert statistics.pvariance(exponentials) == pytest.approx(1.0, abs=0.08)
    assert sum(e > 2.0 for e in exponentials) / 20_000 == pytest.approx(0.1353, abs=0.01)
    assert statistics.fmean(normals) == pytest.approx(0.0, abs=0.03)
    assert statistics.pvariance(normals) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("minutes", [4.0, 10.0, 60.0, 600.0])
def test_demo_events_leave_room_before_and_after(minutes: float) -> None:
    pump, dump = demo_events(minutes)
    assert pump.onset_s >= 120.0
    assert dump.onset_s >= pump.onset_s + 10.0
    assert dump.onset_s + dump.peak_s + 60.0 <= minutes * 60.0
    assert (pump.direction, dump.direction) == (1, -1)
    assert pump.symbol != dump.symbol


def test_a_demo_too_short_for_history_says_so() -> None:
    with pytest.raises(ConfigError, match="minutes"):
        demo_market(1, minutes=3.0)


@pytest.mark.parametrize("event", [Episode("NOPEUSDT", 60.0), Episode("NOVAUSDT", 0.0), Episode("NOVAUSDT", 600.0)])
def test_events_outside_the_market_are_refused(event: Episode) -> None:
    with pytest.raises(ConfigError, match="events"):
        MarketModel(1, minutes=10.0, events=[event])


def _numbers(rows: list[list[str]]) -> dict[int, int]:
    return {parse_e8(price): parse_e8(qty) for price, qty in rows}
