"""Arming a card's gate and keeping it armed for a while, with no order sent: limits, beats, watchdog and keys as in earnest."""

from __future__ import annotations

from sentinel.config import Config
from sentinel.errors import CardError
from sentinel.host.cards.beats import AMOUNT_MAX
from sentinel.host.cards.driver import CardDriver, names_of
from sentinel.host.cards.gate_limits import card_limits
from sentinel.host.cards.limits import TICKS_PER_S
from sentinel.host.cards.registers import Status

_FEEDS_PER_S = 50


class Rehearsal:
    """Arms ``driver``'s card under ``config``'s limits; ``end`` trips it, whatever happened. Every method raises CardError."""

    def __init__(self, driver: CardDriver, config: Config) -> None:
        self._driver, self._config = driver, config
        self._limits = card_limits(config.risk, config.paper.quote_balance, version=1)
        self.answers = 0

    def prepare(self) -> None:
        """Limits and symbols into the tripped card."""
        driver = self._driver
        driver.start()
        driver.set_limits(self._limits)
        # A quantity that means "any" in the settings is more than the card can hold; the card's own bound is then the limit.
        for symbol, name in enumerate(self._config.feed.symbols):
            most = min(self._config.risk.of_symbol(name).max_order_qty, AMOUNT_MAX)
            driver.set_symbol(symbol, max_order_qty=most, max_position_qty=most)

    def arm(self) -> int:
        """Feed the card until no cause stands, then the two keys; the arm epoch."""
        self._feed()
        for _ in range(2 * _FEEDS_PER_S):
            if self.answers:
                return self._driver.arm(self._feed)
            self._driver.bus.wait_ticks(TICKS_PER_S // _FEEDS_PER_S)
            self._feed()
        raise CardError("watchdog", "no challenge", "one each second", "the ring carries no records: sentinel card selftest")

    def hold(self, seconds: float) -> None:
        """Stay armed so long, of the card's time."""
        for _ in range(round(seconds * _FEEDS_PER_S)):
            self._driver.bus.wait_ticks(TICKS_PER_S // _FEEDS_PER_S)
            self._feed()
        if Status.ARMED not in self._driver.status():
            raise CardError("STATUS", f"tripped by {names_of(self._driver.causes())}", "armed", "remove the cause and arm again")

    def end(self) -> None:
        """Trip by both registers."""
        try:
            self._driver.kill()
        finally:
            self._driver.kill_by_management()

    def _feed(self) -> None:
        balance = self._config.paper.quote_balance
        self._driver.gate.heartbeat()
        self._driver.gate.equity(balance, balance)
        self.answers += self._driver.service_watchdog() is not None
