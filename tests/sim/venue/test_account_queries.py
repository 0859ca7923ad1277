"""What an account sees of itself."""

from __future__ import annotations

import pytest

from sentinel.sim.venue.api_error import ApiError
from tests.sim.venue.scripted_exchange import Venue

SYMBOL = {"symbol": "PUMPUSDT"}


def test_account_status_shows_balances_and_rates() -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90")
    status = venue.exchange.account_status("a", {})
    assert {b["asset"]: (b["free"], b["locked"]) for b in status["balances"]} == {
        "USDT": ("9991.00000000", "9.00000000"),
        "PUMP": ("1000.00000000", "0.00000000"),
    }
    assert (status["takerCommission"], status["commissionRates"]["taker"]) == (10, "0.00100000")


def test_commission_of_a_symbol_is_its_standard_part_alone() -> None:
    venue = Venue()
    told = venue.exchange.commission("a", SYMBOL)
    assert (told["standardCommission"]["taker"], told["taxCommission"]["taker"]) == ("0.00100000", "0.00000000")
    with pytest.raises(ApiError, match="-1121"):
        venue.exchange.commission("a", {"symbol": "NOPEUSDT"})


def test_zero_balances_can_be_left_out() -> None:
    venue = Venue()
    venue.place("SELL", "300")
    venue.place("SELL", "700", "1.50")
    venue.exchange.ledger.accounts["a"].balance("DUST")
    shown = venue.exchange.account_status("a", {"omitZeroBalances": "true"})["balances"]
    assert {b["asset"] for b in shown} == {"USDT", "PUMP"}


def test_orders_are_found_by_either_id_and_missing_ones_named() -> None:
    venue = Venue()
    order = venue.place("BUY", "10", "0.90", newClientOrderId="mine")
    by_client = venue.exchange.query_order("a", SYMBOL | {"origClientOrderId": "mine"})
    assert by_client == venue.exchange.query_order("a", SYMBOL | {"orderId": str(order["orderId"])})
    assert (by_client["status"], by_client["isWorking"], by_client["stopPrice"]) == ("NEW", True, "0.00000000")
    with pytest.raises(ApiError) as unknown:
        venue.exchange.query_order("b", SYMBOL | {"origClientOrderId": "mine"})
    assert unknown.value.code == -2013


def test_all_orders_page_from_an_id() -> None:
    venue = Venue()
    ids = [venue.place("BUY", "10", "0.90")["orderId"] for _ in range(4)]
    assert [o["orderId"] for o in venue.exchange.all_orders("a", SYMBOL | {"orderId": str(ids[2])})] == ids[2:]
    assert [o["orderId"] for o in venue.exchange.all_orders("a", SYMBOL | {"limit": "1"})] == ids[3:]
    with pytest.raises(ApiError) as refused:
        venue.exchange.all_orders("a", SYMBOL | {"limit": "0"})
    assert refused.value.code == -1130


def test_trades_page_from_an_id_and_never_miss_one() -> None:
    venue = Venue()
    bought = venue.place("BUY", "250", "1.03", "IOC")
    venue.advance(2)
    sold = venue.place("SELL", "150", "0.98", "IOC")
    expected = [fill["tradeId"] for order in (bought, sold) for fill in order["fills"]]
    assert [t["id"] for t in venue.exchange.my_trades("a", SYMBOL)] == expected
    assert [t["id"] for t in venue.exchange.my_trades("a", SYMBOL | {"fromId": str(expected[2])})] == expected[2:]
    assert [t["id"] for t in venue.exchange.my_trades("a", SYMBOL | {"orderId": str(sold["orderId"])})] == expected[3:]
    later = venue.exchange.my_trades("a", SYMBOL | {"startTime": str(sold["transactTime"])})
    assert [(t["id"], t["isBuyer"]) for t in later] == [(i, False) for i in expected[3:]]
    with pytest.raises(ApiError) as refused:
        venue.exchange.my_trades("a", SYMBOL | {"fromId": "1", "startTime": "1"})
    assert refused.value.code == -1128
    assert venue.exchange.my_trades("b", SYMBOL) == []
