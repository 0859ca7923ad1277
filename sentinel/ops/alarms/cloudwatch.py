"""The same rules as CloudWatch alarms, the metrics they watch, and the alarm that is left when this process dies."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from botocore.validate import ParamValidator

from sentinel.config import Config
from sentinel.errors import AlarmError, ConfigError
from sentinel.ops.alarms.rules import Rule, Severity, rules_of

_log = logging.getLogger(__name__)

HEARTBEAT_METRIC = "alarms_heartbeat"
#: CloudWatch evaluates metrics of a resolution of 1 s every 10 s.
PERIOD_S = 10
_HEARTBEAT_PERIODS = 3
_OPERATORS = {
    ">": "GreaterThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
    "<": "LessThanThreshold",
    "<=": "LessThanOrEqualToThreshold",
}
_UNITS = {
    "us": "Microseconds",
    "ms": "Milliseconds",
    "pct": "Percent",
    "count": "Count",
    "per_min": "Count",
    "quote_per_min": "None",
}


def alarm_requests(config: Config) -> list[dict[str, Any]]:
    """PutMetricAlarm requests: one for each rule, and the dead-man alarm of the heartbeat.

    Raises ConfigError without ``alarms.cloudwatch_namespace``, AlarmError for what botocore's model of the service refuses.
    """
    settings = config.alarms
    if not settings.cloudwatch_namespace:
        raise ConfigError("alarms.cloudwatch_namespace", "", "a namespace", "name one, for example Sentinel")
    topics = [settings.sns_topic] if settings.sns_topic else []
    common = {
        "Namespace": settings.cloudwatch_namespace,
        "Dimensions": _dimensions(settings.name),
        "Period": PERIOD_S,
        "ActionsEnabled": True,
        "AlarmActions": topics,
        "OKActions": topics,
    }
    requests = [_request(rule, settings.name) | common for rule in rules_of(config)]
    requests.append(_heartbeat_request(settings.name) | common)
    _validate(requests)
    return requests


def _request(rule: Rule, name: str) -> dict[str, Any]:
    return {
        "AlarmName": f"{name}-{rule.id}",
        "AlarmDescription": f"{rule.meaning} ({rule.severity.value}; {rule.metric} {rule.comparison} {rule.threshold:g})",
        "MetricName": rule.metric,
        "Statistic": "Maximum" if rule.comparison in (">", ">=") else "Minimum",
        "Unit": _UNITS[rule.unit],
        "ComparisonOperator": _OPERATORS[rule.comparison],
        "Threshold": float(rule.threshold),
        "EvaluationPeriods": rule.of_windows,
        "DatapointsToAlarm": rule.windows,
        "TreatMissingData": "breaching" if rule.required else "ignore",
    }


def _heartbeat_request(name: str) -> dict[str, Any]:
    return {
        "AlarmName": f"{name}-alarms_silent",
        "AlarmDescription": f"the alarm process is dead or cannot reach CloudWatch ({Severity.CRITICAL.value})",
        "MetricName": HEARTBEAT_METRIC,
        "Statistic": "Sum",
        "Unit": "Count",
        "ComparisonOperator": "LessThanThreshold",
        "Threshold": 1.0,
        "EvaluationPeriods": _HEARTBEAT_PERIODS,
        "DatapointsToAlarm": _HEARTBEAT_PERIODS,
        "TreatMissingData": "breaching",
    }


def _validate(requests: list[dict[str, Any]]) -> None:
    model = Session().get_service_model("cloudwatch").operation_model("PutMetricAlarm")
    for request in requests:
        report = ParamValidator().validate(request, model.input_shape)
        if report.has_errors():
            raise AlarmError("PutMetricAlarm", request["AlarmName"], "what CloudWatch takes", report.generate_report())


def _dimensions(name: str) -> list[dict[str, str]]:
    return [{"Name": "Daemon", "Value": name}]


class CloudWatchMetrics:
    """Puts the metrics that rules watch, and the heartbeat, every PERIOD_S seconds, from a thread.

    Args:
        client: boto3's for CloudWatch.
        config: ``alarms``.
        metrics: those of the last look.
        alive: whether looks go on; without, no heartbeat is put.
    """

    def __init__(
        self, client: Any, config: Config, metrics: Callable[[], Mapping[str, float | None]], alive: Callable[[], bool]
    ) -> None:
        self.failing = False
        self._client = client
        self._namespace, self._name = config.alarms.cloudwatch_namespace, config.alarms.name
        self._units = {rule.metric: _UNITS[rule.unit] for rule in rules_of(config)}
        self._metrics = metrics
        self._alive = alive
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloudwatch", daemon=True)

    def start(self) -> None:
        """Begin, with a put at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after at most one put."""
        self._stop.set()
        self._thread.join()

    def put(self) -> None:
        """Put once. Failing is logged: the dead-man alarm then tells of it."""
        found = dict(self._metrics())
        values = {name: found[name] for name in self._units if found.get(name) is not None}
        data = [self._datum(name, value, self._units[name]) for name, value in values.items() if value is not None]
        if self._alive():
            data.append(self._datum(HEARTBEAT_METRIC, 1, "Count"))
        if not data:
            return
        try:
            self._client.put_metric_data(Namespace=self._namespace, MetricData=data)
            self.failing = False
        except (BotoCoreError, ClientError) as error:
            if not self.failing:
                _log.error("CloudWatch: %s", error)
            self.failing = True

    def _datum(self, name: str, value: float, unit: str) -> dict[str, Any]:
        return {
            "MetricName": name,
            "Dimensions": _dimensions(self._name),
            "Timestamp": datetime.datetime.fromtimestamp(time.time(), datetime.UTC),
            "Value": float(value),
            "Unit": unit,
            "StorageResolution": 1,
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            self.put()
            self._stop.wait(PERIOD_S)
