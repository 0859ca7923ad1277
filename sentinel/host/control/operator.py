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
from sentinel.host.control.protocol import Arm, CancelAll, Kill, Orders, Positions, Reconcile, Request
from sentinel.host.discrepancy import KEY_BITS, describe
from sentinel.host.patrol import Patrol
from sentinel.host.ports import Clock
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


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


class Operated(Protocol):
    """What of the daemon is needed. ``arm_by_hand`` raises ControlError."""

    @property
    def host(self) -> EngineHost: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def patrol(self) -> Patrol | None: ...

    def arm_by_hand(self, actor: int) -> None: ...


class Operator:
    """Answers requests. ``symbols`` are the run's names; arming is for ``mode`` paper only."""

    def __init__(self, daemon: Operated, symbols: list[str], mode: str) -> None:
        self._daemon = daemon
        self._symbols = symbols
        self._mode = mode
        self._nonce = ""
        self._nonce_until = 0.0

    async def answer(self, request: Request, peer: Peer) -> dict[str, Any]:
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
        return self._arm(request, peer.uid)

    @property
    def _state(self) -> EngineState:
        return self._daemon.host.state

    def _account(self) -> dict[str, Any]:
        account = self._state.glob[0]
        return {
            "trading_state": trading_state(self._state).name,
            "killed": bool(account["killed"]),
            "kill_cause": _cause(int(account["kill_cause"])) if account["killed"] else "",
        }

    def orders(self) -> dict[str, Any]:
        """Every order that is not final, foreign ones that were adopted too."""
        now = self._daemon.clock.now_ns()
        rows = [
            self._order(row) | {"age_ms": max(now - int(row["t_intent"]), 0) // NS_PER_MS} for row in self._live(foreign=True)
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

    def _live(self, foreign: bool = False) -> Any:
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
        before = {int(row["key"]): self._order(row) for row in self._live()}
        foreign = len(self._live(foreign=True)) - len(before)
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
        self._daemon.host.control(Command.KILL, self._daemon.clock.now_ns(), value=int(Control.OPERATOR), actor=actor)
        return self._account() | {"live_orders": len(self._live())}

    def _arm(self, request: Arm, actor: int) -> dict[str, Any]:
        if self._mode != "paper":
            raise ControlError("mode", self._mode, "paper", "this version arms no live trading")
        state = trading_state(self._state)
        if state == TradingState.ACTIVE:
            raise ControlError("trading state", state.name, "HALTED or REDUCE_ONLY", "nothing is to be armed")
        if not request.nonce:
            self._nonce, self._nonce_until = secrets.token_hex(8), time.monotonic() + _NONCE_S
            return self._account() | {"armed": False, "nonce": self._nonce, "valid_s": _NONCE_S}
        nonce, self._nonce = self._nonce, ""
        if not nonce or time.monotonic() > self._nonce_until or not hmac.compare_digest(nonce.encode(), request.nonce.encode()):
            raise ControlError("nonce", request.nonce, f"the one given in the last {_NONCE_S:g} s, once", "ask for a new one")
        self._daemon.arm_by_hand(actor)
        return self._account() | {"armed": True}


def _cause(number: int) -> str:
    """The control that tripped; an old journal may hold others."""
    return Control(number).name if number in Control._value2member_map_ else str(number)
