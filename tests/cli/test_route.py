"""``sentinel route`` prints a checked plan of the books it is given, and sends nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from tests.json_keys import documented_keys

NEAR: dict[str, Any] = {
    "bids": [["99", "5"]],
    "asks": [["101", "2"], ["103", "4"]],
    "free_base": "10",
    "free_quote": "100000",
    "taker_fee_e6": 1000,
    "step": "0.001",
}
FAR = NEAR | {"asks": [["102", "3"]], "taker_fee_e6": 0}


@pytest.fixture
def books(tmp_path: Path) -> list[str]:
    arguments = []
    for name, book in (("near", NEAR), ("far", FAR)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(book))
        arguments += ["--book", f"{name}={path}"]
    return arguments


def routed(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(app, ["route", "--symbol", "BTCUSDT", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1]), done.output


def test_an_order_is_spread_by_price_after_fees(books: list[str]) -> None:
    code, result, _ = routed("--side", "buy", "--qty", "6", "--limit", "103", *books, "--dry-run")
    assert code == 0
    assert set(result) == documented_keys("route")
    assert result["children"] == [
        {"venue": "far", "order_type": "LIMIT", "tif": "IOC", "price": "103", "qty": "3", "notional": "306", "fee": "0"},
        {"venue": "near", "order_type": "LIMIT", "tif": "IOC", "price": "103", "qty": "3", "notional": "305", "fee": "0.305"},
    ]
    assert (result["unrouted"], result["unused"], result["dry_run"]) == ("0", {}, True)


def test_people_see_the_plan_and_that_nothing_is_sent(books: list[str]) -> None:
    done = CliRunner().invoke(
        app, ["route", "--symbol", "X", "--side", "sell", "--qty", "11", "--limit", "98", *books, "--dry-run"]
    )
    assert done.exit_code == 0
    assert "nothing is sent" in done.output
    assert "not routed: 1" in done.output


@pytest.mark.parametrize(("side", "limit"), [("buy", "101.505"), ("sell", "98.505")])
def test_without_a_limit_it_is_the_best_price_and_the_strategys_reach(books: list[str], side: str, limit: str) -> None:
    assert routed("--side", side, "--qty", "1", *books, "--dry-run")[1]["limit"] == limit


def test_the_reach_of_the_settings_counts(books: list[str], tmp_path: Path) -> None:
    config = tmp_path / "sentinel.toml"
    config.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["BTCUSDT"]\n'
        "[strategy]\nslippage_bps = 100\n"
    )
    result = routed("--side", "buy", "--qty", "1", *books, "--config", str(config), "--dry-run")[1]
    assert result["limit"] == "102.01"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--side", "buy", "--qty", "1"], "--dry-run, --execute"),
        (["--side", "buy", "--qty", "1", "--dry-run", "--execute"], "--dry-run, --execute"),
        (["--side", "buy", "--qty", "1", "--execute"], "--book"),
        (["--side", "buy", "--qty", "1", "--execute", "--rest"], "--rest"),
        (["--side", "buy", "--qty", "1e3", "--dry-run"], "--qty"),
        (["--side", "buy", "--qty", "0", "--dry-run"], "qty"),
        (["--side", "buy", "--qty", "-1", "--dry-run"], "qty"),
        (["--side", "buy", "--qty", "1", "--limit", "0.000000001", "--dry-run"], "--limit"),
        (["--side", "buy", "--qty", "1", "--book", "near", "--dry-run"], "--book"),
        (["--side", "buy", "--qty", "1", "--book", "near=/absent.json", "--dry-run"], "--book"),
    ],
)
def test_what_cannot_be_used_is_named(books: list[str], arguments: list[str], field: str) -> None:
    code, result, _ = routed(*arguments, *books)
    assert (code, result["error"]["field"]) == (2, field)
    assert result["error"]["remedy"]


def test_one_venue_twice_and_books_without_an_offer_are_refused(books: list[str], tmp_path: Path) -> None:
    code, result, _ = routed("--side", "buy", "--qty", "1", *books, *books[:2], "--dry-run")
    assert (code, result["error"]["field"]) == (2, "--book")
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(NEAR | {"asks": []}))
    code, result, _ = routed("--side", "buy", "--qty", "1", "--book", f"a={empty}", "--dry-run")
    assert (code, result["error"]["field"]) == (2, "--limit")


def test_one_settings_file_leaves_nothing_to_choose() -> None:
    code, result, _ = routed("--side", "buy", "--qty", "1", "--dry-run")
    assert (code, result["error"]["field"]) == (2, "--config")
