"""A daemon that dies in the middle of things, and a disk that is full for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from sentinel.errors import ControlError, JournalError, VenueError
from sentinel.host.daemon import Daemon
from sentinel.host.discrepancy import DiscrepancyKind
from sentinel.host.store.frames import CURSOR_END, CURSOR_WORD
from sentinel.research.campaign.scenario import Death, Scenario
from sentinel.sim.world import Process, VirtualLoop
from sentinel.units import NS_PER_S
from sentinel.wire import Command, TradingState


class ProcessDied(BaseException):
    """Unwinds what a kill would simply have ended; no handler of errors is meant to catch it."""


class MortalDaemon(Daemon):
    """A daemon that does nothing at its end once it is ``dead``."""

    dead = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Rehearsed orders warm caches and change nothing: a tenth of a seed's time.
        vars(self.gateway)["rehearse"] = lambda: None

    async def close(self) -> None:
        if not self.dead:
            await super().close()


class Fate:
    """What the scenario does to one process: at each boundary it may kill it, operate its switches, fill the disk.

    ``counts`` are the faults so far, by name; it outlives the process. ``on_death`` is called when it has died.
    ``differing`` names the assets of which a daemon and the venue differ: after somebody else has touched the account
    the operator lets the daemon look for it (``unnoticed`` says what it did not find), then takes the venue's word.
    """

    def __init__(
        self,
        scenario: Scenario,
        start_ns: int,
        quiet_s: float,
        counts: dict[str, int],
        differing: Callable[[MortalDaemon], list[str]] = lambda daemon: [],
    ) -> None:
        self.deaths = list(scenario.deaths)
        self.switch = sorted([(kill, True) for kill, _ in scenario.kills] + [(arm, False) for _, arm in scenario.kills])
        self.switch.append((quiet_s, True))
        self.cancel_alls = list(scenario.cancel_alls)
        self.disk = sorted((at, full) for span in scenario.full_disks for at, full in zip(span, (True, False), strict=True))
        self.counts = counts
        self._key_refusals = scenario.key_refusals
        self._latched_since_s = -1.0
        #: Whether the kill switch was tripped, and not armed again, as the operator knows it.
        self.killed = False
        self.daemon: MortalDaemon
        self._start_ns = start_ns
        self._quiet_s = quiet_s
        self._disk_full = False
        self._differing = differing
        #: Whether everything somebody else has done is accepted.
        self.reconciled = not (scenario.foreign_orders or scenario.transfers)
        self.unnoticed: list[str] = []
        self._reconciling: asyncio.Task[None] | None = None
        #: Ends the process of now as a signal does.
        self.stop = asyncio.Event()

    def attend(
        self, loop: VirtualLoop, process: Process, watch: Callable[[str], None], on_death: Callable[[], None]
    ) -> Callable[[str], None]:
        """The boundary callback of a new process; ``begin`` gives it its daemon. ``watch`` sees each boundary first."""

        def boundary(name: str) -> None:
            daemon = self.daemon
            watch(name)
            if not process.alive:
                raise ProcessDied
            now_s = self._now_s(daemon)
            if self.deaths and self._strikes(self.deaths[0], name, now_s):
                self.deaths.pop(0)
                self._count(f"death_{name}")
                daemon.dead = True
                loop.kill(process)
                on_death()
                raise ProcessDied
            if name == "stepped":
                self._operate(daemon, now_s)
                self._tend_disk(daemon, now_s)
                self._tend_key(daemon, now_s)
                self._tend_account(daemon, now_s)

        return boundary

    def begin(self, daemon: MortalDaemon) -> None:
        """``daemon`` is the process of now. A disk that was full is so for it as well."""
        self.daemon = daemon
        self.stop = asyncio.Event()
        self._reconciling = None
        if self._disk_full:
            _fill(daemon)

    def _strikes(self, death: Death, boundary: str, now_s: float) -> bool:
        # One whose boundary never comes strikes at any other.
        return now_s >= death.after_s and (boundary == death.boundary or now_s >= death.after_s + _PATIENCE_S)

    def _now_s(self, daemon: Daemon) -> float:
        return (daemon.clock.now_ns() - self._start_ns) / NS_PER_S

    def _operate(self, daemon: Daemon, now_s: float) -> None:
        while self.switch and now_s >= self.switch[0][0]:
            at_s, kill = self.switch.pop(0)
            now_ns = daemon.clock.now_ns()
            if kill:
                self.killed = True
                daemon.host.control(Command.KILL, now_ns, value=1)
                if at_s < self._quiet_s:
                    self._count("operator_kill")
            else:
                epoch = int(daemon.host.state.glob["arm_epoch"][0]) + 1
                self.killed = False
                daemon.host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.ACTIVE))
        self._lift_latch(daemon, now_s)
        while self.cancel_alls and now_s >= self.cancel_alls[0]:
            self.cancel_alls.pop(0)
            self._count("operator_cancel_all")
            daemon.host.control(Command.CANCEL_ALL, daemon.clock.now_ns())

    def _lift_latch(self, daemon: Daemon, now_s: float) -> None:
        """A second after refusals in a row have left only what reduces, the operator arms."""
        account = daemon.host.state.glob[0]
        latched = int(account["reduce_cause"]) and int(account["trading_state"]) == TradingState.REDUCE_ONLY
        if self.killed or int(account["killed"]) or not latched:
            self._latched_since_s = -1.0
        elif self._latched_since_s < 0.0:
            self._latched_since_s = now_s
        elif now_s >= self._latched_since_s + _LATCH_S:
            epoch = int(account["arm_epoch"]) + 1
            daemon.host.control(Command.ARM, daemon.clock.now_ns(), id=epoch, value=int(TradingState.ACTIVE))

    def _tend_disk(self, daemon: Daemon, now_s: float) -> None:
        while self.disk and now_s >= self.disk[0][0]:
            _, self._disk_full = self.disk.pop(0)
            if self._disk_full:
                self._count("disk_full")
                _fill(daemon)
            else:
                vars(daemon.host.journal).pop("rotate", None)

    def _tend_key(self, daemon: Daemon, now_s: float) -> None:
        """Once the venue takes the key again the operator starts anew what had given up."""
        refused = any(start <= now_s < end for start, end in self._key_refusals)
        if not refused and daemon.session is not None and daemon.session.halted is not None:
            self.stop.set()

    def _tend_account(self, daemon: MortalDaemon, now_s: float) -> None:
        """Once all is quiet the operator looks at what somebody else did, until it has worked."""
        busy = self._reconciling is not None and not self._reconciling.done()
        if not self.reconciled and not busy and now_s >= self._quiet_s + _LOOK_AFTER_S:
            self._reconciling = asyncio.get_running_loop().create_task(self._reconcile(daemon))

    async def _reconcile(self, daemon: MortalDaemon) -> None:
        patrol = daemon.patrol
        if patrol is None:
            return
        with contextlib.suppress(ControlError, VenueError):
            differing = self._differing(daemon)
            inspection = await patrol.inspect()
            if not inspection.balances_compared:
                return
            # What has come right meanwhile was a fill on its way, and no move.
            still = self._differing(daemon)
            differing = [asset for asset in differing if asset in still]
            if differing and not any(one.kind is DiscrepancyKind.BALANCE for one in inspection.sightings):
                self.unnoticed.append(f"the account's {', '.join(differing)} were moved, and the daemon finds no difference")
            await patrol.accept()
            self.reconciled = True

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


#: How long a death waits for its boundary.
_PATIENCE_S = 3.0
_LATCH_S = 1.0
#: When the operator looks at the account, after the last kill.
_LOOK_AFTER_S = 2.0


def _fill(daemon: Daemon) -> None:
    """No further segment can be had, and the present one has no room."""
    journal = daemon.host.journal

    def refuse(*_: Any) -> None:
        raise JournalError("journal segment", str(journal.directory), "room for a segment", "free disk space")

    journal.cursor[CURSOR_END] = journal.cursor[CURSOR_WORD]
    vars(journal)["rotate"] = refuse
