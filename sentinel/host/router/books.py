"""A venue's state from a JSON file: its book, filters, fees, latency and free balances.

``{"bids": [["99.5", "2"]], "asks": [["100", "1.5"]], "free_base": "10", "free_quote": "5000", "taker_fee_e6": 1000, ...}``:
decimals are strings, best price first. A REST depth answer can be pasted as it is.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from sentinel.errors import RouteError, UnitError
from sentinel.host.router.records import Levels, VenueRules, VenueState
from sentinel.units import parse_e8

_MAX_BYTES = 16 << 20


class _Book(msgspec.Struct, forbid_unknown_fields=True):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    free_base: str
    free_quote: str
    taker_fee_e6: int = 0
    maker_fee_e6: int = 0
    latency_us: int = 0
    orders_left: int = 1
    trading: bool = True
    tick: str = "0"
    step: str = "0"
    min_price: str = "0"
    max_price: str = "0"
    min_qty: str = "0"
    max_qty: str = "0"
    min_notional: str = "0"
    max_notional: str = "0"
    lastUpdateId: int = 0  # of a depth answer; not used


_decode = msgspec.json.Decoder(_Book).decode


def read_book(name: str, path: Path) -> VenueState:
    """The state of venue ``name``. Raises RouteError for a file that cannot be read or is not one."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RouteError("--book", str(path), "a readable file", f"check the path ({error.strerror})") from None
    if len(raw) > _MAX_BYTES:
        raise RouteError("--book", str(path), f"at most {_MAX_BYTES} bytes", "cut the book to the levels that matter")
    try:
        book = _decode(raw)
        rules = {field: parse_e8(getattr(book, field), field) for field in VenueRules.__dataclass_fields__}
        return VenueState(
            name,
            _levels(book.bids, "bids"),
            _levels(book.asks, "asks"),
            parse_e8(book.free_base, "free_base"),
            parse_e8(book.free_quote, "free_quote"),
            VenueRules(**rules),
            book.taker_fee_e6,
            book.maker_fee_e6,
            book.latency_us * 1000,
            book.orders_left,
            book.trading,
        )
    except (msgspec.MsgspecError, UnitError, UnicodeDecodeError) as error:
        raise RouteError("--book", str(path), "a book as docs/routing.md describes it", f"correct it: {error}") from None


def _levels(rows: list[tuple[str, str]], field: str) -> Levels:
    return tuple((parse_e8(price, field), parse_e8(qty, field)) for price, qty in rows)
