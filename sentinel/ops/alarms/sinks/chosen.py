"""The sinks that the settings name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sentinel.config import Config
from sentinel.errors import ConfigError
from sentinel.ops.alarms.alert import Alert
from sentinel.ops.alarms.sinks.log import LogSink
from sentinel.ops.alarms.sinks.pagerduty import PagerDutySink
from sentinel.ops.alarms.sinks.webhook import WebhookSink

_AWS_TIMEOUT_S = 5


class Sink(Protocol):
    """Takes alerts. ``send`` may block, and raises AlarmError where the alert was not taken."""

    @property
    def name(self) -> str: ...

    def send(self, alert: Alert) -> None: ...


def open_sinks(config: Config, environment: Mapping[str, str] = os.environ) -> list[Sink]:
    """Raises ConfigError for a secret that is not set."""
    settings = config.alarms
    log = Path(settings.log_file) if settings.log_file else config.store.directory / "alarms.jsonl"
    sinks: list[Sink] = [LogSink(log)]
    if settings.webhook_url:
        secret = _secret("alarms.webhook_secret_env", settings.webhook_secret_env, environment)
        sinks.append(WebhookSink(settings.webhook_url, secret))
    if settings.pagerduty_key_env:
        key = _secret("alarms.pagerduty_key_env", settings.pagerduty_key_env, environment)
        sinks.append(PagerDutySink(settings.pagerduty_url, key))
    if settings.sns_topic:
        from sentinel.ops.alarms.sinks.sns import SnsSink

        sinks.append(SnsSink(aws_client("sns", settings.aws_region), settings.sns_topic))
    return sinks


def aws_client(service: str, region: str) -> Any:
    """boto3's client of ``service``, with short time-outs and no retries of its own."""
    import boto3
    from botocore.config import Config as BotoConfig

    limits = BotoConfig(
        connect_timeout=_AWS_TIMEOUT_S, read_timeout=_AWS_TIMEOUT_S, retries={"total_max_attempts": 1}, tcp_keepalive=True
    )
    return boto3.client(service, region_name=region or None, config=limits)


def _secret(field: str, name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigError(field, name, "the name of a set environment variable", f"export {name}")
    return value
