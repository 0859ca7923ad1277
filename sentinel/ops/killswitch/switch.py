"""The switch itself: word and latch, what raises them and what alone lowers them. No venue, no loop."""

from __future__ import annotations

import getpass
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from sentinel.errors import ControlError
from sentinel.host.heartbeat import Heartbeat
from sentinel.host.kill_word import KILL_FILE_NAME, KillLevel, KillState, KillTrigger, KillWordWriter
from sentinel.ops.killswitch.latch import Latch, LatchRecord
from sentinel.ops.killswitch.persons import KeyOf, Person, check_rearm, message, verified_key

_log = logging.getLogger(__name__)

_CONFIRM_S = 600.0


class _Pending(NamedTuple):
    nonce: str
    first: Person
    reason: str
    generation: int
    until: float


class KillSwitch:
    """One for a store, one process at a time.

    Args:
        store: the daemon's store, where the word is.
        directory: of the latch.
        key_of: the public key of a name.
        over: whether the kill has done its work at the venue, nothing open and nothing being sold: a re-arming waits for it.

    ``killed_ns`` is CLOCK_MONOTONIC at which the level that holds was stored, 0 while it is open.
    Raises ControlError where another kill process runs, or word or latch cannot be made.
    """

    def __init__(self, store: Path, directory: Path, key_of: KeyOf, over: Callable[[], bool]) -> None:
        self._store = store
        self._key_of = key_of
        self._over = over
        self._pending: _Pending | None = None
        self.killed_ns = 0
        self.word = KillWordWriter(store)
        try:
            self.latch = Latch(directory)
            self._disk = ThreadPoolExecutor(1, "latch")
            self._recover()
        except BaseException:
            self.word.close()
            raise

    @property
    def record(self) -> LatchRecord:
        return self.latch.record

    @property
    def level(self) -> KillLevel:
        return KillLevel(self.record.level)

    def _recover(self) -> None:
        """Take whichever of word and latch says more; what cannot be read, or is missing, says killed."""
        word, record = self.word.read(), self.record
        if not self.word.existed and not self.latch.existed:
            self.latch.write("first start", self.latch.take(generation=1))
        else:
            lost = not self.word.existed or not self.latch.existed
            level, trigger = record.level, record.trigger
            if word.level > level:
                level, trigger = int(word.level), int(word.trigger)
            if lost and level == KillLevel.OPEN:
                level, trigger = int(KillLevel.STOP_NEW), int(KillTrigger.DAMAGE)
            generation = max(record.generation, word.generation)
            if (level, generation) != (record.level, record.generation) or lost or self.latch.damaged:
                changes = {"trigger": trigger, "t_ns": time.time_ns(), "generation": generation}
                try:
                    self.latch.write("recovered", self.latch.take(level=level, **changes))
                except ControlError as error:
                    _log.error("latch: %s; the kill stands in the word", error)
        stored_ns = self.word.store(self.record.state)
        self.word.sync()
        if self.level > KillLevel.OPEN:
            self.killed_ns = stored_ns
            _log.error("killed: level %d, %s, until it is re-armed", self.level, KillTrigger(self.record.trigger).name)

    def kill(self, level: KillLevel, trigger: KillTrigger, actor: str, reason: str) -> bool:
        """Kill up to ``level``: the word at once, the latch behind it. False where it was already that far: then only a
        re-arming that waits for its second person is off.
        """
        self._pending = None
        if level <= self.level:
            return False
        # First the word: every microsecond before it, orders may leave.
        self.killed_ns = self.word.store(KillState(level, trigger, self.record.generation))
        self._put_word_back()
        record = self.latch.take(level=int(level), trigger=int(trigger), actor=actor, reason=reason, t_ns=time.time_ns())
        _log.error("kill: level %d, %s, by %s: %s", level, trigger.name, actor, reason)
        self._write("kill", record)
        return True

    def hold(self, actor: str) -> None:
        """See that the word is in its place and says what was stored. Call it often; somebody else's hand in it kills."""
        in_place = self.word.is_in_place
        if in_place and self.word.read() == self.record.state:
            return
        if self.level == KillLevel.OPEN:
            self.kill(KillLevel.STOP_NEW, KillTrigger.DAMAGE, actor, "the word was removed, replaced or overwritten")
            return
        _log.error("the kill word was removed, replaced or overwritten; it is put back")
        if in_place:
            self.word.store(self.record.state)
        else:
            self._put_word_back(self.record.state)

    def _put_word_back(self, state: KillState | None = None) -> None:
        if self.word.is_in_place:
            return
        try:
            self.word.put_back(state or self.word.read())
        except ControlError as error:
            _log.error("%s", error)

    def keep(self, what: str, **changes: Any) -> None:
        """Have the latch hold ``changes``, written behind the caller's back."""
        self._write(what, self.latch.take(**changes))

    def note(self, what: str, **fields: Any) -> None:
        """One line in the log, written behind the caller's back."""
        self._disk.submit(self.latch.note, what, **fields).add_done_callback(_said)

    def ask_rearm(self, first: Person, reason: str, beat: Heartbeat | None) -> dict[str, Any]:
        """The first person's call: re-arms after level 1, else gives what the second person must confirm. Raises ControlError."""
        if self.level < KillLevel.CANCEL_ALL:
            self.rearm(first, None, reason, beat)
            return {"rearmed": True, "nonce": "", "to_sign": ""}
        self._require_over()
        check_rearm(KillLevel.STOP_NEW, first, None, reason, self._key_of)
        nonce = secrets.token_hex(8)
        self._pending = _Pending(nonce, first, reason, self.record.generation, time.monotonic() + _CONFIRM_S)
        return {"rearmed": False, "nonce": nonce, "to_sign": self._to_sign(self._pending).decode()}

    @property
    def asked_by(self) -> Person | None:
        """The first person of a re-arming that waits for its second."""
        return None if self._pending is None else self._pending.first

    @property
    def reason_asked(self) -> str:
        """Why, as that person said."""
        return "" if self._pending is None else self._pending.reason

    def confirm_rearm(self, nonce: str, name: str, uid: int, signature: str, beat: Heartbeat | None) -> None:
        """The second person's call. Raises ControlError; the nonce is used up by a right one only."""
        pending = self._pending
        known = pending is not None and hmac.compare_digest(pending.nonce.encode(), nonce.encode())
        if pending is None or not known or time.monotonic() > pending.until:
            raise ControlError("nonce", nonce, f"the one given in the last {_CONFIRM_S:g} s", "ask for a new one by rearm")
        key = verified_key(self._key_of, name, signature, self._to_sign(pending)) if signature else b""
        self.rearm(pending.first, Person(name, uid, key), pending.reason, beat)

    def rearm(self, first: Person, second: Person | None, reason: str, beat: Heartbeat | None) -> None:
        """Open the word again. ``beat``: the daemon's page, whose kills so far are dealt with. Raises ControlError.

        The latch is on the disk first: a crash between the two leaves it killed.
        """
        if self.level == KillLevel.OPEN:
            raise ControlError("kill level", 0, "a kill that stands", "nothing is to be re-armed")
        self._require_over()
        check_rearm(self.level, first, second, reason, self._key_of)
        self._pending = None
        before = self.record
        by = f"{first.name} ({first.uid})" + (f", {second.name} ({second.uid})" if second else "")
        changes: dict[str, Any] = {"generation": before.generation + 1, "level": 0, "trigger": 0, "actor": by, "reason": reason}
        changes |= {"baselines": None, "ours": {}, "doubtful": {}, "anchors": {}, "flattening": False, "disconnected": False}
        changes["t_ns"] = time.time_ns()
        if beat is not None:
            changes |= {"acknowledged": beat.kills, "acknowledged_beat_ns": beat.t_ns}
            changes |= {"acknowledged_epoch": beat.epoch, "acknowledged_obeyed": beat.obeyed}
        try:
            self._disk.submit(self.latch.write, "rearm", self.latch.take(**changes)).result()
        except ControlError:
            self.latch.take(**{name: getattr(before, name) for name in before.__struct_fields__})
            raise
        self.killed_ns = 0
        self.word.store(self.record.state)
        _log.warning("re-armed by %s: %s", by, reason)

    def _require_over(self) -> None:
        if (self._store / KILL_FILE_NAME).exists():
            raise ControlError("kill file", KILL_FILE_NAME, "no such file in the store", "remove it first")
        if self.level >= KillLevel.CANCEL_ALL and not self._over():
            remedy = "wait, or see status"
            raise ControlError("open orders", "not verified", "a venue that says none is open, and flattening ended", remedy)

    def _to_sign(self, pending: _Pending) -> bytes:
        return message(pending.nonce, int(self.level), pending.generation, pending.first.name, pending.reason)

    def _write(self, what: str, record: LatchRecord) -> None:
        # What is killed does not wait for a disk that hangs.
        self._disk.submit(self._store_record, what, record).add_done_callback(_said)

    def _store_record(self, what: str, record: LatchRecord) -> None:
        self.latch.write(what, record)
        self.word.sync()

    def close(self) -> None:
        """Finish what is being written; the word stays as it is."""
        self._disk.shutdown()
        self.word.close()


def process_user() -> str:
    """Whose process this is, for a kill that no person asked for."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _said(job: Future[None]) -> None:
    error = job.exception()
    if error is not None:
        _log.error("latch: %s; the kill stands in the word", error)
