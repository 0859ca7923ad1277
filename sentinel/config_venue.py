"""Where a venue is and how it is spoken to: the settings of ``[venue]``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A group of keys: unknown ones are refused, none changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


#: Coinbase Exchange refuses a request whose timestamp is off by more.
COINBASE_TIMESTAMP_MS = 30_000
#: By FIX, of a message whose SendingTime is off by more: its pages on FIX 4.2 say so, those on 5.0 name no time.
_COINBASE_SENDING_TIME_MS = 300_000
_FIX_URL = r"^(tcp(\+tls)?://[A-Za-z0-9.-]+:[0-9]{1,5})?$"


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_test_endpoint(host: str) -> bool:
    """Whether a URL's host takes orders that reach no real market: this machine, or a venue's test environment."""
    return (
        is_loopback(host)
        or host.endswith((".testnet.binance.vision", ".sandbox.exchange.coinbase.com"))
        or host in ("testnet.binance.vision", "demo-api.binance.com", "demo-ws-api.binance.com")
        or host in ("demo-fix-oe.binance.com", "demo-fix-dc.binance.com")
    )


class VenueConfig(Section):
    """Where the exchange is. Every base URL comes from here, none is built in."""

    name: Literal["binance_spot", "coinbase"] = Field(default="binance_spot", description="protocol the venue speaks")
    rest_url: str = Field(pattern=r"^https?://", description="base of the REST API: instruments and book snapshots")
    stream_url: str = Field(pattern=r"^wss?://", description="base of the combined market streams")
    api_url: str = Field(
        default="",
        pattern=r"^(wss?://.*)?$",
        description="WebSocket API for orders, of coinbase the feed that has the user channel; empty: the built-in paper "
        "exchange",
    )
    api_urls: list[Annotated[str, Field(pattern=r"^wss?://")]] = Field(
        default_factory=list,
        max_length=7,
        description="further addresses of the same API: each is kept connected and measured, orders take the fastest",
    )
    api_key_env: str = Field(default="SENTINEL_API_KEY", description="name of the environment variable, never the key itself")
    api_secret_env: str = Field(default="SENTINEL_API_SECRET", description="name of the environment variable of the secret")
    api_secret_file: str = Field(
        default="",
        description="file that holds the secret instead, readable by its owner alone, or secretsmanager:NAME#FIELD of AWS "
        "Secrets Manager; empty: the environment variable",
    )
    api_key_type: Literal["hmac", "ed25519"] = Field(
        default="hmac", description="hmac: the secret is a text; ed25519: it is a private key, PKCS#8 in PEM"
    )
    api_passphrase_env: str = Field(
        default="SENTINEL_API_PASSPHRASE", description="coinbase: name of the environment variable of the key's passphrase"
    )
    api_passphrase_file: str = Field(
        default="", description="coinbase: file or secretsmanager:NAME#FIELD that holds the passphrase instead"
    )
    orders: Literal["websocket", "fix"] = Field(
        default="websocket",
        description="how the venue is told of orders; websocket: at api_url, coinbase over REST; fix: FIX 4.4 (binance_spot) or "
        "5.0 SP2 (coinbase) at fix_url, with REST at rest_url for questions",
    )
    fix_url: str = Field(
        default="", pattern=_FIX_URL, description="FIX order entry, tcp+tls://host:port; tcp:// on loopback only"
    )
    drop_copy_url: str = Field(
        default="",
        pattern=_FIX_URL,
        description="FIX drop copy of binance_spot, an independent record of fills; empty: none. Of coinbase the user channel is",
    )
    fix_sender: str = Field(
        default="SNTL",
        pattern=r"^[A-Za-z0-9_-]{1,6}$",
        description="begins the SenderCompIDs of FIX sessions, which must be the account's only ones of that name; of coinbase "
        "the key is the SenderCompID",
    )
    recv_window_ms: int = Field(
        default=1000, ge=100, le=60_000, description="how late the venue may still accept a signed request"
    )

    @model_validator(mode="after")
    def _addresses(self) -> VenueConfig:
        if self.api_urls and not self.api_url:
            raise ValueError("api_urls needs api_url: name the first address there")
        if self.name == "coinbase":
            self._require_coinbase()
        if (self.orders == "fix") != bool(self.fix_url):
            raise ValueError('orders = "fix" and fix_url go together: set both or neither')
        if self.orders == "fix" and self.name == "binance_spot":
            self._require_binance_fix()
        if self.drop_copy_url and self.orders != "fix":
            raise ValueError('drop_copy_url needs orders = "fix"')
        for url in (self.fix_url, self.drop_copy_url):
            if url.startswith("tcp://") and not is_loopback(urlsplit(url).hostname or ""):
                raise ValueError(f"{url!r} would carry orders without TLS: write tcp+tls://")
        if len(set(self.api_addresses)) != len(self.api_addresses):
            raise ValueError("api_urls names an address twice, or api_url again; list each once")
        return self

    def _require_binance_fix(self) -> None:
        if self.api_key_type != "ed25519":
            raise ValueError(f'api_key_type {self.api_key_type!r} does not log on by FIX: make an "ed25519" key')
        if self.api_url:
            raise ValueError("api_url takes no orders beside fix_url: leave it empty")

    def _require_coinbase(self) -> None:
        if not self.api_url:
            raise ValueError("api_url is empty: the built-in paper exchange follows binance_spot; name the sandbox's feed")
        if self.api_urls:
            raise ValueError("api_urls is for binance_spot: name one address of coinbase in api_url")
        if self.drop_copy_url:
            raise ValueError("drop_copy_url is for binance_spot: a key of coinbase has one FIX session, and its user channel")
        if self.api_key_type != "hmac":
            raise ValueError(f'api_key_type {self.api_key_type!r} is for binance_spot: coinbase has "hmac" keys')

    @property
    def takes_orders(self) -> bool:
        """Whether an address for orders is set; if not, the built-in paper exchange takes them."""
        return bool(self.api_url or self.fix_url)

    @property
    def order_address(self) -> str:
        """The first address of orders; empty without one."""
        return self.fix_url or self.api_url

    @property
    def order_addresses(self) -> tuple[str, ...]:
        """Every address that is sent signed requests: orders, cancels by REST, questions; empty where none takes orders."""
        if not self.takes_orders:
            return ()
        return (self.rest_url, *self.api_addresses, *(url for url in (self.fix_url, self.drop_copy_url) if url))

    @property
    def acceptance_ms(self) -> int:
        """How late the venue may still accept a request; Coinbase Exchange takes no bound but the age of a timestamp."""
        if self.name == "coinbase":
            return _COINBASE_SENDING_TIME_MS if self.orders == "fix" else COINBASE_TIMESTAMP_MS
        return self.recv_window_ms

    @property
    def api_addresses(self) -> tuple[str, ...]:
        """Every address of the WebSocket API; empty without one."""
        return (self.api_url, *self.api_urls) if self.api_url else ()
