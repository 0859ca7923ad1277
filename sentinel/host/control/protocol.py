"""What may be asked of a running daemon, and the shape of its answers: one JSON object a line, both ways.

A request names what it wants in ``do``; an answer holds ``result`` or ``error``, never both.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from sentinel.errors import ControlError, FieldError, SentinelError

MAX_REQUEST_BYTES = 32 << 10
MAX_CANCEL_WAIT_S = 60.0
MAX_LIMITS_FILE = 16 << 10
MAX_APPROVAL_S = 3_600.0


class Orders(msgspec.Struct, tag_field="do", tag="orders", forbid_unknown_fields=True):
    """List live orders."""


class Positions(msgspec.Struct, tag_field="do", tag="positions", forbid_unknown_fields=True):
    """Account, positions and halts."""


class Reconcile(msgspec.Struct, tag_field="do", tag="reconcile", forbid_unknown_fields=True):
    """Compare with the venue now. ``accept``: then take the venue's word and lift the halts."""

    accept: bool = False


class CancelAll(msgspec.Struct, tag_field="do", tag="cancel_all", forbid_unknown_fields=True):
    """Cancel every live order of ours, and say after at most ``within_s`` what became of each."""

    within_s: Annotated[float, msgspec.Meta(ge=0.1, le=MAX_CANCEL_WAIT_S)] = 10.0


class Kill(msgspec.Struct, tag_field="do", tag="kill", forbid_unknown_fields=True):
    """Trip the kill switch."""


class Arm(msgspec.Struct, tag_field="do", tag="arm", forbid_unknown_fields=True):
    """Without ``nonce``: ask for one. With it: arm. ``config_hash``: of the settings the operator holds; live needs it."""

    nonce: Annotated[str, msgspec.Meta(max_length=64)] = ""
    config_hash: Annotated[str, msgspec.Meta(max_length=64)] = ""


#: What an Alarm wants, its ``wanted``.
WANTS_REDUCE_ONLY, WANTS_KILL = 1, 2


class Alarm(msgspec.Struct, tag_field="do", tag="alarm", forbid_unknown_fields=True):
    """The alarm process wants trading stopped: alarm ``number``, ``wanted`` 1 REDUCE_ONLY, 2 kill."""

    number: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    wanted: Annotated[int, msgspec.Meta(ge=1, le=2)]


class LimitsShow(msgspec.Struct, tag_field="do", tag="limits_show", forbid_unknown_fields=True):
    """The limits in force, and where each comes from."""


class LimitsApply(msgspec.Struct, tag_field="do", tag="limits_apply", forbid_unknown_fields=True):
    """Take a limits file: its text, and the signatures (base64) of persons by name."""

    file: Annotated[str, msgspec.Meta(max_length=MAX_LIMITS_FILE)]
    signatures: Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=128)]], msgspec.Meta(max_length=8)]


class Approvals(msgspec.Struct, tag_field="do", tag="approvals", forbid_unknown_fields=True):
    """Orders that wait for a person, and what was decided of others."""


class Approve(msgspec.Struct, tag_field="do", tag="approve", forbid_unknown_fields=True):
    """Grant or refuse one of them; a grant holds for ``within_s``."""

    id: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    granted: bool = True
    within_s: Annotated[float, msgspec.Meta(ge=0.1, le=MAX_APPROVAL_S)] = 60.0


OperatorRequest = Orders | Positions | Reconcile | CancelAll | Kill | Arm | Alarm
Request = OperatorRequest | LimitsShow | LimitsApply | Approvals | Approve


class Failure(msgspec.Struct):
    """A typed error on its way to the client; ``value`` is its repr."""

    type: str
    message: str
    field: str = ""
    value: str = ""
    allowed: str = ""
    remedy: str = ""


class Answer(msgspec.Struct, omit_defaults=True):
    """One of the two."""

    result: dict[str, Any] | None = None
    error: Failure | None = None


_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Answer)


def encode_request(request: msgspec.Struct) -> bytes:
    return _encode(request) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ControlError for anything but a request."""
    try:
        return _request.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError("request", line[:80], "one of the documented requests", f"correct it: {error}") from None


def encode_result(result: dict[str, Any]) -> bytes:
    return _encode(Answer(result=result)) + b"\n"


def encode_error(error: SentinelError) -> bytes:
    failure = Failure(type(error).__name__, str(error))
    if isinstance(error, FieldError):
        failure.field, failure.allowed, failure.remedy = error.field, error.allowed, error.remedy
        failure.value = str(error.value)[:200]
    return _encode(Answer(error=failure)) + b"\n"


def decode_answer(line: bytes) -> dict[str, Any]:
    """The result. Raises ControlError where the daemon refused, or where this is no answer."""
    try:
        answer = _answer.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError("answer", line[:80], "an answer of this version", f"use the daemon's own version ({error})") from None
    if answer.error is not None:
        error_ = answer.error
        raise ControlError(error_.field or error_.type, error_.value, error_.allowed or "see the daemon's log", error_.remedy)
    return answer.result or {}
