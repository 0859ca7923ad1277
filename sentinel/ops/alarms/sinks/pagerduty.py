"""Alerts as events of PagerDuty's Events API v2: trigger and resolve, joined by the deduplication key."""

from __future__ import annotations

from typing import Any

import msgspec

from sentinel.ops.alarms.alert import Alert
from sentinel.ops.alarms.evaluate import Change
from sentinel.ops.alarms.sinks.post import post

#: Longest summary the API takes.
_SUMMARY_CHARS = 1024


class PagerDutySink:
    """Posts to ``url``. ``routing_key`` is the integration's and never shown."""

    name = "pagerduty"

    def __init__(self, url: str, routing_key: str) -> None:
        self._url = url
        self._routing_key = routing_key

    def send(self, alert: Alert) -> None:
        """Raises AlarmError where PagerDuty does not answer 202. A planned stop wakes nobody."""
        if alert.change == Change.STOPPED:
            return
        post("alarms.pagerduty_url", self._url, msgspec.json.encode(self.event(alert)), {})

    def event(self, alert: Alert) -> dict[str, Any]:
        """The alert in the API's words."""
        return {
            "routing_key": self._routing_key,
            "event_action": "resolve" if alert.change == Change.CLEARED else "trigger",
            "dedup_key": alert.key,
            "client": "sentinel",
            "payload": {
                "summary": alert.summary[:_SUMMARY_CHARS],
                "source": alert.source,
                "severity": alert.severity,
                "timestamp": alert.time,
                "component": alert.metric,
                "class": alert.id,
                "custom_details": {
                    "value": alert.value,
                    "threshold": alert.threshold,
                    "unit": alert.unit,
                    "action": alert.action,
                },
            },
        }
