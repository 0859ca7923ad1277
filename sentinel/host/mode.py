"""Paper or live: what the settings of each must say."""

from __future__ import annotations

from urllib.parse import urlsplit

from sentinel.config import Config
from sentinel.config_venue import is_loopback
from sentinel.errors import ConfigError
from sentinel.host.store.run_settings import modes_of

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
