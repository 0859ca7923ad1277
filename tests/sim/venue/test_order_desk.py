"""Placing orders: the answers, the events and the money of each order type."""

from __future__ import annotations

import pytest

from sentinel.sim.venue.api_error import ApiError
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.venue.scripted_exchange import Venue, quote, taker


def test_ioc_partly_filled_reports_new_trades_and_expiry() -> None:
    venue = Venue()
    result = venue.place("BUY", "150", "1.01", "IOC", newClientOrderId="ioc-1")
    assert (result["status"], result["executedQty"]) == ("EXPIRED", "100.00000000")
    assert result["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    assert result["cummulativeQuoteQty"] == "101.00000000"
    assert [fill["price"] for fill in result["fills"]] == ["1.01000000"]
    assert venue.states() == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED")]
    trade, expiry = venue.reports()[1:]
    assert (trade["l"], trade["L"], trade["z"], trade["Z"], trade["Y"]) == (
        "100.00000000",
        "1.01000000",
        "100.00000000",
        "101.00000000",
        "101.00000000",
    )
    assert (trade["n"], trade["N"], trade["m"], trade["t"]) == ("0.10000000", "PUMP", False, result["fills"][0]["tradeId"])
    assert expiry["eR"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    assert venue.user[-1][1]["e"] == "outboundAccountPosition"
    assert venue.balance("USDT") == (10_000 * E8 - 101 * E8, 0)
    assert venue.balance("PUMP") == (1_000 * E8 + 100 * E8 - E8 // 10, 0)


def test_a_taker_walks_the_levels_and_rests_with_its_remainder() -> None:
    venue = Venue()
    result = venue.place("BUY", "250", "1.02")
    assert (result["status"], result["executedQty"], result["cummulativeQuoteQty"]) == (
        "PARTIALLY_FILLED",
        "200.00000000",
        "203.00000000",
    )
    assert venue.exchange.depth("PUMPUSDT", 1)["bids"] == [["1.02000000", "50.00000000"]]
    assert venue.balance("USDT") == (10_000 * E8 - 203 * E8 - 51 * E8, 51 * E8)
    assert venue.exchange.open_orders("a", {"symbol": "PUMPUSDT"})[0]["status"] == "PARTIALLY_FILLED"


def test_fok_fills_whole_or_not_at_all() -> None:
    venue = Venue()
    killed = venue.place("BUY", "201", "1.02", "FOK")
    assert (killed["status"], killed["executedQty"], killed["expiryReason"]) == (
        "EXPIRED",
        "0.00000000",
        "UNFILLED_FOK_ORDER_EXPIRED",
    )
    assert venue.states() == [("NEW", "NEW"), ("EXPIRED", "EXPIRED")]
    assert venue.balance("USDT") == (10_000 * E8, 0)
    assert venue.place("BUY", "200", "1.02", "FOK")["status"] == "FILLED"


def test_fok_does_not_count_its_owners_orders() -> None:
    venue = Venue(opening=[])
    venue.place("SELL", "100", "1.00")
    assert venue.place("BUY", "100", "1.00", "FOK")["status"] == "EXPIRED"
    assert venue.place("BUY", "100", "1.00", "FOK", account="b")["status"] == "FILLED"


def test_market_order_without_enough_liquidity_expires_part_filled() -> None:
    venue = Venue()
    result = venue.place("BUY", "400")
    assert (result["status"], result["executedQty"], result["expiryReason"]) == (
        "EXPIRED",
        "300.00000000",
        "INSUFFICIENT_LIQUIDITY",
    )
    assert venue.states() == [("NEW", "NEW"), *[("TRADE", "PARTIALLY_FILLED")] * 3, ("EXPIRED", "EXPIRED")]
    assert venue.balance("USDT") == (10_000 * E8 - 306 * E8, 0)


@pytest.mark.parametrize(
    ("side", "quote", "executed", "spent", "status"),
    [
        ("BUY", "50", "49.00000000", "49.49000000", "FILLED"),
        ("BUY", "1000", "300.00000000", "306.00000000", "EXPIRED"),
        ("SELL", "50", "50.00000000", "49.50000000", "FILLED"),
        ("SELL", "1000", "300.00000000", "294.00000000", "EXPIRED"),
    ],
)
def test_market_order_sized_in_quote_stays_within_it(side: str, quote: str, executed: str, spent: str, status: str) -> None:
    venue = Venue()
    result = venue.place(side, "", quoteOrderQty=quote)
    assert (result["executedQty"], result["cummulativeQuoteQty"], result["status"]) == (executed, spent, status)
    assert result["origQuoteOrderQty"] == f"{quote}.00000000"
    assert venue.balance("USDT")[1] == venue.balance("PUMP")[1] == 0


def test_limit_maker_rests_or_is_refused() -> None:
    venue = Venue()
    with pytest.raises(ApiError, match="would immediately match") as refused:
        venue.place("BUY", "10", "1.01", type="LIMIT_MAKER")
    assert refused.value.code == -2010
    assert set(venue.place("BUY", "10", "1.00", type="LIMIT_MAKER")) == {
        "symbol",
        "orderId",
        "orderListId",
        "clientOrderId",
        "transactTime",
    }


def test_resting_order_waits_for_the_queue_before_it() -> None:
    venue = Venue(actions=[(step, taker(Side.SELL, qty, 99)) for step, qty in ((1, 100), (2, 4), (3, 20))])
    venue.place("BUY", "10", "0.99")
    venue.exchange.advance(venue.exchange.now_ns + 1)
    assert venue.states() == [("NEW", "NEW")]
    venue.exchange.advance(venue.exchange.now_ns + 2)
    assert venue.states()[1:] == [("TRADE", "PARTIALLY_FILLED"), ("TRADE", "FILLED")]
    assert [(r["l"], r["m"], r["n"], r["N"]) for r in venue.reports()[1:]] == [
        ("4.00000000", True, "0.00400000", "PUMP"),
        ("6.00000000", True, "0.00600000", "PUMP"),
    ]
    trades = venue.exchange.my_trades("a", {"symbol": "PUMPUSDT"})
    assert [trade["id"] for trade in trades] == [trade["t"] for trade in venue.stream("trade")[1:3]]
    assert venue.balance("USDT") == (10_000 * E8 - 990_000_000, 0)


def test_market_maker_quoting_through_an_account_order_trades_with_it() -> None:
    venue = Venue(actions=[(1, quote(Side.SELL, 100, 30))])
    venue.place("BUY", "10", "1.00")
    venue.exchange.advance(venue.exchange.now_ns + 1)
    assert venue.states()[-1] == ("TRADE", "FILLED")
    assert venue.exchange.ticker_book(["PUMPUSDT"])[0]["askQty"] == "20.00000000"


@pytest.mark.parametrize(
    ("mode", "states", "filled"),
    [
        ("NONE", [("NEW", "NEW"), ("NEW", "NEW"), ("TRADE", "FILLED"), ("TRADE", "FILLED")], "10.00000000"),
        ("EXPIRE_MAKER", [("NEW", "NEW"), ("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")], "0.00000000"),
        ("EXPIRE_TAKER", [("NEW", "NEW"), ("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")], "0.00000000"),
        (
            "EXPIRE_BOTH",
            [("NEW", "NEW"), ("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")],
            "0.00000000",
        ),
        (
            "DECREMENT",
            [("NEW", "NEW"), ("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")],
            "0.00000000",
        ),
    ],
)
def test_self_trade_prevention_follows_the_takers_mode(mode: str, states: list[tuple[str, str]], filled: str) -> None:
    venue = Venue(opening=[])
    venue.place("SELL", "10", "1.00")
    result = venue.place("BUY", "10", "1.00", selfTradePreventionMode=mode)
    assert venue.states() == states
    assert result["executedQty"] == filled
    open_now = {order["side"] for order in venue.exchange.open_orders("a", {})}
    assert open_now == {"EXPIRE_MAKER": {"BUY"}, "EXPIRE_TAKER": {"SELL"}}.get(mode, set())
    locked = (venue.balance("USDT")[1], venue.balance("PUMP")[1])
    assert locked == {"EXPIRE_MAKER": (10 * E8, 0), "EXPIRE_TAKER": (0, 10 * E8)}.get(mode, (0, 0))


def test_accounts_of_one_trade_group_do_not_trade_with_each_other() -> None:
    venue = Venue(opening=[])
    venue.exchange.ledger.accounts["b"].trade_group = "a"
    venue.exchange.desk.default_stp = "EXPIRE_BOTH"
    venue.place("SELL", "10", "1.00")
    venue.place("BUY", "20", "1.00", account="b")
    assert venue.states("a")[-1] == venue.states("b")[-1] == ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")
    stopped, prevented = venue.reports("a")[-1], venue.reports("b")[-1]
    assert (stopped["B"], stopped["U"], stopped["u"]) == ("10.00000000", prevented["i"], prevented["u"])
    assert (prevented["B"], prevented["U"]) == ("20.00000000", stopped["i"])
    assert not venue.exchange.desk.open[0]
    assert venue.balance("PUMP")[1] == 0


def test_a_market_buy_past_its_own_ask_pays_for_what_lies_beyond() -> None:
    venue = Venue(opening=[])
    venue.exchange.set_level(0, Side.SELL, 50 * E8, 20 * E8)
    venue.place("SELL", "10", "40.00")
    result = venue.place("BUY", "10")
    assert (result["executedQty"], result["cummulativeQuoteQty"]) == ("10.00000000", "500.00000000")
    assert venue.balance("USDT") == (9_500 * E8, 0)


def test_price_range_rule_expires_what_would_trade_outside_it() -> None:
    venue = Venue(price_range_bps=150)
    result = venue.place("BUY", "150", "1.03", "IOC")
    assert (result["executedQty"], result["expiryReason"]) == ("100.00000000", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"side": "BUY", "qty": "10000", "price": "1.05"}, -2010, "Account has insufficient balance for requested action."),
        ({"side": "SELL", "qty": "1001"}, -2010, "Account has insufficient balance for requested action."),
        ({"side": "BUY", "qty": "10", "price": "1.005"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"side": "BUY", "qty": "0.5", "price": "1.00"}, -1013, "Filter failure: LOT_SIZE"),
        ({"side": "BUY", "qty": "4", "price": "1.00"}, -1013, "Filter failure: NOTIONAL"),
        ({"side": "BUY", "qty": "10", "price": "5.01"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"side": "BUY", "qty": "10", "price": "1.00", "symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ({"side": "BUY", "qty": "10", "price": "1.00", "stopPrice": "0.9"}, -1106, "Parameter 'stopPrice' sent when"),
        ({"side": "HOLD", "qty": "10", "price": "1.00"}, -1117, "Invalid side."),
    ],
)
def test_refused_orders_change_nothing(params: dict[str, str], code: int, text: str) -> None:
    venue = Venue()
    with pytest.raises(ApiError) as refused:
        venue.place(**params)
    assert refused.value.code == code
    assert refused.value.msg.startswith(text)
    assert venue.user == []
    assert venue.public == []
    assert venue.balance("USDT") == (10_000 * E8, 0)


def test_client_id_is_unique_among_open_orders_only() -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90", newClientOrderId="mine")
    with pytest.raises(ApiError, match="Duplicate order sent"):
        venue.place("BUY", "10", "0.90", newClientOrderId="mine")
    venue.place("BUY", "10", "0.90", account="b", newClientOrderId="mine")
    venue.exchange.cancel("a", {"symbol": "PUMPUSDT", "origClientOrderId": "mine"})
    assert venue.place("BUY", "10", "0.90", newClientOrderId="mine")["status"] == "NEW"


def test_closed_market_takes_no_orders() -> None:
    with pytest.raises(ApiError, match="Market is closed"):
        Venue(status="BREAK").place("BUY", "10", "1.00")


def test_order_count_and_position_filters_bound_the_account() -> None:
    venue = Venue(max_orders=2, max_position=1_050 * E8)
    venue.place("BUY", "30", "0.90")
    with pytest.raises(ApiError, match="MAX_POSITION"):
        venue.place("BUY", "30", "0.90")
    venue.place("SELL", "30", "1.50")
    with pytest.raises(ApiError, match="MAX_NUM_ORDERS"):
        venue.place("SELL", "30", "1.50")
    assert venue.place("SELL", "30", "1.50", account="b")["status"] == "NEW"


def test_order_test_checks_everything_and_does_nothing() -> None:
    venue = Venue()
    params = {"symbol": "PUMPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1.05", "quantity": "10"}
    assert venue.exchange.test_order("a", params) == {}
    with pytest.raises(ApiError, match="insufficient"):
        venue.exchange.test_order("a", params | {"quantity": "100000"})
    assert venue.user == []


def test_trade_between_accounts_serves_both_with_one_trade_id() -> None:
    venue = Venue(opening=[])
    venue.place("SELL", "10", "1.00")
    venue.place("BUY", "10", "1.00", account="b")
    sold, bought = venue.reports("a")[-1], venue.reports("b")[-1]
    assert sold["t"] == bought["t"] == venue.stream("trade")[-1]["t"]
    assert (sold["m"], bought["m"], sold["N"], bought["N"]) == (True, False, "USDT", "PUMP")
