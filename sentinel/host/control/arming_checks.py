"""What must be in order before live trading is armed: each check with what it found, for people and for the nonce."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import NamedTuple

from sentinel.errors import ControlError, LimitsError
from sentinel.host.build_hash import build_hash, build_on_disk
from sentinel.host.control.limits_desk import LimitsDesk
from sentinel.host.watched import ALARMS_FINE, ALARMS_REMEDY, ALARMS_WANTED
from sentinel.units import NS_PER_S


class Check(NamedTuple):
    """One check. ``value`` must be the same at the confirmation; ``allowed`` and ``remedy`` are empty where all is well."""

    name: str
    value: str
    allowed: str = ""
    remedy: str = ""


class ArmingChecks:
    """Looks anew at each call.

    Args:
        limits: whose file must be signed and in force.
        model_sha256: of the model file the daemon runs, hex.
        card: what the card says: "none", "ready" or what is wrong with it; None without one.
        clock_status: the bound of the clock's error in ns, None where it is not known; None where nothing measures it.
        kill_word: who holds the kill switch's word, empty where nobody does; None where there is no such word.
        clock_bound_ns: the largest error of the clock, `risk.max_clock_error_us`; 0: not asked.

    ``alarm_process`` says how that is, as ``Watched.alarm_process``; None in virtual time, which has none.
    ``build_on_disk`` hashes the program as it is installed: where its files were replaced under a running daemon, nobody arms
    the one that still runs. A part that is there and does not know refuses; a part that is not there is shown as such.
    """

    def __init__(
        self,
        limits: LimitsDesk,
        model_sha256: str,
        card: Callable[[], str] | None = None,
        clock_status: Callable[[], int | None] | None = None,
        kill_word: Callable[[], str] | None = None,
        clock_bound_ns: int = 0,
    ) -> None:
        self._limits = limits
        self._model_sha256 = model_sha256
        self._card = card
        self.clock_status = clock_status
        self.kill_word = kill_word
        self.alarm_process: Callable[[], str] | None = None
        self.clock_bound_ns = clock_bound_ns
        self._build = build_hash()
        self.build_on_disk: Callable[[], str] = build_on_disk

    def look(self) -> list[Check]:
        """Every check, in the order shown."""
        return [
            self._look_at_build(),
            Check("model_sha256", self._model_sha256),
            self._look_at_limits(),
            self._look_at_clock(),
            self._look_at_card(),
            self._look_at_kill_word(),
            self._look_at_alarm_process(),
        ]

    def _look_at_build(self) -> Check:
        found = self.build_on_disk()
        if found == self._build:
            return Check("build_hash", self._build)
        remedy = "its files were replaced: find out by whom, then restart the daemon"
        return Check("build_hash", self._build, f"{found}, the program as it is installed", remedy)

    def _look_at_limits(self) -> Check:
        limits = self._limits
        until = datetime.datetime.fromtimestamp(limits.expires_ns // NS_PER_S, datetime.UTC).isoformat()
        shown = f"version {limits.show()['version']}, until {until}" if limits.expires_ns else "none"
        try:
            limits.require_signed()
        except LimitsError as error:
            return Check("limits", shown, f"{error.field}: {error.allowed}", error.remedy)
        return Check("limits", shown)

    def _look_at_clock(self) -> Check:
        if self.clock_status is None:
            return Check("clock", "not measured")
        bound_ns = self.clock_status()
        allowed, remedy = f"an error of at most {self.clock_bound_ns} ns", "see chronyc tracking"
        if bound_ns is None:
            return Check("clock", "unknown", allowed, remedy)
        if not 0 <= bound_ns <= self.clock_bound_ns:
            return Check("clock", f"{bound_ns} ns", allowed, remedy)
        return Check("clock", f"within {self.clock_bound_ns} ns")

    def _look_at_card(self) -> Check:
        found = "none" if self._card is None else self._card()
        fine = found in ("none", "ready")
        return Check("card", found) if fine else Check("card", found, "a card that can be armed", "see sentinel card status")

    def _look_at_kill_word(self) -> Check:
        if self.kill_word is None:
            return Check("kill_word", "none")
        held = self.kill_word()
        if held:
            return Check("kill_word", held, "a kill switch that was re-armed", "find out why it was tripped, then re-arm it")
        return Check("kill_word", "clear")

    def _look_at_alarm_process(self) -> Check:
        found = "none" if self.alarm_process is None else self.alarm_process()
        if found in ("none", *ALARMS_FINE):
            return Check("alarm_process", found)
        return Check("alarm_process", found, ALARMS_WANTED, ALARMS_REMEDY)


def require_fine(checks: list[Check]) -> None:
    """Raise ControlError for what stands against arming: the first thing by its field, the others named too."""
    wrong = [check for check in checks if check.allowed]
    if wrong:
        first, others = wrong[0], ", ".join(check.name for check in wrong[1:])
        remedy = f"{first.remedy}; also wrong: {others}" if others else first.remedy
        raise ControlError(first.name, first.value, first.allowed, remedy)
