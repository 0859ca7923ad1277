"""Is the card still the card? Looked at beside the work, never in its way.

A card that hangs, is gone, was loaded with something else, or decides otherwise than the reference is marked failed: the
engine goes on with the numba decider at the very next vector, and no permit comes. Nobody switches back but an operator.
"""

from __future__ import annotations

import logging
from typing import Any

from sentinel.errors import CardError
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.registers import MAGIC, MAP_HASH, Ocl
from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

#: Between looks at registers: each costs microseconds on a bus that has better to do.
LOOK_NS = NS_PER_S


class CardHealth:
    """Watches one card; ``trouble`` says what is wrong with it, empty while nothing is known."""

    def __init__(self, driver: CardDriver) -> None:
        self.driver = driver
        self.decider: CardDecider | None = None
        self.trouble = ""
        self._due_ns = 0
        self._last: dict[str, int] = {}

    def check(self, now_ns: int) -> str:
        """Look, at most once a second but for the decider's own verdict. Returns ``trouble``."""
        if self.trouble:
            return self.trouble
        if self.decider is not None and self.decider.failed:
            self._fail(_why(self.decider.report()))
        elif now_ns >= self._due_ns:
            self._due_ns = now_ns + LOOK_NS
            try:
                self._look()
            except CardError as error:
                self._fail(str(error))
        return self.trouble

    def fail(self, reason: str) -> None:
        """Somebody else found the card wrong."""
        if not self.trouble:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self.trouble = reason
        if self.decider is not None:
            self.driver.link.state["failed"] = 1
        _log.error("card FAILED: %s; decisions go on in numba, and nothing switches back by itself", reason)

    def _look(self) -> None:
        driver = self.driver
        for register, expected in ((Ocl.MAGIC, MAGIC), (Ocl.MAP_HASH, MAP_HASH)):
            found = driver.read(register)
            if found != expected:
                raise CardError(register.name, f"{found:#x}", f"{expected:#x}", "another image is loaded: load Sentinel's")
        driver.status()
        if driver.loaded is not None and driver.read(Ocl.MODEL_ACTIVE_ID) != driver.loaded.model_id:
            raise CardError("MODEL_ACTIVE_ID", driver.read(Ocl.MODEL_ACTIVE_ID), "the model that was loaded", "load it again")
        # Beats are counted where they are taken; time must pass, and what was sent must have come.
        seen = {"now": driver.now(), "beats": driver.read(Ocl.BEATS), "messages": int(driver.link.state["messages"])}
        last, self._last = self._last, seen
        if last and seen["now"] == last["now"]:
            raise CardError("NOW", seen["now"], "a clock that runs", "the card hangs: load its image again")
        if last and seen["messages"] > last["messages"] and seen["beats"] == last["beats"]:
            raise CardError("BEATS", seen["beats"], "more than before", "the card takes no beats: load its image again")


def _why(report: dict[str, Any]) -> str:
    names = ("mismatches", "contradictions", "timeouts", "damaged", "refused_writes")
    return "decider: " + ", ".join(f"{report[name]} {name}" for name in names if report[name])
