from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import AlarmError, ConfigError
from sentinel.ops.alarms.alert import Alert, alert_of, stopped_alert
from sentinel.ops.alarms.evaluate import Change, Transition
from sentinel.ops.alarms.rules import DEFAULT_RULES
from sentinel.ops.alarms.sinks.chosen import open_sinks
from sentinel.ops.alarms.sinks.log import LogSink
from sentinel.ops.alarms.sinks.pagerduty import PagerDutySink
from sentinel.ops.alarms.sinks.webhook import WebhookSink
from tests.host.plain_config import plain_config
from tests.ops.alarms.receiver import receiver

T_NS = 1_700_000_000_123_456_789
SECRET = "kept-to-ourselves"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"


def alert(change: Change = Change.FIRED, value: float | None = 7.5) -> Alert:
    return alert_of(Transition(DEFAULT_RULES[1], change, value, T_NS, T_NS), "desk-1")


def test_an_alert_says_what_is_wrong_in_words_and_in_fields() -> None:
    found = alert()
    assert found.summary == ("desk-1: latency fired: p99 from socket to order; latency_p99_us is 7.5 us, alarm > 2000")
    assert found.time == "2023-11-14T22:13:20.123Z"
    assert "missing" in alert(value=None).summary


def test_fired_repeated_and_cleared_of_one_alarm_have_one_key_and_another_alarm_another() -> None:
    later = Transition(DEFAULT_RULES[1], Change.CLEARED, 1, T_NS + 9, T_NS)
    assert alert().key == alert(Change.REPEATED).key == alert_of(later, "desk-1").key
    anew = Transition(DEFAULT_RULES[1], Change.FIRED, 1, T_NS + 9, T_NS + 9)
    assert alert_of(anew, "desk-1").key != alert().key != alert_of(later, "desk-2").key


def test_the_log_is_a_line_of_json_an_alert(tmp_path: Path) -> None:
    sink = LogSink(tmp_path / "alarms.jsonl")
    sink.send(alert())
    sink.send(alert(Change.CLEARED))
    rows = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    assert [row["change"] for row in rows] == ["fired", "cleared"]
    assert rows[0]["value"] == 7.5


def test_a_log_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(AlarmError, match=r"alarms\.log_file"):
        LogSink(Path("/dev/full")).send(alert())


def test_a_webhook_is_signed_over_its_time_and_body() -> None:
    with receiver() as server:
        WebhookSink(server.url, SECRET, lambda: 1_700_000_000.9).send(alert())
        (posted,) = server.posted
    match = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", posted.headers["X-Sentinel-Signature"])
    assert match is not None
    expected = hmac.new(SECRET.encode(), match[1].encode() + b"." + posted.body, hashlib.sha256).hexdigest()
    assert match[2] == expected
    assert match[1] == "1700000000"
    assert json.loads(posted.body)["id"] == "latency"
    assert SECRET.encode() not in posted.body


@pytest.mark.parametrize("status", [0, 301, 400, 403, 429, 500, 503])
def test_anything_but_an_answer_2xx_is_an_error_that_names_no_secret(status: int) -> None:
    with receiver() as server:
        server.status = status
        for sink in (WebhookSink(server.url, SECRET), PagerDutySink(server.url, SECRET)):
            with pytest.raises(AlarmError) as caught:
                sink.send(alert())
            assert SECRET not in str(caught.value)
            assert SECRET not in repr(sink)


def test_pagerduty_is_told_in_its_own_format_and_of_the_end_under_the_same_key_and_of_no_planned_stop() -> None:
    with receiver() as server:
        sink = PagerDutySink(server.url, SECRET)
        sink.send(alert())
        sink.send(alert(Change.REPEATED))
        sink.send(alert(Change.CLEARED))
        sink.send(stopped_alert("desk-1", 1))
        events = [json.loads(posted.body) for posted in server.posted]
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
    for event in events:
        _check_event(event)


def _check_event(event: dict[str, Any]) -> None:
    """PagerDuty, Events API v2: what its reference says of an event."""
    assert event["routing_key"] == SECRET
    assert len(event["dedup_key"]) <= 255
    payload = event["payload"]
    assert set(payload) <= {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}
    assert payload["severity"] in ("critical", "error", "warning", "info")
    assert payload["summary"]
    assert len(payload["summary"]) <= 1024
    assert payload["source"] == "desk-1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload["timestamp"])


def test_sns_takes_what_is_published() -> None:
    boto3 = pytest.importorskip("boto3", reason="needs the extra aws")
    from botocore.stub import ANY, Stubber

    from sentinel.ops.alarms.sinks.sns import SnsSink

    client = boto3.client("sns", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        asked = {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY, "MessageAttributes": ANY}
        stub.add_response("publish", {"MessageId": "1"}, asked)
        SnsSink(client, TOPIC).send(alert())
        stub.assert_no_pending_responses()
        stub.add_client_error("publish", "AuthorizationError")
        with pytest.raises(AlarmError, match=r"alarms\.sns_topic"):
            SnsSink(client, TOPIC).send(alert())


class Client:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def publish(self, **asked: Any) -> None:
        self.asked.append(asked)


def test_a_subject_for_sns_is_short_and_ascii() -> None:
    pytest.importorskip("botocore", reason="needs the extra aws")
    from sentinel.ops.alarms.sinks.sns import SnsSink

    client = Client()
    rule = DEFAULT_RULES[1].model_copy(update={"meaning": "größer\n" * 40})
    SnsSink(client, TOPIC).send(alert_of(Transition(rule, Change.FIRED, 1, T_NS, T_NS), "desk-1"))
    subject = client.asked[0]["Subject"]
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100
    assert json.loads(client.asked[0]["Message"])["id"] == "latency"


def test_the_settings_choose_the_sinks_and_name_where_secrets_are(tmp_path: Path) -> None:
    alarms = {"webhook_url": "https://example.org/a", "pagerduty_key_env": "PD_KEY"}
    config = plain_config(tmp_path, alarms=alarms)
    environment = {"SENTINEL_WEBHOOK_SECRET": SECRET, "PD_KEY": SECRET}
    assert [sink.name for sink in open_sinks(config, environment)] == ["log", "webhook", "pagerduty"]
    assert [sink.name for sink in open_sinks(plain_config(tmp_path), {})] == ["log"]
    for missing in environment:
        with pytest.raises(ConfigError, match=missing):
            open_sinks(config, {name: value for name, value in environment.items() if name != missing})


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://127.0.0.1/a", "example.org"])
def test_an_alert_leaves_the_machine_under_tls_only(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"alarms\.webhook_url"):
        plain_config(tmp_path, alarms={"webhook_url": url})
