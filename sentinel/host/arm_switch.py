"""Arming: at the start, again after a reconnect or once the card is ready, by an operator; and what stands against it."""

from __future__ import annotations

import logging

from sentinel.engine.readout import trading_state
from sentinel.errors import ControlError
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.control.limits_desk import LimitsDesk
from sentinel.host.engine_host import EngineHost
from sentinel.host.kill_guard import KillGuard
from sentinel.host.live import LiveArming
from sentinel.host.ports import Clock
from sentinel.host.watched import Watched
from sentinel.wire import Command, Control, TradingState

_log = logging.getLogger(__name__)


class ArmSwitch:
    """Belongs to the daemon's loop.

    Args:
        host: whose engine is armed.
        clock: time of records.
        guard: says what of the kill process stands against it.
        limits: a live run's arming ends with them.
        live: how long an operator's arming holds; None on paper.
        watched: asks for the alarm process; None in virtual time.
        card: must give permits; None where the gate is software.
    """

    def __init__(
        self,
        host: EngineHost,
        clock: Clock,
        guard: KillGuard,
        limits: LimitsDesk,
        live: LiveArming | None,
        watched: Watched | None,
        card: AttachedCard | None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._guard = guard
        self._limits = limits
        self._live = live
        self._watched = watched
        self.card = card
        self._arm_again = self._arm_when_ready = False

    def arm(self) -> None:
        """Arm, now or once a reconnect under way is reconciled: not after a kill; live only while an operator's arming holds."""
        account = self._host.state.glob[0]
        if self._live is not None and not self._live.holds(self._clock.now_ns()):
            return
        objection = self._guard.objection()
        if objection is not None:
            _log.error("%s: staying HALTED until an operator arms", objection)
        elif int(account["killed"]):
            _log.error("the kill switch was tripped before: staying HALTED until an operator arms")
        elif int(account["trading_state"]) == TradingState.RECOVERING:
            self._arm_again = True
        elif self.card is not None and not self.card.ready(self._clock.now_ns()):
            self._arm_when_ready = True
        elif self.card is not None and not self.card.arm(self._clock.now_ns()):
            _log.error("the card gives no permits: staying REDUCE_ONLY, and no order leaves")
        else:
            self._host.control(Command.ARM, self._clock.now_ns(), id=int(account["arm_epoch"]) + 1)
            if trading_state(self._host.state) != TradingState.ACTIVE:
                _log.error("positions are only reduced, as before, until an operator arms")

    def interrupt(self) -> None:
        """A reconnect begins: what is armed now is armed again by ``resume``."""
        if self._live is not None:
            self._live.recoveries += 1
        self._arm_again = self._arm_again or trading_state(self._host.state) == TradingState.ACTIVE

    def resume(self) -> None:
        """The account is reconciled after a reconnect."""
        if self._arm_again:
            self._arm_again = False
            self.arm()

    def arm_by_hand(self, actor: int) -> None:
        """An operator arms, after a kill too. Raises ControlError where something still stands against it."""
        host, now_ns = self._host, self._clock.now_ns()
        account = host.state.glob[0]
        if trading_state(host.state) == TradingState.RECOVERING or not int(account["recovered"]):
            raise ControlError("trading state", "RECOVERING", "a reconciled session", "wait until it is, then try again")
        objection = self._guard.objection()
        if objection is not None:
            raise objection
        if self._watched is not None:
            self._watched.require_alarms()
        if self.card is not None and not (self.card.ready(now_ns) and self.card.arm(now_ns)):
            raise ControlError("card", "tripped", "a card that can be armed", "see sentinel card status, then try again")
        until_ns = 0 if self._live is None else self._live.begin(now_ns, self._limits.expires_ns)
        host.control(
            Command.ARM, now_ns, id=int(account["arm_epoch"]) + 1, value=int(TradingState.ACTIVE), actor=actor, t2=until_ns
        )
        if trading_state(host.state) != TradingState.ACTIVE:
            if self._live is not None:
                self._live.end()
            cause = Control(int(account["kill_cause"])).name
            raise ControlError("kill cause", cause, "a cause that no longer stands", "remove it, then arm again")

    def tend_card(self, card: AttachedCard, now_ns: int) -> None:
        """Regularly: arm once the card is ready, and only reduce while it gives no permits."""
        card.tick(now_ns)
        if self._arm_when_ready and trading_state(self._host.state) == TradingState.REDUCE_ONLY and card.ready(now_ns):
            self._arm_when_ready = False
            self.arm()
        if card.permits_lost and trading_state(self._host.state) == TradingState.ACTIVE:
            # The engine proposes no new exposure for orders that nobody would permit.
            epoch = int(self._host.state.glob["arm_epoch"][0]) + 1
            self._host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.REDUCE_ONLY))
