"""A daemon, a kill process and an exchange, in processes of their own, on the wall clock."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import Arm, Kill
from sentinel.ops.killswitch.protocol import Confirm, KillTo, Rearm, Status
from sentinel.units import E8
from sentinel.wire import TradingState
from tests.e2e.kill_rig import machine, trading, until
from tests.e2e.lockstep_rig import run

#: Longer than a busy machine keeps a daemon from beating.
DEAD_MAN_S = 4.0


@pytest.mark.control("E6")
def test_cancel_all_is_verified_while_the_daemon_is_stopped_and_afterwards_it_sends_nothing(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with machine(tmp_path) as m:
            await m.start_kill_process()
            daemon = await m.start_daemon()
            await trading(m)
            await m.rest_orders(6)
            assert len(m.open_orders()) >= 6
            daemon.send_signal(signal.SIGSTOP)
            answer = await m.ask(KillTo(2, "test"))
            assert answer["done"]
            assert answer["verified_ms"] >= 0
            assert m.open_orders() == []
            # What had left before the stop has arrived by now.
            await asyncio.sleep(1.5)
            before = len(m.orders())
            daemon.send_signal(signal.SIGCONT)
            await until(lambda: m.beat is not None and bool(m.beat.closed_ns), "the daemon to see the word")
            await asyncio.sleep(2.0)
            assert len(m.orders()) == before
            assert m.open_orders() == []
            assert m.beat is not None
            assert (m.beat.trading_state, m.beat.killed) == (TradingState.HALTED, 1)
            nonce = (await asyncio.to_thread(ask, m.store, Arm()))["nonce"]
            with pytest.raises(ControlError, match="kill word"):
                await asyncio.to_thread(ask, m.store, Arm(nonce))

    run(scenario())


@pytest.mark.full
@pytest.mark.control("E6")
def test_kill_by_kill_up_to_disconnected_and_no_session_starts_until_two_persons_rearm(tmp_path: Path) -> None:
    async def scenario() -> None:
        baselines = {"NOVAUSDT": "100000", "LUMIUSDT": "720"}
        async with machine(tmp_path, baselines=baselines, flatten_pause_ms=10, flatten_bound_bps=2000) as m:
            kill_process = await m.start_kill_process()
            daemon = await m.start_daemon()
            await trading(m)
            first = await m.ask(KillTo(1, "test"))
            assert (first["level"], first["verified_ms"]) == (1, None)
            await until(lambda: m.beat is not None and bool(m.beat.closed_ns), "the daemon to see the word")
            await until(lambda: m.open_orders() == [], "the daemon's own orders to end")
            before = {symbol: m.balance(symbol.removesuffix("USDT")) - int(amount) * E8 for symbol, amount in baselines.items()}
            third = await m.ask(KillTo(3, "test", 60.0))
            assert third["flat"], third["flatten"]
            for symbol, amount in baselines.items():
                left = abs(m.balance(symbol.removesuffix("USDT")) - int(amount) * E8)
                assert left <= m.dust(symbol)
            sides = {(row["symbol"], row["side"]) for row in m.orders("STK-")}
            assert sides == {(symbol, "SELL" if excess > 0 else "BUY") for symbol, excess in before.items()}
            assert {row["timeInForce"] for row in m.orders("STK-")} == {"IOC"}
            assert m.open_orders() == []
            fourth = await m.ask(KillTo(4, "test"))
            assert fourth["disconnected"]
            assert any("SENTINEL_API_KEY" in line for line in fourth["revoke"])
            await until(lambda: not daemon.lives, "the daemon to end")
            # Neither starts a session again.
            kill_process.send_signal(signal.SIGKILL)
            await kill_process.wait()
            again = await m.start_kill_process()
            assert (await m.ask(Status()))["session"] == "disconnected: level 4"
            refused = m.spawn_daemon()
            await until(lambda: not refused.lives, "a refused daemon", 240.0)
            assert "level 4" in refused.said.read_text()
            assert again.returncode is None

    run(scenario())


@pytest.mark.control("E2")
def test_an_armed_daemon_that_gives_no_sign_of_life_is_cancelled_and_persons_let_it_trade_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(tmp_path, dead_man_s=DEAD_MAN_S, persons=str(tmp_path)) as m:
            await m.start_kill_process()
            daemon = await m.start_daemon()
            await trading(m)
            await m.rest_orders(2)
            daemon.send_signal(signal.SIGSTOP)
            await until(lambda: not m.open_orders(), "the orders to go")
            status = await m.ask(Status())
            assert (status["level"], status["trigger"]) == (2, "SILENCE")
            daemon.send_signal(signal.SIGCONT)
            await until(lambda: m.beat is not None and bool(m.beat.closed_ns), "the daemon to see the word")
            nonce = (await m.ask(Rearm("alice", "was a test")))["nonce"]
            with pytest.raises(ControlError, match="second person"):
                await m.ask(Confirm("bob", nonce))
            key, asked = Ed25519PrivateKey.generate(), await m.ask(Rearm("alice", "was a test"))
            (tmp_path / "bob.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            await m.ask(Confirm("bob", asked["nonce"], key.sign(asked["to_sign"].encode()).hex()))
            # The daemon is killed until it is armed as well.
            assert m.beat is not None
            places = m.beat.places
            await asyncio.sleep(1.0)
            assert m.beat.places == places
            nonce = (await asyncio.to_thread(ask, m.store, Arm()))["nonce"]
            await asyncio.to_thread(ask, m.store, Arm(nonce))
            await until(lambda: m.beat is not None and m.beat.trading_state == TradingState.ACTIVE, "an armed daemon")
            await asyncio.sleep(0.5)
            assert m.beat.trading_state == TradingState.ACTIVE
            assert (await m.ask(Status()))["level"] == 0

    run(scenario())


@pytest.mark.full
@pytest.mark.parametrize("trigger", ["signal", "file", "daemon"])
@pytest.mark.control("E6")
def test_other_triggers_cancel_everything(trigger: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(tmp_path) as m:
            kill_process = await m.start_kill_process()
            await m.start_daemon()
            await trading(m)
            await m.rest_orders(2)
            if trigger == "signal":
                kill_process.send_signal(signal.SIGUSR1)
            elif trigger == "file":
                (m.store / "KILL").touch()
            else:
                await asyncio.to_thread(ask, m.store, Kill())
            await until(lambda: not m.open_orders(), "the orders to go")
            status = await m.ask(Status())
            assert (status["level"], status["trigger"]) == (2, trigger.upper())
            await until(lambda: m.beat is not None and bool(m.beat.closed_ns), "the daemon to see the word")

    run(scenario())


@pytest.mark.full
def test_a_kill_process_that_dies_at_any_moment_of_a_kill_ends_it_after_its_restart(tmp_path: Path) -> None:
    """Killed again and again while it cancels and flattens: what it began is finished, no coin is sold twice."""

    async def scenario() -> None:
        random = Random(11)
        baselines = {"NOVAUSDT": "60000"}
        limits: dict[str, Any] = {
            "flatten_pause_ms": 40,
            "flatten_slice_notional": "200",
            "flatten_bound_bps": 2000,
            "dead_man_s": 60.0,
        }
        async with machine(tmp_path, baselines=baselines, **limits) as m:
            process = await m.start_kill_process()
            await m.rest_orders(4)
            with contextlib.suppress(ControlError):
                await m.ask(KillTo(3, "test", 0.0))
            deaths = 0
            while deaths < 4:
                await asyncio.sleep(random.uniform(0.05, 1.0))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                deaths += 1
                process = await m.start_kill_process()
            await m.flattened()
            status = await m.ask(Status())
            assert status["level"] == 3
            rows = {row["symbol"]: row for row in status["flatten"]}
            assert rows["NOVAUSDT"]["flat"], rows
            assert "no baseline" in rows["LUMIUSDT"]["why"]
            left = m.balance("NOVA") - 60_000 * E8
            assert 0 <= left <= m.dust("NOVAUSDT")
            assert m.open_orders() == []
            assert {row["side"] for row in m.orders("STK-")} == {"SELL"}

    run(scenario())
