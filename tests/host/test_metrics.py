"""Each metric says what the engine's state and the host's counters say, computed here by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sentinel.engine.layout import HALT_MISMATCH
from sentinel.host.clock import UNKNOWN, ClockLook
from sentinel.host.latency import Stage, count_latency, new_latency_table
from sentinel.host.metrics import MetricsReader
from sentinel.ops.alarms.rules import DEFAULT_RULES
from sentinel.ops.alarms.watcher import OWN_METRICS
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Control, OrderState
from tests.engine.world import World

START_NS = 1_700_000_000 * NS_PER_S


class Watched:
    """What of a daemon is measured, around a World whose state a test writes."""

    def __init__(self) -> None:
        self.world = World()
        self.feed: dict[str, int] = {}
        self.ns = START_NS
        self.monotonic_ns = 0
        self.patrol: Any = None
        self.card: Any = None
        self.audit: Any = None
        self.latency = new_latency_table()
        self.spilling = SimpleNamespace(waiting=0)
        self.world.state.symbols["bbo_t"][0] = START_NS
        self.reader = MetricsReader(self, lambda: self.monotonic_ns)

    @property
    def host(self) -> Any:
        return self

    @property
    def clock(self) -> Any:
        return self

    @property
    def state(self) -> Any:
        return self.world.state

    def now_ns(self) -> int:
        return self.ns

    def feed_counters(self) -> dict[str, int]:
        return self.feed

    def read(self, look: ClockLook | None = None) -> dict[str, float | None]:
        return self.reader.read(look)

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * NS_PER_S)
        self.monotonic_ns += round(seconds * NS_PER_S)

    def orders(self, *states: OrderState) -> None:
        rows = self.state.orders
        for k, state in enumerate(states):
            rows["state"][k], rows["t_intent"][k], rows["t_state"][k] = state, self.ns, self.ns


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_every_rule_has_a_metric_that_somebody_reports(watched: Watched) -> None:
    assert {rule.metric for rule in DEFAULT_RULES} - OWN_METRICS <= set(watched.read())


def test_an_idle_daemon_breaches_no_rule(watched: Watched) -> None:
    found = watched.read()
    assert [rule.id for rule in DEFAULT_RULES if rule.metric in found and rule.breaches(found[rule.metric])] == []


def test_latency_is_the_sum_of_the_stages_99th_percentiles_of_the_last_seconds(watched: Watched) -> None:
    assert watched.read()["latency_p99_us"] is None
    for stage in Stage:
        count_latency(watched.latency, int(stage), 400_000)
    watched.pass_s(1)
    # Buckets are at most 3.1 % wide.
    assert watched.read()["latency_p99_us"] == pytest.approx(5 * 400, rel=0.032)
    for _ in range(6):
        watched.pass_s(1)
        last = watched.read()["latency_p99_us"]
    assert last is None


def test_few_failed_orders_are_no_rate_and_more_are_their_share_of_the_last_minute(watched: Watched) -> None:
    watched.orders(OrderState.REJECTED, OrderState.UNKNOWN, OrderState.FILLED)
    assert watched.read()["order_error_pct"] == 0
    watched.orders(OrderState.REJECTED, OrderState.UNKNOWN, OrderState.NEVER_ACCEPTED, OrderState.FILLED, OrderState.EXPIRED)
    assert watched.read()["order_error_pct"] == pytest.approx(60)
    watched.pass_s(61)
    assert watched.read()["order_error_pct"] == 0


def test_feed_errors_are_their_share_of_the_last_minutes_messages(watched: Watched) -> None:
    watched.feed = {"messages": 1_000, "malformed": 500}
    watched.read()
    watched.pass_s(1)
    watched.feed = {"messages": 1_100, "malformed": 502}
    assert watched.read()["feed_error_pct"] == pytest.approx(2)


def test_position_changes_count_whatever_their_direction_and_only_for_a_minute(watched: Watched) -> None:
    symbols = watched.state.symbols
    symbols["last_price"][:2] = 100 * E8, 2_000 * E8
    watched.read()
    watched.pass_s(1)
    symbols["position"][:2] = -300 * E8, 10 * E8
    assert watched.read()["position_delta_per_min"] == 300 * 100 + 10 * 2_000
    symbols["last_price"][0] = 1_000 * E8
    assert watched.read()["position_delta_per_min"] == 300 * 1_000 + 10 * 2_000
    for _ in range(61):
        watched.pass_s(1)
        last = watched.read()["position_delta_per_min"]
    assert last == 0


def test_ages_are_those_of_the_newest_quote_and_the_oldest_order_in_doubt(watched: Watched) -> None:
    watched.pass_s(3)
    assert watched.read()["feed_age_ms"] == 3_000
    assert watched.read()["unknown_order_age_ms"] == 0
    watched.orders(OrderState.UNKNOWN, OrderState.ACKED)
    watched.pass_s(1)
    watched.state.orders["state"][5], watched.state.orders["t_state"][5] = OrderState.UNKNOWN, watched.ns
    watched.state.symbols["bbo_t"][1] = watched.ns - 7 * NS_PER_MS
    found = watched.read()
    assert (found["feed_age_ms"], found["unknown_order_age_ms"]) == (7, 1_000)


def test_a_feed_that_never_spoke_is_as_old_as_this_start(watched: Watched) -> None:
    watched.state.symbols["bbo_t"][:] = START_NS - 3_600 * NS_PER_S
    watched.pass_s(9)
    assert watched.read()["feed_age_ms"] == 9_000


def test_rejects_of_the_gate_are_counted_over_a_minute(watched: Watched) -> None:
    watched.state.counters["risk_rejects"] = 100
    watched.read()
    watched.pass_s(1)
    watched.state.counters["risk_rejects"] = 130
    watched.state.counters["duplicate_orders"] = 4
    assert watched.read()["risk_rejects_per_min"] == 30
    assert watched.read()["duplicate_orders_per_min"] == 4


@pytest.mark.parametrize(
    ("look", "expected"), [(None, None), (UNKNOWN, None), (ClockLook(41_001, True), 42), (ClockLook(0, False), 0)]
)
def test_the_clocks_error_is_rounded_up_and_an_unknown_one_is_missing(watched: Watched, look: Any, expected: int | None) -> None:
    found = watched.read(look)
    assert found["clock_error_us"] == expected
    assert found["clock_stepped"] == (None if look is None else int(look.stepped))


def test_a_kill_counts_and_a_live_run_nobody_has_armed_yet_does_not(watched: Watched) -> None:
    account = watched.state.glob
    account["killed"], account["kill_cause"] = 1, Control.DISARMED
    assert watched.read()["killed"] == 0
    account["kill_cause"] = Control.DRAWDOWN
    assert watched.read()["killed"] == 1


def test_differences_from_the_venue_count_by_halt_or_by_what_the_patrol_cannot_explain(watched: Watched) -> None:
    assert watched.read()["mismatches"] is None
    watched.patrol = SimpleNamespace(unexplained=[1, 2])
    assert watched.read()["mismatches"] == 2
    watched.patrol.unexplained = []
    watched.state.symbols["halt"][:2] |= HALT_MISMATCH
    assert watched.read()["mismatches"] == 2


def test_a_card_counts_once_it_is_in_trouble_or_permits_nothing(watched: Watched) -> None:
    assert watched.read()["card_failed"] is None
    watched.card = SimpleNamespace(health=SimpleNamespace(trouble=""), permits_lost=False)
    assert watched.read()["card_failed"] == 0
    watched.card.permits_lost = True
    assert watched.read()["card_failed"] == 1
    watched.card = SimpleNamespace(health=SimpleNamespace(trouble="BEATS"), permits_lost=False)
    assert watched.read()["card_failed"] == 1


def test_the_trails_backlog_and_the_journals_waiting_frames_are_passed_on(watched: Watched) -> None:
    assert watched.read()["audit_backlog_ms"] is None
    watched.audit = SimpleNamespace(backlog_ns=1_234 * NS_PER_MS, late=True)
    watched.spilling.waiting = 8
    found = watched.read()
    assert (found["audit_backlog_ms"], found["audit_late"], found["journal_frames_waiting"]) == (1_234, 1, 8)
