"""Everything behind the control socket of one daemon, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.errors import ControlError
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.control.access import Access
from sentinel.host.control.approvals import Approvals
from sentinel.host.control.arming_checks import ArmingChecks
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.gatekeeper import Gatekeeper
from sentinel.host.control.limits_desk import LimitsDesk
from sentinel.host.control.live_terms import LiveTerms
from sentinel.host.control.operator import Operated, Operator
from sentinel.host.control.protocol import Approvals as ApprovalsRequest
from sentinel.host.control.protocol import Approve, LimitsApply, LimitsShow, Request
from sentinel.host.control.server import ControlServer
from sentinel.host.engine_host import EngineHost
from sentinel.host.live import LiveArming
from sentinel.host.ports import Clock
from sentinel.host.store.run_files import model_digest
from sentinel.units import NS_PER_US


class ControlDesk:
    """Roles, limits, approvals, arming and the operator's requests.

    Args:
        daemon: what the operator acts on.
        host: its engine's host, recovered.
        clock: its time.
        config: its settings.
        arming: of a live run, None on paper.
        account_key: the key's name, masked.
        card: the attached one, if any.

    ``checks`` is None on paper. Raises ConfigError for a role file that cannot be used.
    """

    def __init__(
        self,
        daemon: Operated,
        host: EngineHost,
        clock: Clock,
        config: Config,
        arming: LiveArming | None,
        account_key: str,
        card: AttachedCard | None,
    ) -> None:
        self.access = Access(config.access)
        self.approvals = Approvals(host, clock, config.feed.symbols, approval_wait_s(config))
        self.limits = LimitsDesk(host, clock, host.directory, config, self.access.persons)
        self.checks: ArmingChecks | None = None
        live = None
        if arming is not None:
            model = model_digest(host.directory, host.artifact.crc).hex()
            found = None if card is None else lambda: _card_state(card, clock)
            bound_ns = config.risk.max_clock_error_us * NS_PER_US
            self.checks = ArmingChecks(self.limits, model, found, clock_bound_ns=bound_ns)
            live = LiveTerms(config, account_key, host.artifact.crc, arming, self.checks)
        self._operator = Operator(daemon, config.feed.symbols, live)
        gatekeeper = Gatekeeper(self._answer, self.access, host, clock)
        self.server = ControlServer(
            host.directory,
            gatekeeper.answer,
            admits=self.access.admits,
            turned_away=gatekeeper.turned_away,
            everybody=self.access.has_roles,
        )

    def watch(
        self, objection: Callable[[], ControlError | None], clock: Callable[[], int | None], alarm_process: Callable[[], str]
    ) -> None:
        """What else an arming looks at: what the kill switch has against it, the bound of the clock's error (ns), and the
        alarm process."""
        if self.checks is None:
            return

        def held() -> str:
            found = objection()
            return "" if found is None else f"{found.field}: {found.value}"

        self.checks.kill_word = held
        self.checks.alarm_process = alarm_process
        if self.checks.clock_bound_ns:
            self.checks.clock_status = clock

    def begin(self) -> None:
        """At the start, once the engine takes control events: the stored limits come into force."""
        self.limits.begin()

    def tick(self) -> None:
        """Ten times a second: limits that have waited long enough."""
        self.limits.tick()

    def see(self, slots: NDArray[Any]) -> None:
        """Effects (int64[n, 8]) that have left."""
        self.approvals.take(slots)

    async def _answer(self, request: Request, peer: Peer) -> dict[str, Any]:
        if isinstance(request, LimitsShow):
            return self.limits.show()
        if isinstance(request, LimitsApply):
            return self.limits.apply(request.file, request.signatures, peer.uid)
        if isinstance(request, ApprovalsRequest):
            return self.approvals.listed()
        if isinstance(request, Approve):
            person = self.access.who(peer.uid)
            name = "" if person is None else person.name
            return self.approvals.decide(request.id, request.granted, request.within_s, peer.uid, name)
        return await self._operator.answer(request, peer)


def approval_wait_s(config: Config) -> int:
    """How long an order waits for a person: no longer than the setup it is of, which the engine drops then."""
    return max(min(config.access.approval_wait_s, config.strategy.setup_expiry_ms // 1_000), 1)


def _card_state(card: AttachedCard, clock: Clock) -> str:
    if card.permits_lost:
        return "lost"
    return "ready" if card.ready(clock.now_ns()) else "not ready"
