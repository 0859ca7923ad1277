"""Alerts published to an SNS topic."""

from __future__ import annotations

from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from sentinel.errors import AlarmError
from sentinel.ops.alarms.alert import Alert

#: SNS takes a subject of less than 100 characters of ASCII, without control characters.
_SUBJECT_CHARS = 99


class SnsSink:
    """Publishes to ``topic`` by ``client``, boto3's for SNS."""

    name = "sns"

    def __init__(self, client: Any, topic: str) -> None:
        self._client = client
        self._topic = topic

    def send(self, alert: Alert) -> None:
        """Raises AlarmError where SNS refuses or cannot be reached."""
        try:
            self._client.publish(
                TopicArn=self._topic,
                Subject=_subject(alert.summary),
                Message=msgspec.json.encode(alert).decode(),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in (("id", alert.id), ("change", alert.change), ("severity", alert.severity))
                },
            )
        except (BotoCoreError, ClientError) as error:
            raise AlarmError("alarms.sns_topic", self._topic, "a topic that can be published to", f"{error}") from None


def _subject(summary: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in summary)[:_SUBJECT_CHARS]
