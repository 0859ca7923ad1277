"""What a refusal means. Coinbase Exchange has no error codes: an HTTP status and ``{"message": "..."}``.

Only a 4xx with such a body, or a 429, proves that nothing was done. ``error_code`` of a record is the negative HTTP
status. A message about a client id proves nothing: an order of that id can only be ours.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

import msgspec

_ABOUT_CLIENT_ID = re.compile(r"duplicate|client.?(?:order|oid|id)|already exist", re.IGNORECASE)
_ABOUT_TIME = re.compile(r"timestamp|expired|clock", re.IGNORECASE)
_KNOWN = frozenset({400, 401, 403, 404, 429, 500, 502, 503, 504})
NOT_FOUND = 404


class Reaction(Enum):
    """What the session does besides reporting the refusal."""

    NONE = 0
    PAUSE = 1
    HALT_KEY = 2


class Refusal(NamedTuple):
    """An answer that is no success. ``proven``: the venue certainly did not perform the request."""

    status: int
    message: str
    proven: bool
    known: bool
    reaction: Reaction

    @property
    def code(self) -> int:
        return -self.status


class _Body(msgspec.Struct):
    message: str


_decode = msgspec.json.Decoder(_Body).decode


def is_about_time(message: str) -> bool:
    """Whether a refusal is of the request's timestamp."""
    return _ABOUT_TIME.search(message) is not None


def read_refusal(status: int, body: bytes) -> Refusal:
    """Judge an answer whose status is not 200. Never raises."""
    try:
        message = _decode(body).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # A page of a proxy or a firewall: whether the venue has seen the request, it does not tell.
        return Refusal(status, "no reason given", status == 429, False, Reaction.PAUSE if status == 429 else Reaction.NONE)
    known = status in _KNOWN
    if status == 429:
        return Refusal(status, message, True, known, Reaction.PAUSE)
    proven = 400 <= status < 500 and known and _ABOUT_CLIENT_ID.search(message) is None
    refuses_key = status in (401, 403) and not is_about_time(message)
    return Refusal(status, message, proven, known, Reaction.HALT_KEY if refuses_key else Reaction.NONE)
