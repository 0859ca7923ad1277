"""``sentinel audit`` as a person and a program run it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from sentinel.cli import audit
from sentinel.cli.main import app
from sentinel.config_watch import ClockConfig
from sentinel.host.clock import ClockLook
from sentinel.host.store.audit_position import read_position
from sentinel.host.store.journal_reader import read_segments
from sentinel.ops.audit.export import COLUMNS
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.segment import list_segments
from sentinel.ops.clock import looks
from tests.json_keys import documented_keys
from tests.ops.audit.journals import make_trail, open_journal, write_records

runner = CliRunner()


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    make_trail(tmp_path / "store", 1, 200)
    return tmp_path / "store" / "audit"


def _run(*arguments: object, code: int = 0) -> Result:
    done = runner.invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


def _json(*arguments: object, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(_run(*arguments, "--json", code=code).stdout.splitlines()[-1]))


class OneLook:
    """A clock watch that has seen a clock 41.2 us off."""

    def __init__(self, settings: ClockConfig) -> None:
        self.settings = settings

    def look(self) -> ClockLook:
        return ClockLook(41_200, False)


def test_each_record_made_beside_a_daemon_holds_the_error_bound_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "ClockWatch", OneLook)
    make_trail(tmp_path / "store", 1, 50)
    settings = tmp_path / "run.toml"
    settings.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["NOVAUSDT"]\n'
        f'[store]\ndirectory = "{tmp_path / "store"}"\n'
        f'[audit]\ndirectory = "{tmp_path / "trail"}"\nanchors = "{tmp_path / "anchors"}"\n'
    )
    frames = sum(len(segment.frames) for segment in read_segments(tmp_path / "store"))

    def end_it() -> None:
        deadline = time.monotonic() + 60.0
        while read_position(tmp_path / "trail") != frames and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    ender = threading.Thread(target=end_it)
    ender.start()
    _json("audit", "follow", "--config", settings)
    ender.join()
    rows = list(read_trail(tmp_path / "trail"))
    assert len(rows) > 10
    assert {row["clock_error_us"] for row in rows} == {42}


def test_whole_trail_ends_with_code_0_and_counts(trail: Path) -> None:
    found = _json("audit", "verify", trail, "--anchors", trail.parent / "anchors.jsonl")
    assert set(found) == documented_keys("audit verify")
    assert found["whole"]
    assert found["first_bad"] is None
    assert sum(found["kinds"].values()) == found["records"] == len(list(read_trail(trail)))
    assert "whole: " in _run("audit", "verify", trail).output


def test_changed_trail_ends_with_code_1_and_names_the_record(trail: Path) -> None:
    _, path = list_segments(trail)[0]
    raw = bytearray(path.read_bytes())
    raw[4096 + 256 * 7 + 3] ^= 1
    path.write_bytes(raw)
    bad = _json("audit", "verify", trail, code=1)["first_bad"]
    assert (bad["segment"], bad["index"], bad["offset"]) == (path.name, 7, 4096 + 256 * 7)
    assert "NOT WHOLE" in _run("audit", "verify", trail, code=1).output


def test_journal_is_held_against_the_trail(trail: Path, tmp_path: Path) -> None:
    assert _json("audit", "verify", trail)["journal"] is None
    found = _json("audit", "verify", trail, "--store", trail.parent)
    assert found["journal"] == {"records": found["records"], "frames": found["journal"]["frames"], "older": 0}
    assert found["journal"]["frames"] > found["records"] / 2
    with open_journal(tmp_path / "other") as journal:
        write_records(journal, 9, 500)
    bad = _json("audit", "verify", trail, "--store", tmp_path / "other", code=1)["first_bad"]
    assert "not what it was made from" in bad["what"]


def test_what_cannot_be_read_ends_with_code_2(trail: Path, tmp_path: Path) -> None:
    assert _json("audit", "verify", tmp_path / "absent", code=2)["error"]["type"] == "AuditError"
    _run("audit", "verify", trail, "--anchors", tmp_path / "absent", code=2)
    _run("audit", "verify", trail, "--public-key", tmp_path / "absent", code=2)
    _run("audit", "verify", trail, "--store", tmp_path / "absent", code=2)


def test_show_takes_kinds_and_an_order(trail: Path) -> None:
    shown = _json("audit", "show", trail, "--kind", "intent", "--kind", "FILL")
    assert set(shown) == documented_keys("audit show")
    assert {row["kind"] for row in shown["records"]} == {"INTENT", "FILL"}
    order = shown["records"][0]["record"]["order"]
    mine = _json("audit", "show", trail, "--order", order)["records"]
    assert {row["record"]["order"] for row in mine} == {order}
    assert order in _run("audit", "show", trail, "--order", order).output
    assert _json("audit", "show", trail, "--last", 3)["count"] == 3


@pytest.mark.parametrize("arguments", [("--order", "X-1"), ("--kind", "gossip")])
def test_show_refuses_what_is_none(trail: Path, arguments: tuple[str, str]) -> None:
    assert _json("audit", "show", trail, *arguments, code=2)["error"]["value"] == repr(arguments[1])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_export_holds_every_record(trail: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pq = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")
    out = tmp_path / f"trail.{suffix}"
    done = _json("audit", "export", trail, "--out", out)
    assert set(done) == documented_keys("audit export")
    if suffix == "csv":
        with out.open(newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        rows = pq.read_table(out).to_pylist()
    expected = list(read_trail(trail))
    assert done["records"] == len(rows) == len(expected)
    assert [tuple(row) for row in rows[:1]] == [COLUMNS]
    assert [(int(row["index"]), row["digest"]) for row in rows] == [(row["index"], row["digest"]) for row in expected]
    assert _json("audit", "export", trail, "--out", out, code=2)["error"]["field"] == "--out"
    assert not list(tmp_path.glob("*.tmp"))


def test_export_refuses_a_format_it_does_not_know(trail: Path, tmp_path: Path) -> None:
    assert "parquet" in _json("audit", "export", trail, "--out", tmp_path / "trail.xls", code=2)["error"]["allowed"]


def test_follow_needs_one_source(tmp_path: Path) -> None:
    _run("audit", "follow", code=2)
    _run("audit", "follow", "--config", tmp_path / "a", "--store", tmp_path, code=2)
    _run("audit", "follow", "--config", tmp_path / "a", "--out", tmp_path, code=2)


def test_follow_once_of_settings_takes_everything_and_again_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path / "store") as journal:
        write_records(journal, 1, 50)
    settings = tmp_path / "run.toml"
    settings.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n'
        f'[feed]\nsymbols = ["BTCUSDT"]\n[store]\ndirectory = "{tmp_path / "store"}"\n'
    )
    first = _json("audit", "follow", "--config", settings, "--once")
    assert set(first) == documented_keys("audit follow")
    assert first["records"] == first["last_index"] + 1 > 10
    again = _json("audit", "follow", "--config", settings, "--once")
    assert (again["records"], again["last_index"], again["root"]) == (0, first["last_index"], first["root"])


@pytest.mark.parametrize("count", [0, 1, 8, 9, 300])
def test_of_many_rows_the_first_and_the_last_are_shown_and_how_many_are_left_out(count: int) -> None:
    console = Console(record=True, quiet=False, file=io.StringIO(), width=200)
    audit._print_some(console, "events", [{"k": k, "record": {"said": "before"}} for k in range(count)])
    said = console.export_text().split("\n")[:-1]
    rows = list(range(count)) if count <= 8 else [*range(6), None, count - 2, count - 1]
    more = f"          events  ... {count - 8} more, by --json"
    assert said == [more if k is None else f"          events  k={k}" for k in rows]
