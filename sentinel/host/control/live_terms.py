"""What an operator is shown before live trading is armed, and what the confirmation is therefore bound to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sentinel.config import Config, settings_hash
from sentinel.engine.layout import HALT_MISMATCH, HALT_RECONCILE, NO_LIMIT, SYMBOL_LIMITS
from sentinel.engine.readout import live_orders
from sentinel.engine.risk.limits import LIMITS
from sentinel.engine.state import EngineState
from sentinel.errors import ControlError
from sentinel.host.control.arming_checks import ArmingChecks, require_fine
from sentinel.host.live import LiveArming
from sentinel.units import format_e8

_MONEY_LIMITS = (
    "max_order_qty",
    "max_order_notional",
    "max_position_notional",
    "max_gross_notional",
    "max_net_notional",
    "max_notional_per_10s",
    "max_notional_per_minute",
    "approval_notional_per_minute",
)
_NUMBER_LIMITS = tuple(row.name for row in LIMITS if row.name not in _MONEY_LIMITS)


class Terms(NamedTuple):
    """What must still be so at the confirmation, by the name a refusal gives it."""

    config_hash: str
    model_hash: str
    limits: tuple[int, ...]
    symbol_limits: tuple[tuple[str, str, int], ...]
    kills: tuple[int, int, int]
    recoveries: int
    positions: tuple[tuple[int, int, int], ...]
    orders: tuple[tuple[int, int, int], ...]
    halts: tuple[tuple[int, int], ...]
    checks: tuple[tuple[str, str], ...]


class LiveTerms:
    """Shows and compares.

    Args:
        config: the settings the daemon runs.
        account_key: the key's name, masked.
        model_crc: CRC-32 of the model artifact the daemon runs.
        arming: the run's arming.
        checks: what must be in order.

    ``two_persons``: whether who confirms must be another than who asked.
    """

    def __init__(self, config: Config, account_key: str, model_crc: int, arming: LiveArming, checks: ArmingChecks) -> None:
        self.arming = arming
        self.two_persons = config.access.two_person_arming
        self._checks = checks
        self._config = config
        self._account_key = account_key
        self._config_hash = settings_hash(config)
        self._model_hash = f"{model_crc:08x}"

    def shown(self, state: EngineState) -> dict[str, Any]:
        """For people: endpoint, key, limits and hashes; positions and orders come beside it."""
        config, params = self._config, state.params[0]
        return {
            "endpoint": list(config.venue.order_addresses),
            "account_key": f"{config.venue.api_key_env} {self._account_key}",
            "symbols": list(config.feed.symbols),
            "limits": {name: format_e8(int(params[name])) for name in _MONEY_LIMITS}
            | {name: int(params[name]) for name in _NUMBER_LIMITS},
            "symbol_limits": {
                f"{symbol}.{name}": format_e8(value) if name in _MONEY_LIMITS else value
                for symbol, name, value in self._symbol_limits(state)
            },
            "arming_hours": config.live.arming_hours,
            "decider": config.decider,
            "gate": config.gate,
            "config_hash": self._config_hash,
            "model_hash": self._model_hash,
            "two_persons": self.two_persons,
            "checks": {check.name: check.value for check in self._checks.look()},
        }

    def now(self, state: EngineState, kills_asked: int) -> Terms:
        """What a confirmation would be bound to now; ``kills_asked``: operators' kills since the start."""
        params, account, symbols = state.params[0], state.glob[0], state.symbols
        halts = symbols["halt"] & (HALT_RECONCILE | HALT_MISMATCH)
        owned = np.flatnonzero((symbols["inventory"] != 0) | (symbols["position"] != 0)).tolist()
        return Terms(
            config_hash=self._config_hash,
            model_hash=self._model_hash,
            limits=tuple(int(params[name]) for name in (*_MONEY_LIMITS, *_NUMBER_LIMITS)),
            symbol_limits=self._symbol_limits(state),
            kills=(int(account["kill_cause"]), int(state.counters["kills"][0]), kills_asked),
            recoveries=self.arming.recoveries,
            positions=tuple((k, int(symbols["inventory"][k]), int(symbols["position"][k])) for k in owned),
            orders=tuple((int(row["key"]), int(row["state"]), int(row["cum_qty"])) for row in live_orders(state, foreign=True)),
            halts=tuple((k, int(halts[k])) for k in np.flatnonzero(halts).tolist()),
            checks=tuple((check.name, check.value) for check in self._checks.look()),
        )

    def _symbol_limits(self, state: EngineState) -> tuple[tuple[str, str, int], ...]:
        symbols = self._config.feed.symbols
        columns = {name: state.symbols[name] for name in SYMBOL_LIMITS}
        own = ((name, k, int(column[k])) for name, column in columns.items() for k in np.flatnonzero(column != NO_LIMIT).tolist())
        return tuple((symbols[k], name, value) for name, k, value in own)

    def require_fine(self) -> None:
        """Raise ControlError where a check stands against arming."""
        require_fine(self._checks.look())

    def require_same_settings(self, config_hash: str) -> None:
        """Raise ControlError where the operator's settings are not those the daemon runs."""
        if config_hash != self._config_hash:
            allowed = f"{self._config_hash}, the settings this daemon runs"
            raise ControlError("config_hash", config_hash, allowed, "restart the daemon with the changed settings")


def require_unchanged(shown: Terms, now: Terms) -> None:
    """Raise ControlError naming the first thing that is not as it was shown."""
    for name, before, after in zip(Terms._fields, shown, now, strict=True):
        if before != after:
            raise ControlError(name, after, f"{before}, as it was shown", "ask again, and read what has changed")
