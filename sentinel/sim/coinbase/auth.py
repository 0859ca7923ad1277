"""API keys and signatures as Coinbase Exchange checks them: key, passphrase, time within 30 s, HMAC-SHA256 in base64."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sentinel.sim.coinbase.refusal import Refusal
from sentinel.units import NS_PER_S

_TOLERANCE_NS = 30 * NS_PER_S


@dataclass(frozen=True)
class CoinbaseKey:
    """One key of an account; ``secret`` in base64. ``may_trade``: it has the permission to place and cancel."""

    key: str
    passphrase: str = field(repr=False)
    secret: str = field(repr=False)
    account: str = "paper"
    may_trade: bool = True


class Proof(NamedTuple):
    """What a request proves its sender with."""

    key: str
    passphrase: str
    timestamp: str
    signature: str


class KeyRing:
    """The keys the exchange knows."""

    def __init__(self, keys: Iterable[CoinbaseKey]) -> None:
        self._keys = {key.key: key for key in keys}

    def revoke(self, name: str) -> None:
        """Forget a key: its requests are refused from now on."""
        self._keys.pop(name, None)

    def check(self, proof: Proof, signed: bytes, now_ns: int) -> CoinbaseKey:
        """The key that signed ``signed`` (method, path, body). Raises Refusal, 401."""
        key = self._keys.get(proof.key)
        if key is None:
            raise Refusal(401, "Invalid API Key")
        if not hmac.compare_digest(proof.passphrase.encode(), key.passphrase.encode()):
            raise Refusal(401, "Invalid Passphrase")
        if abs(_time_ns(proof.timestamp) - now_ns) > _TOLERANCE_NS:
            raise Refusal(401, "request timestamp expired")
        expected = hmac.digest(base64.b64decode(key.secret), proof.timestamp.encode() + signed, hashlib.sha256)
        if not hmac.compare_digest(base64.b64encode(expected), proof.signature.encode()):
            raise Refusal(401, "invalid signature")
        return key


def _time_ns(timestamp: str) -> int:
    whole, _, decimals = timestamp.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (decimals and not (decimals.isascii() and decimals.isdigit())):
        raise Refusal(401, "invalid timestamp")
    return int(whole[:12]) * NS_PER_S + int(decimals[:9].ljust(9, "0"))
