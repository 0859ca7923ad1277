"""What the venue and other people do to an account: each strikes, and the daemon's story and the venue's stay one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentinel.host.feeds.connection import StreamConnection
from sentinel.research.campaign.mortal import MortalDaemon
from sentinel.research.campaign.scenario import Death, Scenario
from sentinel.research.campaign.seed import Bench, SeedResult
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import NS_PER_S

SIBLINGS = tuple(119.0 + 0.2 * step for step in range(130))
LATE = {FaultKind.DELAY_EVENT: 2 * NS_PER_S}


class Kept(MortalDaemon):
    """Can be asked afterwards."""

    living: Kept

    async def close(self) -> None:
        await super().close()
        Kept.living = self


@pytest.fixture(scope="module")
def kept() -> Iterator[Bench]:
    with Bench(Kept) as bench:
        yield bench


def _struck(bench: Bench, scenario: Scenario, fault: str, orders: int = 10) -> SeedResult:
    result = bench.play(scenario)
    assert result.violations == []
    assert result.faults[fault] > 0
    assert result.orders >= orders
    return result


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_key_refused_for_a_while_stops_orders_until_the_next_start(bench: Bench, seed: int) -> None:
    result = _struck(bench, Scenario(seed, {}, {}, key_refusals=((125.0, 129.0),), rest_ms=900 * (seed % 2)), "key_refused")
    assert result.starts == 2


@pytest.mark.parametrize(("seed", "rest_ms", "patient"), [(1, 0, False), (2, 2500, True), (3, 2500, False)])
def test_a_key_refused_for_long_is_not_asked_with_again_and_again(bench: Bench, seed: int, rest_ms: int, patient: bool) -> None:
    scenario = Scenario(seed, {}, {}, key_refusals=((121.0, 146.0),), rest_ms=rest_ms, patient=patient)
    _struck(bench, scenario, "key_refused", orders=1)


def test_a_process_that_starts_while_its_key_is_refused_is_started_until_it_is_not(bench: Bench) -> None:
    scenario = Scenario(4, {}, {}, deaths=(Death("sent", 126.0),), key_refusals=((125.9, 129.0),))
    assert _struck(bench, scenario, "key_refused").starts > 3


@pytest.mark.parametrize(("seed", "rest_ms"), [(1, 0), (2, 0), (3, 700), (4, 2000)])
def test_an_order_that_self_trade_prevention_ends_is_over_with_what_it_had(bench: Bench, seed: int, rest_ms: int) -> None:
    _struck(bench, Scenario(seed, {}, {}, siblings=SIBLINGS, rest_ms=rest_ms), "self_trade")


def test_an_end_by_self_trade_prevention_that_is_heard_late_is_no_fill(bench: Bench) -> None:
    rates = {FaultKind.DELAY_EVENT: 0.5, FaultKind.DROP_RESPONSE: 0.3}
    _struck(bench, Scenario(5, rates, LATE, siblings=SIBLINGS, rest_ms=700), "self_trade", orders=5)


@pytest.mark.parametrize("seed", [1, 2])
def test_crossed_and_locked_quotes_leave_the_daemon_trading_on_the_others(bench: Bench, seed: int) -> None:
    assert _struck(bench, Scenario(seed, {FaultKind.CROSSED_QUOTE: 0.2}, {}), "crossed_quote").faults["crossed_quote"] > 20


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_price_that_jumps_takes_no_position_above_its_limit(bench: Bench, factor: float) -> None:
    jumps = tuple((122.0 + 4 * symbol, symbol, factor) for symbol in range(3))
    assert _struck(bench, Scenario(2, {}, {}, rest_ms=1500, jumps=jumps), "price_jump").faults["price_jump"] == 3


@pytest.mark.parametrize("ahead_s", [1, 86_400])
def test_messages_from_the_future_age_as_they_arrive(bench: Bench, ahead_s: int) -> None:
    scenario = Scenario(3, {FaultKind.FUTURE_TIME: 0.5}, {FaultKind.FUTURE_TIME: ahead_s * NS_PER_S})
    _struck(bench, scenario, "future_time")


@pytest.mark.parametrize(("seed", "patient"), [(1, False), (2, True), (3, False)])
def test_orders_of_somebody_else_are_adopted_and_accepted_in_the_end(bench: Bench, seed: int, patient: bool) -> None:
    scenario = Scenario(seed, {}, {}, foreign_orders=(122.0, 126.0, 130.0, 134.0), patient=patient)
    _struck(bench, scenario, "foreign_order", orders=2)


def test_an_order_of_somebody_else_placed_while_nobody_listens_is_found_at_the_start(bench: Bench) -> None:
    deaths = (Death("stepped", 126.0), Death("reconciled", 126.0))
    foreign_orders = tuple(125.0 + 0.2 * step for step in range(10))
    result = _struck(bench, Scenario(5, {}, {}, deaths=deaths, foreign_orders=foreign_orders), "foreign_order", orders=2)
    assert result.starts >= 3


@pytest.mark.parametrize(("seed", "patient"), [(1, False), (2, True), (3, False)])
def test_money_that_somebody_moved_is_noticed_and_taken_over_when_accepted(bench: Bench, seed: int, patient: bool) -> None:
    _struck(bench, Scenario(seed, {}, {}, transfers=(122.0, 128.0), patient=patient), "balance_moved", orders=2)


@pytest.mark.parametrize("after_s", [0.5, 4.0])
def test_an_announced_shutdown_is_met_by_successors_and_nothing_is_lost(kept: Bench, after_s: float) -> None:
    _struck(kept, Scenario(1, {}, {}, shutdowns=((124.0, after_s), (132.0, after_s))), "shutdown")
    daemon = Kept.living
    assert daemon.session is not None
    assert daemon.session.counters["shutdowns"] > 0
    # The successor stood before its predecessor was cut.
    assert daemon.session.counters["reconnects"] == 0
    feed = daemon.feed_counters()
    # Both connections told of the same for a while; the one book was built once.
    assert feed["duplicates"] > 0
    assert (feed["resyncs"], feed["gaps"], feed["missing_trades"]) == (1, 0, 0)


def test_a_shutdown_met_by_no_successor_builds_the_book_anew(kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamConnection, "replace_soon", lambda self: None)
    _struck(kept, Scenario(1, {}, {}, shutdowns=((124.0, 4.0),)), "shutdown")
    feed = Kept.living.feed_counters()
    assert feed["resyncs"] > 1
    assert feed["duplicates"] == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_burst_of_ten_times_the_messages_loses_none(kept: Bench, seed: int) -> None:
    _struck(kept, Scenario(seed, {}, {}, bursts=(123.0, 130.0)), "burst")
    assert Kept.living.feed_counters()["gaps"] == 0
    assert Kept.living.ring_usage["refused"] == 0
