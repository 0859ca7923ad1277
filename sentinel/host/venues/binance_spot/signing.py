"""HMAC request signing for Binance: the WebSocket API and REST sign different texts.

WebSocket API: every parameter but ``signature``, sorted by name, ``name=value`` joined by ``&``, not
encoded, ``apiKey`` included. REST: the percent-encoded query as sent; the key travels in a header.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError

_BLOCK_BYTES = 64


@dataclass(frozen=True)
class Credentials:
    """An API key and its secret. Neither is shown by ``repr``."""

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    _inner: Any = field(init=False, repr=False, compare=False)
    _outer: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("api_key", self.api_key), ("secret", self.secret)):
            if not value or not value.isascii() or not value.isprintable() or set(value) & set('"\\&= '):
                raise VenueError(
                    name, "(not shown)", "the printable text the exchange gave", "copy it again without spaces or quotes"
                )
        # Hashing the key and looking the digest up take two thirds of hmac.digest's time on a text as short as an order's.
        key = self.secret.encode()
        key = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        for name, pad in (("_inner", 0x36), ("_outer", 0x5C)):
            object.__setattr__(self, name, hashlib.sha256(bytes(byte ^ pad for byte in key)))

    @classmethod
    def from_environment(cls, venue: VenueConfig) -> Credentials:
        """Read the variables named by ``api_key_env`` and ``api_secret_env``. Raises ConfigError when one is unset."""
        names = (venue.api_key_env, venue.api_secret_env)
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            remedy = f"export {' and '.join(missing)} for {venue.api_url}"
            raise ConfigError("environment", missing, "the exchange's key and its secret", remedy)
        return cls(*(os.environ[name] for name in names))

    def sign(self, payload: bytes) -> str:
        """Lower-case hex HMAC-SHA256 of ``payload`` (RFC 2104)."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload)
        outer.update(inner.digest())
        return str(outer.hexdigest())


def websocket_payload(params: Mapping[str, object]) -> bytes:
    """The text a WebSocket API request signs."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature").encode()


def sign_rest(params: Mapping[str, str | int], credentials: Credentials) -> dict[str, str | int]:
    """``params`` with their ``signature`` as the last one; they must be sent in this order, encoded by ``urlencode``."""
    return {**params, "signature": credentials.sign(urlencode(params).encode())}
