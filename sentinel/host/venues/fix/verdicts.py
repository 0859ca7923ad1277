"""What a refusal over FIX proves, in the words of each venue. What is not known to prove anything leaves the outcome open.

Binance adds its error code (25016) to every refusal. Coinbase Exchange has none: there a reason and a text must do, and an
``error_code`` is the reason's tag and value, negated: 103 with 0 is -103000. Source: the order entry pages of both.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from sentinel.host.venues.binance_spot import outcomes
from sentinel.host.venues.binance_spot.outcomes import Reaction
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix.codec import FixMessage
from sentinel.units import NS_PER_S

CANCEL_REJECT, SESSION_REJECT, BUSINESS_REJECT = "9", "3", "j"

_CLIENT_ERROR = 400
_ORDER_REASON, _CANCEL_REASON, _SESSION_REASON, _BUSINESS_REASON = 103, 102, 373, 380
_DUPLICATE_ORDER = 6
#: BusinessRejectReasons that say the venue cannot have acted: unknown id, security or type, a field missing.
_NOT_ACTED = frozenset({1, 2, 3, 5})
# FIX names no time to wait: as long as the window lasts that is full.
_ORDERS_WINDOW_NS, _OTHER_WINDOW_NS = 10 * NS_PER_S, 60 * NS_PER_S


class Verdict(NamedTuple):
    """``proven``: the venue certainly did not do what was asked. ``code`` goes into the record."""

    proven: bool
    code: int


class Verdicts(Protocol):
    """How one venue's refusals are judged. ``order`` takes ExecutionReports, ``request`` every other refusal.

    Both raise ParseError for a number that is none. ``pause_ns`` is how long no order leaves after a limit was named.
    """

    def order(self, message: FixMessage) -> Verdict: ...

    def request(self, message: FixMessage) -> Verdict: ...

    def reaction(self, code: int, text: str) -> Reaction: ...

    def refuses_logon(self, code: int, text: str) -> bool: ...

    def pause_ns(self, code: int) -> int: ...


class BinanceVerdicts:
    """By the session rules a Reject means that the message was not processed; where there is a code, the code decides."""

    def order(self, message: FixMessage) -> Verdict:
        code = message.find_number(25016) or 0
        if code:
            return Verdict(outcomes.is_definitive(_CLIENT_ERROR, code, message.find(58) or ""), code)
        # An order of this id exists: it can only be ours.
        return Verdict(message.find_number(_ORDER_REASON) != _DUPLICATE_ORDER, LocalCode.NONE)

    def request(self, message: FixMessage) -> Verdict:
        code = message.find_number(25016)
        if code is not None:
            return Verdict(outcomes.is_definitive(_CLIENT_ERROR, code, message.find(58) or ""), code)
        if message.msg_type == BUSINESS_REJECT:
            proven = message.find_number(_BUSINESS_REASON) in _NOT_ACTED
            return Verdict(proven, LocalCode.NONE if proven else LocalCode.UNKNOWN_CODE)
        return Verdict(True, LocalCode.NONE)

    def reaction(self, code: int, text: str) -> Reaction:
        return outcomes.reaction(_CLIENT_ERROR, code)

    def refuses_logon(self, code: int, text: str) -> bool:
        return outcomes.refuses_logon(code)

    def pause_ns(self, code: int) -> int:
        return _ORDERS_WINDOW_NS if code == outcomes.TOO_MANY_ORDERS else _OTHER_WINDOW_NS


#: OrdRejReason and CxlRejReason as published. BusinessRejectReason 1 is "other" here and proves nothing.
_PUBLISHED = {_ORDER_REASON: (0, 1, 5), _CANCEL_REASON: (1, 2), _BUSINESS_REASON: (2,)}
_ABOUT_CLIENT_ID = re.compile(r"duplicate|client.?(?:order|oid|id)|clordid|already exist", re.IGNORECASE)
_ABOUT_KEY = re.compile(r"api.?key|passphrase|signature|permission|unauthori[sz]ed|not authori[sz]ed|forbidden", re.IGNORECASE)
_PASSES = re.compile(r"already|in use|exists|connect|duplicate|timestamp|sendingtime|sequence", re.IGNORECASE)
_ABOUT_LIMIT = re.compile(r"rate.?limit|too many|throttl|limit exceeded", re.IGNORECASE)
_SIGNATURE_PROBLEM = 8


class CoinbaseVerdicts:
    """A reason nobody has published proves nothing, nor does a text about a client id: an order of that id can only be ours.

    A text about the key halts, unless it tells of what passes: a session of the key that still stands, or the clock.
    """

    def order(self, message: FixMessage) -> Verdict:
        verdict = self._published(message, _ORDER_REASON)
        about_id = _ABOUT_CLIENT_ID.search(message.find(58) or "") is not None
        return Verdict(verdict.proven and not about_id, verdict.code)

    def request(self, message: FixMessage) -> Verdict:
        if message.msg_type == SESSION_REJECT:
            return Verdict(True, reason_code(message, _SESSION_REASON))
        return self._published(message, _CANCEL_REASON if message.msg_type == CANCEL_REJECT else _BUSINESS_REASON)

    def reaction(self, code: int, text: str) -> Reaction:
        if self.refuses_logon(code, text):
            return Reaction.HALT_KEY
        return Reaction.NONE if _ABOUT_LIMIT.search(text) is None else Reaction.PAUSE

    def refuses_logon(self, code: int, text: str) -> bool:
        if code == -(_SESSION_REASON * 1000 + _SIGNATURE_PROBLEM):
            return True
        return _ABOUT_KEY.search(text) is not None and _PASSES.search(text) is None

    def pause_ns(self, code: int) -> int:
        return NS_PER_S

    def _published(self, message: FixMessage, tag: int) -> Verdict:
        reason = message.find_number(tag)
        # An OrderCancelReject or a rejected order need not give a reason.
        known = reason in _PUBLISHED[tag] or (reason is None and tag != _BUSINESS_REASON)
        return Verdict(known, reason_code(message, tag))


def reason_code(message: FixMessage, tag: int) -> int:
    """The reason a refusal gives in ``tag``, as an error code; UNKNOWN_CODE for one no venue can mean."""
    reason = message.find_number(tag) or 0
    return -(tag * 1000 + reason) if 0 <= reason < 1000 else LocalCode.UNKNOWN_CODE
