"""A daemon that was stopped through a kill and its re-arming, and then goes on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import Arm
from sentinel.ops.killswitch.protocol import Confirm, KillTo, Rearm, Status
from sentinel.wire import TradingState
from tests.e2e.kill_rig import Machine, machine, trading, until
from tests.e2e.lockstep_rig import run


async def _rearm(machine: Machine, persons: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (persons / "bob.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    asked = await machine.ask(Rearm("alice", "was a test"))
    answer = await machine.ask(Confirm("bob", asked["nonce"], key.sign(asked["to_sign"].encode()).hex()))
    assert answer["rearmed"]


async def _sends_nothing(machine: Machine, orders: int, killed: bool) -> None:
    """For two seconds no order comes, and the kill process finds nothing to kill for."""
    for _ in range(20):
        await asyncio.sleep(0.1)
        assert (await machine.ask(Status()))["level"] == 0
    assert len(machine.orders()) == orders
    beat = machine.beat
    assert beat is not None
    assert (beat.trading_state, beat.killed) == (TradingState.HALTED, int(killed))


def test_a_daemon_stopped_through_kill_and_rearming_sends_nothing_and_causes_no_new_kill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(tmp_path, dead_man_s=5.0, persons=str(tmp_path)) as m:
            await m.start_kill_process()
            daemon = await m.start_daemon()
            await until(lambda: m.beat is not None and m.beat.trading_state == TradingState.ACTIVE, "an armed daemon", 90.0)
            daemon.send_signal(signal.SIGSTOP)
            assert (await m.ask(KillTo(2, "test")))["verified_empty"]
            # What had left before the stop has arrived by now.
            await asyncio.sleep(1.5)
            await _rearm(m, tmp_path)
            orders = len(m.orders())
            for _ in range(60):
                await asyncio.sleep(0.1)
                assert (await m.ask(Status()))["level"] == 0
            beat = m.beat
            assert beat is not None
            assert beat.trading_state >= TradingState.REDUCE_ONLY
            daemon.send_signal(signal.SIGCONT)
            await until(lambda: m.beat is not None and m.beat.obeyed > beat.obeyed, "the daemon to obey")
            await _sends_nothing(m, orders, killed=True)
            # An operator arms it, as after any kill.
            nonce = (await asyncio.to_thread(ask, m.store, Arm()))["nonce"]
            await asyncio.to_thread(ask, m.store, Arm(nonce))
            await until(lambda: m.beat is not None and m.beat.trading_state == TradingState.ACTIVE, "an armed daemon")
            assert (await m.ask(Status()))["level"] == 0

    run(scenario())


@pytest.mark.full
def test_a_daemon_that_died_is_started_after_the_rearming_and_stays_halted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(tmp_path, dead_man_s=5.0, persons=str(tmp_path)) as m:
            await m.start_kill_process()
            daemon = await m.start_daemon()
            await trading(m)
            await m.ask(KillTo(2, "test"))
            await until(lambda: m.beat is not None and bool(m.beat.closed_ns), "the daemon to see the word")
            daemon.send_signal(signal.SIGKILL)
            await until(lambda: not daemon.lives, "the daemon to end")
            await until(lambda: not m.open_orders(), "an empty account")
            orders = len(m.orders())
            await m.start_daemon()
            # Neither the word nor its own latch is forgotten.
            nonce = (await asyncio.to_thread(ask, m.store, Arm()))["nonce"]
            with pytest.raises(ControlError, match="kill word"):
                await asyncio.to_thread(ask, m.store, Arm(nonce))
            await _rearm(m, tmp_path)
            await _sends_nothing(m, orders, killed=True)

    run(scenario())
