from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ConfigError
from sentinel.ops.alarms.rules import rules_of
from tests.host.plain_config import plain_config

boto3 = pytest.importorskip("boto3", reason="needs the extra aws")

from botocore.session import Session  # noqa: E402
from botocore.stub import Stubber  # noqa: E402
from botocore.validate import ParamValidator  # noqa: E402

from sentinel.ops.alarms.cloudwatch import CloudWatchMetrics, alarm_requests  # noqa: E402

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"
ALARMS = {"cloudwatch_namespace": "Sentinel", "sns_topic": TOPIC, "name": "desk-1"}


def _config(tmp_path: Path, **changes: Any) -> Any:
    return plain_config(tmp_path, alarms=ALARMS | changes)


def _by_name(tmp_path: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    return {request["AlarmName"]: request for request in alarm_requests(_config(tmp_path, **changes))}


def test_each_rule_is_an_alarm_and_one_more_watches_the_alarm_process(tmp_path: Path) -> None:
    names = {f"desk-1-{rule.id}" for rule in rules_of(_config(tmp_path))}
    assert set(_by_name(tmp_path)) == names | {"desk-1-alarms_silent"}


def test_every_request_is_one_cloudwatch_takes(tmp_path: Path) -> None:
    shape = Session().get_service_model("cloudwatch").operation_model("PutMetricAlarm").input_shape
    for request in alarm_requests(_config(tmp_path)):
        assert not ParamValidator().validate(request, shape).has_errors()
        for name, member in shape.members.items():
            if name in request and getattr(member, "enum", []):
                assert request[name] in member.enum
        # What the reference says beyond the model.
        assert request["Period"] in (10, 30) or request["Period"] % 60 == 0
        assert request["EvaluationPeriods"] * request["Period"] <= 86_400
        assert 1 <= request["DatapointsToAlarm"] <= request["EvaluationPeriods"]
        assert request["TreatMissingData"] in ("breaching", "notBreaching", "ignore", "missing")


def test_an_alarm_says_what_its_rule_says(tmp_path: Path) -> None:
    found = _by_name(tmp_path, rules={"cpu_steal": {"threshold": 12}})
    steal, disk = found["desk-1-cpu_steal"], found["desk-1-disk_free"]
    assert (steal["Threshold"], steal["ComparisonOperator"], steal["Statistic"]) == (12, "GreaterThanThreshold", "Maximum")
    assert (steal["DatapointsToAlarm"], steal["EvaluationPeriods"], steal["TreatMissingData"]) == (3, 5, "ignore")
    assert (disk["ComparisonOperator"], disk["Statistic"], disk["TreatMissingData"]) == (
        "LessThanThreshold",
        "Minimum",
        "breaching",
    )
    assert steal["AlarmActions"] == [TOPIC]


def test_the_death_of_the_alarm_process_is_missing_data_that_breaches(tmp_path: Path) -> None:
    silent = _by_name(tmp_path)["desk-1-alarms_silent"]
    assert silent["TreatMissingData"] == "breaching"
    assert (silent["ComparisonOperator"], silent["Threshold"], silent["Statistic"]) == ("LessThanThreshold", 1.0, "Sum")


def test_without_a_namespace_there_is_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cloudwatch_namespace"):
        alarm_requests(plain_config(tmp_path))


class Client:
    """boto3's client with its answers prepared; keeps what it is asked, checked against the service's model."""

    def __init__(self) -> None:
        self.real = boto3.client("cloudwatch", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        self.asked: list[dict[str, Any]] = []
        self.error = ""

    def put_metric_data(self, **asked: Any) -> None:
        self.asked.append(asked)
        with Stubber(self.real) as stub:
            if self.error:
                stub.add_client_error("put_metric_data", self.error)
            else:
                stub.add_response("put_metric_data", {})
            self.real.put_metric_data(**asked)


def _put(tmp_path: Path, client: Client, metrics: dict[str, float | None], alive: bool = True) -> CloudWatchMetrics:
    publisher = CloudWatchMetrics(client, _config(tmp_path), lambda: metrics, lambda: alive)
    publisher.put()
    return publisher


def test_metrics_of_the_rules_are_put_with_the_dimensions_and_units_the_alarms_watch(tmp_path: Path) -> None:
    client = Client()
    _put(tmp_path, client, {"cpu_steal_pct": 3.5, "clock_error_us": None, "of_no_rule": 1})
    data = {datum["MetricName"]: datum for datum in client.asked[0]["MetricData"]}
    assert set(data) == {"cpu_steal_pct", "alarms_heartbeat"}
    assert data["cpu_steal_pct"]["Value"] == 3.5
    alarms = {request["MetricName"]: request for request in alarm_requests(_config(tmp_path))}
    for name, datum in data.items():
        assert datum["Dimensions"] == alarms[name]["Dimensions"]
        assert datum["Unit"] == alarms[name]["Unit"]
        assert datum["StorageResolution"] == 1
    assert client.asked[0]["Namespace"] == "Sentinel"


def test_no_heartbeat_is_put_when_looks_have_stopped(tmp_path: Path) -> None:
    client = Client()
    _put(tmp_path, client, {"cpu_steal_pct": 3.5}, alive=False)
    assert [datum["MetricName"] for datum in client.asked[0]["MetricData"]] == ["cpu_steal_pct"]


def test_a_cloudwatch_that_refuses_is_logged_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.error = "Throttling"
    publisher = _put(tmp_path, client, {})
    publisher.put()
    assert publisher.failing
    assert caplog.text.count("CloudWatch") == 1
    client.error = ""
    publisher.put()
    assert not publisher.failing
