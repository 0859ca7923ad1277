"""The refusal of a request, as the exchange's REST and WebSocket API both report it."""

from __future__ import annotations

from typing import Any

from sentinel.errors import SentinelError


class ApiError(SentinelError):
    """``status`` is the HTTP (and WebSocket API) status, ``code`` and ``msg`` the exchange's own.

    ``data`` is the optional ``error.data`` object: the two halves of a cancel-replace, or
    ``serverTime`` and ``retryAfter`` of a limit.
    """

    def __init__(self, status: int, code: int, msg: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code}: {msg}")
        self.status = status
        self.code = code
        self.msg = msg
        self.data = data


def mandatory(name: str) -> ApiError:
    """-1102 for a mandatory parameter that is absent, empty or malformed."""
    return ApiError(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
