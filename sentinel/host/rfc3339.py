"""UTC timestamps of RFC 3339, as Coinbase prints them, as integer nanoseconds."""

from __future__ import annotations

import calendar
import re
import time
from functools import lru_cache

from sentinel.errors import ParseError
from sentinel.units import NS_PER_S

_UTC = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?(?:Z|z|\+00:00)", re.ASCII)


def parse_utc(text: str) -> int:
    """``2021-04-17T16:43:37.089723Z`` as ns; digits beyond nanoseconds are cut. Raises ParseError, also for another zone."""
    match = _UTC.fullmatch(text)
    seconds = None if match is None else _second(match[1])
    if match is None or seconds is None:
        raise ParseError("time", text, "YYYY-MM-DDThh:mm:ss with optional decimals and Z", "keep the message and tell the venue")
    return seconds * NS_PER_S + int((match[2] or "")[:9].ljust(9, "0"))


@lru_cache(maxsize=16)
def _second(text: str) -> int | None:
    try:
        fields = time.strptime(text[:10] + "T" + text[11:], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return calendar.timegm(fields) if fields.tm_year >= 1970 else None
