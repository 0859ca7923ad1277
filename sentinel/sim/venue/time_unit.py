"""Timestamps in microseconds, for connections and requests that ask for them."""

from __future__ import annotations

from typing import Any

#: Every field of a payload that is a time in ms (``t`` and ``u`` only inside the events that use them so).
_TIME_FIELDS = frozenset(
    {"E", "T", "W", "O", "serverTime", "transactTime", "workingTime", "time", "updateTime", "closeTime", "openTime"}
)


def in_microseconds(payload: Any) -> Any:
    """A copy of a JSON-like payload with its ms timestamps in us."""
    if isinstance(payload, list):
        return [in_microseconds(item) for item in payload]
    if not isinstance(payload, dict):
        return payload
    account_update = payload.get("e") == "outboundAccountPosition"
    converted: dict[str, Any] = {}
    for name, value in payload.items():
        is_time = name in _TIME_FIELDS or (account_update and name == "u")
        if is_time and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            converted[name] = value * 1000
        elif isinstance(value, (dict, list)):
            converted[name] = in_microseconds(value)
        else:
            converted[name] = value
    return converted


def asks_for_microseconds(value: str | None) -> bool:
    """Whether a request names the microsecond as its time unit."""
    return value is not None and value in ("MICROSECOND", "microsecond")
