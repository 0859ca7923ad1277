"""The rig as a live run: disarmed at its start, watched by a patrol, armed by an operator."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from sentinel.config import ReconcileConfig, parse_config, settings_hash
from sentinel.errors import ControlError
from sentinel.host.control.arming_checks import ArmingChecks
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.limits_desk import LimitsDesk
from sentinel.host.control.limits_draft import draft_limits
from sentinel.host.control.live_terms import LiveTerms
from sentinel.host.control.operator import Operator
from sentinel.host.control.protocol import Arm, OperatorRequest
from sentinel.host.live import LiveArming
from sentinel.host.patrol import Patrol
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Command, TradingState
from tests.host.control.persons import PERSONS, peer, signatures
from tests.host.control.rig import Rig
from tests.host.venue_truth import SYMBOLS, Truth

#: Who asks, and who confirms.
FIRST, SECOND = peer("alice"), peer("bob")
SETTINGS = parse_config(
    {
        "mode": "live",
        "venue": {
            "rest_url": "http://127.0.0.1:9",
            "stream_url": "ws://127.0.0.1:9",
            "api_url": "ws://127.0.0.1:9/orders",
            "api_key_env": "SENTINEL_LIVE_API_KEY",
            "api_secret_env": "SENTINEL_LIVE_API_SECRET",
        },
        "feed": {"symbols": list(SYMBOLS)},
        "risk": {
            "max_order_notional": "25000",
            "max_position_notional": "25000",
            "max_gross_notional": "100000",
            "max_drawdown_bps": 2000,
            "max_trades_per_minute": 1000,
            "max_source_gap_bps": 0,
            "max_restricted_age_s": 0,
            "max_instrument_age_s": 0,
            "max_exit_minutes": 0,
            "max_clock_error_us": 0,
        },
        "live": {"arming_hours": 2},
    }
)


class LiveRig(Rig):
    """Started and recovered, not armed. ``truth`` is the venue's side of the account, in step with the engine's."""

    def __init__(self) -> None:
        super().__init__()
        self.truth = Truth(base=[1_000 * E8, 1_000 * E8], quote=100_000 * E8)
        self.patrol = Patrol(self.truth, self, self, 3, self.clock, ReconcileConfig())  # type: ignore[arg-type]
        self.arming = LiveArming(self, self.clock, SETTINGS.live.arming_hours)
        self.store = tempfile.TemporaryDirectory()
        self.limits = LimitsDesk(self, self.clock, Path(self.store.name), SETTINGS, lambda: PERSONS)
        text = draft_limits(SETTINGS, 1, self.clock.ns, 30)
        self.limits.apply(text, signatures(text, "alice"), FIRST.uid)
        self.checks = ArmingChecks(self.limits, "ab" * 32)
        self.live = LiveTerms(SETTINGS, "...wxyz", 0xC0FFEE, self.arming, self.checks)
        self.operator = Operator(self, list(SYMBOLS), self.live)
        self.control(Command.RECOVERING, 0)
        self.arming.disarm_at_start()
        self.control(Command.RECOVERED, 0)

    @property
    def trading_state(self) -> TradingState:
        return TradingState(int(self.world.g["trading_state"]))

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool:
        return bool(self.world.g["arm_epoch"] == arm_epoch)

    def arm_by_hand(self, actor: int) -> None:
        self.arming.begin(self.clock.ns)
        super().arm_by_hand(actor)

    def ask(self, request: OperatorRequest, who: Peer = FIRST) -> dict[str, Any]:
        """The operator's answer, while time passes."""

        async def answered() -> dict[str, Any]:
            assert self.patrol is not None
            task = asyncio.ensure_future(self.operator.answer(request, who))
            while not task.done():
                self.world.wait(NS_PER_S)
                self.clock.ns = self.world.now
                self.patrol.tick(self.world.now)
                await asyncio.sleep(0)
            return await task

        return asyncio.run(asyncio.wait_for(answered(), 60))

    def offer(self) -> dict[str, Any]:
        return self.ask(Arm(config_hash=settings_hash(SETTINGS)))

    def confirm(self, nonce: str, who: Peer = SECOND) -> dict[str, Any]:
        return self.ask(Arm(nonce, settings_hash(SETTINGS)), who)

    def refuses(self, nonce: str, who: Peer = SECOND) -> ControlError:
        """The refusal of a confirmation, which has armed nothing."""
        try:
            self.confirm(nonce, who)
        except ControlError as error:
            assert self.trading_state != TradingState.ACTIVE
            return error
        raise AssertionError("armed")
