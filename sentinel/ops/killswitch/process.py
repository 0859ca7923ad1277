"""The kill process: switch, triggers, control socket and work at the venue, from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sentinel.config import Config, VenueConfig
from sentinel.errors import CardError, ConfigError, ControlError, SentinelError
from sentinel.host.cards.slots import Slot, Tree, find_slot
from sentinel.host.clock import LiveClock
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.server import ControlServer
from sentinel.host.kill_log import ACCESS_LINE
from sentinel.host.kill_word import KillLevel, KillTrigger
from sentinel.host.mode import check_mode
from sentinel.host.venues.chosen import Credentials
from sentinel.host.venues.key_files import masked
from sentinel.ops.killswitch.authority import Authority
from sentinel.ops.killswitch.chosen import new_kill_session
from sentinel.ops.killswitch.persons import Person
from sentinel.ops.killswitch.protocol import Confirm, KillRequest, KillTo, Rearm, Status, decode_kill_request
from sentinel.ops.killswitch.switch import KillSwitch, process_user
from sentinel.ops.killswitch.triggers import Told, Watch
from sentinel.ops.killswitch.work import KillWork
from sentinel.units import NS_PER_MS
from sentinel.wire import AccessRequest, AccessResult, Role, TradingState

_log = logging.getLogger(__name__)

_LOOK_S = 0.02
#: A refused client waits so long for its answer: nobody fills the log with refusals.
_REFUSED_WAIT_S = 0.1
#: Who looks again and again is recorded once, of the last so many processes that looked.
_LOOKERS = 64
_NUMBERS: dict[type[KillRequest], AccessRequest] = {
    Status: AccessRequest.KILL_STATUS,
    KillTo: AccessRequest.KILL,
    Rearm: AccessRequest.REARM,
    Confirm: AccessRequest.REARM_CONFIRM,
}
_CARDS = frozenset({"f1", "f2"})


def kill_venue_config(config: Config) -> VenueConfig:
    """The venue's settings under the kill process's own key. Raises ConfigError where it cannot have a session there."""
    own = config.killswitch
    if not config.venue.takes_orders:
        raise ConfigError("venue.api_url", "", "an exchange's address for orders", "the built-in paper exchange has one key only")
    keys = ("api_key_env", "api_secret_env", "api_secret_file", "api_passphrase_env", "api_passphrase_file", "api_key_type")
    venue = config.venue.model_copy(update={name: getattr(own, name) for name in keys})
    # In live trading its key is one of live trading too.
    check_mode(config.model_copy(update={"venue": venue}))
    return venue


def _slot_killer(config: Config) -> Callable[[Slot], dict[str, str]] | None:
    """What trips a card; None without one, for it brings the compiler into a process that must start at once."""
    if not {config.decider, config.gate} & _CARDS:
        return None
    from sentinel.host.cards.kill_slot import kill_slot

    return kill_slot


class KillProcess:
    """Runs on its own, beside a daemon that may hang, be stopped or be gone.

    Args:
        config: the daemon's settings; of ``killswitch`` its own.
        credentials: its own key.

    Raises ConfigError, ControlError or VenueError where it cannot start.
    """

    def __init__(self, config: Config, credentials: Credentials) -> None:
        self.config = config
        venue = kill_venue_config(config)
        if os.environ.get(config.venue.api_key_env) == credentials.api_key:
            names = f"{venue.api_key_env} and {config.venue.api_key_env}"
            remedy = "make a key of its own: one that is revoked must not stop the other"
            raise ConfigError("killswitch.api_key_env", names, "another key than the daemon's", remedy)
        store = Path(config.store.directory)
        store.mkdir(parents=True, exist_ok=True)
        keys = Path(config.killswitch.persons) if config.killswitch.persons else None
        self._authority = Authority(config.access, keys)
        self._watch = Watch(store, config.killswitch.dead_man_s)
        self.switch = KillSwitch(store, config.killswitch_directory, self._authority.key_of, lambda: self.work.is_over)
        key_names = [f"{venue.api_key_env} ({masked(credentials.api_key)})", config.venue.api_key_env]
        self.work = KillWork(config, self.switch, new_kill_session(venue, credentials, LiveClock()), key_names)
        self._server = ControlServer(
            config.killswitch_directory,
            self._admit,
            decode=decode_kill_request,
            admits=self._authority.admits,
            turned_away=self._turned_away,
            everybody=self._authority.has_roles,
        )
        self._lookers: set[Peer] = set()
        self._card: dict[str, str] | None = None
        self._kill_slot = _slot_killer(config)
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Watch and serve until ``stop`` is set. The word stays as it is. Raises ControlError where its socket cannot be made."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._on_signal)
        try:
            self._server.start()
            self._tasks.append(loop.create_task(self.work.run()))
            if not self.switch.record.disconnected:
                self._tasks.append(loop.create_task(self.work.keep_warm()))
            else:
                self.work.disconnected, self.work.session = True, "disconnected: level 4"
            while not stop.is_set():
                self._look()
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.remove(task)
                    if not task.cancelled() and task.exception() is not None:
                        self._revive(task)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_S)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
            await self._server.stop()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.switch.close()

    def kill(self, level: KillLevel, trigger: KillTrigger, actor: str, reason: str) -> None:
        """Kill up to ``level``; what was killed that far before stays as it is."""
        if not self.switch.kill(level, trigger, actor, reason):
            return
        self.work.wake()
        if self._card is None and self._kill_slot is not None:
            self._card = {}
            self._tasks.append(asyncio.get_running_loop().create_task(self._trip_card(self._kill_slot)))

    def _look(self) -> None:
        self.switch.hold(process_user())
        self.switch.word.beat()
        record = self.switch.record
        told = Told(record.acknowledged_epoch, record.acknowledged_obeyed)
        wanted = self._watch.look(self.switch.level, record.acknowledged, record.acknowledged_beat_ns, told)
        if wanted is not None:
            self.kill(wanted.level, wanted.trigger, process_user(), wanted.reason)

    def _on_signal(self) -> None:
        self.kill(KillLevel.CANCEL_ALL, KillTrigger.SIGNAL, process_user(), "SIGUSR1")

    def _revive(self, failed: asyncio.Task[Any]) -> None:
        # A defect of this program: the word stands, and the work begins anew.
        _log.error("kill process: %r", failed.exception(), exc_info=failed.exception())
        again = {"run": self.work.run, "keep_warm": self.work.keep_warm}.get(failed.get_coro().__name__)  # type: ignore[union-attr]
        if again is not None:
            self._tasks.append(asyncio.get_running_loop().create_task(again()))

    async def _trip_card(self, kill_slot: Callable[[Slot], dict[str, str]]) -> None:
        try:
            slot = find_slot(Tree.from_environment(), self.config.card.slot)
            self._card = await asyncio.to_thread(kill_slot, slot)
        except CardError as error:
            self._card = {"card": str(error)}
        _log.warning("card: %s", self._card)
        self.switch.note("card", outcome=self._card)

    async def _admit(self, request: KillRequest, peer: Peer) -> dict[str, Any]:
        """Roles first; who asked for what, with which result, is in the log, and from there in the audit trail."""
        try:
            self._authority.require(request, peer)
        except ControlError:
            self._record(request, peer, AccessResult.DENIED)
            await asyncio.sleep(_REFUSED_WAIT_S)
            raise
        if not isinstance(request, Status) or self._looks_first(peer):
            self._record(request, peer, AccessResult.GRANTED)
        try:
            return await self._answer(request, peer)
        except SentinelError:
            self._record(request, peer, AccessResult.FAILED)
            raise

    def _record(self, request: KillRequest, peer: Peer, result: AccessResult) -> None:
        person = self._authority.who(request, peer.uid)
        reason = self.switch.reason_asked if isinstance(request, Confirm) else getattr(request, "reason", "")
        named = person.name or f"user {peer.uid}"
        number = _NUMBERS[type(request)]
        _log.warning("%s (process %d): %s %s: %s", named, peer.pid, number.name, result.name, reason)
        asked = {"request": number.name, "result": result.name, "person": person.name, "role": person.role.name}
        self.switch.note(ACCESS_LINE, **asked, uid=peer.uid, pid=peer.pid, reason=reason)

    def _looks_first(self, peer: Peer) -> bool:
        if peer in self._lookers:
            return False
        if len(self._lookers) == _LOOKERS:
            self._lookers.clear()
        self._lookers.add(peer)
        return True

    async def _turned_away(self, peer: Peer) -> None:
        """Somebody nobody knows has connected."""
        asked = {"request": AccessRequest.CONNECT.name, "result": AccessResult.DENIED.name, "person": "", "role": Role.NONE.name}
        self.switch.note(ACCESS_LINE, **asked, uid=peer.uid, pid=peer.pid, reason="")
        await asyncio.sleep(_REFUSED_WAIT_S)

    async def _answer(self, request: KillRequest, peer: Peer) -> dict[str, Any]:
        if isinstance(request, KillTo):
            return await self._kill_to(request, peer)
        beat = self._watch.refresh()
        if isinstance(request, Rearm):
            answer = self.switch.ask_rearm(Person(request.name, peer.uid), request.reason, beat)
            if answer["rearmed"]:
                self._rearmed()
            return answer | self.status()
        if isinstance(request, Confirm):
            self._authority.require_still(self.switch.asked_by)
            self.switch.confirm_rearm(request.nonce, request.name, peer.uid, request.signature, beat)
            self._rearmed()
            return {"rearmed": True} | self.status()
        return self.status()

    async def _kill_to(self, request: KillTo, peer: Peer) -> dict[str, Any]:
        level = KillLevel(request.level)
        name = self._authority.who(request, peer.uid).name
        actor = f"{name} (user {peer.uid})" if name else f"user {peer.uid}"
        self.kill(level, KillTrigger.OPERATOR, actor, request.reason)
        until = time.monotonic() + request.within_s
        while not self.work.done(level) and time.monotonic() < until:
            await asyncio.sleep(0.002)
        return self.status() | {"done": self.work.done(level)}

    def _rearmed(self) -> None:
        self._card = None
        was_disconnected, self.work.disconnected = self.work.disconnected, False
        self.work.rearmed()
        if was_disconnected:
            self._tasks.append(asyncio.get_running_loop().create_task(self.work.keep_warm()))

    def status(self) -> dict[str, Any]:
        """What holds, and how far it has come."""
        record, beat = self.switch.record, self._watch.beat
        daemon = None
        if beat is not None:
            state = TradingState(beat.trading_state).name
            seen_ms = (beat.closed_ns - self.switch.killed_ns) / NS_PER_MS if beat.closed_ns and self.switch.killed_ns else None
            last_ms = (beat.last_place_ns - self.switch.killed_ns) / NS_PER_MS if self.switch.killed_ns else None
            daemon = {"pid": beat.pid, "age_ms": beat.age_ns() // NS_PER_MS, "trading_state": state, "orders_sent": beat.places}
            daemon |= {
                "saw_kill_after_ms": None if seen_ms is None else round(seen_ms, 3),
                "last_order_after_ms": round(last_ms, 3) if last_ms is not None and beat.last_place_ns else None,
            }
        return {
            "pid": os.getpid(),
            "level": int(self.switch.level),
            "trigger": KillTrigger(record.trigger).name,
            "generation": record.generation,
            "actor": record.actor,
            "reason": record.reason,
            **self.work.shown(),
            "card": self._card or {},
            "daemon": daemon,
        }
