"""The running system: feed, order session and engine put together, and their life from start to stop.

Start: RECOVERING, the account's balances and the instruments' filters, reconciliation with the venue,
RECOVERED, the feed, and, on paper, ARM; a live run stays HALTED until an operator arms. In lock-step with a simulated
venue the same parts run on its virtual time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from numpy.typing import NDArray

from sentinel.config import Config, VenueConfig
from sentinel.errors import ConfigError, ControlError, VenueError
from sentinel.host.account_claim import AccountClaim
from sentinel.host.arm_switch import ArmSwitch
from sentinel.host.book_watch import BookWatch
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.clock import ClockSource, LiveClock
from sentinel.host.control.desk import ControlDesk
from sentinel.host.decider import DeciderFactory
from sentinel.host.engine_host import EngineHost
from sentinel.host.feeds.chosen import MarketFeed, new_feed
from sentinel.host.gateway import Gateway
from sentinel.host.ingress import SOURCE_ORDERS, LiveIngress, LockstepIngress, TimedSink
from sentinel.host.kill_guard import KillGuard
from sentinel.host.live import LiveArming
from sentinel.host.lockstep import VirtualClock
from sentinel.host.mode import check_mode
from sentinel.host.order_session import open_session
from sentinel.host.patrol import Patrol
from sentinel.host.ports import LockstepLink
from sentinel.host.reconcile import reconcile
from sentinel.host.recovery import Recovery
from sentinel.host.store.audit_position import AuditWatch, RunStart
from sentinel.host.venues.chosen import Credentials, new_session
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.key_files import masked
from sentinel.host.venues.paths import PathReport
from sentinel.host.virtual_time import VirtualTime, server_time_ns
from sentinel.host.wall_time import keep_time
from sentinel.host.warmup import warm_up
from sentinel.host.watched import Watched
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Command, order_tag_number

_log = logging.getLogger(__name__)

#: Orders rehearsed before the first: the interpreter specialises code only after several passes.
_REHEARSALS = 32


class Daemon:
    """One trading process.

    Args:
        config: settings. On paper the daemon arms itself, live only an operator does, after each start.
        credentials: of the order session; None where ``config.venue`` names no address for orders.
        lockstep_url: a simulated venue's ``/lockstep`` endpoint, empty for wall-clock time.
        on_effect: sees each effect (int64[1 or 2, 8]) after it left.
        boundary: called where the process may die, for fault injection: "recovering" before the venue is asked what became
            of the account, "reconciled" once the engine knows, "stepped" after a step of virtual time; for more see Gateway.
        orders_at: where orders go when that is not ``config.venue`` (a paper exchange that follows it).
        decider_factory: makes the decider that ``config.decider`` names; None for the CPU's.
        card: the card that ``config.decider`` or ``config.gate`` names; None where neither does.
        clock_source: who looks at the system clock; None where nobody does, or time is virtual.
    """

    def __init__(
        self,
        config: Config,
        credentials: Credentials | None = None,
        lockstep_url: str = "",
        on_effect: Callable[[NDArray[Any]], None] | None = None,
        boundary: Callable[[str], None] | None = None,
        orders_at: VenueConfig | None = None,
        decider_factory: DeciderFactory | None = None,
        card: AttachedCard | None = None,
        clock_source: ClockSource | None = None,
    ) -> None:
        if config.gate != "software" and card is None:
            raise ConfigError("gate", config.gate, "software", "start it by `sentinel run`, which provides the card")
        check_mode(config)
        self._orders_at = orders_at or config.venue
        if self._orders_at.takes_orders and credentials is None:
            raise ConfigError(
                "venue.api_key_env",
                config.venue.api_key_env,
                "the names of two set environment variables",
                f"export {config.venue.api_key_env} and {config.venue.api_secret_env}, or leave venue.api_url empty",
            )
        if lockstep_url and (config.venue.name, self._orders_at.orders) != ("binance_spot", "websocket"):
            raise ConfigError("lockstep_url", lockstep_url, "no address", "virtual time is for binance_spot over WebSocket")
        self.config = config
        self.lockstep = bool(lockstep_url)
        self._credentials = credentials
        self._boundary = boundary
        self.host = EngineHost(config, self._dispatch, decider_factory)
        self.card = card
        if card is not None:
            card.attach(self.host.state, config)
        warm_up(self.host.decider_words)
        # Never behind what the journal has seen: engine time would stand still, and with it every time-out.
        self.clock: VirtualClock | LiveClock = VirtualClock() if lockstep_url else LiveClock(self.host.now_ns)
        self.ingress: LockstepIngress | LiveIngress = (LockstepIngress if self.lockstep else LiveIngress)(self.host.accept)
        self._virtual: VirtualTime | None = None
        if isinstance(self.clock, VirtualClock) and isinstance(self.ingress, LockstepIngress):
            self._virtual = VirtualTime(
                lockstep_url, self.clock, self.ingress, self._links, self._pending, self._tick, self._end_step
            )
        self.session: OrderSession | None = None
        self.feed: MarketFeed | None = None
        self.patrol: Patrol | None = None
        self.recovery = Recovery()
        self._claim: AccountClaim | None = None
        self.arming = LiveArming(self.host, self.clock, config.live.arming_hours) if config.mode == "live" else None
        key = "" if credentials is None else masked(credentials.api_key)
        self.desk = ControlDesk(self, self.host, self.clock, config, self.arming, key, card)
        self.control = self.desk.server
        self.book_watch = BookWatch(config.feed, self.host.state)
        asked = None if card is None or card.gate is None else card.permit
        permits = (self.arming or self.host).permits
        self.gateway = Gateway(None, config.feed.symbols, self.host.latency, on_effect, boundary, permits, asked)
        dead_man_s = config.killswitch.dead_man_s
        self.guard = KillGuard(self.host, self.gateway, self._card_lost, config.killswitch.enabled, dead_man_s)
        self.audit = AuditWatch(config.audit_directory, config.audit.max_backlog_ms) if config.audit.required else None
        self.watched = None if self.lockstep else Watched(self, clock_source)
        if self.watched is not None:
            self.desk.watch(self.guard.objection, self.watched.clock_bound_ns, self.watched.alarm_process)
        limits = self.desk.limits
        self.arm_switch = ArmSwitch(self.host, self.clock, self.guard, limits, self.arming, self.watched, card)
        self._last_snapshot_ns = 0
        self.finished = False
        self.steps = 0
        self.state_hash = ""
        self.ring_usage: dict[str, int | str] = {}
        #: The addresses orders could take, as known at the end of the run.
        self.paths: list[PathReport] = []

    def feed_counters(self) -> dict[str, int]:
        """The feed's counters; empty before it was started."""
        return dict(self.feed.counters) if self.feed is not None else {}

    def _dispatch(self, slots: NDArray[Any], ready_ns: int) -> None:
        self.gateway.dispatch(slots, ready_ns)
        self.desk.see(slots)

    async def run(self, stop: asyncio.Event) -> None:
        """Trade until ``stop`` is set, or, in lock-step, until the venue's scenario ends (``finished``).

        A venue that cannot be reached is tried again until it can; in lock-step, where virtual time stands still
        meanwhile, VenueError or FeedError is raised instead. Raises ConfigError at the start for a key the venue
        refuses or a symbol it does not know.
        """
        try:
            await self._start(stop)
            if self._virtual is not None:
                await self._follow(self._virtual, stop)
            else:
                await self._keep_time(stop)
        except Exception:
            self.guard.fail()
            raise
        finally:
            await self.close()

    async def close(self) -> None:
        """Close sockets, save a snapshot, release the store. Idempotent."""
        await self.control.stop()
        if self.patrol is not None:
            await self.patrol.stop()
        if self.feed is not None:
            await self.feed.stop()
        if self.card is not None:
            self.card.close()
        if self.watched is not None:
            self.watched.close()
        if self.session is not None:
            # As they were while orders could leave: closed ones know nothing any more.
            self.paths = self.paths or self.session.paths()
            _log.info("order paths: %s", "; ".join(path.text() for path in self.paths))
            await self.session.close()
        if self._claim is not None:
            self._claim.release()
        if not self.state_hash:
            ring = self.host.ring
            self.ring_usage = {
                "slots": ring.capacity,
                "high_water": ring.high_water,
                "refused": ring.refused,
                "pages": ring.pages,
            }
            self.state_hash = self.host.state_hash()
        self.guard.close()
        self.host.close()

    async def _start(self, stop: asyncio.Event) -> None:
        host = self.host
        if self.guard.must_disconnect:
            remedy = "revoke the keys that were in use, then sentinel killswitch rearm"
            raise ConfigError("kill word", "level 4", "a level at which sessions may start", remedy)
        try:
            self.control.start()
        except ControlError as error:
            _log.error("no operator can reach this daemon: %s", error)
        if isinstance(self.clock, VirtualClock):
            self.clock.advance(await self._virtual_start_ns())
        began = RunStart(host.epoch, self.clock.now_ns())
        host.control(Command.EPOCH, began.t_ns, id=began.epoch, value=order_tag_number(host.order_tag))
        if self.audit is not None:
            self.audit.began(began)
        host.hold_for_audit(self.audit is not None)
        self.desk.begin()
        if self.arming is not None:
            self.arming.disarm_at_start()
        host.control(Command.RECOVERING, self.clock.now_ns())
        self._pass("recovering")
        if self._orders_at.takes_orders:
            await self._open_session(stop)
            if self.session is None:
                # Stopped before the venue could be asked: nothing is recovered.
                return
            self._pass("reconciled")
        host.control(Command.RECOVERED, self.clock.now_ns())
        timed = TimedSink(self.ingress, host.latency)
        self.feed = new_feed(self.config.venue, self.config.feed, timed, self.clock, self._credentials, timed.started)
        await self.feed.start(timer=not self.lockstep)
        if self.session is not None:
            self.arm_switch.arm()

    async def _virtual_start_ns(self) -> int:
        now_ns = await server_time_ns(self.config)
        if now_ns + NS_PER_MS <= self.host.now_ns:
            raise ConfigError(
                "store.directory",
                str(self.host.directory),
                f"a journal that ends before the venue's time {now_ns}, not at {self.host.now_ns}",
                "use a new store.directory for another simulated market",
            )
        return now_ns

    async def _open_session(self, stop: asyncio.Event) -> None:
        venue, credentials = self._orders_at, self._credentials
        assert credentials is not None
        if not self.lockstep:
            self._claim = AccountClaim.take(venue, credentials.api_key)

        def new() -> OrderSession:
            symbols, tag = self.config.feed.symbols, self.host.order_tag
            return new_session(venue, symbols, credentials, self.clock, self.ingress, SOURCE_ORDERS, self._on_reconnect, tag)

        session = await open_session(new, self._load_account, self.recovery, venue, stop, patient=not self.lockstep)
        if session is None:
            return
        self.session = session
        self.gateway.session = session
        reconciling, orders = self.config.reconcile, SOURCE_ORDERS
        # Twice within the age that is asked of them.
        anew_ns = self.config.risk.max_instrument_age_s * NS_PER_S // 2
        self.patrol = Patrol(session, self.host, self.ingress, orders, self.clock, reconciling, self.recovery, anew_ns)
        for _ in range(_REHEARSALS):
            self.gateway.rehearse()

    async def _load_account(self, session: OrderSession) -> None:
        """Instrument filters, read anew after a reconnect, then the venue's truth about orders, fills and balances."""
        self.host.accept(await session.instruments(reload=session is self.session))
        await reconcile(session, self.host.state, self.ingress, SOURCE_ORDERS, self.clock)
        if self.patrol is not None:
            self.patrol.accepted()

    async def _on_reconnect(self) -> None:
        """The session has a new connection: no order leaves before it is reconciled. Raises VenueError to be tried again.

        Superseded by a newer one it does nothing: that one ends RECOVERING.
        """
        session, host = self.session, self.host
        number = self.recovery.begin()
        if session is None:
            return
        self.arm_switch.interrupt()
        host.control(Command.RECOVERING, self.clock.now_ns())
        self._pass("recovering")
        if not await self.recovery.load(number, partial(self._load_account, session)):
            return
        if not session.ready:
            raise VenueError("order connection", "lost", "one that outlives its reconciliation", "wait for the reconnect")
        self._pass("reconciled")
        host.control(Command.RECOVERED, self.clock.now_ns())
        self.arm_switch.resume()

    def _links(self) -> Iterable[LockstepLink]:
        links: list[LockstepLink] = list(self.feed.connections) if self.feed is not None else []
        return [*links, *self.session.links] if self.session is not None else links

    def _pending(self) -> int:
        feed = self.feed.pending_requests if self.feed is not None else 0
        session = self.session.pending_requests if self.session is not None else 0
        return feed + session + (self.patrol.pending_requests if self.patrol is not None else 0)

    async def _follow(self, time: VirtualTime, stop: asyncio.Event) -> None:
        try:
            self.finished = await time.follow(stop)
        finally:
            self.steps = time.steps

    def _end_step(self) -> None:
        """In virtual time: what has arrived is in the engine; now what is due."""
        if self.feed is not None:
            self.feed.tick()
        self._pass("stepped")

    def _pass(self, boundary: str) -> None:
        if self._boundary is not None:
            self._boundary(boundary)

    async def _keep_time(self, stop: asyncio.Event) -> None:
        polls = self.config.feed.busy_poll
        if not await keep_time(self.clock, self._tick, self.gateway.rehearse, polls, stop, lambda: self.guard.must_disconnect):
            _log.error("kill word: level 4; disconnecting from the venue")

    def _tick(self, now_ns: int) -> None:
        if self.arming is not None:
            # A file taken in since may end before the one it was armed under.
            self.arming.end_by(self.desk.limits.expires_ns)
            self.arming.tick(now_ns)
        self.host.control(Command.TICK, now_ns)
        self.guard.tick(now_ns)
        self.desk.tick()
        self.host.tend_journal(now_ns)
        if self.audit is not None:
            self.host.hold_for_audit(self.audit.look(self.host.journal.next_sequence - 1))
        if self.card is not None:
            self.arm_switch.tend_card(self.card, now_ns)
        if self.watched is not None:
            self.watched.tick(now_ns)
        if self.patrol is not None:
            self.patrol.tick(now_ns)
        self.gateway.rehearse()
        if self.feed is not None:
            for symbol in self.book_watch.spoiled(now_ns):
                self.feed.resync(symbol)
        if now_ns - self._last_snapshot_ns >= self.config.store.snapshot_every_s * NS_PER_S:
            if self._last_snapshot_ns:
                self.host.snapshot()
            self._last_snapshot_ns = now_ns

    def _card_lost(self) -> bool:
        return self.card is not None and self.card.permits_lost
