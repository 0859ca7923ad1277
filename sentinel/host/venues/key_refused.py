"""The one refusal of a logon or a subscription that trying again cannot help."""

from __future__ import annotations

from sentinel.errors import VenueError

REMEDY = "check the API key at the exchange (revoked, key type, permissions, IP list), its secret and the clock"


class KeyRefused(VenueError):
    """The venue refuses the key for a reason that does not pass. ``code`` and ``text`` are the venue's."""

    def __init__(self, what: str, code: int, text: str) -> None:
        super().__init__(what, f"{code} {text}", "a key the venue accepts", REMEDY)
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[type[KeyRefused], tuple[str, int, str]]:  # type: ignore[override]
        return type(self), (self.field, self.code, self.text)
