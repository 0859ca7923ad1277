"""A limits file that says what the settings say, for people to tighten and to sign."""

from __future__ import annotations

import datetime

from sentinel.config import Config
from sentinel.host.control.limits_file import LIMITS, NOT_ASKED, counted, parse_limits, shown
from sentinel.units import NS_PER_S


def settings_limits(config: Config) -> dict[str, int]:
    """Every limit of ``[risk]`` that a file may state: e8 or whole numbers by name, NOT_ASKED where it asks nothing."""
    return {name: counted(name, min(int(getattr(config.risk, name)), bounds.high)) for name, bounds in LIMITS.items()}


def draft_limits(config: Config, version: int, now_ns: int, days: int) -> str:
    """The text of a file for ``config.mode`` that holds from now on: all limits that are asked, of single symbols too.

    Raises LimitsError for a version or a number of days that no file may have.
    """
    begin = datetime.datetime.fromtimestamp(now_ns // NS_PER_S, datetime.UTC)
    rows = [
        f"version = {version}",
        f'mode = "{config.mode}"',
        f"valid_from = {begin:%Y-%m-%dT%H:%M:%SZ}",
        f"expires = {begin + datetime.timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}",
        "",
        "[firm]",
    ]
    rows += [_row(name, value) for name, value in settings_limits(config).items() if value != NOT_ASKED]
    for symbol, limits in config.risk.symbols.items():
        rows += ["", f"[symbols.{symbol}]", *(_row(name, value) for name, value in limits.stated().items())]
    if config.risk.max_restricted_age_s or config.risk.restricted_symbols:
        listed = ", ".join(f'"{symbol}"' for symbol in config.risk.restricted_symbols)
        rows += ["", "[restricted]", f"issued = {begin:%Y-%m-%dT%H:%M:%SZ}", f"symbols = [{listed}]"]
    text = "\n".join(rows) + "\n"
    parse_limits(text.encode())
    return text


def _row(name: str, value: int) -> str:
    bounds = LIMITS[name]
    # A file's bounds keep per cent out; the settings may be tighter than the least it may say, and the tighter of both holds.
    written = shown(name, min(max(value, bounds.low), bounds.high))
    return f'{name} = "{written}"' if bounds.money else f"{name} = {written}"
