"""The demo as a newcomer runs it: the command, its JSON, its files."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinel.host.store.journal_reader import read_segments
from tests.json_keys import documented_keys

ROOT = Path(__file__).resolve().parents[2]


def _sentinel(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def _demo(out: Path, seed: int) -> dict[str, Any]:
    done = _sentinel("demo", "--json", "--seed", str(seed), "--minutes", "6", "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _demo(tmp_path_factory.mktemp("demo") / "out", 7)


def test_the_pump_is_sold_and_the_dump_bought_and_both_trades_are_closed(demo: dict[str, Any]) -> None:
    assert demo["round_trips"] >= 2
    assert demo["orders_by_state"]["FILLED"] >= 4
    assert demo["counts"]["bbo_checked"] > 1000
    assert demo["counts"]["bbo_mismatches"] == 0
    assert demo["counts"]["gaps"] == 0
    assert demo["counts"]["drops"] == 0
    assert demo["feed"]["malformed"] == 0


def test_the_journal_leads_to_the_state_the_daemon_ended_in(demo: dict[str, Any]) -> None:
    assert demo["state_hash"] == demo["live_state_hash"]
    assert demo["effects_differing"] == 0


def test_every_stage_was_timed(demo: dict[str, Any]) -> None:
    assert list(demo["latency"]) == ["ingress", "features", "decision", "risk", "execution"]
    assert all(stage["count"] > 0 for stage in demo["latency"].values())


def test_the_json_object_has_the_documented_keys(demo: dict[str, Any]) -> None:
    assert set(demo) == documented_keys("demo")


def test_the_report_is_one_file_that_refers_to_nothing_outside(demo: dict[str, Any]) -> None:
    page = Path(demo["report"]).read_text(encoding="utf-8")
    assert demo["state_hash"] in page
    assert "<script src=" not in page
    assert "<link " not in page


def test_the_same_seed_gives_the_same_run_and_another_seed_another(demo: dict[str, Any], tmp_path: Path) -> None:
    again = _demo(tmp_path / "again", 7)
    assert again["state_hash"] == demo["state_hash"]
    assert again["counts"] == demo["counts"]
    other = _demo(tmp_path / "other", 8)
    assert other["state_hash"] != demo["state_hash"]


def test_replay_of_the_demo_journal_gives_its_hash(demo: dict[str, Any]) -> None:
    done = _sentinel("replay", demo["journal"], "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["state_hash"] == demo["state_hash"]
    assert result["decisions"] == demo["counts"]["decisions"]
    assert result["effects_differing"] == 0
    assert (
        documented_keys("replay")
        >= set(result)
        >= {"events", "bbo_checked", "bbo_mismatches", "gaps", "drops", "decisions", "orders"}
    )


def test_a_flipped_bit_in_the_journal_is_refused_not_replayed(demo: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "journal"
    shutil.copytree(demo["journal"], copy)
    segment = sorted(copy.glob("journal-*.stlj"))[0]
    frames = sum(len(s.frames) for s in read_segments(copy))
    data = bytearray(segment.read_bytes())
    data[4096 + 80 * (frames // 2) + 40] ^= 1
    segment.write_bytes(data)
    done = _sentinel("replay", str(copy), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["type"] == "JournalError"


def test_what_the_readme_types_after_a_demo_proves_the_run_and_traces_its_first_order(demo: dict[str, Any]) -> None:
    typed = [line for line in (ROOT / "README.md").read_text().splitlines() if "demo-out/journal" in line]
    said = []
    for line in typed:
        _, *arguments = shlex.split(line)
        done = _sentinel(*(word.replace("demo-out/journal", demo["journal"]) for word in arguments), "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        said.append(json.loads(done.stdout.splitlines()[-1]))
    followed, verified, shown, traced = said
    assert verified["whole"]
    assert verified["records"] == followed["records"] > 0
    placed = [row["record"]["order"] for row in shown["records"] if row["record"]["kind"] == "PLACE"]
    assert len(placed) == demo["counts"]["orders"]
    assert traced["order"] == placed[0]
    assert traced["market_event"]["kind"] == "TRADE"
    assert {"INTENT", "ORDER_EVENT", "FILL"} <= {row["kind"] for row in traced["audit"]}


def test_an_output_directory_with_other_files_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = _sentinel("demo", "--json", "--out", str(tmp_path))
    assert done.returncode == 2
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert json.loads(done.stdout.splitlines()[-1])["error"]["field"] == "--out"
