"""What alarms are raised about: a running daemon's state in a few numbers, each with its unit in its name."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.layout import HALT_MISMATCH
from sentinel.engine.state import EngineState
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.clock import ClockLook
from sentinel.host.latency import Stage, summarize
from sentinel.host.patrol import Patrol
from sentinel.host.ports import Clock
from sentinel.host.store.audit_position import AuditWatch
from sentinel.host.store.spilling_journal import SpillingJournal
from sentinel.units import E8, NS_PER_MS, NS_PER_S, NS_PER_US
from sentinel.wire import Control, OrderState

WINDOW_S = 60
#: The latency is that of the last seconds: a minute would hide what begins now.
_LATENCY_S = 5
#: Fewer failed orders in a minute are no rate: of three orders one is a third.
MIN_ERRORS = 3
_FAILED = [int(state) for state in (OrderState.REJECTED, OrderState.UNKNOWN, OrderState.NEVER_ACCEPTED)]

Metrics = dict[str, float | None]


class EngineHost(Protocol):
    """What of the engine's host is read."""

    @property
    def state(self) -> EngineState: ...

    @property
    def latency(self) -> NDArray[np.int64]: ...

    @property
    def spilling(self) -> SpillingJournal: ...


class Measured(Protocol):
    """What of the daemon is read."""

    @property
    def host(self) -> EngineHost: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def patrol(self) -> Patrol | None: ...

    @property
    def card(self) -> AttachedCard | None: ...

    @property
    def audit(self) -> AuditWatch | None: ...

    def feed_counters(self) -> dict[str, int]: ...


class _Sample(NamedTuple):
    t_ns: int
    messages: int
    malformed: int
    rejects: int
    duplicates: int
    positions: NDArray[np.int64]


class MetricsReader:
    """Reads the metrics; ``clock`` is what the windows are measured by, ns."""

    def __init__(self, daemon: Measured, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._daemon = daemon
        self._clock = clock
        self._began_ns = daemon.clock.now_ns()
        self._samples: deque[_Sample] = deque(maxlen=WINDOW_S)
        self._tables: deque[NDArray[np.int64]] = deque(maxlen=_LATENCY_S + 1)
        self._p99_us: float | None = None

    def read(self, look: ClockLook | None) -> Metrics:
        """All of them; None where one cannot be said. ``look``: the last look at the clock, None where nobody looks."""
        daemon, state = self._daemon, self._daemon.host.state
        account = state.glob[0]
        now = self._sample()
        then = self._samples[0]
        killed = bool(account["killed"]) and int(account["kill_cause"]) != Control.DISARMED
        return {
            "latency_p99_us": self._p99_us,
            "order_error_pct": _order_error_pct(state, daemon.clock.now_ns()),
            "feed_error_pct": _share_pct(now.malformed - then.malformed, now.messages - then.messages),
            "position_delta_per_min": _position_delta(state, now.positions - then.positions),
            "risk_rejects_per_min": now.rejects - then.rejects,
            "duplicate_orders_per_min": now.duplicates - then.duplicates,
            "feed_age_ms": self._feed_age_ms(state),
            "unknown_order_age_ms": _unknown_order_age_ms(state, daemon.clock.now_ns()),
            "clock_error_us": None if look is None or look.bound_ns < 0 else -(-look.bound_ns // NS_PER_US),
            "clock_stepped": None if look is None else int(look.stepped),
            "audit_backlog_ms": None if daemon.audit is None else daemon.audit.backlog_ns // NS_PER_MS,
            "audit_late": None if daemon.audit is None else int(daemon.audit.late),
            "card_failed": None if daemon.card is None else int(bool(daemon.card.health.trouble or daemon.card.permits_lost)),
            "mismatches": self._mismatches(state),
            "killed": int(killed),
            "journal_frames_waiting": daemon.host.spilling.waiting,
        }

    def _sample(self) -> _Sample:
        """Counters now. Once a second they are kept, and the latencies looked at: that takes longer than all the rest."""
        host, now_ns = self._daemon.host, self._clock()
        feed = self._daemon.feed_counters()
        sample = _Sample(
            now_ns,
            feed.get("messages", 0),
            feed.get("malformed", 0),
            int(host.state.counters["risk_rejects"][0]),
            int(host.state.counters["duplicate_orders"][0]),
            host.state.symbols["position"].copy(),
        )
        if not self._samples or now_ns - self._samples[-1].t_ns >= NS_PER_S:
            self._samples.append(sample)
            self._tables.append(host.latency.copy())
            self._p99_us = _p99_us(self._tables[-1] - self._tables[0])
        return sample

    def _feed_age_ms(self, state: EngineState) -> int:
        """Of the newest quote, or of this start where that is newer."""
        newest = max(int(state.symbols["bbo_t"].max()), self._began_ns)
        return max(self._daemon.clock.now_ns() - newest, 0) // NS_PER_MS

    def _mismatches(self, state: EngineState) -> int | None:
        patrol = self._daemon.patrol
        halted = int(np.count_nonzero(state.symbols["halt"] & HALT_MISMATCH))
        return None if patrol is None else max(halted, len(patrol.unexplained))


def _p99_us(counted: NDArray[np.int64]) -> float | None:
    """The stages' 99th percentiles, added up: what one event needs from the socket to the order. None without any event."""
    if not counted[Stage.INGRESS].any():
        return None
    return sum(summarize(counted[stage])["p99_ns"] for stage in Stage) / NS_PER_US


def _share_pct(part: int, whole: int) -> float:
    return 100 * part / whole if whole > 0 else 0.0


def _recent(state: EngineState, now_ns: int) -> Any:
    orders = state.orders[state.orders["state"] != OrderState.FREE]
    return orders[orders["t_intent"] >= now_ns - WINDOW_S * NS_PER_S]


def _order_error_pct(state: EngineState, now_ns: int) -> float:
    """Of the orders of the last minute: refused by the venue, not sent, or in doubt."""
    states = _recent(state, now_ns)["state"]
    failed = int(np.isin(states, _FAILED).sum())
    return _share_pct(failed, len(states)) if failed >= MIN_ERRORS else 0.0


def _position_delta(state: EngineState, change: NDArray[np.int64]) -> int:
    """Value at last prices of what positions have changed by, without regard to direction; whole units of the quote asset."""
    rows = np.flatnonzero(change).tolist()
    prices = state.symbols["last_price"]
    return sum(abs(int(change[k])) * int(prices[k]) for k in rows) // (E8 * E8)


def _unknown_order_age_ms(state: EngineState, now_ns: int) -> int:
    unknown = state.orders[state.orders["state"] == OrderState.UNKNOWN]
    return max(now_ns - int(unknown["t_state"].min()), 0) // NS_PER_MS if len(unknown) else 0
