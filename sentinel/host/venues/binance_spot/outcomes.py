"""What a refusal means: definitive, or an outcome nobody knows.

Only codes this program knows to be definitive count as a refusal; 5xx, -1006 and -1007 leave the
outcome unknown by the venue's own words, and so does anything new. Source: Binance error codes.
"""

from __future__ import annotations

from enum import Enum

_AMBIGUOUS_TEXTS = ("Duplicate order sent.",)  # an open order has this id: it can only be ours


class Reaction(Enum):
    """What the session does besides reporting the refusal."""

    NONE = 0
    RESYNC_CLOCK = 1
    PAUSE = 2
    HALT_KEY = 3
    CHECK_SESSION = 4


def _span(first: int, last: int) -> range:
    return range(last, first + 1)


DEFINITIVE_CODES = frozenset(
    {
        -1002, -1003, -1008, -1013, -1014, -1015, -1016, -1020, -1021, -1022, -1033, -1034, -1035,
        -1108, -1111, -1112, -1125, -1127, -1128, -1130, -1134, -1135, -1139, -1145, -1151, -1152, -1153, -1155,
        -1194, -1210, -1211, -1220, -1221,
        -2010, -2011, -2013, -2014, -2015, -2016, -2026, -2035, -2036, -2038, -2039, -2042, -2043,
        *_span(-1100, -1106), *_span(-1114, -1122), *_span(-1158, -1191), *_span(-1196, -1199), *_span(-1222, -1225),
    }
)  # fmt: skip
UNKNOWN_ORDER = -2011
NO_SUCH_ORDER = -2013
#: A cancel-replace of which one half failed, or both: what each came to stands in the error's data.
PARTLY_REPLACED, NOT_REPLACED = -2021, -2022
#: An unknown symbol, or one with characters no symbol has.
NO_SUCH_SYMBOL = frozenset({-1121, -1100})
_CLOCK = -1021
TOO_MANY_ORDERS = -1015
_LIMITS = frozenset({-1003, TOO_MANY_ORDERS, -1034})
_KEY = frozenset({-1002, -2014, -2015})
_MISSING_PARAMETER = -1102
#: A key of a type that cannot log on.
_KEY_TYPE = -4056
#: Refusals of a Logon that another one meets too: the key, its type, its signature.
_LOGON = _KEY | {-1022, _KEY_TYPE}
#: Published, and no proof of an outcome.
_PUBLISHED = frozenset({-1000, -1001, -1006, -1007, PARTLY_REPLACED, NOT_REPLACED})
#: What may pass by itself: the venue's own trouble, limits and the clock.
_PASSING = frozenset({-1000, -1001, -1006, -1007, -1008, -1016, _CLOCK}) | _LIMITS
#: A method or service this endpoint does not have.
NOT_OFFERED = -1020


def is_definitive(status: int, code: int, message: str) -> bool:
    """Whether the venue certainly did not perform the request."""
    if not 400 <= status < 500 or status == 409:
        return False
    return code in DEFINITIVE_CODES and not message.startswith(_AMBIGUOUS_TEXTS)


def is_known(status: int, code: int) -> bool:
    """Whether status and code are in the venue's published tables (else: count it and keep the bytes)."""
    return 400 <= status < 600 and (code in DEFINITIVE_CODES or code in _PUBLISHED)


def reaction(status: int, code: int) -> Reaction:
    """What an error asks of the session, beside what it says about its order."""
    if status in (418, 429) or code in _LIMITS:
        return Reaction.PAUSE
    if code == _CLOCK:
        return Reaction.RESYNC_CLOCK
    if code == _MISSING_PARAMETER:
        # What a connection answers that has forgotten its logon: key and signature are missing.
        return Reaction.CHECK_SESSION
    return Reaction.HALT_KEY if code in _KEY else Reaction.NONE


def refuses_key(status: int, code: int) -> bool:
    """Whether the answer to a logon or a subscription means that asking again with this key cannot help.

    A code that nobody has published may be the venue's passing trouble: that is asked again, with growing pauses.
    """
    published = code in DEFINITIVE_CODES or code == _KEY_TYPE
    return code not in _PASSING and (status == 401 or (status == 400 and published))


def refuses_logon(code: int) -> bool:
    """Whether a FIX Logon that was refused with ``code`` would be refused again: a name in use or the clock may pass."""
    return code in _LOGON
