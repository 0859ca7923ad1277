"""What the alarm process remembers over its restarts, and what operators have acknowledged meanwhile."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from sentinel.errors import AlarmError
from sentinel.host.kill_log import ACCESS_LINE, ACKS_LOG_NAME
from sentinel.ops.alarms.evaluate import AlarmState
from sentinel.wire import AccessRequest, AccessResult, Role

_log = logging.getLogger(__name__)

STATES_NAME, ACKS_NAME = "alarms.json", "alarm-acks"
_NAME = re.compile(r"[a-z_]{1,64}")
_MAX_ACK_BYTES = 4096
MAX_REASON = 200


class _Ack(msgspec.Struct, forbid_unknown_fields=True):
    rule: str
    reason: str


class Acknowledgement(NamedTuple):
    """An operator has taken an alarm on; ``user`` is who owns the file that says so."""

    rule: str
    user: int
    reason: str


def load_states(directory: Path) -> dict[str, AlarmState]:
    """By rule id; none without a file. A damaged file is logged and forgotten: every alarm that stands fires again."""
    path = directory / STATES_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, AlarmState])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        _log.error("alarm states in %s cannot be used, every alarm that stands is told again: %s", path, error)
        return {}


def save_states(directory: Path, states: dict[str, AlarmState]) -> None:
    """Replace the file in one step. On a full disk that is logged: alerts go out all the same."""
    path = directory / STATES_NAME
    try:
        _replace(path, msgspec.json.encode(states))
    except OSError as error:
        _log.error("alarm states cannot be saved: %s", error)


def acknowledge(directory: Path, rule: str, reason: str) -> None:
    """Leave an acknowledgement for the alarm process. Raises AlarmError where it cannot be left."""
    try:
        acks = directory / ACKS_NAME
        acks.mkdir(mode=0o700, exist_ok=True)
        _replace(acks / rule, msgspec.json.encode(_Ack(rule, reason[:MAX_REASON])))
    except OSError as error:
        raise AlarmError("store.directory", str(directory), "a directory this user may write to", f"check it ({error})") from None


def take_acknowledgements(directory: Path) -> Iterator[Acknowledgement]:
    """What operators have left, each once."""
    try:
        names = os.listdir(directory / ACKS_NAME)
    except OSError:
        return
    for name in sorted(names):
        path = directory / ACKS_NAME / name
        if _NAME.fullmatch(name):
            try:
                with open(path, "rb") as file:
                    user, raw = os.fstat(file.fileno()).st_uid, file.read(_MAX_ACK_BYTES)
                path.unlink()
                ack = msgspec.json.decode(raw, type=_Ack)
            except (OSError, msgspec.MsgspecError) as error:
                _log.warning("acknowledgement of %s cannot be read: %s", name, error)
                continue
            yield Acknowledgement(name, user, ack.reason[:MAX_REASON])


def log_acknowledgement(directory: Path, ack: Acknowledgement, stood: bool) -> bool:
    """Write who acknowledged what, and why, onto the disk, for the daemon's audit trail. False where the disk takes nothing.

    ``stood``: there was such an alarm.
    """
    result = AccessResult.GRANTED if stood else AccessResult.FAILED
    asked = {"request": AccessRequest.ALARM_ACK.name, "result": result.name, "person": "", "role": Role.NONE.name}
    line = {"t_ns": time.time_ns(), "what": ACCESS_LINE, **asked, "uid": ack.user, "pid": 0, "rule": ack.rule}
    try:
        with open(directory / ACKS_LOG_NAME, "ab") as file:
            file.write(msgspec.json.encode({**line, "reason": ack.reason}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        _log.error("acknowledgement of %s is not taken, it cannot be recorded: %s", ack.rule, error)
        return False
    return True


def _replace(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(raw)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
