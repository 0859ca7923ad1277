"""A Coinbase Exchange key and the signatures it makes. Nothing secret is shown by ``repr``.

Source: Coinbase Exchange, REST and WebSocket authentication: base64 of the HMAC-SHA256, under the decoded secret, of
timestamp + method + path with query + body. The WebSocket feed takes the signature of ``GET /users/self/verify``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.key_files import read_secret, require_set
from sentinel.units import NS_PER_MS, NS_PER_S

_FEED_PATH = "/users/self/verify"


@dataclass(frozen=True)
class Credentials:
    """API key, passphrase and base64 secret, as the exchange gave them. Raises VenueError for texts that cannot be these."""

    api_key: str
    passphrase: str = field(repr=False)
    secret: str = field(repr=False)
    _secret_bytes: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("api_key", "passphrase"):
            value = getattr(self, name)
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise VenueError(name, "(not shown)", "the printable text the exchange gave", "copy it again without spaces")
        try:
            secret = base64.b64decode(self.secret, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not secret:
            raise VenueError("secret", "(not shown)", "the base64 text the exchange gave", "copy it again")
        object.__setattr__(self, "_secret_bytes", secret)

    @classmethod
    def from_environment(cls, venue: VenueConfig) -> Credentials:
        """Read the key from ``api_key_env``, secret and passphrase from their files or else their variables.

        Raises ConfigError when a variable is unset, a file cannot be read or others may read it, or one cannot be used.
        """
        given = {
            "api_key": (venue.api_key_env, ""),
            "secret": (venue.api_secret_env, venue.api_secret_file),
            "passphrase": (venue.api_passphrase_env, venue.api_passphrase_file),
        }
        require_set([variable for variable, file in given.values() if not file], venue.order_address)
        texts = {
            name: read_secret(f"venue.api_{name}_file", Path(file)) if file else os.environ[variable]
            for name, (variable, file) in given.items()
        }
        try:
            return cls(**texts)
        except VenueError as error:
            variable, file = given[error.field]
            raise ConfigError(file or variable, "(not shown)", error.allowed, error.remedy) from None

    def sign(self, timestamp: str, verb: str, path: str, body: bytes = b"") -> str:
        """The base64 signature of one request; ``path`` with its query, as sent."""
        digest = hmac.digest(self._secret_bytes, f"{timestamp}{verb}{path}".encode() + body, hashlib.sha256)
        return base64.b64encode(digest).decode()

    def headers(self, now_ns: int, verb: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The headers that prove a REST request is ours."""
        timestamp = seconds(now_ns)
        return {
            "CB-ACCESS-KEY": self.api_key,
            "CB-ACCESS-SIGN": self.sign(timestamp, verb, path, body),
            "CB-ACCESS-TIMESTAMP": timestamp,
            "CB-ACCESS-PASSPHRASE": self.passphrase,
        }

    def subscription(self, now_ns: int) -> dict[str, str]:
        """The fields that prove a subscription is ours."""
        timestamp = seconds(now_ns)
        signature = self.sign(timestamp, "GET", _FEED_PATH)
        return {"key": self.api_key, "passphrase": self.passphrase, "timestamp": timestamp, "signature": signature}


def seconds(now_ns: int) -> str:
    """A timestamp as the venue takes it: seconds with three decimals."""
    return f"{now_ns // NS_PER_S}.{now_ns % NS_PER_S // NS_PER_MS:03d}"
