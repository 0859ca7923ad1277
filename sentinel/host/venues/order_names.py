"""The venue's text ids of our orders: a client key, and the tag of the store that counts those keys.

Keys are unique within a store. The tag, drawn once for each store, tells the orders of two stores apart, wherever they run:
those of another are foreign. Without one (tests, protocols looked at by themselves) the ids are the keys' alone.
"""

from __future__ import annotations

import zlib
from uuid import UUID

from sentinel.wire import client_order_id, order_tag_number, parse_client_order_id

_ORDER, _CANCEL, _LIST, _LIST_CANCEL = "STL-", "STC-", "STG-", "STX-"
# 122 bits of a UUIDv4 are free: 48 that mark it as ours, the key's 64, one for a cancel, nine to check.
_UNTAGGED = int.from_bytes(b"STLORD")
_TAGGED = ord("S") << 40
_CHECK_MASK = 0x1FF


class TextNames:
    """``STL-`` and 13 base32 digits, then ``-`` and the tag: Binance allows 36 of [A-Za-z0-9_-].

    ``order`` and ``cancel`` name a key's order and its cancel, ``key`` reads either back (None: foreign).
    A cancel renames the order it cancels: with the twin of the order's own id that ``cancel`` gives it can still be found.
    An order list is named after its first order; a cancel renames all its orders alike, to what is no order's id.
    """

    def __init__(self, tag: str = "") -> None:
        self._tag = tag

    def order(self, key: int) -> str:
        return client_order_id(key, self._tag)

    def cancel(self, key: int) -> str:
        return self._kin(_CANCEL, key)

    def order_list(self, first_key: int) -> str:
        return self._kin(_LIST, first_key)

    def cancelled_list(self, first_key: int) -> str:
        return self._kin(_LIST_CANCEL, first_key)

    def key(self, text: str) -> int | None:
        if text.startswith(_CANCEL):
            text = _ORDER + text.removeprefix(_CANCEL)
        return parse_client_order_id(text, self._tag)

    def list_key(self, text: str) -> int | None:
        """The first key of the list of this id; None for a foreign one."""
        if not text.startswith(_LIST):
            return None
        return parse_client_order_id(_ORDER + text.removeprefix(_LIST), self._tag)

    def _kin(self, prefix: str, key: int) -> str:
        return prefix + client_order_id(key, self._tag).removeprefix(_ORDER)


class UuidNames:
    """The same as lower-case UUIDv4, which Coinbase wants. The tag is in the 48 bits of the mark."""

    def __init__(self, tag: str = "") -> None:
        self._mark = _TAGGED | order_tag_number(tag) if tag else _UNTAGGED

    def order(self, key: int) -> str:
        return self._uuid(key, 0)

    def cancel(self, key: int) -> str:
        """The id of the request that cancels the order of ``key``."""
        return self._uuid(key, 1)

    def key(self, text: str) -> int | None:
        try:
            low = UUID(text).int & (1 << 80) - 1
        except ValueError:
            return None
        key = (low >> 64 & 0xFFF) << 52 | low >> 10 & (1 << 52) - 1
        return key if text in (self._uuid(key, 0), self._uuid(key, 1)) else None

    def _uuid(self, key: int, cancel: int) -> str:
        check = zlib.crc32(key.to_bytes(8)) & _CHECK_MASK
        head = self._mark << 80 | 0x4 << 76 | (key >> 52) << 64
        return str(UUID(int=head | 0b10 << 62 | (key & (1 << 52) - 1) << 10 | cancel << 9 | check))
