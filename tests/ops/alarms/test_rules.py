from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.errors import AlarmError, ConfigError
from sentinel.host.alarm_heartbeat import ALARMS_SILENT
from sentinel.ops.alarms.rules import DEFAULT_RULES, Rule, rules_of
from tests.host.plain_config import plain_config

LIVE = {
    "mode": "live",
    "venue": {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9", "api_url": "ws://127.0.0.1:9"},
}


def _rule(config: Config, name: str) -> Rule:
    return next(rule for rule in rules_of(config) if rule.id == name)


def _with(tmp_path: Path, name: str, **change: Any) -> Config:
    return plain_config(tmp_path, alarms={"rules": {name: change}})


def test_names_and_numbers_are_unique_and_none_is_the_daemons_own() -> None:
    assert len({rule.id for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)
    numbers = [rule.number for rule in DEFAULT_RULES]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > ALARMS_SILENT


def test_a_setting_changes_one_rule_and_no_other(tmp_path: Path) -> None:
    changed = _with(tmp_path, "cpu_steal", threshold=12, action="kill")
    rule = _rule(changed, "cpu_steal")
    assert (rule.threshold, rule.action, rule.clear, rule.windows) == (12, "kill", None, 3)
    others = [rule for rule in rules_of(plain_config(tmp_path)) if rule.id != "cpu_steal"]
    assert [rule for rule in rules_of(changed) if rule.id != "cpu_steal"] == others


def test_a_rule_can_be_switched_off(tmp_path: Path) -> None:
    assert "cpu_steal" not in [rule.id for rule in rules_of(_with(tmp_path, "cpu_steal", enabled=False))]


def test_a_rule_of_one_look_asked_for_several_windows_gets_windows_of_a_second(tmp_path: Path) -> None:
    rule = _rule(_with(tmp_path, "feed_age", windows=2, of_windows=3), "feed_age")
    assert (rule.windows, rule.of_windows, rule.window_ms) == (2, 3, 1_000)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no_such_rule", {}),
        ("latency", {"windows": 6}),
        ("cpu_steal", {"threshold": 5, "clear": 8}),
        ("disk_free", {"clear": 2}),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_name(tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    with pytest.raises(AlarmError) as caught:
        rules_of(_with(tmp_path, name, **change))
    assert caught.value.field == f"alarms.rules.{name}"


@pytest.mark.parametrize(
    "change", [{"threshhold": 1}, {"threshold": float("nan")}, {"threshold": float("inf")}, {"action": "panic"}]
)
def test_an_unknown_key_or_a_value_that_is_none_is_a_config_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"alarms\.rules\.latency"):
        _with(tmp_path, "latency", **change)


def test_limits_that_other_sections_state_are_the_rules_too(tmp_path: Path) -> None:
    config = plain_config(
        tmp_path,
        audit={"required": True, "max_backlog_ms": 700},
        feed={"symbols": ["BTCUSDT"], "stale_after_ms": 900},
    )
    backlog = _rule(config, "audit_backlog")
    assert (backlog.threshold, backlog.required) == (700, True)
    assert _rule(config, "feed_age").threshold == 900


def test_the_clock_alarm_fires_where_the_gate_would_stop(tmp_path: Path) -> None:
    assert _rule(plain_config(tmp_path, risk={"max_clock_error_us": 30}), "clock_error").threshold == 30
    assert _rule(plain_config(tmp_path, risk={"max_clock_error_us": 0}), "clock_error").threshold == 100


def test_a_clock_nobody_measures_is_an_alarm_live_only(tmp_path: Path) -> None:
    assert not _rule(plain_config(tmp_path), "clock_error").breaches(None)
    assert _rule(plain_config(tmp_path, **LIVE), "clock_error").breaches(None)


@pytest.mark.parametrize(("comparison", "breaching", "fine"), [(">", 6, 5), (">=", 5, 4), ("<", 4, 5), ("<=", 5, 6)])
def test_each_comparison_means_what_it_says(comparison: Any, breaching: float, fine: float) -> None:
    rule = DEFAULT_RULES[0].model_copy(update={"comparison": comparison, "threshold": 5, "clear": None})
    assert rule.breaches(breaching)
    assert not rule.is_clear(breaching)
    assert not rule.breaches(fine)
    assert rule.is_clear(fine)
