"""The Logon of each venue: who we are, and the signature that proves it. Nothing secret is shown by ``repr``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.fix.codec import Field

_SOH = "\x01"
_SENDER = re.compile(r"[A-Za-z0-9_-]{1,8}", re.ASCII)
_FIX50_SP2 = 9


class Logon(Protocol):
    """``fields`` are those of the Logon's body; both CompIDs stand in every message's header."""

    @property
    def sender(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def heartbeat_s(self) -> int: ...

    def fields(self, sequence: int, sending_time: str) -> list[Field]: ...


@dataclass(frozen=True)
class BinanceLogon:
    """Binance: RawData is the base64 Ed25519 signature over ``A, 49, 56, 34, 52``, joined by SOH.

    ``sender`` is a free name, unique among the account's live sessions. Requests are handled in their order
    (MessageHandling 2) and the session hears of all the account's orders (the default ResponseMode).
    """

    sender: str
    credentials: Credentials
    heartbeat_s: int = 10
    drop_copy: bool = False
    target: str = field(default="SPOT", init=False)

    def __post_init__(self) -> None:
        if _SENDER.fullmatch(self.sender) is None:
            raise VenueError("SenderCompID", self.sender, "1 to 8 of A-Z a-z 0-9 _ -", "choose a short name")
        if not self.credentials.can_log_on:
            raise VenueError("key_type", self.credentials.key_type, "ed25519", "FIX takes no other kind: make such a key")
        _check_heartbeat(self.heartbeat_s, 5, 60)

    def fields(self, sequence: int, sending_time: str) -> list[Field]:
        payload = _SOH.join(("A", self.sender, self.target, str(sequence), sending_time))
        signature = self.credentials.sign(payload.encode()).encode()
        fields: list[Field] = [(95, len(signature)), (96, signature), (98, 0), (108, self.heartbeat_s), (141, "Y")]
        fields += [(553, self.credentials.api_key), (25035, 2)]
        return [*fields, (9406, "Y")] if self.drop_copy else fields


@dataclass(frozen=True)
class CoinbaseLogon:
    """Coinbase Exchange: RawData is the base64 HMAC-SHA256 over ``52, 35, 34, 49, 56, passphrase``, joined by SOH.

    SenderCompID is the API key itself, so a key has one session. The venue cancels the session's orders
    when it ends (8013=S): nobody watches them then.
    """

    api_key: str = field(repr=False)
    passphrase: str = field(repr=False)
    secret: str = field(repr=False)
    heartbeat_s: int = 10
    drop_copy: bool = False
    target: str = field(default="Coinbase", init=False)

    def __post_init__(self) -> None:
        _check_heartbeat(self.heartbeat_s, 1, 30)
        _check_printable("api_key", self.api_key)
        _check_printable("passphrase", self.passphrase)
        try:
            base64.b64decode(self.secret, validate=True)
        except (binascii.Error, ValueError):
            raise VenueError("secret", "(not shown)", "the base64 text the exchange gave", "copy it again") from None

    @property
    def sender(self) -> str:
        return self.api_key

    def fields(self, sequence: int, sending_time: str) -> list[Field]:
        payload = _SOH.join((sending_time, "A", str(sequence), self.sender, self.target, self.passphrase))
        digest = hmac.digest(base64.b64decode(self.secret), payload.encode(), hashlib.sha256)
        signature = base64.b64encode(digest)
        fields: list[Field] = [(95, len(signature)), (96, signature), (98, 0), (108, self.heartbeat_s), (141, "Y")]
        fields += [(553, self.api_key), (554, self.passphrase), (1137, _FIX50_SP2)]
        return [*fields, (9406, "Y") if self.drop_copy else (8013, "S")]


def _check_heartbeat(seconds: int, least: int, most: int) -> None:
    if not least <= seconds <= most:
        raise VenueError("heartbeat_s", seconds, f"{least} to {most}", "choose a value in that range")


def _check_printable(name: str, value: str) -> None:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise VenueError(name, "(not shown)", "the printable text the exchange gave", "copy it again without spaces")
