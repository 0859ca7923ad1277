from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sentinel.ops.alarms.evaluate import AlarmState, Change, Evaluator, Transition
from sentinel.ops.alarms.rules import Rule
from sentinel.units import NS_PER_MS, NS_PER_S

UTC_NS = 1_700_000_000 * NS_PER_S
LOOK_NS = 100 * NS_PER_MS


def rule(name: str = "hot", **changes: Any) -> Rule:
    values = {"id": name, "number": 2, "metric": name, "comparison": ">", "threshold": 10, "unit": "pct", "meaning": "hot"}
    return Rule.model_validate(values | changes)


class Run:
    """An evaluator of one rule, a look every 100 ms."""

    def __init__(
        self, one: Rule, repeat_every_s: int = 300, clear_after_s: int = 0, states: dict[str, AlarmState] | None = None
    ) -> None:
        self.evaluator = Evaluator((one,), repeat_every_s, clear_after_s, states)
        self.metric = one.metric
        self.ns = 0

    def look(self, value: float | None, looks: int = 1) -> list[tuple[Change, float | None]]:
        found: list[Transition] = []
        for _ in range(looks):
            found += self.evaluator.evaluate({self.metric: value}, self.ns, UTC_NS + self.ns)
            self.ns += LOOK_NS
        return [(one.change, one.value) for one in found]

    @property
    def firing(self) -> bool:
        return self.evaluator.states["hot"].firing


FIRED, REPEATED, CLEARED = Change.FIRED, Change.REPEATED, Change.CLEARED


def test_a_rule_of_one_look_fires_at_the_look_and_clears_at_the_next_that_is_fine() -> None:
    run = Run(rule())
    assert run.look(10) == []
    assert run.look(11) == [(FIRED, 11)]
    assert run.look(12) == []
    assert run.look(9) == [(CLEARED, 9)]


def test_between_threshold_and_clear_an_alarm_neither_fires_nor_clears() -> None:
    run = Run(rule(clear=5))
    assert run.look(7) == []
    assert run.look(11) == [(FIRED, 11)]
    assert run.look(7, 50) == []
    assert run.look(5) == [(CLEARED, 5)]


def test_a_missing_metric_fires_a_rule_that_requires_it_and_a_present_one_clears_it() -> None:
    run = Run(rule(required=True))
    assert run.look(None) == [(FIRED, None)]
    assert run.look(1) == [(CLEARED, 1)]


def test_a_missing_metric_is_passed_over_where_it_is_not_required() -> None:
    run = Run(rule(windows=2, of_windows=2, window_ms=1))
    assert run.look(None, 100) == []
    run = Run(rule())
    run.look(11)
    assert run.look(None, 50) == []
    assert run.firing


def test_a_metric_whose_reporter_is_silent_is_not_looked_at_even_if_required() -> None:
    one = rule(required=True)
    evaluator = Evaluator((one,), 300, 0)
    assert evaluator.evaluate({}, 0, UTC_NS) == []
    assert evaluator.evaluate({"hot": None}, 1, UTC_NS) != []


def test_one_window_stands_for_the_worst_value_in_it() -> None:
    run = Run(rule(window_ms=1_000))
    assert run.look(11) == []
    assert run.look(1, 9) == []
    assert run.look(1) == [(FIRED, 11)]
    low = Run(rule(comparison="<", threshold=5, window_ms=1_000))
    assert low.look(4) == []
    assert low.look(9, 10) == [(FIRED, 4)]


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
)
def test_m_of_n_windows_fire_and_n_clear_ones_in_a_row_clear(breaches: list[bool], windows: tuple[int, int]) -> None:
    m, n = windows
    one = rule(windows=m, of_windows=n, window_ms=100)
    # A window of 100 ms at a look every 100 ms closes at every second look.
    run = Run(one)
    firing, found, expected = False, [], []
    for k, breach in enumerate(breaches):
        found += [change for change, _ in run.look(11 if breach else 1, 2)]
        last = breaches[max(0, k + 1 - n) : k + 1]
        if not firing and sum(last) >= m:
            firing = True
            expected.append(FIRED)
        elif firing and len(last) == n and not any(last):
            firing = False
            expected.append(CLEARED)
        assert run.firing == firing
    assert found == expected


def test_a_standing_alarm_is_told_again_at_intervals_and_not_in_between() -> None:
    run = Run(rule(), repeat_every_s=10)
    said = run.look(11, 350)
    assert said == [(FIRED, 11), (REPEATED, 11), (REPEATED, 11), (REPEATED, 11)]


def test_flapping_within_the_hysteresis_is_one_alarm() -> None:
    run = Run(rule(clear=5))
    said = [change for _ in range(100) for change, _ in run.look(11) + run.look(8)]
    assert said == [FIRED]


def test_an_alarm_is_over_once_it_was_clear_for_its_time_and_flapping_meanwhile_is_one_alarm() -> None:
    run = Run(rule(), repeat_every_s=3_600, clear_after_s=10)
    said = [change for _ in range(100) for change, _ in run.look(11) + run.look(1, 99)]
    assert said == [FIRED]
    assert run.look(1) == []
    assert run.look(1) == [(CLEARED, 1)]


def test_an_acknowledged_alarm_is_told_no_more_and_wants_nothing_until_it_has_cleared() -> None:
    run = Run(rule(action="reduce_only"), repeat_every_s=10)
    assert not run.evaluator.acknowledge("hot", 7, "too early")
    run.look(11)
    assert [one.id for one in run.evaluator.wanted()] == ["hot"]
    assert run.evaluator.acknowledge("hot", 7, "known")
    assert run.look(11, 500) == []
    assert run.evaluator.wanted() == []
    assert run.look(1) == [(CLEARED, 1)]
    assert run.look(11) == [(FIRED, 11)]
    assert [one.id for one in run.evaluator.wanted()] == ["hot"]


def test_a_restart_neither_tells_a_standing_alarm_anew_nor_forgets_it() -> None:
    run = Run(rule())
    run.look(11)
    kept = msgspec.json.decode(msgspec.json.encode(run.evaluator.states), type=dict[str, AlarmState])
    again = Run(rule(), states=kept)
    again.ns = run.ns
    assert again.look(11, 100) == []
    assert again.look(1) == [(CLEARED, 1)]


def test_a_wall_clock_set_back_does_not_silence_an_alarm() -> None:
    one = rule()
    evaluator = Evaluator((one,), 300, 0)
    evaluator.evaluate({"hot": 11}, 0, UTC_NS)
    found = evaluator.evaluate({"hot": 11}, 1, UTC_NS - 3_600 * NS_PER_S)
    assert [one.change for one in found] == [REPEATED]


def test_the_hardest_action_comes_first_and_informing_is_none() -> None:
    rules = tuple(rule(name, action=action) for name, action in (("a", "inform"), ("b", "reduce_only"), ("c", "kill")))
    evaluator = Evaluator(rules, 300, 0)
    evaluator.evaluate(dict.fromkeys("abc", 11), 0, UTC_NS)
    assert [one.id for one in evaluator.wanted()] == ["c", "b"]
