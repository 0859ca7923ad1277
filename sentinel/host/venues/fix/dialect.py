"""What differs between the FIX order entry of Binance (FIX 4.4) and of Coinbase Exchange (FIXT.1.1, FIX 5.0 SP2)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sentinel.host.venues.binance_spot import translate
from sentinel.host.venues.fix.verdicts import BinanceVerdicts, CoinbaseVerdicts, Verdicts
from sentinel.units import NS_PER_S
from sentinel.wire import client_order_id

# 122 bits of a UUIDv4 are free: 48 that mark it as ours, the key's 64, one for a cancel, nine to check.
_MARK = int.from_bytes(b"STLORD")
_CHECK_MASK = 0x1FF


@dataclass(frozen=True, slots=True)
class Dialect:
    """``order_id`` and ``cancel_id`` name a key's order and its cancel, ``order_key`` reads either back (None: foreign).

    ``has_recv_window``: RecvWindow (25000) may stand in the header. ``has_cancel_replace``: XCN is known.
    ``self_trade``: which of two orders of ours that would meet gives way, as each order says it.
    ``market_tif``: the TimeInForce a market order must have. ``verdicts``: what the venue's refusals prove.
    At most ``messages`` may be sent in any ``window_ns``: above it the venue ends the session.
    """

    begin_string: str
    order_id: Callable[[int], str]
    cancel_id: Callable[[int], str]
    order_key: Callable[[str], int | None]
    post_only: str
    has_recv_window: bool
    has_cancel_replace: bool
    self_trade: tuple[tuple[int, str], ...]
    market_tif: str | None
    verdicts: Verdicts
    messages: int
    window_ns: int


def uuid_order_id(key: int) -> str:
    """A client key as the lower-case UUIDv4 Coinbase wants for ClOrdID. Deterministic, so an order can be asked for by it."""
    return _uuid(key, 0)


def uuid_cancel_id(key: int) -> str:
    """The id of the request that cancels the order of ``key``."""
    return _uuid(key, 1)


def uuid_order_key(text: str) -> int | None:
    """The key behind one of our two UUIDs; None for a foreign id."""
    try:
        low = UUID(text).int & (1 << 80) - 1
    except ValueError:
        return None
    key = (low >> 64 & 0xFFF) << 52 | low >> 10 & (1 << 52) - 1
    return key if text in (_uuid(key, 0), _uuid(key, 1)) else None


def _uuid(key: int, cancel: int) -> str:
    check = zlib.crc32(key.to_bytes(8)) & _CHECK_MASK
    head = _MARK << 80 | 0x4 << 76 | (key >> 52) << 64
    return str(UUID(int=head | 0b10 << 62 | (key & (1 << 52) - 1) << 10 | cancel << 9 | check))


BINANCE = Dialect(
    begin_string="FIX.4.4",
    order_id=client_order_id,
    cancel_id=translate.cancel_id,
    order_key=translate.order_key,
    post_only="6",
    has_recv_window=True,
    has_cancel_replace=True,
    self_trade=((25001, "3"),),  # the resting one expires
    market_tif=None,
    verdicts=BinanceVerdicts(),
    messages=10_000,
    window_ns=10 * NS_PER_S,
)
COINBASE = Dialect(
    begin_string="FIXT.1.1",
    order_id=uuid_order_id,
    cancel_id=uuid_cancel_id,
    order_key=uuid_order_key,
    post_only="A",
    has_recv_window=False,
    has_cancel_replace=False,
    self_trade=((7928, "N"),),  # the newer one is cancelled
    market_tif="3",
    verdicts=CoinbaseVerdicts(),
    messages=100,
    window_ns=NS_PER_S,
)
