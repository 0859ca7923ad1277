"""A drill at Coinbase Exchange: a daemon that hangs, the kill process beside it, and the exchange, in processes of their own."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config, load_config
from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.venues.coinbase import Credentials
from sentinel.ops.killswitch.drill import drill
from sentinel.ops.killswitch.protocol import Status
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, auth
from sentinel.units import E8, NS_PER_S, parse_e8
from tests.e2e.coinbase_child import CoinbaseChild
from tests.e2e.lockstep_rig import run
from tests.e2e.test_coinbase import KEY, PHRASE, SECRET, SYMBOLS, _config, _venue
from tests.e2e.test_kill_and_restart import _write_toml
from tests.e2e.wall_clock_rig import ACCOUNT, SPEED, run_at, until

KILL_KEY, KILL_PHRASE, KILL_SECRET = "q" * 32, "another", base64.b64encode(b"t" * 32).decode()
KEYS = {
    "SENTINEL_KILL_API_KEY": KILL_KEY,
    "SENTINEL_KILL_API_SECRET": KILL_SECRET,
    "SENTINEL_KILL_API_PASSPHRASE": KILL_PHRASE,
}
MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
BASELINES = {"NOVA-USD": 119_000, "LUMI-USD": 690}


@pytest.fixture(autouse=True)
def _fast_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its clock soon is minutes ahead of the one the daemon's requests are signed by.
    monkeypatch.setattr(auth, "_TOLERANCE_NS", 3600 * NS_PER_S)


def _settings(venue: CoinbaseServer, directory: Path, path: Path) -> Config:
    config = _config(venue, directory)
    killswitch = {"enabled": True, "flatten_bound_bps": 3_000, "flatten_pause_ms": 10}
    _write_toml(config.model_copy(update={"killswitch": config.killswitch.model_copy(update=killswitch)}), path)
    baselines = [f'"{symbol}" = "{amount}"' for symbol, amount in BASELINES.items()]
    path.write_text(path.read_text() + "\n".join(["[killswitch.baselines]", *baselines, ""]))
    return load_config(path)


def _owned(venue: CoinbaseServer, asset: str) -> int:
    held = venue.exchange.ledger.accounts[ACCOUNT].balance(asset)
    return held.free + held.locked


@pytest.mark.control("E6")
def test_a_drill_cancels_and_flattens_while_the_daemon_hangs_and_it_sends_nothing_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"

    async def asked(config: Config, request: Any) -> dict[str, Any]:
        # Not in the loop: the exchange the answer depends on lives there.
        return await asyncio.to_thread(ask, config.killswitch_directory, request, 200.0)

    async def scenario() -> None:
        async with _venue(CoinbaseKey(KILL_KEY, KILL_PHRASE, KILL_SECRET, ACCOUNT)) as venue:
            config = _settings(venue, tmp_path, path)
            said = (tmp_path / "kill.txt").open("wb")
            environment = {**os.environ, **KEYS}
            command = [*MAIN, "killswitch", "run", "--config", str(path)]
            kill_process = await asyncio.create_subprocess_exec(*command, stdout=said, stderr=said, env=environment)
            daemon = None
            try:
                await _ready(config, tmp_path / "kill.txt")
                run_at(venue, 1.0)
                daemon = CoinbaseChild(tmp_path, path, (KEY, PHRASE, SECRET), "lives")
                await daemon.begun()
                run_at(venue, SPEED)
                await until(lambda: bool(_orders(venue)), "an order of the daemon")
                run_at(venue, 1.0)
                hanging = daemon

                async def hang_at_two(level: int) -> None:
                    if level == 2:
                        assert len(venue.exchange.open_orders(ACCOUNT, {})) >= 6
                        hanging.send_signal(signal.SIGSTOP)

                drilled = await drill(config, Credentials(KEY, PHRASE, SECRET), 3, hang_at_two, lambda text: None)
                assert all(measure["ms"] is not None for measure in drilled["measures"]), drilled["measures"]
                assert (drilled["orders_rested"], drilled["bought"]) == (6, "NOVA-USD")
                answer = drilled["status"]
                assert answer["flat"], answer["flatten"]
                assert venue.exchange.open_orders(ACCOUNT, {}) == []
                for symbol, amount in BASELINES.items():
                    left = abs(_owned(venue, symbol.removesuffix("-USD")) - amount * E8)
                    assert left <= _dust(venue, symbol), (symbol, left)
                before = len(_orders(venue))
                daemon.send_signal(signal.SIGCONT)
                await asyncio.sleep(2.0)
                assert len(_orders(venue)) == before
                status = await asked(config, Status())
                assert status["daemon"]["saw_kill_after_ms"] is not None
            finally:
                if daemon is not None:
                    daemon.kill()
                    await daemon.ended()
                kill_process.send_signal(signal.SIGTERM)
                await kill_process.wait()
                said.close()
            assert KILL_SECRET not in (tmp_path / "kill.txt").read_text()
            assert KILL_PHRASE not in (tmp_path / "kill.txt").read_text()

    run(scenario(), 300)


def _orders(venue: CoinbaseServer) -> list[dict[str, Any]]:
    return [row for symbol in SYMBOLS for row in venue.exchange.all_orders(ACCOUNT, {"symbol": symbol})]


def _dust(venue: CoinbaseServer, symbol: str) -> int:
    """Quantity too small to be traded now, int64 e8, and a little more: the price moves."""
    instrument = next(one for one in venue.exchange.instruments if one.symbol == symbol)
    price = parse_e8(venue.exchange.ticker_book([symbol])[0]["bidPrice"])
    return 2 * instrument.min_notional * E8 // price + instrument.step


async def _ready(config: Config, said: Path) -> None:
    deadline = time.monotonic() + 120.0
    while True:
        try:
            answer = await asyncio.to_thread(ask, config.killswitch_directory, Status(), 5.0)
        except ControlError:
            answer = {"session": ""}
        if answer["session"] == "ready":
            return
        assert time.monotonic() < deadline, said.read_text()[-3000:]
        await asyncio.sleep(0.05)
