"""Request signing for Binance, by HMAC or Ed25519: the WebSocket API and REST sign different texts.

WebSocket API: every parameter but ``signature``, sorted by name, ``name=value`` joined by ``&``, not
encoded, ``apiKey`` included. REST: the percent-encoded query as sent; the key travels in a header.
HMAC-SHA256 signatures are hex, Ed25519 ones base64. Source: Binance, request security.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.key_files import read_secret, require_set

_BLOCK_BYTES = 64
_NOT_SHOWN = "(not shown)"
KeyType = Literal["hmac", "ed25519"]


@dataclass(frozen=True)
class Credentials:
    """An API key and its secret. Neither is shown by ``repr``.

    Args:
        api_key: as the exchange gave it.
        secret: ``hmac``: the text the exchange gave; ``ed25519``: the private key, PKCS#8 in PEM, not encrypted.
        key_type: which of the two.

    ``sign`` gives a payload's signature as the venue takes it: lower-case hex HMAC-SHA256 (RFC 2104), or
    base64 Ed25519 (RFC 8032). Raises VenueError for a key or secret that cannot be one.
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    key_type: KeyType = "hmac"
    sign: Callable[[bytes], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_plain("api_key", self.api_key)
        if self.key_type == "hmac":
            _require_plain("secret", self.secret)
        signer = _hmac_signer(self.secret.encode()) if self.key_type == "hmac" else _ed25519_signer(self.secret.encode())
        object.__setattr__(self, "sign", signer)

    @property
    def can_log_on(self) -> bool:
        """Whether the WebSocket API lets this kind of key log a connection on."""
        return self.key_type == "ed25519"

    @classmethod
    def from_environment(cls, venue: VenueConfig) -> Credentials:
        """Read the key from ``api_key_env``, the secret from ``api_secret_file`` or else ``api_secret_env``.

        Raises ConfigError when a variable is unset, the file cannot be read or others may read it, or either cannot be used.
        """
        names = [venue.api_key_env] if venue.api_secret_file else [venue.api_key_env, venue.api_secret_env]
        require_set(names, venue.order_address)
        file = venue.api_secret_file
        secret = read_secret("venue.api_secret_file", Path(file)) if file else os.environ[venue.api_secret_env]
        try:
            return cls(os.environ[venue.api_key_env], secret, venue.api_key_type)
        except VenueError as error:
            source = venue.api_secret_file or venue.api_secret_env
            name = venue.api_key_env if error.field == "api_key" else source
            raise ConfigError(name, _NOT_SHOWN, error.allowed, f"{error.remedy}, or correct venue.api_key_type") from None


def websocket_payload(params: Mapping[str, object]) -> bytes:
    """The text a WebSocket API request signs."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature").encode()


def sign_rest(params: Mapping[str, str | int], credentials: Credentials) -> dict[str, str | int]:
    """``params`` with their ``signature`` as the last one; they must be sent in this order, encoded by ``urlencode``."""
    return {**params, "signature": credentials.sign(urlencode(params).encode())}


def _require_plain(name: str, value: str) -> None:
    if not value or not value.isascii() or not value.isprintable() or set(value) & set('"\\&= '):
        raise VenueError(name, _NOT_SHOWN, "the printable text the exchange gave", "copy it again without spaces or quotes")


def _hmac_signer(key: bytes) -> Callable[[bytes], str]:
    # Hashing the key and looking the digest up take two thirds of hmac.digest's time on a text as short as an order's.
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    start_inner, start_outer = (hashlib.sha256(bytes(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))

    def sign(payload: bytes) -> str:
        inner, outer = start_inner.copy(), start_outer.copy()
        inner.update(payload)
        outer.update(inner.digest())
        return outer.hexdigest()

    return sign


def _ed25519_signer(pem: bytes) -> Callable[[bytes], str]:
    allowed = "an Ed25519 private key, PKCS#8 in PEM, not encrypted"
    remedy = "make one by `openssl genpkey -algorithm ed25519` and give its public half to the exchange"
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The reason is left out: a parser's message may quote what it could not parse.
        raise VenueError("secret", _NOT_SHOWN, allowed, remedy) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise VenueError("secret", _NOT_SHOWN, allowed, remedy)
    sign_raw = key.sign

    def sign(payload: bytes) -> str:
        return base64.b64encode(sign_raw(payload)).decode()

    return sign
