"""``sentinel run`` with settings that cannot be used: status 2, nothing started, and a message that says what to change."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sentinel.cli import main as cli
from sentinel.config import parse_config
from sentinel.host.store.journal import Journal
from sentinel.model.artifact import load_model, save_model

runner = CliRunner()
KEYS = {"SENTINEL_API_KEY": "k" * 16, "SENTINEL_API_SECRET": "s" * 32}
VENUE = '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\napi_url = "ws://127.0.0.1:9/x"\n'
FEED = '[feed]\nsymbols = ["BTCUSDT"]\n'


def _write(directory: Path, text: str | bytes) -> Path:
    path = directory / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _refused(config: Path, *more: str) -> dict[str, Any]:
    """The error object; people get the same in words on stderr, and no traceback."""
    result = runner.invoke(cli.app, ["run", "--config", str(config), "--json", *more], env=KEYS)
    assert result.exit_code == 2, result.output
    error: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])["error"]
    assert "error:" in result.stderr
    assert "Traceback" not in result.output
    assert error["remedy"]
    assert error["remedy"] in error["message"]
    return error


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        (b"\xff\xfe", "--config", "UTF-8"),
        ("[venue\n", "--config", "correct the syntax"),
        (VENUE + FEED + "[risk]\nmax_drawdwn_bps = 100\n", "risk.max_drawdwn_bps", "correct its spelling"),
        ("colour = 1\n" + VENUE + FEED, "colour", "correct its spelling"),
        (VENUE + FEED + "[risk]\nmax_drawdown_bps = 10001\n", "risk.max_drawdown_bps", "10000"),
        (VENUE + FEED + "[risk]\nmax_trades_per_minute = 0\n", "risk.max_trades_per_minute", "1"),
        (VENUE + FEED + "[ring]\nslots = 65535\n", "ring", "power of two"),
        (VENUE + FEED + '[strategy]\nsize_bps = "many"\n', "strategy.size_bps", "integer"),
        (VENUE + FEED + "[risk]\nmax_order_notional = 0.1\n", "risk.max_order_notional", "string"),
        (VENUE + FEED + "[risk]\nmax_order_notional = nan\n", "risk.max_order_notional", "string"),
        (VENUE + FEED + '[risk]\nmax_order_notional = "1e308"\n', "risk.max_order_notional", "decimal"),
        (VENUE + FEED + '[risk]\nmax_order_notional = "-1"\n', "risk.max_order_notional", "negative"),
        (VENUE + "[feed]\nsymbols = []\n", "feed.symbols", "at least 1"),
        (FEED, "venue", "add it"),
        (VENUE.replace("127.0.0.1:9/x", "ws-api.binance.com/x") + FEED, None, "no test endpoint"),
        ('mode = "live"\n' + VENUE + FEED, "venue.api_key_env", "SENTINEL_LIVE_"),
        (VENUE + 'api_key_env = "SENTINEL_LIVE_API_KEY"\n' + FEED, "venue.api_key_env", "mode is paper"),
    ],
)
def test_settings_that_cannot_be_used_are_named_with_what_to_change(
    tmp_path: Path, text: str | bytes, field: str, says: str
) -> None:
    error = _refused(_write(tmp_path, text))
    assert error["type"] == "ConfigError"
    assert field is None or error["field"] == field
    assert says in error["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"], "a refused start left something behind"


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        error = _refused(path)
        assert (error["type"], error["field"]) == ("ConfigError", "--config")
        assert str(path) in error["message"]


def test_keys_that_are_not_set_are_named(tmp_path: Path) -> None:
    config = _write(tmp_path, VENUE + FEED)
    result = runner.invoke(cli.app, ["run", "--config", str(config), "--json"], env=dict.fromkeys(KEYS))
    assert result.exit_code == 2
    assert "SENTINEL_API_KEY and SENTINEL_API_SECRET" in json.loads(result.stdout.splitlines()[-1])["error"]["remedy"]


LIVE_VENUE = VENUE + 'api_key_env = "SENTINEL_LIVE_API_KEY"\napi_secret_env = "SENTINEL_LIVE_API_SECRET"\n'
LIMITS = (
    '[risk]\nmax_order_notional = "20"\nmax_position_notional = "40"\nmax_gross_notional = "60"\n'
    "max_drawdown_bps = 300\nmax_trades_per_minute = 10\n"
    "max_source_gap_bps = 0\nmax_restricted_age_s = 0\nmax_instrument_age_s = 0\nmax_exit_minutes = 0\n"
    '[access]\nroles = "roles.toml"\n[killswitch]\nenabled = false\n'
)


@pytest.mark.parametrize("live", [True, False])
def test_the_keys_of_one_mode_are_not_read_in_the_other(tmp_path: Path, live: bool) -> None:
    config = _write(tmp_path, f'mode = "live"\n{LIVE_VENUE}{FEED}{LIMITS}' if live else VENUE + FEED)
    own = {name.replace("SENTINEL_", "SENTINEL_LIVE_"): value for name, value in KEYS.items()}
    others, wanted = (KEYS, own) if live else (own, KEYS)
    result = runner.invoke(cli.app, ["run", "--config", str(config), "--json"], env=dict.fromkeys(wanted) | others)
    assert result.exit_code == 2
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["field"]) == ("ConfigError", "environment")
    assert " and ".join(wanted) in error["remedy"]
    assert not any(value in result.output for value in others.values())


def test_the_keys_of_the_chosen_venue_are_named(tmp_path: Path) -> None:
    venue = VENUE.replace("[venue]\n", '[venue]\nname = "coinbase"\n')
    config = _write(tmp_path, venue + '[feed]\nsymbols = ["BTC-USD"]\nquote_asset = "USD"\n')
    names = (*KEYS, "SENTINEL_API_PASSPHRASE")
    result = runner.invoke(cli.app, ["run", "--config", str(config), "--json"], env=dict.fromkeys(names))
    assert result.exit_code == 2
    assert " and ".join(names) in json.loads(result.stdout.splitlines()[-1])["error"]["remedy"]


def _with_model(directory: Path, model: Path) -> Path:
    return _write(
        directory, f"model = {json.dumps(str(model))}\n{VENUE}{FEED}[store]\ndirectory = {json.dumps(str(directory / 'store'))}\n"
    )


def test_a_model_that_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    error = _refused(_with_model(tmp_path, tmp_path / "none.stl"))
    assert error["type"] == "ModelError"
    assert "none.stl" in error["message"]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("damage", ["a flipped bit", "the end cut off", "nothing in it"])
def test_a_damaged_model_is_refused(tmp_path: Path, damage: str) -> None:
    model = tmp_path / "model.stl"
    save_model(load_model("default"), model)
    whole = model.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    model.write_bytes({"a flipped bit": bytes(flipped), "the end cut off": whole[:-5], "nothing in it": b""}[damage])
    error = _refused(_with_model(tmp_path, model))
    assert error["type"] == "ModelError"
    if damage == "a flipped bit":
        assert "crc" in error["message"].lower()
    assert not (tmp_path / "store").exists()


def _with_store(directory: Path, store: Path, feed: str = FEED) -> Path:
    return _write(directory, f"{VENUE}{feed}[store]\ndirectory = {json.dumps(str(store))}\nsegment_mib = 1\n")


def test_a_store_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    error = _refused(_with_store(tmp_path, tmp_path / "store"))
    assert error["type"] == "JournalError"
    assert (tmp_path / "store").read_text() == "a file"


def test_a_store_another_daemon_writes_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Journal.open(store, config_digest="ab" * 32, model_crc=1, symbols=["BTCUSDT"], segment_bytes=1 << 20):
        error = _refused(_with_store(tmp_path, store))
    assert "one writer at a time" in error["message"]
    assert "store.directory" in error["remedy"]


@pytest.mark.parametrize("symbols", ['["BTCUSDT", "ETHUSDT"]', '["ETHUSDT"]'])
def test_a_store_of_other_symbols_is_refused_and_still_serves_its_own(tmp_path: Path, symbols: str) -> None:
    store = tmp_path / "store"
    config = _with_store(tmp_path, store)
    first = runner.invoke(cli.app, ["run", "--config", str(config), "--json", "--seconds", "0.2"], env=KEYS)
    assert first.exit_code == 0, first.output
    error = _refused(_with_store(tmp_path, store, f"[feed]\nsymbols = {symbols}\n"))
    assert (error["type"], error["field"]) == ("JournalError", "feed.symbols")
    assert "new store.directory" in error["remedy"]
    again = runner.invoke(cli.app, ["run", "--config", str(_with_store(tmp_path, store)), "--json", "--seconds", "0.2"], env=KEYS)
    assert again.exit_code == 0, again.output


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    config = _with_store(tmp_path, store)
    first = runner.invoke(cli.app, ["run", "--config", str(config), "--json", "--seconds", "0.5"], env=KEYS)
    assert first.exit_code == 0, first.output
    (segment,) = store.glob("journal-*.stlj")
    data = bytearray(segment.read_bytes())
    data[4096 + 80 + 20] ^= 1
    segment.write_bytes(data)
    error = _refused(config)
    assert error["type"] == "JournalError"
    assert "damaged frame" in error["message"]


def test_a_venue_that_cannot_be_reached_ends_nothing(tmp_path: Path) -> None:
    config = _with_store(tmp_path, tmp_path / "store")
    result = runner.invoke(cli.app, ["run", "--config", str(config), "--json", "--seconds", "1.5"], env=KEYS)
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout.splitlines()[-1])
    assert body["orders_sent"] == 0
    assert body["counters"]["intents"] == 0


def test_the_settings_all_these_differ_from_are_accepted() -> None:
    assert parse_config(tomllib.loads(VENUE + FEED)).feed.symbols == ["BTCUSDT"]
