"""``sentinel route`` as a process of its own against a simulated Binance and a simulated Coinbase; killed between its legs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.route_live import report_result
from sentinel.host.router.live_run import execute_live
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from tests.host.router.live_rig import BOTH, ENVIRONMENT, Venues, buy, play, settings
from tests.json_keys import documented_keys

ROOT = Path(__file__).resolve().parents[2]


def _toml(tree: dict[str, Any]) -> str:
    lines = []
    for section, keys in tree.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def config_files(venues: Venues) -> list[Path]:
    files = []
    for name, server in venues.servers.items():
        file = venues.directory / f"{name}.toml"
        file.write_text(_toml(settings(name, server, venues.directory)))
        files.append(file)
    return files


async def python(*arguments: str) -> tuple[int, str]:
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def sentinel_route(venues: Venues, *arguments: str) -> tuple[int, dict[str, Any]]:
    program = "from sentinel.cli.main import main; main()"
    chosen = [word for file in config_files(venues) for word in ("--config", str(file))]
    order = ["--symbol", BOTH, "--side", "buy", "--qty", "6", "--limit", "103"]
    code, out = await python("-c", program, "route", *order, *chosen, *arguments, "--json")
    return code, json.loads(out.splitlines()[-1])


def test_the_command_plans_on_live_venues_and_then_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(venues: Venues) -> None:
        code, result = await sentinel_route(venues, "--dry-run")
        assert code == 0
        assert set(result) == documented_keys("route")
        assert [row["venue"] for row in result["venues"]] == ["binance", "coinbase"]
        assert [(child["venue"], child["qty"]) for child in result["children"]] == [("binance", "3"), ("coinbase", "3")]
        assert venues.orders("binance") == venues.orders("coinbase") == []
        code, result = await sentinel_route(venues, "--execute")
        assert code == 0
        assert set(result) == documented_keys("route, executed")
        assert [(leg["venue"], leg["state"], leg["filled"]) for leg in result["legs"]] == [
            ("binance", "FILLED", "3"),
            ("coinbase", "FILLED", "3"),
        ]
        assert (result["filled"], result["notional"], result["unknown"]) == ("6", "611", "0")
        assert venues.bought("binance") == venues.bought("coinbase") == 3 * E8

    play(tmp_path, monkeypatch, scenario)


async def killed(venues: Venues, boundary: str, venue: str) -> None:
    files = [str(file) for file in config_files(venues)]
    code, _ = await python(str(ROOT / "tests" / "e2e" / "route_child.py"), boundary, venue, "6", *files)
    assert code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("boundary", "venue", "recovered"),
    [
        ("journaled", "binance", [("binance", "NEVER_ACCEPTED", "0")]),
        ("sent", "binance", [("binance", "FILLED", "3")]),
        # Coinbase may still take a request 30 s after it was signed, so the proof takes as long.
        pytest.param(
            *("journaled", "coinbase", [("binance", "FILLED", "3"), ("coinbase", "NEVER_ACCEPTED", "0")]), marks=pytest.mark.full
        ),
    ],
)
def test_what_a_killed_route_left_is_resolved_before_anything_new_and_never_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: str, venue: str, recovered: list[tuple[str, str, str]]
) -> None:
    async def scenario(venues: Venues) -> None:
        await killed(venues, boundary, venue)
        sent = sum(state != "NEVER_ACCEPTED" for _, state, _ in recovered)
        assert [len(venues.orders(name)) for name in ("binance", "coinbase")] == [sent, 0]
        result = report_result("AAA", await execute_live(venues.setups(), buy(1), False))
        assert [(row["venue"], row["state"], row["filled"]) for row in result["recovered"]] == recovered
        for row in result["recovered"]:
            assert row["fees"] == ({"base": "0.003"} if row["filled"] == "3" else {})
        assert result["filled"] == "1"
        orders = [order for name in ("binance", "coinbase") for order in venues.orders(name)]
        assert len(orders) == sent + 1
        assert len({order.client_id for order in orders}) == len(orders)
        again = await execute_live(venues.setups(), buy(1), False)
        assert again.recovered == {"binance": [], "coinbase": []}

    play(tmp_path, monkeypatch, scenario)


def test_nothing_new_is_sent_while_an_order_of_a_killed_route_cannot_be_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(venues: Venues) -> None:
        await killed(venues, "sent", "binance")
        venues.servers["binance"].faults.inject(FaultKind.ERROR_AFTER_ACCEPT, count=1000, target="order.status")
        code, result = await sentinel_route(venues, "--execute")
        assert (code, result["error"]["type"], result["error"]["value"]) == (2, "RouteError", "'UNKNOWN'")
        assert [len(venues.orders(name)) for name in ("binance", "coinbase")] == [1, 0]

    play(tmp_path, monkeypatch, scenario)
