"""An engine with one open order, a session whose order connection is gone, and an operator over both."""

from __future__ import annotations

from typing import Any

import numpy as np

from sentinel.engine.state import EngineState
from sentinel.errors import ControlError
from sentinel.host.control.operator import Operator
from sentinel.host.patrol import Patrol
from sentinel.host.venues.binance_spot import BinanceSpotSession
from sentinel.host.watched import Watched
from sentinel.wire import NO_SYMBOL, Command, Kind, OrderEventKind, TradingState
from tests.engine.world import World
from tests.host.venues.offline_session import SYMBOLS, ManualClock


class Rig:
    """What an operator needs of a daemon, around a World. Cancels and queries go to ``session`` where there is one."""

    def __init__(self) -> None:
        self.world = World().start()
        self.session: BinanceSpotSession | None = None
        self.patrol: Patrol | None = None
        self.watched: Watched | None = None
        self.clock = ManualClock()
        self.clock.ns = self.world.now
        self.actors: list[int] = []
        self.operator = Operator(self, SYMBOLS)

    @property
    def host(self) -> Rig:
        return self

    @property
    def arm_switch(self) -> Rig:
        return self

    @property
    def state(self) -> EngineState:
        return self.world.state

    def control(self, command: Command, t: int, symbol: int = NO_SYMBOL, **fields: int) -> None:
        self.actors.append(fields.get("actor", -1))
        self._send(self.world.control(command, symbol, **fields).run())

    def arm_by_hand(self, actor: int) -> None:
        self.control(Command.ARM, 0, id=int(self.world.g["arm_epoch"]) + 1, value=int(TradingState.ACTIVE), actor=actor)
        if int(self.world.g["killed"]):
            raise ControlError("kill cause", "DRAWDOWN", "a cause that no longer stands", "remove it")

    def deliver(self, source: int, records: Any) -> None:
        self._send(self.world.feed(np.ascontiguousarray(records)))

    def entered(self) -> dict[str, Any]:
        """The PLACE of a sell order that is accepted and open."""
        self.world.quiet().pump()
        self.world.retrace()
        place = self.world.places()[-1]
        self.world.order(place["client_key"], OrderEventKind.SENT).order(place["client_key"], OrderEventKind.ACKED).run()
        self.clock.ns = self.world.now
        return place

    def _send(self, effects: list[dict[str, Any]]) -> None:
        for effect in effects:
            if self.session is not None and effect["kind"] in (Kind.CANCEL, Kind.QUERY):
                send = self.session.cancel if effect["kind"] == Kind.CANCEL else self.session.query
                send(effect["client_key"], SYMBOLS[effect["symbol"]])
