"""Orders that wait for a person: what the engine keeps of them, and the person's answer on its way back."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.layout import Approval
from sentinel.engine.state import EngineState
from sentinel.errors import ControlError
from sentinel.host.ports import Clock
from sentinel.units import NS_PER_MS, NS_PER_S, format_e8
from sentinel.wire import SLOT_BYTES, Command, Kind, Side, SignalCode

_log = logging.getLogger(__name__)

_DECIDED_KEPT = 50
_SIGNAL, _NEEDED = int(Kind.SIGNAL), int(SignalCode.APPROVAL_NEEDED)
# Where a SIGNAL has them.
_KIND, _CODE = 24, 40


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


@dataclass(frozen=True)
class Waiting:
    """One order above the threshold. Times are the engine's, ns; ``notional`` e8 quote units."""

    id: int
    symbol: str
    side: str
    notional: int
    since_ns: int
    until_ns: int


class Approvals:
    """The list of what waits, and the way to decide.

    Args:
        host: its engine's state says what waits, after a restart too; it takes APPROVE events.
        clock: the engine's time.
        symbols: names by symbol index.
        wait_s: how long an order waits.
    """

    def __init__(self, host: EngineHost, clock: Clock, symbols: list[str], wait_s: int) -> None:
        self._host = host
        self._clock = clock
        self._symbols = symbols
        self._wait_ns = wait_s * NS_PER_S
        self._waiting: dict[int, Waiting] = {}
        self._decided: deque[dict[str, Any]] = deque(maxlen=_DECIDED_KEPT)

    def take(self, slots: NDArray[Any]) -> None:
        """See effects (int64[n, 8]) after they left."""
        raw = slots.view(np.uint8).reshape(-1, SLOT_BYTES)
        if ((raw[:, _KIND] == _SIGNAL) & (raw[:, _CODE] == _NEEDED)).any():
            self._look()

    def listed(self) -> dict[str, Any]:
        """What waits, oldest first, and what was decided lately."""
        self._look()
        now_ns = self._clock.now_ns()
        rows = [_row(one) | {"left_ms": (one.until_ns - now_ns) // NS_PER_MS} for one in self._waiting.values()]
        return {"wait_s": self._wait_ns // NS_PER_S, "waiting": rows, "decided": list(self._decided)}

    def decide(self, number: int, granted: bool, within_s: float, actor: int, person: str) -> dict[str, Any]:
        """Grant for ``within_s``, or refuse. Raises ControlError for a request that does not wait any more."""
        self._look()
        one = self._waiting.pop(number, None)
        if one is None:
            raise ControlError("approval", number, "a request that waits", "see sentinel approvals; an old one is given up")
        now_ns = self._clock.now_ns()
        until_ns = now_ns + round(within_s * NS_PER_S)
        self._host.control(Command.APPROVE, now_ns, id=number, value=int(granted), t2=until_ns, actor=actor)
        decision = _row(one) | {
            "decision": "granted" if granted else "refused",
            "by": person or f"user {actor}",
            "decided_ns": now_ns,
            "holds_until_ns": until_ns if granted else None,
        }
        self._decided.append(decision)
        _log.warning("approval: request %d %s by %s", number, decision["decision"], decision["by"])
        return decision

    def _look(self) -> None:
        """Follow the engine: what has expired or made room for a larger order's request waits no more, what is new does."""
        now_ns = self._clock.now_ns()
        asked = self._asked()
        for number in [number for number, one in self._waiting.items() if one.until_ns <= now_ns or number not in asked]:
            one = self._waiting.pop(number)
            expired = one.until_ns <= now_ns
            ended = (
                {"decision": "expired", "decided_ns": one.until_ns} if expired else {"decision": "replaced", "decided_ns": now_ns}
            )
            self._decided.append(_row(one) | ended | {"by": "", "holds_until_ns": None})
            _log.warning("approval: request %d %s", number, "was not answered in time" if expired else "was replaced")
        for number in sorted(asked.keys() - self._waiting.keys()):
            one = asked[number]
            if one.until_ns <= now_ns:
                continue
            self._waiting[number] = one
            _log.warning(
                "approval needed: request %d, %s %s of %s quote units; sentinel approve %d within %d s",
                number, one.side, one.symbol, format_e8(one.notional), number, (one.until_ns - now_ns) // NS_PER_S,
            )  # fmt: skip

    def _asked(self) -> dict[int, Waiting]:
        """What the engine has asked for and has no answer to."""
        state = self._host.state
        # The engine's own wait is that of a setup.
        earlier_ns = int(state.params["setup_expiry_ns"][0])
        found = {}
        for row in state.approvals[state.approvals["state"] == Approval.PENDING]:
            since_ns, symbol = int(row["until"]) - earlier_ns, int(row["symbol"])
            found[int(row["id"])] = Waiting(
                id=int(row["id"]),
                symbol=self._symbols[symbol] if symbol < len(self._symbols) else "",
                side=Side(int(row["side"])).name,
                notional=int(row["notional"]),
                since_ns=since_ns,
                until_ns=since_ns + self._wait_ns,
            )
        return found


def _row(one: Waiting) -> dict[str, Any]:
    shown = {"id": one.id, "symbol": one.symbol, "side": one.side, "notional": format_e8(one.notional)}
    return shown | {"since_ns": one.since_ns, "until_ns": one.until_ns}
