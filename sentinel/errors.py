"""The error tree. Each message names the field, its value, the allowed range and the remedy."""

from __future__ import annotations


class SentinelError(Exception):
    """Root of every error Sentinel raises on purpose."""


class FieldError(SentinelError):
    """A value that cannot be used. ``field`` and ``value`` are kept for callers and ``--json`` output."""

    def __init__(self, field: str, value: object, allowed: str, remedy: str) -> None:
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{field} = {shown}: allowed is {allowed}; {remedy}")
        self.field = field
        self.value = value
        self.allowed = allowed
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, object, str, str]]:
        # Exception would be rebuilt from its message alone, and worker processes send errors home.
        return type(self), (self.field, self.value, self.allowed, self.remedy)


class ConfigError(FieldError):
    """Unreadable config, unknown key or out-of-range value. Ends the daemon, at start only."""


class UnitError(FieldError):
    """A decimal that does not fit int64 in units of 1e-8, or a money product that overflows."""


class ParseError(FieldError):
    """A message that is not what the venue's protocol says. Counted and dropped, never fatal."""


class ModelError(FieldError):
    """A missing, damaged or unexportable model artifact."""


class JournalError(FieldError):
    """The journal cannot be written or read. No journal, no new order."""


class AuditError(FieldError):
    """The audit trail cannot be written or read. No audit, no new order."""


class RingError(FieldError):
    """A ring that cannot be created or attached, or a full ring."""


class FeedError(FieldError):
    """A market data connection that cannot be used."""


class VenueError(FieldError):
    """An order session that cannot be used; not an order's rejection, which is an OrderEvent."""


class ControlError(FieldError):
    """A request to a running daemon that cannot be made, or that it refuses."""


class ClockError(FieldError):
    """A clock source that cannot be read. A clock nobody can vouch for counts as wrong."""


class AlarmError(FieldError):
    """An alarm rule that makes no sense, or a sink that does not take an alert."""


class LimitsError(FieldError):
    """A limits file that cannot be made, or that a daemon refuses. Nothing changes."""


class RouteError(FieldError):
    """A route that cannot be planned, or a plan that the safety check refuses."""


class CaptureError(FieldError):
    """A capture or archive file that cannot be read."""


class CardError(FieldError):
    """A card, real or simulated, that cannot be used, or a request its hardware would refuse."""


class ImageError(FieldError):
    """An AWS FPGA image that cannot be built, packaged or registered."""
