"""A route on a simulated Binance and a simulated Coinbase: both ledgers agree with what it says, whatever goes wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.route_live import report_result
from sentinel.config import parse_config
from sentinel.errors import ConfigError, JournalError, RouteError
from sentinel.host.router.live import venue_setups
from sentinel.host.router.live_run import execute_live, plan_live
from sentinel.host.router.store import RouteStore
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from sentinel.wire import FeeAsset, OrderState, Side
from tests.host.router.live_rig import BASE, BOTH, QUOTE, Venues, buy, play, settings


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Any) -> None:
    play(tmp_path, monkeypatch, scenario)


def test_live_books_fees_balances_and_limits_are_what_the_plan_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(venues: Venues) -> None:
        found = await plan_live(venues.setups(), buy(6))
        binance, coinbase = found.states
        assert (binance.asks, binance.bids) == (((101 * E8, 2 * E8), (103 * E8, 4 * E8)), ((99 * E8, 5 * E8),))
        assert coinbase.asks == ((102 * E8, 3 * E8), (104 * E8, 9 * E8))
        for state in found.states:
            assert (state.free_base, state.free_quote) == (BASE, QUOTE)
            assert (state.taker_fee_e6, state.maker_fee_e6) == (1000, 500)
            assert 0 < state.latency_ns < 10**9
            assert (state.rules.tick, state.rules.step, state.trading) == (E8 // 100, E8 // 1000, True)
        assert binance.orders_left == 100
        assert 10 <= coinbase.orders_left < 20
        assert binance.rules.min_notional == 5 * E8
        assert binance.rules.max_price == 500 * E8
        assert [(child.venue, child.qty) for child in found.plan.children] == [("binance", 3 * E8), ("coinbase", 3 * E8)]
        assert venues.orders("binance") == venues.orders("coinbase") == []

    run(tmp_path, monkeypatch, scenario)


def test_an_order_split_over_both_venues_is_what_both_ledgers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        report = await execute_live(venues.setups(), buy(6), False)
        done = report.executed
        assert {leg.child.venue: (leg.filled, leg.settled.outcome.state) for leg in done.legs if leg.settled} == {
            "binance": (3 * E8, OrderState.FILLED),
            "coinbase": (3 * E8, OrderState.FILLED),
        }
        assert done.shortfall == 0
        assert venues.bought("binance") == venues.bought("coinbase") == 3 * E8
        # 2 at 101 and 1 at 103, of which a thousandth is kept; 3 at 102 and a thousandth of it on top.
        assert venues.balance("binance", "USDT") == QUOTE - 305 * E8
        assert venues.balance("binance", "AAA") == BASE + 3 * E8 - 3 * E8 // 1000
        assert venues.balance("coinbase", "USD") == QUOTE - 306 * E8 - 306 * E8 // 1000
        result = report_result("AAA", report)
        assert (result["filled"], result["notional"], result["average_price"]) == ("6", "611", "101.83333333")
        assert (result["fees"], result["unknown"], result["shortfall"]) == ({"base": "0.003", "quote": "0.306"}, "0", "0")
        assert [leg.settled.outcome.fees() for leg in done.legs if leg.settled] == [
            {FeeAsset.BASE: 3 * E8 // 1000},
            {FeeAsset.QUOTE: 306 * E8 // 1000},
        ]

    run(tmp_path, monkeypatch, scenario)


def test_ids_of_two_runs_differ_and_a_run_beside_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        first = asyncio.ensure_future(execute_live(venues.setups(), buy(1), False))
        with pytest.raises(JournalError, match="a store nobody uses now"):
            await asyncio.gather(execute_live(venues.setups(), buy(1), False))
        await first
        await execute_live(venues.setups(), buy(1, 104), False)
        ids = [order.client_id for name in ("binance", "coinbase") for order in venues.orders(name)]
        assert len(ids) == len(set(ids)) == 2

    run(tmp_path, monkeypatch, scenario)


def test_a_run_beside_another_of_the_same_account_is_refused_whatever_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(venues: Venues) -> None:
        first = asyncio.ensure_future(execute_live(venues.setups(), buy(1), False))
        await asyncio.sleep(0)
        elsewhere = []
        for setup in venues.setups():
            store = setup.config.store.model_copy(update={"directory": tmp_path / f"other-{setup.name}"})
            elsewhere.append(replace(setup, config=setup.config.model_copy(update={"store": store})))
        with pytest.raises(JournalError, match="no other process of this machine sends orders for"):
            await execute_live(elsewhere, buy(1), False)
        await first
        await execute_live(elsewhere, buy(1), False)
        assert len(venues.orders("binance")) + len(venues.orders("coinbase")) == 2

    run(tmp_path, monkeypatch, scenario)


@pytest.mark.parametrize("venue", ["binance", "coinbase"])
@pytest.mark.parametrize("fault", [FaultKind.DROP_RESPONSE, FaultKind.ERROR_AFTER_ACCEPT, FaultKind.RESET_AFTER_ACCEPT])
def test_an_order_whose_answer_is_lost_is_asked_for_and_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: str, fault: FaultKind
) -> None:
    async def scenario(venues: Venues) -> None:
        venues.servers[venue].faults.inject(fault, target="order.place")
        report = await execute_live(venues.setups(), buy(6), True)
        assert report.executed.shortfall == 0
        assert [len(venues.orders(name)) for name in ("binance", "coinbase")] == [1, 1]
        assert venues.bought("binance") == venues.bought("coinbase") == 3 * E8
        assert all(leg.settled is not None and leg.settled.outcome.complete for leg in report.executed.legs)

    run(tmp_path, monkeypatch, scenario)


def test_an_order_that_never_arrived_is_proven_so_and_the_rest_is_planned_anew_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(venues: Venues) -> None:
        venues.servers["binance"].faults.inject(FaultKind.DROP_REQUEST, target="order.place")
        report = await execute_live(venues.setups(), buy(6, 104), True)
        states = [(leg.child.venue, leg.settled.outcome.state) for leg in report.executed.legs if leg.settled]
        assert states == [
            ("binance", OrderState.NEVER_ACCEPTED),
            ("coinbase", OrderState.FILLED),
            ("coinbase", OrderState.FILLED),
        ]
        assert venues.orders("binance") == []
        assert venues.bought("coinbase") == 6 * E8
        assert (len(report.executed.plans), report.executed.shortfall) == (2, 0)

    run(tmp_path, monkeypatch, scenario)


@pytest.mark.parametrize("replan", [False, True])
def test_what_the_book_no_longer_holds_is_left_or_planned_anew_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replan: bool
) -> None:
    async def scenario(venues: Venues) -> None:
        def somebody_is_quicker(boundary: str, venue: str) -> None:
            if boundary == "journaled" and venue == "coinbase":
                venues.exchanges["coinbase"].take(0, Side.BUY, 11 * E8, 104 * E8)

        report = await execute_live(venues.setups(), buy(6, 104), replan, somebody_is_quicker)
        assert venues.bought("coinbase") == E8
        assert venues.bought("binance") == (5 if replan else 3) * E8
        assert report.executed.shortfall == (0 if replan else 2 * E8)
        assert len(report.executed.plans) == 1 + replan

    run(tmp_path, monkeypatch, scenario)


def test_a_venue_that_is_down_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        await venues.servers["coinbase"].close()
        found = await plan_live(venues.setups(), buy(6))
        assert [child.venue for child in found.plan.children] == ["binance"]
        assert "cannot be read" in found.missing["coinbase"]
        report = await execute_live(venues.setups(), buy(6), True)
        assert "cannot be reached" in report.executed.missing["coinbase"]
        assert (venues.bought("binance"), report.executed.shortfall) == (6 * E8, 0)
        await venues.servers["binance"].close()
        with pytest.raises(RouteError, match="one that can be read"):
            await plan_live(venues.setups(), buy(1))

    run(tmp_path, monkeypatch, scenario)


def test_a_book_older_than_the_settings_allow_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        configs = venues.configs()
        configs["coinbase"] = configs["coinbase"].model_copy(
            update={"feed": configs["coinbase"].feed.model_copy(update={"stale_after_ms": 100})}
        )
        venues.servers["coinbase"].faults.inject(FaultKind.DELAY_RESPONSE, target="book", delay_ns=300_000_000)
        report = await execute_live(venue_setups(configs, BOTH), buy(6), False)
        assert "beyond feed.stale_after_ms = 100" in report.executed.missing["coinbase"]
        assert [leg.child.venue for leg in report.executed.legs] == ["binance"]
        assert venues.orders("coinbase") == []

    run(tmp_path, monkeypatch, scenario)


@pytest.mark.parametrize(
    ("risk", "field"),
    [
        ({"max_order_qty": "1"}, "order quantity"),
        ({"max_order_notional": "100"}, "order notional"),
        ({"max_position_notional": "1200"}, "position"),
        ({"max_gross_notional": "1200"}, "position"),
        ({"price_collar_bps": 50}, "order price"),
    ],
)
def test_a_plan_beyond_a_venues_limits_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, risk: dict[str, Any], field: str
) -> None:
    async def scenario(venues: Venues) -> None:
        with pytest.raises(RouteError, match=field):
            await execute_live(venues.setups(risk=risk), buy(6), True)
        assert venues.orders("binance") == venues.orders("coinbase") == []

    run(tmp_path, monkeypatch, scenario)


def test_orders_of_earlier_runs_count_against_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        limits = {"max_orders_per_10s": 1}
        await execute_live(venues.setups(risk=limits), buy(1), False)
        with pytest.raises(RouteError, match="orders in 10 s"):
            await execute_live(venues.setups(risk=limits), buy(1), False)

    run(tmp_path, monkeypatch, scenario)


def test_settings_of_live_trading_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        with pytest.raises(RouteError, match="pass no risk gate"):
            await execute_live(venues.setups(mode="live"), buy(1), False)
        assert not (tmp_path / "binance").exists()

    run(tmp_path, monkeypatch, scenario)


def test_a_store_of_live_trading_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        (tmp_path / "binance").mkdir()
        (tmp_path / "binance" / "config-0.json").write_text('{"mode": "live"}')
        with pytest.raises(ConfigError, match="a store of paper runs alone"):
            await execute_live(venues.setups(), buy(1), False)
        assert venues.orders("binance") == venues.orders("coinbase") == []

    run(tmp_path, monkeypatch, scenario)


def test_symbols_priced_in_two_assets_must_both_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        with pytest.raises(ConfigError, match="coinbase"):
            venue_setups(venues.configs(), "AAAUSDT")
        with pytest.raises(ConfigError, match="kraken"):
            venue_setups(venues.configs(), BOTH + ",kraken=AAAUSD")

    run(tmp_path, monkeypatch, scenario)


def test_an_order_whose_end_cannot_be_written_counts_as_what_it_is_and_is_not_bought_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(venues: Venues) -> None:
        def full(store: RouteStore, key: int, outcome: dict[str, Any]) -> None:
            raise JournalError("route record", "x", "a disk with room", "free some")

        with monkeypatch.context() as patch:
            patch.setattr(RouteStore, "ended", full)
            report = await execute_live(venues.setups(), buy(6, 104), True)
        assert [leg.filled for leg in report.executed.legs] == [3 * E8, 3 * E8]
        assert (report.executed.shortfall, len(report.executed.plans)) == (0, 1)
        assert venues.bought("binance") + venues.bought("coinbase") == 6 * E8
        again = await execute_live(venues.setups(), buy(1, 104), False)
        recovered = [one.outcome.filled for name in ("binance", "coinbase") for one in again.recovered[name]]
        assert recovered == [3 * E8, 3 * E8]

    run(tmp_path, monkeypatch, scenario)


def test_two_settings_of_one_key_are_one_account_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        configs = venues.configs()
        twin = parse_config(settings("binance", venues.servers["binance"], tmp_path / "other"))
        with pytest.raises(ConfigError, match="an account of its own"):
            venue_setups({"binance": configs["binance"], "twin": twin}, "AAAUSDT")

    run(tmp_path, monkeypatch, scenario)
