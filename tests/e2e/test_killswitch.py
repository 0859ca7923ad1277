"""A daemon, a kill process and an exchange, in processes of their own, on the wall clock."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import Arm
from sentinel.ops.killswitch.protocol import KillTo
from sentinel.wire import TradingState
from tests.e2e.kill_rig import Machine, machine, until
from tests.e2e.lockstep_rig import run


async def _trading(machine: Machine) -> None:
    await until(lambda: machine.beat is not None and machine.beat.trading_state == TradingState.ACTIVE, "an armed daemon")
    await until(lambda: machine.beat is not None and machine.beat.places > 5, "orders")


def test_cancel_all_is_verified_within_a_second_while_the_daemon_is_stopped_and_afterwards_it_sends_nothing(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with machine(tmp_path) as m:
            await m.start_kill_process()
            daemon = await m.start_daemon()
            await _trading(m)
            await m.rest_orders(6)
            assert len(m.open_orders()) >= 6
            daemon.send_signal(signal.SIGSTOP)
            answer = await m.ask(KillTo(2, "test"))
            print(answer)
            assert answer["done"]
            assert answer["verified_ms"] <= 1000
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
