"""What an operator's request does to a running daemon. Commands enter the engine as journaled ControlEvents."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from typing import Any, Protocol

import numpy as np

from sentinel.engine.layout import CANCEL, FOREIGN, Halt
from sentinel.engine.readout import equity_e8, live_orders, order_of, trading_state
from sentinel.engine.state import EngineState
from sentinel.errors import ControlError
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.live_terms import LiveTerms, Terms, require_unchanged
from sentinel.host.control.protocol import Alarm, Arm, CancelAll, Kill, OperatorRequest, Orders, Positions, Reconcile
from sentinel.host.discrepancy import KEY_BITS, describe
from sentinel.host.patrol import Patrol
from sentinel.host.ports import Clock
from sentinel.host.watched import Watched
from sentinel.units import NS_PER_MS, format_e8
from sentinel.wire import (
    TERMINAL_STATES,
    Command,
    Control,
    OrderState,
    OrderType,
    Reason,
    Side,
    TimeInForce,
    TradingState,
    client_order_id,
)

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.02
_NONCE_S = 30.0
#: Live, there is a page to read first.
_LIVE_NONCE_S = 120.0
_COMPARE_S = 30.0


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


class ArmSwitch(Protocol):
    """Where an operator arms. ``arm_by_hand`` raises ControlError."""

    def arm_by_hand(self, actor: int) -> None: ...


class Operated(Protocol):
    """What of the daemon is needed."""

    @property
    def host(self) -> EngineHost: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def patrol(self) -> Patrol | None: ...

    @property
    def watched(self) -> Watched | None: ...

    @property
    def arm_switch(self) -> ArmSwitch: ...


class Operator:
    """Answers requests. ``symbols`` are the run's names; ``live`` is what arming shows and holds to, None on paper."""

    def __init__(self, daemon: Operated, symbols: list[str], live: LiveTerms | None = None) -> None:
        self._daemon = daemon
        self._symbols = symbols
        self._live = live
        self._kills_asked = 0
        self._nonce = ""
        self._nonce_until = 0.0
        self._nonce_terms: Terms | None = None
        self._asked_by = -1

    async def answer(self, request: OperatorRequest, peer: Peer) -> dict[str, Any]:
        """Do what is asked. Raises ControlError to refuse, VenueError where the venue does not answer."""
        if not isinstance(request, (Orders, Positions)):
            _log.warning("operator (user %d, process %d): %s", peer.uid, peer.pid, request)
        if isinstance(request, Orders):
            return self.orders()
        if isinstance(request, Positions):
            return self.positions()
        if isinstance(request, Reconcile):
            return await self._reconcile(request.accept)
        if isinstance(request, CancelAll):
            return await self._cancel_all(request.within_s, peer.uid)
        if isinstance(request, Kill):
            return self._kill(peer.uid)
        if isinstance(request, Alarm):
            return self._alarm(request, peer.uid)
        return await self._arm(request, peer.uid)

    @property
    def _state(self) -> EngineState:
        return self._daemon.host.state

    def _account(self) -> dict[str, Any]:
        account = self._state.glob[0]
        left_s = None if self._live is None else self._live.arming.left_s()
        return {
            "mode": "paper" if self._live is None else "live",
            "armed": trading_state(self._state) == TradingState.ACTIVE if left_s is None else left_s > 0,
            "armed_left_s": left_s,
            "trading_state": trading_state(self._state).name,
            "killed": bool(account["killed"]),
            "kill_cause": _cause(int(account["kill_cause"])) if account["killed"] else "",
        }

    def orders(self) -> dict[str, Any]:
        """Every order that is not final, foreign ones that were adopted too."""
        now = self._daemon.clock.now_ns()
        rows = [
            self._order(row) | {"age_ms": max(now - int(row["t_intent"]), 0) // NS_PER_MS}
            for row in self._live_orders(foreign=True)
        ]
        return self._account() | {"orders": rows}

    def positions(self) -> dict[str, Any]:
        """The account, and each symbol that holds, awaits or is halted for something."""
        account, symbols = self._state.glob[0], self._state.symbols
        used = np.flatnonzero(
            (symbols["inventory"] != 0) | (symbols["position"] != 0) | (symbols["live"] != 0) | (symbols["halt"] != 0)
        )
        money = {name: format_e8(int(account[name])) for name in ("cash", "realised", "fees_quote", "equity_peak")}
        return {
            **self._account(),
            **money,
            "equity": format_e8(equity_e8(self._state)),
            "positions": [self._position(symbol) for symbol in used.tolist()],
            "unexplained": [one.text(self._symbols) for one in self._patrol().unexplained] if self._daemon.patrol else [],
        }

    def _position(self, symbol: int) -> dict[str, Any]:
        row = self._state.symbols[symbol]
        names = ("inventory", "position", "cost", "last_price", "realised", "fees", "open_buy", "open_sell")
        return {
            "symbol": self._symbols[symbol],
            **{name: format_e8(int(row[name])) for name in names},
            "live_orders": int(row["live"]),
            "unknown_orders": int(row["unknown"]),
            "halts": [halt.name for halt in Halt if int(row["halt"]) & halt],
        }

    def _order(self, row: Any) -> dict[str, Any]:
        foreign = bool(int(row["flags"]) & FOREIGN)
        return {
            "id": f"foreign-{int(row['venue_order_id'])}" if foreign else client_order_id(int(row["key"]) & KEY_BITS),
            "venue_order_id": int(row["venue_order_id"]),
            "symbol": self._symbols[int(row["symbol"])],
            "side": Side(int(row["side"])).name,
            "type": OrderType(int(row["order_type"])).name,
            "tif": TimeInForce(int(row["tif"])).name,
            "price": format_e8(int(row["price"])),
            "qty": format_e8(int(row["qty"])),
            "filled": format_e8(int(row["cum_qty"])),
            "state": OrderState(int(row["state"])).name,
            "reason": Reason(int(row["reason"])).name,
            "foreign": foreign,
            "cancel_wanted": bool(int(row["flags"]) & CANCEL),
        }

    def _live_orders(self, foreign: bool = False) -> Any:
        return live_orders(self._state, foreign)

    def _patrol(self) -> Patrol:
        if self._daemon.patrol is None:
            raise ControlError(
                "order session", "none", "a daemon that has reached its venue", "wait until it has, or check its log"
            )
        return self._daemon.patrol

    async def _reconcile(self, accept: bool) -> dict[str, Any]:
        patrol = self._patrol()
        inspection = await patrol.inspect()
        if accept:
            await patrol.accept()
        halted = np.flatnonzero(self._state.symbols["halt"] & (Halt.RECONCILE | Halt.MISMATCH)).tolist()
        return {
            "found": [describe(one, sightings, self._symbols) for one, sightings in inspection.sightings.items()],
            "failures": inspection.failures,
            "balances_compared": inspection.balances_compared,
            "accepted": accept,
            "halted": [self._symbols[symbol] for symbol in halted],
            "counters": dict(patrol.counters),
        }

    async def _cancel_all(self, within_s: float, actor: int) -> dict[str, Any]:
        started = time.monotonic()
        before = {int(row["key"]): self._order(row) for row in self._live_orders()}
        foreign = len(self._live_orders(foreign=True)) - len(before)
        self._daemon.host.control(Command.CANCEL_ALL, self._daemon.clock.now_ns(), actor=actor)
        while time.monotonic() < started + within_s and not all(self._is_final(key) for key in before):
            await asyncio.sleep(_LOOK_EVERY_S)
        rows = [self._became(key, order) for key, order in before.items()]
        return {
            "orders": rows,
            "left": sum(not row["final"] for row in rows),
            "foreign_orders": foreign,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _is_final(self, key: int) -> bool:
        row = order_of(self._state, key)
        return row is None or int(row["state"]) in TERMINAL_STATES

    def _became(self, key: int, before: dict[str, Any]) -> dict[str, Any]:
        row = order_of(self._state, key)
        # A final order may have given its place in the table to a newer one.
        now = before | {"state": "GONE"} if row is None else self._order(row)
        kept = {name: now[name] for name in ("id", "symbol", "side", "qty", "filled", "state")}
        return kept | {"was": before["state"], "final": self._is_final(key)}

    def _kill(self, actor: int) -> dict[str, Any]:
        self._kills_asked += 1
        self._daemon.host.control(Command.KILL, self._daemon.clock.now_ns(), value=int(Control.OPERATOR), actor=actor)
        return self._account() | {"live_orders": len(self._live_orders())}

    def _alarm(self, request: Alarm, actor: int) -> dict[str, Any]:
        if self._daemon.watched is None:
            raise ControlError("alarm", request.number, "a daemon on the wall clock", "virtual time has no alarms")
        self._daemon.watched.raise_alarm(request.number, request.wanted, self._daemon.clock.now_ns(), actor)
        return self._account()

    async def _arm(self, request: Arm, actor: int) -> dict[str, Any]:
        if self._live is not None:
            self._live.require_same_settings(request.config_hash)
        self._refuse_armed()
        if not request.nonce:
            return await self._offer(actor)
        if self._live is not None and self._live.two_persons and actor == self._asked_by:
            remedy = "have another person confirm it; the nonce stays good for its time"
            raise ControlError("person", f"user {actor}, who asked", "a second person", remedy)
        terms = self._take_nonce(request.nonce)
        if self._live is not None:
            assert terms is not None
            await self._compare()
            # No await from here on: what is compared is what is armed.
            self._require_in_time(request.nonce)
            self._refuse_armed()
            require_unchanged(terms, self._live.now(self._state, self._kills_asked))
            self._live.require_fine()
        self._daemon.arm_switch.arm_by_hand(actor)
        if self._live is not None:
            left_s = self._live.arming.left_s()
            _log.warning("LIVE, ARMED by user %d, asked for by user %d, for %d s", actor, self._asked_by, left_s)
        return self._account()

    def _refuse_armed(self) -> None:
        state = trading_state(self._state)
        if state == TradingState.ACTIVE:
            raise ControlError("trading state", state.name, "HALTED or REDUCE_ONLY", "nothing is to be armed")

    async def _offer(self, actor: int) -> dict[str, Any]:
        valid_s, shown = _NONCE_S, {}
        if self._live is not None:
            await self._compare()
            self._live.require_fine()
            self._nonce_terms = self._live.now(self._state, self._kills_asked)
            valid_s, shown = _LIVE_NONCE_S, self._live.shown(self._state) | self.orders() | self.positions()
        self._asked_by = actor
        self._nonce, self._nonce_until = secrets.token_hex(8), time.monotonic() + valid_s
        return shown | self._account() | {"nonce": self._nonce, "valid_s": valid_s}

    def _take_nonce(self, given: str) -> Terms | None:
        """What the nonce was bound to. It is used up, right or wrong."""
        nonce, self._nonce = self._nonce, ""
        if not nonce or not hmac.compare_digest(nonce.encode(), given.encode()):
            raise self._wrong_nonce(given)
        self._require_in_time(given)
        return self._nonce_terms

    def _require_in_time(self, given: str) -> None:
        if time.monotonic() > self._nonce_until:
            raise self._wrong_nonce(given)

    def _wrong_nonce(self, given: str) -> ControlError:
        valid_s = _NONCE_S if self._live is None else _LIVE_NONCE_S
        return ControlError("nonce", given, f"the one given in the last {valid_s:g} s, once", "ask for a new one")

    async def _compare(self) -> None:
        """Compare engine and venue now. Raises ControlError where that cannot be done or leaves something unexplained."""
        try:
            # Well before whoever asked gives up: nothing is armed behind his back.
            async with asyncio.timeout(_COMPARE_S):
                inspection = await self._patrol().inspect()
        except TimeoutError:
            remedy = "try again once the venue answers"
            raise ControlError("reconciliation", f"{_COMPARE_S:g} s", "an answer of the venue in time", remedy) from None
        if inspection.failures:
            raise ControlError("reconciliation", inspection.failures[0], "an answer of the venue", "try again once it answers")
        unexplained = [one.text(self._symbols) for one in self._patrol().unexplained]
        if unexplained or (self._state.symbols["halt"] & Halt.MISMATCH).any():
            remedy = "find out why; sentinel reconcile --accept takes the venue's word"
            raise ControlError("unexplained", unexplained, "nothing that differs from the venue", remedy)


def _cause(number: int) -> str:
    """The control that tripped; an old journal may hold others."""
    return Control(number).name if number in Control._value2member_map_ else str(number)
