"""The refusal of a request, and what the matching engine's refusals are called here. The texts are illustrative."""

from __future__ import annotations

from sentinel.errors import SentinelError
from sentinel.sim.venue.api_error import ApiError

_TEXTS = {
    "Filter failure: LOT_SIZE": "size is too accurate or too small",
    "Filter failure: PRICE_FILTER": "price is too accurate",
    "Filter failure: NOTIONAL": "size is too small",
    "Account has insufficient balance for requested action.": "Insufficient funds",
    "Duplicate order sent.": "Duplicate client_oid",
}
_UNKNOWN_ORDER = (-2011, -2013)
_UNKNOWN_PRODUCT = -1121


class Refusal(SentinelError):
    """``status`` is the HTTP status, ``message`` what the body says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def renamed(error: ApiError) -> Refusal:
    """An error of the exchange as this protocol tells it."""
    if error.code in _UNKNOWN_ORDER:
        return Refusal(404, "order not found")
    if error.code == _UNKNOWN_PRODUCT:
        return Refusal(404, "NotFound")
    return Refusal(400, _TEXTS.get(error.msg, error.msg))
