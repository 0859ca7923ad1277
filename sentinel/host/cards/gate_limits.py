"""The card's limits for the engine's, in force now: what the card must hold for the two gates to agree."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.state import EngineState
from sentinel.host.cards.beats import AMOUNT_MAX
from sentinel.host.cards.limits import TICKS_PER_S, CardLimits
from sentinel.units import BPS, CARD_TICK_NS, E8, NS_PER_S


class GateLimits(Protocol):
    """What of the settings, or of the engine's limits, a card knows too; money and quantities e8."""

    @property
    def max_order_qty(self) -> int: ...

    @property
    def max_order_notional(self) -> int: ...

    @property
    def max_position_notional(self) -> int: ...

    @property
    def max_gross_notional(self) -> int: ...

    @property
    def price_collar_bps(self) -> int: ...

    @property
    def max_drawdown_bps(self) -> int: ...

    @property
    def max_trades_per_minute(self) -> int: ...


class _InForce(NamedTuple):
    """The engine's, as ``GateLimits``. 0 is no value of a card; 1 lets as little through."""

    max_order_qty: int
    max_order_notional: int
    max_position_notional: int
    max_gross_notional: int
    price_collar_bps: int
    max_drawdown_bps: int
    max_trades_per_minute: int


def card_limits(risk: GateLimits, equity: int, version: int, stale_after_ns: int = 5 * NS_PER_S) -> CardLimits:
    """The card's limits for the software's. ``equity``, quote e8: a day may lose what a drawdown from it may be.

    The software refuses first wherever both look: at the gross limit, where the card trips, it values at the last price and
    the card at the ask, which the collar bounds; quotes are told a tenth of a second after they came. The host speaks ten
    times a second; a silence of seconds, not of one slow moment, is its death.
    """
    return CardLimits(
        version=max(version, 1),
        max_order_notional=risk.max_order_notional * E8,
        max_gross_notional=risk.max_gross_notional * E8 * (BPS + risk.price_collar_bps) // BPS,
        max_daily_loss=max(1, equity * risk.max_drawdown_bps // BPS),
        collar_bps=risk.price_collar_bps,
        max_drawdown_bps=risk.max_drawdown_bps,
        permits_per_window=risk.max_trades_per_minute,
        reference_max_age=(stale_after_ns + NS_PER_S // 2) // CARD_TICK_NS,
        heartbeat_max_age=3 * TICKS_PER_S,
        watchdog_period=5 * TICKS_PER_S,
        watchdog_max=4 * TICKS_PER_S,
        # A stale quote or a full position refuses order after order: no reason to stop for good.
        reject_trip=0,
        duplicate_window=0,
    )


class EngineLimits:
    """Follows the limits of ``state``, which it only reads."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._taken = b""

    @property
    def changed(self) -> bool:
        """Whether any parameter, or the version of the limits, is another than when ``take`` was called last."""
        return self._now() != self._taken

    def take(self, equity: int) -> CardLimits:
        """The card's limits for those in force now; ``equity`` as for ``card_limits``."""
        self._taken = self._now()
        stale_after_ns = int(self._state.params["stale_after_ns"][0])
        return card_limits(self._in_force(), equity, self.version, stale_after_ns)

    @property
    def version(self) -> int:
        """Of the limits in force, as the card counts it: one more, as 0 is none there and the engine's before any signed file."""
        return int(self._state.glob["limits_version"][0]) + 1

    def rows(self, prices: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Largest order and largest position (quantities e8) of each symbol, at ``prices`` int64[n] e8, 1 or less: none.

        The tighter of symbol and account holds.
        """
        limits, symbols = self._in_force(), self._state.symbols
        orders = np.clip(symbols["max_order_qty"], 1, min(limits.max_order_qty, AMOUNT_MAX)).tolist()
        notionals = np.clip(symbols["max_position_notional"], 1, limits.max_position_notional).tolist()
        return [
            (order, order if price <= 1 else _most(notional, price))
            for order, notional, price in zip(orders, notionals, prices.tolist(), strict=True)
        ]

    def _now(self) -> bytes:
        state = self._state
        own = state.symbols[["max_order_qty", "max_position_notional"]]
        return state.params.tobytes() + state.glob["limits_version"].tobytes() + own.tobytes()

    def _in_force(self) -> _InForce:
        params = self._state.params[0]
        return _InForce(*(max(int(params[name]), 1) for name in _InForce._fields))


def _most(notional: int, price: int) -> int:
    return max(1, min(notional * E8 // price, AMOUNT_MAX))
