"""Every setting, in one schema: units in names, ranges on each field, unknown keys refused.

A run is described by one TOML file; ``load_config`` reads it. Decimal money and prices are strings
in the file and int64 units of 1e-8 in the program, so no float touches an order.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from sentinel.config_access import AccessConfig
from sentinel.config_collar import require_entries_within_collars
from sentinel.config_killswitch import KillSwitchConfig
from sentinel.config_risk import LIVE_DEFAULTS, BasisPoints, MoneyE8, RiskConfig
from sentinel.config_venue import Section, VenueConfig, is_test_endpoint
from sentinel.config_watch import LIVE_ALARMS, AlarmsConfig, ClockConfig
from sentinel.errors import ConfigError
from sentinel.units import BPS
from sentinel.wire import MAX_SYMBOLS

__all__ = ["BasisPoints", "Config", "MoneyE8", "RiskConfig", "load_config", "parse_config"]


class FeedConfig(Section):
    """What to watch, and when a connection or a quote counts as dead."""

    symbols: list[str] = Field(
        min_length=1, max_length=MAX_SYMBOLS, description="what to watch; trades and best bid and ask of each"
    )
    depth_symbols: list[str] = Field(
        default_factory=list, max_length=32, description="those of symbols whose whole book is kept too"
    )
    quote_asset: str = Field(default="USDT", description="what every symbol is priced in")
    streams_per_connection: int = Field(
        default=200, ge=1, le=1024, description="symbols are spread over as many connections as this needs"
    )
    snapshot_limit: Literal[100, 500, 1000, 5000] = Field(
        default=1000, description="levels a side of a book snapshot; more levels cost more request weight"
    )
    stall_timeout_ms: int = Field(
        default=25_000, ge=500, le=120_000, description="silence of a whole connection that means it is dead"
    )
    stale_after_ms: int = Field(
        default=5_000, ge=100, le=600_000, description="age of a quote beyond which no new order is priced from it"
    )
    reconnect_before_h: float = Field(
        default=23.8, gt=0.0, le=24.0, description="age at which a connection is replaced, before the venue ends it at 24 h"
    )
    backoff_min_ms: int = Field(
        default=250, ge=10, le=60_000, description="first wait before connecting again; doubled and jittered"
    )
    backoff_max_ms: int = Field(default=30_000, ge=100, le=600_000, description="longest wait before connecting again")
    max_connects_per_5min: int = Field(
        default=150, ge=1, le=300, description="connection attempts allowed in five minutes; the venue allows 300"
    )
    busy_poll: bool = Field(
        default=False, description="never sleep between messages: keeps one CPU busy, and a message need not wake it first"
    )

    @model_validator(mode="after")
    def _consistent(self) -> FeedConfig:
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("symbols holds a name twice; list each once")
        missing = [s for s in self.depth_symbols if s not in self.symbols]
        if missing:
            raise ValueError(f"depth_symbols {missing} are not in symbols; add them there")
        wrong = [s for s in self.symbols if not s.endswith(self.quote_asset)]
        if wrong:
            raise ValueError(f"symbols {wrong} do not end with quote_asset {self.quote_asset!r}; one run trades one quote asset")
        if self.backoff_min_ms > self.backoff_max_ms:
            raise ValueError("backoff_min_ms must not exceed backoff_max_ms")
        return self


class RingConfig(Section):
    """The buffer between the feed and the engine."""

    slots: int = Field(
        default=65_536, ge=1024, le=16_777_216, description="power of two; 10 Mi and more are possible, small is fast"
    )
    huge_pages: bool = Field(default=True, description="use huge pages where the host has them")

    @model_validator(mode="after")
    def _power_of_two(self) -> RingConfig:
        if self.slots & (self.slots - 1):
            raise ValueError("slots must be a power of two, for example 65536")
        return self


class StrategyConfig(Section):
    """The contrarian strategy. Defaults follow the measured economics of 159 real pumps."""

    name: Literal["contrarian"] = Field(default="contrarian", description="which strategy trades")
    market: Literal["spot", "usdm"] = Field(
        default="spot", description="spot: a SELL needs inventory; usdm: it may open a short position"
    )
    forest_on: Literal["trade", "rule"] = Field(
        default="trade", description="score every trade, or only those the rule lets through"
    )
    entry: Literal["retrace", "immediate"] = Field(
        default="retrace", description="retrace: enter once part of the move is given back; immediate: enter on detection"
    )
    price_delta_min_bps: BasisPoints = Field(default=200, description="anomaly needs |price_delta| of at least this")
    volume_ratio_min_pct: int = Field(default=300, ge=100, le=100_000, description="and volume_ratio of at least this, 300 = 3.0")
    sentiment_max_pct: int = Field(default=60, ge=-100, le=100, description="and, where known, sentiment below this")
    alarm_quiet_ms: int = Field(
        default=600_000,
        ge=0,
        le=86_400_000,
        description="an alarm's episode ends after this long without a decision that keeps it open",
    )
    alarm_hysteresis_pct: int = Field(
        default=0, ge=0, le=1_000, description="how far below the threshold a margin still does, 100 = 1.0 log-odds"
    )
    retrace_bps: BasisPoints = Field(
        default=10_000, description="share of the rise given back before entry, 2000 = 20 %; 10000 leaves it to the wait"
    )
    entry_wait_ms: int = Field(default=120_000, ge=0, le=600_000, description="enter after this long even without a retrace")
    entry_rest_ms: int = Field(
        default=0,
        ge=0,
        le=600_000,
        description="rest the entry at the best price of its own side this long, then cancel and try again; 0: take at once",
    )
    setup_expiry_ms: int = Field(default=180_000, ge=100, le=3_600_000, description="a setup not entered by then is dropped")
    cooldown_ms: int = Field(
        default=600_000, ge=0, le=86_400_000, description="after a setup ends, none on the symbol for this long"
    )
    stop_loss_bps: BasisPoints = Field(default=300, description="exit when the price has moved this far against the position")
    take_profit_bps: BasisPoints = Field(default=1_000, description="exit when the price has moved this far in favour")
    horizon_ms: int = Field(default=1_800_000, ge=100, le=86_400_000, description="exit after this long whatever the price")
    size_bps: BasisPoints = Field(default=200, description="of equity, for a margin at the threshold; the size table scales it")
    slippage_bps: BasisPoints = Field(default=50, description="how far beyond the touch an IOC limit may reach")
    exit_retry_ms: int = Field(default=1_000, ge=10, le=60_000, description="wait between attempts to close a position")
    advice_timeout_ms: int = Field(
        default=800, ge=1, le=60_000, description="how long an anomaly with news waits for advice before the fast path decides"
    )
    analyst: Literal["none"] = Field(
        default="none", description="who advises on an anomaly with news; none: counted, the fast path decides"
    )

    @model_validator(mode="after")
    def _order_of_times(self) -> StrategyConfig:
        if self.entry_wait_ms > self.setup_expiry_ms:
            raise ValueError("entry_wait_ms must not exceed setup_expiry_ms: the setup would expire before its latest entry")
        if self.entry_rest_ms > self.setup_expiry_ms:
            raise ValueError("entry_rest_ms must not exceed setup_expiry_ms: an entry would rest longer than its setup lives")
        if self.stop_loss_bps >= BPS or self.stop_loss_bps == 0:
            raise ValueError("stop_loss_bps must lie between 1 and 9999")
        return self


class PaperConfig(Section):
    """Starting balances of the paper account."""

    quote_balance: MoneyE8 = Field(default=100_000, description="starting cash, quote asset")
    base_balances: dict[str, MoneyE8] = Field(default_factory=dict, description="symbol -> inventory of its base asset")


class StoreConfig(Section):
    """Journal and snapshots."""

    directory: Path = Field(default=Path("sentinel-data"), description="where journal and snapshots live; one daemon a directory")
    segment_mib: int = Field(default=64, ge=1, le=4096, description="size of one journal segment")
    snapshot_every_s: int = Field(
        default=60, ge=1, le=3600, description="time between snapshots of the state; recovery replays what came after"
    )


class AuditConfig(Section):
    """The audit trail that `sentinel audit follow` builds from the journal."""

    required: bool = Field(default=False, description="no new order leaves while the trail is further behind than max_backlog_ms")
    max_backlog_ms: int = Field(
        default=1_000, ge=100, le=60_000, description="age of the oldest record that is not in the trail yet, at most"
    )
    directory: str = Field(default="", description="where the trail is; empty: audit in store.directory")
    anchors: str = Field(
        default="", description="file its anchors are appended to, best on another disk; empty: anchors.jsonl in store.directory"
    )
    signing_key_file: str = Field(
        default="", description="Ed25519 private key, PKCS#8 in PEM, readable by its owner alone; empty: roots are not signed"
    )
    segment_mib: int = Field(default=16, ge=1, le=1024, description="size of one segment of the trail")
    commit_every_ms: int = Field(default=20, ge=1, le=500, description="time between two forced writes to the disk")
    anchor_every_s: int = Field(default=10, ge=1, le=3_600, description="time between two anchors")
    s3_bucket: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$",
        description="bucket with Object Lock for segments and anchors; empty: none; needs the extra aws",
    )
    s3_prefix: str = Field(default="sentinel-audit", pattern=r"^[\w./-]+$", description="what their keys begin with")
    s3_region: str = Field(default="", description="the bucket's region; empty: boto3's")
    s3_retention_days: int = Field(default=2_557, ge=1, le=36_500, description="nobody can delete them for so long")


class ReconcileConfig(Section):
    """How often a running daemon compares itself with the venue. A check waits while half the request weight is used up."""

    open_orders_every_ms: int = Field(
        default=1_000, ge=100, le=60_000, description="time between listings of the symbols that have an open order of ours"
    )
    account_orders_every_ms: int = Field(
        default=5_000, ge=1_000, le=600_000, description="time between listings of the account's open orders, foreign ones too"
    )
    trades_every_ms: int = Field(
        default=2_000, ge=100, le=600_000, description="time between listings of fills, one traded symbol in turn"
    )
    balances_every_s: int = Field(default=60, ge=1, le=3_600, description="time between comparisons of the account's balances")


class LiveConfig(Section):
    """Live trading."""

    arming_hours: float = Field(
        default=12.0, gt=0.0, le=24.0, description="how long an operator's arming holds; then positions are only reduced"
    )


class CardConfig(Section):
    """The card of the deciders and gates f2, f1 and pynq."""

    slot: int = Field(default=0, ge=0, le=7, description="FPGA slot; `sentinel card list` shows them")
    afi: str = Field(
        default="",
        description="afi.json of the image that must be loaded; empty: $SENTINEL_AFI, else the one of build-afi in the checkout",
    )
    timeout_us: int = Field(
        default=1_000, ge=10, le=1_000_000, description="a vector the card has not answered by then goes to the CPU"
    )
    overlay: str = Field(
        default="", description="for pynq: the overlay's file (xclbin), with the core's windows ocl, sda and pcis"
    )


class Config(Section):
    """One run."""

    mode: Literal["paper", "live"] = Field(
        default="paper",
        description="paper: no order reaches a real market; live: orders go to the venue, once an operator arms",
    )
    decider: Literal["cpu", "rtl", "f2", "f1", "pynq"] = Field(
        default="cpu",
        description="who evaluates the model; rtl: the FPGA core, simulated in the daemon's process; f2, f1: a card of AWS; "
        "pynq: a board under PYNQ",
    )
    gate: Literal["software", "rtl", "f2", "f1", "pynq"] = Field(
        default="software",
        description="who permits orders; rtl, f2, f1, pynq: after the software's controls also that card's gate",
    )
    model: str = Field(default="default", description='"default" for the shipped artifact, or a path')
    venue: VenueConfig
    feed: FeedConfig
    ring: RingConfig = RingConfig()
    strategy: StrategyConfig = StrategyConfig()
    risk: RiskConfig = RiskConfig()
    paper: PaperConfig = PaperConfig()
    store: StoreConfig = StoreConfig()
    audit: AuditConfig = AuditConfig()
    reconcile: ReconcileConfig = ReconcileConfig()
    live: LiveConfig = LiveConfig()
    killswitch: KillSwitchConfig = KillSwitchConfig()
    card: CardConfig = CardConfig()
    clock: ClockConfig = ClockConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    access: AccessConfig = AccessConfig()

    @model_validator(mode="before")
    @classmethod
    def _stricter_when_live(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("mode") != "live":
            return data
        strict: dict[str, dict[str, Any]] = {"risk": LIVE_DEFAULTS, "alarms": LIVE_ALARMS}
        given = {name: data.get(name, {}) for name in strict}
        return {**data, **{name: strict[name] | value for name, value in given.items() if isinstance(value, dict)}}

    @model_validator(mode="after")
    def _cross_section(self) -> Config:
        for url in self.venue.order_addresses if self.mode == "paper" else ():
            if not is_test_endpoint(urlsplit(url).hostname or ""):
                raise ValueError(
                    f"venue address {url!r} is no test endpoint, and mode is paper: leave it empty for the built-in paper "
                    "exchange, or name loopback addresses or those of the venue's test environments"
                )
        if len({self.decider, self.gate} - {"cpu", "software"}) > 1:
            raise ValueError(f"gate {self.gate!r} is another card than decider {self.decider!r}: one daemon drives one card")
        if "pynq" in (self.decider, self.gate) and not self.card.overlay:
            raise ValueError("card.overlay is empty: name the overlay's file of the board")
        strange = [s for s in self.risk.restricted_symbols if s not in self.feed.symbols]
        if strange:
            raise ValueError(f"risk.restricted_symbols names {strange}, which are not in feed.symbols")
        for symbol in self.risk.symbols:
            if symbol not in self.feed.symbols:
                remedy = "correct its spelling, or remove the table"
                raise ConfigError(f"risk.symbols.{symbol}", symbol, "a symbol of feed.symbols", remedy)
        if self.killswitch.api_key_env == self.venue.api_key_env:
            raise ValueError(
                f"killswitch.api_key_env {self.venue.api_key_env!r} is the daemon's: the kill process has a key of its own"
            )
        if self.venue.name == "coinbase" and self.killswitch.api_key_type != "hmac":
            kind = self.killswitch.api_key_type
            raise ValueError(f'killswitch.api_key_type {kind!r} is for binance_spot: coinbase has "hmac" keys')
        if strange := [s for s in self.killswitch.baselines if s not in self.feed.symbols]:
            raise ValueError(f"killswitch.baselines names {strange}, which are not in feed.symbols")
        unknown = [s for s in self.paper.base_balances if s not in self.feed.symbols]
        if unknown:
            raise ValueError(f"paper.base_balances names {unknown}, which are not in feed.symbols")
        own_collars = {name: limits.price_collar_bps for name, limits in self.risk.symbols.items()}
        for symbol, collar_bps in {"": self.risk.price_collar_bps, **own_collars}.items():
            if collar_bps is not None:
                require_entries_within_collars(
                    self.strategy.slippage_bps, self.strategy.entry_rest_ms, collar_bps, self.risk.collar_floor_bps, symbol
                )
        return self

    @property
    def audit_directory(self) -> Path:
        """Where the audit trail is."""
        return Path(self.audit.directory) if self.audit.directory else self.store.directory / "audit"

    @property
    def anchor_file(self) -> Path:
        """Where its anchors are."""
        return Path(self.audit.anchors) if self.audit.anchors else self.store.directory / "anchors.jsonl"

    @property
    def killswitch_directory(self) -> Path:
        """Where the kill process keeps its latch and its socket."""
        return Path(self.killswitch.directory) if self.killswitch.directory else self.store.directory / "killswitch"

    def digest(self) -> str:
        """SHA-256 of the settings that decide behaviour (hex).

        Paths, URLs, where a card is, the audit trail, the kill process, how often the venue is asked, how long an arming
        holds, how the clock is asked, the alarms and who may ask for what are left out: a replay needs none of them.
        """
        where = {"rest_url", "stream_url", "api_url", "api_urls", "api_key_env", "api_secret_env"}
        where |= {"api_passphrase_env", "api_passphrase_file", "fix_url", "drop_copy_url", "fix_sender"}
        if self.venue.name != "coinbase" or self.venue.orders != "fix":
            # There the way of an order decides how late it may still be accepted.
            where.add("orders")
        others = ("store", "audit", "reconcile", "live", "killswitch", "card", "clock", "alarms", "access")
        kept = self.model_dump(mode="json", exclude={"venue": where, **dict.fromkeys(others, True)})
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def settings_hash(config: Config) -> str:
    """SHA-256 (hex) of all settings, addresses too; without decider and gate, which a command line may choose."""
    kept = config.model_dump(mode="json", exclude={"decider", "gate"})
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def parse_config(data: dict[str, Any], source: str = "config") -> Config:
    """Validate a settings tree. Raises ConfigError naming the first bad key, its value and the remedy."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or source
        if first["type"] == "extra_forbidden":
            raise ConfigError(field, first["input"], "a known key", f"remove it or correct its spelling in {source}") from None
        if first["type"] == "missing":
            raise ConfigError(field, None, "a value", f"add it to {source}") from None
        raise ConfigError(field, first["input"], first["msg"].removeprefix("Value error, "), f"change it in {source}") from None


def load_config(path: str | Path, chosen: Mapping[str, Any] | None = None) -> Config:
    """Read and validate a TOML file; ``chosen`` top-level settings replace the file's.

    Raises ConfigError for an unreadable file or any bad key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "--config", str(path), "a readable UTF-8 TOML file", f"check the path and its permissions ({error})"
        ) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("--config", str(path), "valid TOML", f"correct the syntax: {error}") from None
    return parse_config({**data, **(chosen or {})}, str(path))
