"""Alerts posted to an address of the operator's own, signed so that the receiver knows who sent them."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import msgspec

from sentinel.ops.alarms.alert import Alert
from sentinel.ops.alarms.sinks.post import post

SIGNATURE_HEADER = "X-Sentinel-Signature"


def signature(secret: str, timestamp_s: int, body: bytes) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 over ``SECONDS.BODY``. The time lets a receiver refuse what is sent again later."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp_s + body, hashlib.sha256).hexdigest()
    return f"t={timestamp_s},v1={digest}"


class WebhookSink:
    """Posts the alert as one JSON object. ``secret`` is never shown."""

    name = "webhook"

    def __init__(self, url: str, secret: str, clock_s: Callable[[], float] = time.time) -> None:
        self._url = url
        self._secret = secret
        self._clock_s = clock_s

    def send(self, alert: Alert) -> None:
        """Raises AlarmError where the address does not take it."""
        body = msgspec.json.encode(alert)
        signed = signature(self._secret, int(self._clock_s()), body)
        post("alarms.webhook_url", self._url, body, {SIGNATURE_HEADER: signed})
