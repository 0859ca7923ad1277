"""A card as the daemon has it: asked for decisions, for permits or both, watched, and never trusted again once it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sentinel.config import Config
from sentinel.engine.state import EngineState
from sentinel.errors import CardError
from sentinel.host.cards.card_gate import CardGate
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.gate_limits import card_limits
from sentinel.host.cards.health import CardHealth

_log = logging.getLogger(__name__)


class AttachedCard:
    """One card of one daemon.

    Args:
        driver: identified and started.
        follow: sets the card's time, for a card that has none of its own; called with the host's, ns.

    ``gate`` is None where the software permits.
    """

    def __init__(self, driver: CardDriver, follow: Callable[[int], None] | None = None) -> None:
        self.driver = driver
        self.health = CardHealth(driver)
        self.gate: CardGate | None = None
        self._follow = follow

    def attach(self, state: EngineState, config: Config) -> None:
        """Take the engine whose orders the card permits, if it does. Raises CardError for limits it cannot hold."""
        if config.gate != "software":
            # What the card can never take is found here, before anything starts.
            card_limits(config.risk, equity=1, version=1).check()
            self.gate = CardGate(self.driver, state)

    def ready(self, now_ns: int) -> bool:
        """Whether ``arm`` would not be too early."""
        if self.gate is None or self.gate.lost:
            return True
        try:
            return self.gate.ready(now_ns)
        except CardError as error:
            self.gate.lose(str(error))
            return True

    def arm(self, now_ns: int) -> bool:
        """Arm the card's gate, if that permits; whether the engine may be armed."""
        if self.gate is None:
            return True
        self._keep_time(now_ns)
        try:
            self.gate.arm(now_ns)
        except CardError as error:
            self.gate.lose(f"arming: {error}")
        return self.gate.armed

    def tick(self, now_ns: int) -> None:
        """Feed the gate, and look after the card; ten times a second."""
        self._keep_time(now_ns)
        trouble = self.health.check(now_ns)
        if self.gate is not None:
            if trouble:
                self.gate.lose(trouble)
            self.gate.tick(now_ns)

    def close(self) -> None:
        """The daemon ends."""
        if self.gate is not None:
            self.gate.close()

    @property
    def permits_lost(self) -> bool:
        """The card was to permit orders and cannot any more."""
        return self.gate is not None and bool(self.gate.lost)

    def permit(self, key: int, symbol: int, side: int, price: int, qty: int, reduce_only: bool) -> bool:
        """Whether the order may leave; always, where the software permits."""
        if self.gate is None:
            return True
        # What a decision has just shown of the card counts for the order it led to.
        if self.health.decider is not None and self.health.decider.failed:
            self.gate.lose(self.health.check(0) or "its decider failed")
        return self.gate.permit(key, symbol, side, price, qty, reduce_only)

    def _keep_time(self, now_ns: int) -> None:
        if self._follow is not None and self.gate is not None:
            self._follow(now_ns)
