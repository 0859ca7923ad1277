"""The operator's end of the control socket, for a command: one request, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from sentinel.errors import ControlError
from sentinel.host.control import endpoint
from sentinel.host.control.protocol import decode_answer, encode_request

_MAX_ANSWER_BYTES = 16 << 20


def ask(directory: Path, request: Struct, timeout_s: float = 15.0, trusted_uid: int | None = None) -> dict[str, Any]:
    """The daemon's answer to ``request``. Raises ControlError where none runs in ``directory``, or it refuses or is silent.

    ``trusted_uid``: whose daemon it may be besides this user's and root's.
    """
    with endpoint.connect(directory, timeout_s, trusted_uid) as connection:
        answer = b""
        try:
            connection.sendall(encode_request(request))
            while not answer.endswith(b"\n") and len(answer) <= _MAX_ANSWER_BYTES:
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
        except OSError as error:
            raise ControlError(
                "control socket", str(error) or "no answer", f"an answer within {timeout_s:g} s", "look at the daemon's log"
            ) from None
    return decode_answer(answer)
