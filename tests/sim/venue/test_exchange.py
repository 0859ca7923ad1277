"""The exchange as a whole: time, public messages, conservation of money."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import VenueError
from sentinel.sim.market.source import Market
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.scripted_market import Action, ScriptedSource
from tests.sim.venue.scripted_exchange import INSTRUMENT, SECOND, START_NS, TICK, Venue, quote, taker

MS = 1_000_000


sweep = taker(Side.BUY, 150, 103)


def test_a_sweep_prints_trades_then_the_new_top_then_a_depth_difference() -> None:
    venue = Venue(actions=[(SECOND, sweep)])
    first_id = venue.exchange.depth("PUMPUSDT")["lastUpdateId"]
    venue.advance(2)
    assert [stream for stream, _ in venue.public] == [
        "pumpusdt@trade",
        "pumpusdt@trade",
        "pumpusdt@bookTicker",
        "pumpusdt@depth@100ms",
    ]
    trades, ticker, depth = venue.stream("trade"), venue.stream("bookTicker")[0], venue.stream("depth@100ms")[0]
    assert [(t["p"], t["q"], t["m"]) for t in trades] == [
        ("1.01000000", "100.00000000", False),
        ("1.02000000", "50.00000000", False),
    ]
    assert trades[1]["t"] == trades[0]["t"] + 1
    assert trades[0]["T"] == trades[0]["E"] == (START_NS + SECOND) // MS
    assert (ticker["a"], ticker["A"], ticker["b"]) == ("1.02000000", "50.00000000", "0.99000000")
    assert depth["a"] == [["1.01000000", "0.00000000"], ["1.02000000", "50.00000000"]]
    assert depth["b"] == []
    assert (depth["U"], depth["u"], ticker["u"]) == (first_id + 1, first_id + 2, first_id + 2)
    assert 0 < depth["E"] - trades[0]["E"] <= 100


def test_time_follows_the_caller_and_never_goes_back() -> None:
    venue = Venue(actions=[(SECOND, sweep)])
    assert venue.exchange.next_time() == START_NS + SECOND
    venue.exchange.advance(START_NS + SECOND - 1)
    assert venue.public == []
    assert venue.exchange.advance(START_NS + SECOND) == 1
    due = venue.exchange.next_time()
    assert due is not None
    assert START_NS + SECOND < due <= START_NS + SECOND + 100 * MS
    venue.exchange.advance(START_NS)
    assert venue.exchange.now_ns == START_NS + SECOND
    venue.exchange.advance(due)
    assert venue.exchange.next_time() is None
    assert not venue.exchange.ended
    venue.exchange.advance(START_NS + 3600 * SECOND)
    assert venue.exchange.ended


def test_only_wanted_streams_are_published() -> None:
    venue = Venue(actions=[(SECOND, sweep)])
    venue.exchange.subscriptions = {"pumpusdt@bookTicker": 1}
    venue.advance(2)
    assert [stream for stream, _ in venue.public] == ["pumpusdt@bookTicker"]


def test_account_orders_are_seen_in_the_public_book() -> None:
    venue = Venue()
    venue.place("BUY", "40", "1.00")
    ticker = venue.stream("bookTicker")[-1]
    assert (ticker["b"], ticker["B"]) == ("1.00000000", "40.00000000")
    venue.exchange.cancel_all("a", {"symbol": "PUMPUSDT"})
    assert venue.stream("bookTicker")[-1]["b"] == "0.99000000"
    venue.advance(0.2)
    assert venue.stream("depth@100ms")[0]["b"] == [["1.00000000", "0.00000000"]]


def test_one_seed_gives_one_set_of_ids_and_another_seed_others() -> None:
    def first_ids(seed: int) -> tuple[Any, ...]:
        exchange = Exchange((INSTRUMENT,), ScriptedSource((INSTRUMENT,)), {"a": {"USDT": 100 * E8}}, seed)
        order = {"symbol": "PUMPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1", "quantity": "10"}
        return exchange.depth("PUMPUSDT")["lastUpdateId"], exchange.place("a", order)["orderId"]

    assert first_ids(1) == first_ids(1) != first_ids(2)


def test_instruments_must_be_the_sources() -> None:
    with pytest.raises(VenueError, match="instruments"):
        Exchange((), ScriptedSource((INSTRUMENT,)), {})


@pytest.mark.parametrize("limit", [0, 5001])
def test_depth_limit_is_bounded(limit: int) -> None:
    with pytest.raises(ApiError) as refused:
        Venue().exchange.depth("PUMPUSDT", limit)
    assert refused.value.code == -1130


def test_public_requests_know_only_listed_symbols() -> None:
    exchange = Venue().exchange
    for request in (
        lambda: exchange.depth("X"),
        lambda: exchange.exchange_info(["X"]),
        lambda: exchange.ticker_book(["X"]),
        lambda: exchange.ticker_price(["X"]),
        lambda: exchange.avg_price("X"),
        lambda: exchange.recent_trades("X"),
    ):
        with pytest.raises(ApiError, match="Invalid symbol"):
            request()


def test_average_price_is_weighted_over_its_minutes() -> None:
    venue = Venue(actions=[(SECOND, taker(Side.BUY, 100, 101)), (200 * SECOND, taker(Side.BUY, 50, 102))])
    assert venue.exchange.avg_price("PUMPUSDT")["price"] == "1.00000000"
    venue.advance(201)
    assert venue.exchange.avg_price("PUMPUSDT")["price"] == "1.01333333"
    venue.advance(200)
    assert venue.exchange.avg_price("PUMPUSDT")["price"] == "1.02000000"
    venue.advance(1000)
    assert venue.exchange.avg_price("PUMPUSDT")["price"] == "1.02000000"
    assert venue.exchange.ticker_price() == [{"symbol": "PUMPUSDT", "price": "1.02000000"}]
    assert [trade["price"] for trade in venue.exchange.recent_trades("PUMPUSDT", 1)] == ["1.02000000"]


def test_a_relayed_market_keeps_account_trades_off_its_tape_and_fills_what_it_trades_through() -> None:
    def trade(price: int, qty: int) -> Action:
        def action(market: Market) -> None:
            market.print_trade(0, Side.SELL, price * TICK, qty * E8, 77)
            market.commit(0)

        return action

    venue = Venue(actions=[(1, trade(99, 100)), (2, trade(99, 3)), (3, trade(97, 4)), (4, quote(Side.SELL, 98, 4))], relays=True)
    venue.place("BUY", "10", "0.99")
    for step, filled in enumerate(["0.00000000", "3.00000000", "7.00000000", "10.00000000"], start=1):
        venue.exchange.advance(START_NS + step)
        assert venue.exchange.all_orders("a", {"symbol": "PUMPUSDT"})[0]["executedQty"] == filled
    assert venue.public == []
    assert {report["L"] for report in venue.reports()[1:]} == {"0.99000000"}
    assert len({report["t"] for report in venue.reports()[1:]}) == 3
    assert venue.exchange.recent_trades("PUMPUSDT")[-1]["id"] == 77


order_actions = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from("ab"),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(95, 106),
        st.integers(5, 300),
        st.sampled_from(["GTC", "IOC", "FOK"]),
        st.sampled_from(["NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"]),
    ),
    st.tuples(st.just("market"), st.sampled_from("ab"), st.sampled_from(["BUY", "SELL"]), st.integers(5, 600), st.booleans()),
    st.tuples(st.just("cancel"), st.sampled_from("ab")),
    st.tuples(st.just("amend"), st.sampled_from("ab"), st.integers(5, 200)),
    st.tuples(st.just("taker"), st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 200), st.integers(95, 106)),
    st.tuples(st.just("maker"), st.sampled_from([Side.BUY, Side.SELL]), st.integers(95, 106), st.integers(0, 100)),
)


def perform(venue: Venue, action: tuple[Any, ...]) -> None:
    kind, *rest = action
    exchange = venue.exchange
    if kind == "place":
        account, side, price, qty, tif, stp = rest
        venue.place(side, str(qty), f"{price / 100:.2f}", tif, account, selfTradePreventionMode=stp)
    elif kind == "market":
        account, side, qty, in_quote = rest
        venue.place(side, "" if in_quote else str(qty), account=account, **({"quoteOrderQty": str(qty)} if in_quote else {}))
    elif kind == "cancel":
        exchange.cancel_all(rest[0], {"symbol": "PUMPUSDT"})
    elif kind == "amend":
        account, qty = rest
        for order in exchange.open_orders(account, {}):
            exchange.amend(account, {"symbol": "PUMPUSDT", "orderId": str(order["orderId"]), "newQty": str(qty)})
    elif kind == "taker":
        side, qty, limit = rest
        exchange.take(0, side, qty * E8, limit * TICK)
        exchange.commit(0)
    else:
        side, price, qty = rest
        book = exchange.books[0]
        best = book.asks.best()[0] if side == Side.BUY else book.bids.best()[0]
        if not best or (price * TICK < best if side == Side.BUY else price * TICK > best):
            exchange.set_level(0, side, price * TICK, qty * E8)
            exchange.commit(0)


def check_ledger(venue: Venue) -> None:
    """Every asset sums to what there was; nothing is overdrawn; what is locked is what open orders lock."""
    exchange = venue.exchange
    for asset, side, total in (("USDT", Side.BUY, 20_000 * E8), ("PUMP", Side.SELL, 2_000 * E8)):
        assert exchange.ledger.total(asset) == total
        for account in exchange.ledger.accounts.values():
            balance = account.balance(asset)
            orders = exchange.desk.open_of(account.name, 0)
            assert balance.free >= 0
            assert balance.locked == sum(order.locked for order in orders if order.side == side)
    bid, _, ask, _ = exchange.books[0].top()
    assert not bid or not ask or bid < ask


def check_reports(venue: Venue) -> None:
    """Each order's reports grow, stop at a terminal one, and end where a query of the order stands."""
    last: dict[int, dict[str, Any]] = {}
    for _, event in venue.user:
        if event["e"] != "executionReport":
            continue
        previous = last.get(event["i"])
        if previous is not None:
            assert float(event["z"]) >= float(previous["z"])
            assert previous["X"] in ("NEW", "PARTIALLY_FILLED")
        last[event["i"]] = event
    for account in "ab":
        for order in venue.exchange.all_orders(account, {"symbol": "PUMPUSDT"}):
            event = last[order["orderId"]]
            assert (event["z"], event["X"], event["Z"]) == (order["executedQty"], order["status"], order["cummulativeQuoteQty"])


def check_public_book(venue: Venue, snapshot: dict[str, Any]) -> None:
    """A local book built from the snapshot and the differences: no gap, best prices as in the book ticker, the same end."""
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    last_id = snapshot["lastUpdateId"]
    ticker = None
    for stream, payload in venue.public:
        if stream.endswith("bookTicker"):
            ticker = payload
        elif "depth" in stream:
            assert payload["U"] == last_id + 1
            last_id = payload["u"]
            for name in "ba":
                for price, qty in payload[name]:
                    book[name].pop(price, None)
                    if qty != "0.00000000":
                        book[name][price] = qty
            if ticker is not None:
                bid, ask = max(book["b"], key=float, default="0.00000000"), min(book["a"], key=float, default="0.00000000")
                assert (ticker["b"], ticker["B"]) == (bid, book["b"].get(bid, "0.00000000"))
                assert (ticker["a"], ticker["A"]) == (ask, book["a"].get(ask, "0.00000000"))
    final = venue.exchange.depth("PUMPUSDT", 100)
    assert (dict(final["bids"]), dict(final["asks"]), final["lastUpdateId"]) == (book["b"], book["a"], last_id)


@settings(max_examples=60)
@given(st.lists(order_actions, max_size=30))
def test_money_is_conserved_and_every_view_agrees_after_any_orders(actions: list[tuple[Any, ...]]) -> None:
    venue = Venue()
    snapshot = venue.exchange.depth("PUMPUSDT", 100)
    for action in actions:
        with contextlib.suppress(ApiError):
            perform(venue, action)
        venue.advance(0.11)
        check_ledger(venue)
    check_reports(venue)
    check_public_book(venue, snapshot)
