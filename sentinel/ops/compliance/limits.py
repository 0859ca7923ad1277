"""Limit changes of a trail in the units of the settings."""

from __future__ import annotations

from typing import Any

from sentinel.engine.layout import NO_LIMIT, LimitField
from sentinel.host.control.limits_file import LIMITS
from sentinel.ops.audit.fields import iso
from sentinel.units import format_e8_short

_BY_FIELD = {bounds.field.name: (name, bounds.money) for name, bounds in LIMITS.items()}
#: Fields whose record has another unit than the setting: setting, and how many of the record's make one of it.
_OTHER_UNIT = {
    LimitField.MAX_CLOCK_ERROR_NS.name: ("max_clock_error_us", 1_000),
    LimitField.MAX_INSTRUMENT_AGE_NS.name: ("max_instrument_age_s", 1_000_000_000),
}
#: What an operator resets rather than limits.
_NO_LIMIT = (LimitField.PEAK_EQUITY.name, LimitField.LOSS_BASE.name)
_MONEY = {f"risk.{name}" for name, bounds in LIMITS.items() if bounds.money} | {"risk.approval_notional_per_minute"}


def limit_of(field: str, value: int, symbol: str) -> tuple[str, Any]:
    """Path of the setting a LIMITS record changes, and its value; an empty path for what is no limit.

    ``symbol``: whose own limit it is, empty for one of the account.
    """
    if field == LimitField.RESTRICTED.name:
        return f"risk.restricted_symbols.{symbol}", "listed" if value != NO_LIMIT else "not listed"
    if field == LimitField.RESTRICTED_ISSUED.name:
        return "risk.restricted_symbols", f"issued {iso(value)}"
    if symbol:
        name, shown = limit_of(field, value, "")
        return name.replace("risk.", f"risk.symbols.{symbol}.", 1), "none" if value == NO_LIMIT else shown
    if field in _NO_LIMIT:
        return "", value
    if field in _OTHER_UNIT:
        name, factor = _OTHER_UNIT[field]
        return f"risk.{name}", value // factor if value % factor == 0 else f"{value} ns"
    name, money = _BY_FIELD.get(field, (field.lower(), False))
    return f"risk.{name}", format_e8_short(value) if money else value


def shown_setting(path: str, value: Any) -> Any:
    """A setting's value as a limit change shows it."""
    return format_e8_short(value) if path in _MONEY else value
