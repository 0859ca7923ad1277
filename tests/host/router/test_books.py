"""A book file is read exactly, and anything else is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import RouteError
from sentinel.host.router.books import read_book
from sentinel.host.router.records import VenueRules, VenueState
from sentinel.units import E8

BOOK: dict[str, Any] = {
    "lastUpdateId": 7,
    "bids": [["99.50000000", "2"]],
    "asks": [["100", "1.5"], ["100.5", "3"]],
    "free_base": "10",
    "free_quote": "5000.25",
    "taker_fee_e6": 1000,
    "maker_fee_e6": -50,
    "latency_us": 350,
    "orders_left": 4,
    "tick": "0.01",
    "step": "0.001",
    "min_notional": "5",
}


def written(folder: Path, content: object) -> Path:
    path = folder / "book.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_book_is_read_as_it_is_written(tmp_path: Path) -> None:
    rules = VenueRules(tick=E8 // 100, step=E8 // 1000, min_notional=5 * E8)
    asks = ((100 * E8, E8 * 3 // 2), (E8 * 201 // 2, 3 * E8))
    bids = ((E8 * 199 // 2, 2 * E8),)
    assert read_book("a", written(tmp_path, BOOK)) == VenueState(
        "a", bids, asks, 10 * E8, E8 * 20001 // 4, rules, 1000, -50, 350_000, 4
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>busy</html>",
        b"\xff\xfe",
        [],
        {"bids": []},
        BOOK | {"takerfee": 1},
        BOOK | {"asks": [["1e2", "1"]]},
        BOOK | {"asks": [[100, 1]]},
        BOOK | {"asks": [["100"]]},
        BOOK | {"asks": [["100", "0"]]},
        BOOK | {"asks": [["100", "1"], ["99.6", "1"]]},
        BOOK | {"bids": [["100", "1"]]},
        BOOK | {"free_base": "-1"},
        BOOK | {"tick": "0.000000001"},
        BOOK | {"latency_us": 1.5},
        BOOK | {"taker_fee_e6": 10**9},
    ],
)
def test_a_file_that_is_no_book_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(RouteError) as caught:
        read_book("a", written(tmp_path, content))
    assert caught.value.remedy


def test_a_missing_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path, written(tmp_path, b" " * ((16 << 20) + 1))):
        with pytest.raises(RouteError, match="--book"):
            read_book("a", path)
