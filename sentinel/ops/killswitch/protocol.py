"""What may be asked of the kill process over its own control socket: one JSON object a line, as of the daemon."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sentinel.errors import ControlError

MAX_WAIT_S = 120.0


class KillTo(msgspec.Struct, tag_field="do", tag="kill", forbid_unknown_fields=True):
    """Kill up to ``level``, and answer when that is done, or after ``within_s``."""

    level: Annotated[int, msgspec.Meta(ge=1, le=4)]
    reason: Annotated[str, msgspec.Meta(max_length=400)] = ""
    within_s: Annotated[float, msgspec.Meta(ge=0.0, le=MAX_WAIT_S)] = 5.0


class Status(msgspec.Struct, tag_field="do", tag="status", forbid_unknown_fields=True):
    """What holds and how far it has come."""


class Rearm(msgspec.Struct, tag_field="do", tag="rearm", forbid_unknown_fields=True):
    """Re-arm, or from level 2 on ask for the second person."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    reason: Annotated[str, msgspec.Meta(max_length=400)]


class Confirm(msgspec.Struct, tag_field="do", tag="confirm", forbid_unknown_fields=True):
    """The second person. Without ``signature`` the connection must be another user's."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    nonce: Annotated[str, msgspec.Meta(max_length=64)]
    signature: Annotated[str, msgspec.Meta(max_length=256)] = ""


KillRequest = KillTo | Status | Rearm | Confirm
_decoder = msgspec.json.Decoder(KillRequest)


def decode_kill_request(line: bytes) -> KillRequest:
    """Raises ControlError for anything but a request."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError("request", line[:80], "one of the documented requests", f"correct it: {error}") from None
