"""What ties a daemon to its kill process: the word it obeys, the page it publishes, what stands against arming."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.layout import GLOBAL
from sentinel.engine.readout import trading_state
from sentinel.errors import ControlError
from sentinel.host.clock import LiveClock
from sentinel.host.engine_host import EngineHost, account_words
from sentinel.host.gateway import Gateway
from sentinel.host.heartbeat import Heartbeat, HeartbeatWriter
from sentinel.host.holdings import HoldingsWriter
from sentinel.host.kill_log import ACKS_LOG_NAME, ACKS_POSITION_NAME, KillLogNotes
from sentinel.host.kill_word import KILL_FILE_NAME, KILL_WORD_NAME, KillLevel, KillTrigger
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Control, TradingState

_log = logging.getLogger(__name__)

_TRADING_STATE, _KILLED, _KILL_CAUSE, _RECOVERED = (
    (GLOBAL.names or ()).index(name) for name in ("trading_state", "killed", "kill_cause", "recovered")
)


class KillGuard:
    """Belongs to the daemon's loop; ``tick`` is called with each of its ticks.

    Args:
        host: the engine's host, which obeys the word in each turn and before each order.
        gateway: whose orders are counted.
        card_lost: whether a card that must permit orders does not.
        process_required: whether arming and new exposure need a kill process that gives signs of life.
        dead_man_s: for how long it may be silent.
    """

    def __init__(
        self, host: EngineHost, gateway: Gateway, card_lost: Callable[[], bool], process_required: bool, dead_man_s: float
    ) -> None:
        self._host = host
        self._gateway = gateway
        self._card_lost = card_lost
        self._process_required = process_required
        self._dead_man_ns = round(dead_man_s * NS_PER_S)
        self._clock = LiveClock()
        self._directory = Path(host.directory)
        self._kill_file = str(self._directory / KILL_FILE_NAME)
        self._account = account_words(host.state)
        self._kills = host.state.counters["kills"]
        self._inventory, self._position = host.state.symbols["inventory"], host.state.symbols["position"]
        self._page: HeartbeatWriter | None = HeartbeatWriter(self._directory)
        self._file_seen = False
        self._holdings = HoldingsWriter(self._directory, host.config.feed.symbols)
        self._held: NDArray[np.int64] = np.zeros((2, len(host.state.symbols)), np.int64)
        self._held_ns = 0
        self._logs = (
            KillLogNotes(host.config.killswitch_directory, self._directory, host.note),
            KillLogNotes(self._directory, self._directory, host.note, ACKS_LOG_NAME, ACKS_POSITION_NAME),
        )

    @property
    def must_disconnect(self) -> bool:
        """Whether the kill has gone so far that no session may be open."""
        return self._host.kill_word.state.level == KillLevel.DISCONNECT

    def objection(self) -> ControlError | None:
        """What stands against arming; None where nothing does."""
        word = self._host.kill_word
        word.look()
        state = word.state
        if not state.is_open and not (self._directory / KILL_WORD_NAME).exists():
            return ControlError(
                "kill process", "no kill word", "a kill process that runs", "start sentinel killswitch run, then arm"
            )
        if not state.is_open:
            shown = f"level {int(state.level)}, {state.trigger.name}"
            return ControlError("kill word", shown, "an open kill word", "re-arm it by sentinel killswitch rearm, then arm")
        if _is_there(self._kill_file):
            return ControlError("kill file", KILL_FILE_NAME, "no such file in the store", "remove it, then arm again")
        if self.process_silent:
            return ControlError("kill process", "silent", "a kill process that runs", "start sentinel killswitch run, then arm")
        return None

    @property
    def process_silent(self) -> bool:
        """Whether a kill process is required and gives no sign of life."""
        silence_ns = self._host.kill_word.silence_ns
        return self._process_required and (silence_ns is None or silence_ns > self._dead_man_ns)

    def tick(self, now_ns: int) -> None:
        """Look at word and file, stop new exposure without a kill process, publish."""
        self._host.kill_word.look()
        self._host.obey_kill_word()
        self._look_for_file(now_ns)
        if self.process_silent and trading_state(self._host.state) == TradingState.ACTIVE:
            _log.error("kill process: silent; positions are only reduced until an operator arms")
            epoch = int(self._host.state.glob["arm_epoch"][0]) + 1
            self._host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.REDUCE_ONLY))
        self._publish()
        for log in self._logs:
            log.tick(now_ns)

    def fail(self) -> None:
        """This daemon ends by a fault, whatever it has open: if it was armed, its silence is for the kill process to see."""
        if self._page is not None:
            self._page.close()
            self._holdings.close()
            self._page = None

    def close(self) -> None:
        """Say that this daemon has ended in order: its silence from now on means nothing. Idempotent."""
        if self._page is not None:
            for log in self._logs:
                log.take()
            self._publish(ended=True)
            self._page.close()
            self._holdings.close()
            self._page = None

    def _look_for_file(self, now_ns: int) -> None:
        seen, self._file_seen = self._file_seen, _is_there(self._kill_file)
        if self._file_seen and not seen:
            _log.error("kill file %s: killed", self._kill_file)
            self._host.control(Command.KILL, now_ns, value=int(Control.OPERATOR), value2=int(KillTrigger.FILE))

    def _publish(self, ended: bool = False) -> None:
        if self._page is None:
            return
        host, account = self._host, self._account
        self._page.publish(
            Heartbeat(
                pid=os.getpid(),
                t_ns=time.monotonic_ns(),
                epoch=host.epoch,
                trading_state=int(TradingState.HALTED) if ended else account[_TRADING_STATE],
                killed=account[_KILLED],
                kill_cause=account[_KILL_CAUSE],
                kills=int(self._kills[0]),
                obeyed=host.kills_obeyed,
                card_lost=int(self._card_lost()),
                places=self._gateway.counts["places"],
                last_place_ns=self._gateway.last_place_ns,
                closed_ns=host.kill_seen_ns,
            )
        )
        if account[_RECOVERED]:
            self._publish_holdings()

    def _publish_holdings(self) -> None:
        """Inventory and position as they are, when they have changed and once a second: their age says that they still hold."""
        now_ns, (inventory, position) = self._clock.now_ns(), self._held
        changed = bool((self._inventory != inventory).any() or (self._position != position).any())
        if changed or not 0 <= now_ns - self._held_ns < NS_PER_S:
            self._held, self._held_ns = np.stack((self._inventory, self._position)), now_ns
            self._holdings.publish(now_ns, *self._held)


def _is_there(path: str) -> bool:
    """As Path.exists, for what is asked at each tick."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True
