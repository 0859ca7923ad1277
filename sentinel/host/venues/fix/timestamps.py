"""UTCTimestamp of FIX from and to integer nanoseconds."""

from __future__ import annotations

import calendar
import re
import time
from functools import lru_cache

from sentinel.errors import ParseError
from sentinel.units import NS_PER_MS, NS_PER_S

_UTC = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})-([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?", re.ASCII)


def format_utc(t_ns: int) -> str:
    """``20240627-11:17:25.223``: milliseconds, the one form both Binance and Coinbase take."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return f"{_format_second(seconds)}.{rest // NS_PER_MS:03d}"


@lru_cache(maxsize=4)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y%m%d-%H:%M:%S", time.gmtime(seconds))


def parse_utc(text: str) -> int:
    """UTC ns of a timestamp with up to nine decimals. Raises ParseError."""
    match = _UTC.fullmatch(text)
    if match is not None:
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        # 60 is a leap second.
        if (
            year >= 1970
            and 1 <= month <= 12
            and 1 <= day <= calendar.monthrange(year, month)[1]
            and hour < 24
            and minute < 60
            and second <= 60
        ):
            fraction = int((match[7] or "").ljust(9, "0"))
            return calendar.timegm((year, month, day, hour, minute, second)) * NS_PER_S + fraction
    raise ParseError("UTCTimestamp", text, "YYYYMMDD-HH:MM:SS with up to nine decimals", "keep the message and tell the venue")
