"""Live trading: what its settings must say, and how long an operator's arming holds.

Paper and live are the same program. A live run differs by its endpoint, by keys of its own, and by this: it starts
disarmed, which is the kill latch with the cause DISARMED, and it trades from an operator's ARM until the time of that
is over, which is an ARM of REDUCE_ONLY. Both are journaled control events.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Protocol
from urllib.parse import urlsplit

from sentinel.config import Config
from sentinel.config_venue import is_loopback
from sentinel.engine.readout import trading_state
from sentinel.engine.state import EngineState
from sentinel.errors import ConfigError
from sentinel.host.ports import Clock
from sentinel.host.store.run_files import modes_of
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Control, TradingState

_log = logging.getLogger(__name__)

#: Names of the variables that hold the keys of live trading begin so, and no others do.
LIVE_PREFIX = "SENTINEL_LIVE_"
#: Limits that live trading takes from the settings only, never from a default.
STATED_LIMITS = (
    "max_order_notional",
    "max_position_notional",
    "max_gross_notional",
    "max_drawdown_bps",
    "max_trades_per_minute",
)
#: Controls that ask nothing unless set. Live trading takes that from the settings only, too: 0 is an answer, silence is none.
STATED_SWITCHES = ("max_source_gap_bps", "max_restricted_age_s", "max_instrument_age_s", "max_exit_minutes")
_HOUR_NS = 3600 * NS_PER_S


def check_mode(config: Config) -> None:
    """Raise ConfigError for settings that ``config.mode`` does not allow: keys or a store of the other mode, and, live,
    addresses without TLS that are not loopback, no address for orders, no role file, a limit left to its default, or a control
    or a kill process that is off and not said to be.
    """
    venue, live = config.venue, config.mode == "live"
    names = {"api_key_env": venue.api_key_env} | ({} if venue.api_secret_file else {"api_secret_env": venue.api_secret_env})
    if venue.name == "coinbase" and not venue.api_passphrase_file:
        names["api_passphrase_env"] = venue.api_passphrase_env
    for field, name in names.items():
        if name.startswith(LIVE_PREFIX) != live:
            allowed = f"a name that {'begins' if live else 'does not begin'} with {LIVE_PREFIX}: mode is {config.mode}"
            raise ConfigError(f"venue.{field}", name, allowed, "name a variable that holds a key of this mode alone")
    modes = modes_of(config.store.directory)
    # Positions and orders of a store are those of one account.
    if modes - {"live"} if live else "live" in modes:
        allowed = f"a store of {config.mode} runs alone"
        raise ConfigError("store.directory", str(config.store.directory), allowed, "use a new store.directory")
    if not live:
        return
    if not venue.takes_orders:
        raise ConfigError("venue.api_url", "", "the exchange's address for orders", 'name it, or set mode = "paper"')
    # Addresses of FIX without TLS are loopback in either mode.
    addresses = [("rest_url", venue.rest_url), ("stream_url", venue.stream_url)]
    for field, url in [*addresses, ("api_url", venue.api_url), *(("api_urls", url) for url in venue.api_urls)]:
        parts = urlsplit(url)
        if url and parts.scheme not in ("https", "wss") and not is_loopback(parts.hostname or ""):
            raise ConfigError(f"venue.{field}", url, "an address with TLS: mode is live", "begin it with https:// or wss://")
    if not config.access.roles:
        remedy = "name persons and roles in a file, and the file under [access]"
        raise ConfigError("access.roles", "", "a role file: mode is live", remedy)
    for limit in STATED_LIMITS:
        if limit not in config.risk.model_fields_set:
            remedy = f"write {limit} under [risk]"
            raise ConfigError(f"risk.{limit}", None, "a value stated in the settings: mode is live", remedy)
    for switch in STATED_SWITCHES:
        if switch not in config.risk.model_fields_set:
            remedy = f"write {switch} under [risk]; 0 leaves the control off"
            raise ConfigError(f"risk.{switch}", None, "a value or 0 stated in the settings: mode is live", remedy)
    if "enabled" not in config.killswitch.model_fields_set:
        allowed, remedy = "true or false stated in the settings: mode is live", "write enabled = true under [killswitch]"
        raise ConfigError("killswitch.enabled", None, allowed, remedy)


def settings_hash(config: Config) -> str:
    """SHA-256 (hex) of all settings, addresses too; without decider and gate, which a command line may choose."""
    kept = config.model_dump(mode="json", exclude={"decider", "gate"})
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool: ...


class LiveArming:
    """How long an operator's arming of a live run holds; it begins with none.

    Args:
        host: who takes the control events.
        clock: what the time of an arming is measured by.
        hours: how long one holds.

    ``until_ns`` is its end, 0 where there is none. ``recoveries`` counts how often the account had to be read anew.
    """

    def __init__(self, host: EngineHost, clock: Clock, hours: float) -> None:
        self.until_ns = 0
        self.recoveries = 0
        self._host = host
        self._clock = clock
        self._time_ns = round(hours * _HOUR_NS)

    def disarm_at_start(self) -> None:
        """Latch the kill state, so that recovery ends in HALTED. What was tripped before stays tripped by its cause."""
        if not int(self._host.state.glob["killed"][0]):
            self._host.control(Command.KILL, self._clock.now_ns(), value=int(Control.DISARMED))
        _log.warning("LIVE, disarmed: no new order is sent until an operator arms")

    def begin(self, now_ns: int, not_after_ns: int = 0) -> int:
        """An operator arms from now on. Returns when it ends: not after ``not_after_ns``, where that is set."""
        self.until_ns = min(now_ns + self._time_ns, not_after_ns or now_ns + self._time_ns)
        return self.until_ns

    def end_by(self, not_after_ns: int) -> None:
        """Hold no longer than that; 0: no such end."""
        if self.until_ns and not_after_ns:
            self.until_ns = min(self.until_ns, not_after_ns)

    def end(self) -> None:
        """Nothing is armed any more."""
        self.until_ns = 0

    def holds(self, now_ns: int) -> bool:
        """Whether an operator's arming has begun and its time is not over."""
        return now_ns < self.until_ns

    def left_s(self) -> int:
        """Whole seconds for which new orders may still leave; 0 where none may."""
        active = trading_state(self._host.state) == TradingState.ACTIVE
        return max(self.until_ns - self._clock.now_ns(), 0) // NS_PER_S if active else 0

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool:
        """As ``EngineHost.permits``; new exposure also needs an arming that holds at this moment, between ticks too."""
        return self._host.permits(arm_epoch, reduce_only) and (reduce_only or self.holds(self._clock.now_ns()))

    def tick(self, now_ns: int) -> None:
        """End an arming whose time is over: from then on positions are only reduced."""
        if not self.until_ns or self.holds(now_ns):
            return
        self.end()
        _log.warning("LIVE, disarmed: the time of the arming is over, positions are only reduced")
        if trading_state(self._host.state) == TradingState.ACTIVE:
            epoch = int(self._host.state.glob["arm_epoch"][0]) + 1
            self._host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.REDUCE_ONLY))
