"""Who watches a running daemon: the settings of ``[clock]`` and ``[alarms]``."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from sentinel.config_venue import Section, is_loopback

#: What holds live where the settings say nothing.
LIVE_ALARMS = {"required": True}

RuleAction = Literal["inform", "reduce_only", "kill"]


class ClockConfig(Section):
    """Who is asked how far the system clock may be wrong, and how often."""

    chronyd: str = Field(
        default="127.0.0.1:323",
        pattern=r"^([0-9.]{7,15}:[0-9]{1,5})?$",
        description="where chronyd answers; empty: only the kernel is asked, for a clock that something else keeps",
    )
    timeout_ms: int = Field(default=200, ge=10, le=5_000, description="how long chronyd may take to answer")
    look_every_ms: int = Field(default=1_000, ge=100, le=10_000, description="time between two looks at the clock")
    step_us: int = Field(
        default=1_000, ge=10, le=10_000_000, description="a jump of the clock between two looks that counts as a step"
    )


class RuleChange(Section):
    """What one alarm rule has in place of its default; see ``sentinel alarms list``."""

    enabled: bool = True
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    clear: float | None = Field(default=None, allow_inf_nan=False)
    windows: int | None = Field(default=None, ge=1, le=100)
    of_windows: int | None = Field(default=None, ge=1, le=100)
    action: RuleAction | None = None
    required: bool | None = None


class AlarmsConfig(Section):
    """The alarm process, `sentinel alarms run`."""

    required: bool = Field(
        default=False,
        description="nobody arms without the alarm process, and a daemon that misses it for silence_ms only reduces positions; "
        "live it is true unless it is set",
    )
    silence_ms: int = Field(default=5_000, ge=1_000, le=60_000, description="how long the alarm process may be silent")
    silence_action: Literal["reduce_only", "kill"] = Field(
        default="reduce_only",
        description="what an armed daemon does that misses a required alarm process for silence_ms; "
        "after a stop in order it only reduces positions",
    )
    status_every_ms: int = Field(
        default=200, ge=100, le=1_000, description="time between two status reports of the daemon to the alarm process"
    )
    repeat_every_s: int = Field(
        default=300, ge=10, le=86_400, description="an alarm that stands and nobody has acknowledged is told again after this"
    )
    clear_after_s: int = Field(
        default=10,
        ge=0,
        le=3_600,
        description="how long an alarm must be clear to be over; one that comes back meanwhile is the same",
    )
    log_file: str = Field(
        default="", description="file every alert is appended to, a line of JSON each; empty: alarms.jsonl in store.directory"
    )
    webhook_url: str = Field(default="", description="address alerts are posted to; empty: none")
    webhook_secret_env: str = Field(
        default="SENTINEL_WEBHOOK_SECRET", description="variable that holds the secret alerts to the webhook are signed with"
    )
    pagerduty_url: str = Field(default="https://events.pagerduty.com/v2/enqueue", description="PagerDuty's Events API v2")
    pagerduty_key_env: str = Field(
        default="", description="variable that holds the routing key of a PagerDuty integration; empty: none is told"
    )
    sns_topic: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+)?$",
        description="ARN of the SNS topic alerts are published to; empty: none; needs the extra aws",
    )
    cloudwatch_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/#-]{0,255}$",
        description="CloudWatch namespace metrics are put into; empty: none; needs the extra aws",
    )
    aws_region: str = Field(default="", description="region of topic and namespace; empty: boto3's")
    name: str = Field(
        default="sentinel", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="what this daemon is called in alerts and metrics"
    )
    rules: dict[str, RuleChange] = Field(
        default_factory=dict, description="by the rule's id: what it has in place of its default; docs/alarms.md"
    )

    @field_validator("webhook_url", "pagerduty_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
            raise ValueError("must begin with https://; http:// is for loopback addresses")
        return value

    @model_validator(mode="after")
    def _in_time(self) -> AlarmsConfig:
        if 2 * self.status_every_ms > self.silence_ms:
            raise ValueError("status_every_ms must be at most half of silence_ms")
        return self
