"""What kills without a person: the file, the daemon's own kills, a lost card, silence."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ControlError
from sentinel.host.heartbeat import Heartbeat, read_heartbeat
from sentinel.host.kill_word import KILL_FILE_NAME, KillLevel, KillTrigger
from sentinel.units import NS_PER_S
from sentinel.wire import Control, TradingState

_MAX_FILE_BYTES = 16


class Wanted(NamedTuple):
    """A kill that something asks for."""

    level: KillLevel
    trigger: KillTrigger
    reason: str


class Told(NamedTuple):
    """How many words a start of the daemon had obeyed when the last kill was dealt with."""

    epoch: int = -1
    obeyed: int = 0


NOTHING_TOLD = Told()


class Watch:
    """Looks at the daemon's store; call ``look`` some twenty times a second.

    ``beat`` is the last page that could be read. A page of before the machine's last start, of an armed daemon, is silence.
    One that changes is a sign of life, whenever its time was taken: the daemon may have been stopped in between.
    """

    def __init__(self, store: Path, dead_man_s: float) -> None:
        self.beat: Heartbeat | None = None
        self._store = store
        self._dead_man_ns = round(dead_man_s * NS_PER_S)
        self._damaged_since_ns = 0
        self._changed_ns: int | None = None

    def look(self, level: KillLevel, acknowledged: int, acknowledged_beat_ns: int, told: Told = NOTHING_TOLD) -> Wanted | None:
        """What asks for a kill now, beyond ``level``; ``acknowledged...`` as in the latch, the last two of it as ``told``."""
        wanted = [self._file(), self._page(acknowledged_beat_ns)]
        if self.beat is not None:
            wanted.append(self._daemon(self.beat, level, acknowledged, told))
        asked = [one for one in wanted if one is not None and one.level > level]
        return max(asked, key=lambda one: one.level, default=None)

    def refresh(self) -> Heartbeat | None:
        """The page as it is now, or the last one that could be read."""
        with contextlib.suppress(ControlError):
            self._read()
        return self.beat

    def _read(self) -> None:
        before, found = self.beat, read_heartbeat(self._store)
        self.beat = found or before
        if before is not None and found is not None and found.t_ns != before.t_ns:
            self._changed_ns = time.monotonic_ns()

    def _file(self) -> Wanted | None:
        try:
            with open(self._store / KILL_FILE_NAME, "rb") as file:
                text = file.read(_MAX_FILE_BYTES).strip()
        except FileNotFoundError:
            return None
        except OSError:
            text = b""
        # Whatever else is in it, somebody wants it to stop.
        level = KillLevel(int(text)) if text in (b"1", b"2", b"3", b"4") else KillLevel.CANCEL_ALL
        return Wanted(level, KillTrigger.FILE, f"file {KILL_FILE_NAME} in the store")

    def _page(self, acknowledged_beat_ns: int) -> Wanted | None:
        now_ns = time.monotonic_ns()
        try:
            self._read()
            self._damaged_since_ns = 0
        except ControlError as error:
            # Half written, most likely: the next look tells.
            self._damaged_since_ns = self._damaged_since_ns or now_ns
            if now_ns - self._damaged_since_ns > self._dead_man_ns:
                return Wanted(KillLevel.CANCEL_ALL, KillTrigger.DAMAGE, str(error))
        beat = self.beat
        if beat is None or beat.trading_state < TradingState.REDUCE_ONLY or beat.t_ns == acknowledged_beat_ns:
            return None
        if 0 <= beat.age_ns() <= self._dead_man_ns:
            return None
        if self._changed_ns is not None and time.monotonic_ns() - self._changed_ns <= self._dead_man_ns:
            return None
        return Wanted(KillLevel.CANCEL_ALL, KillTrigger.SILENCE, f"no sign of life of process {beat.pid}, which was armed")

    def _daemon(self, beat: Heartbeat, level: KillLevel, acknowledged: int, told: Told) -> Wanted | None:
        if beat.card_lost and beat.trading_state >= TradingState.REDUCE_ONLY and level == KillLevel.OPEN:
            return Wanted(KillLevel.CANCEL_ALL, KillTrigger.CARD, "the card gives no permits")
        if not beat.killed or beat.kill_cause == Control.DISARMED or beat.kills == acknowledged:
            return None
        # Once this process has killed, the daemon's latch says OPERATOR because it was told so.
        if level > KillLevel.OPEN and beat.kill_cause == Control.OPERATOR:
            return None
        # One that was stopped until after the re-arming obeys only now the word it slept through.
        obeyed = beat.obeyed - told.obeyed if beat.epoch == told.epoch else 0
        if beat.kill_cause == Control.OPERATOR and beat.kills - acknowledged <= obeyed:
            return None
        # A daemon that started before this process found no word: a kill it was told of, before it sent anything.
        if beat.kill_cause == Control.OPERATOR and not beat.places and beat.kills - max(acknowledged, 0) <= beat.obeyed:
            return None
        known = beat.kill_cause in Control._value2member_map_
        cause = Control(beat.kill_cause).name if known else str(beat.kill_cause)
        return Wanted(KillLevel.CANCEL_ALL, KillTrigger.DAEMON, f"the daemon killed itself: {cause}")
