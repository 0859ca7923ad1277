"""A daemon with its orders by FIX in a process of its own, which dies at a chosen moment of an order's way.

Forked as in ``daemon_child``; ``os._exit`` flushes and says goodbye to nothing.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import load_config
from sentinel.host import daemon as daemon_module
from sentinel.host.daemon import Daemon
from sentinel.host.ingress import SOURCE_ORDERS, LiveIngress
from sentinel.host.venues import binance_spot, coinbase
from sentinel.host.venues.chosen import Credentials
from sentinel.host.venues.fix import binance_session, keeper
from sentinel.wire import Kind, OrderEventFlag, OrderEventKind, record_views
from tests.e2e.daemon_child import DIED
from tests.e2e.wall_clock_rig import fills, run_daemon, settled

#: Where the process may die: with what the venue has told in hand, and with it in the journal.
POINTS = ("acknowledgement read", "acknowledgement journaled", "fill read", "fill journaled")
_KINDS = {"acknowledgement": OrderEventKind.ACKED, "fill": OrderEventKind.TRADE}


class MortalIngress(LiveIngress):
    """Dies before or after the engine, whose first act is the journal, is told of what the order session has heard."""

    point = ""

    def __init__(self, accept: Callable[[NDArray[Any]], None]) -> None:
        super().__init__(accept)
        what, _, self._when = self.point.partition(" ")
        self._kind = _KINDS[what]

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        dies = source == SOURCE_ORDERS and self._holds(records)
        if dies and self._when == "read":
            _die(self.point)
        super().deliver(source, records)
        if dies:
            _die(self.point)

    def _holds(self, records: NDArray[Any]) -> bool:
        views = record_views(records.copy())
        rows = views.order1[(views.market["kind"] == Kind.ORDER_EVENT) & (views.market["part"] == 0)]
        live = (rows["flags"] & int(OrderEventFlag.FROM_STREAM)) != 0
        return bool(np.any((rows["event"] == self._kind) & live))


def _die(point: str) -> None:
    sys.stderr.write(f"died: {point}\n")
    sys.stderr.flush()
    os._exit(DIED)


def _live(into: Path, config: Path, key: tuple[str, ...], point: str) -> None:
    with (into / "err.txt").open("w", buffering=1) as sys.stderr:
        # The venue's clock runs away from ours.
        binance_session._CLOCK_EVERY_S = 0.2
        keeper._FIRST_WAIT_S = 0.05
        if point:
            MortalIngress.point = point
            daemon_module.LiveIngress = MortalIngress  # type: ignore[misc]

        async def act(daemon: Daemon) -> None:
            (into / "ready").touch()
            while point:
                await fills(daemon)
            await settled(daemon)

        ended = asyncio.run(run_daemon(load_config(config), _credentials(key), act))
        result = {"state_hash": ended.state_hash, "held": ended.held, "live": len(ended.live)}
        (into / "result.json").write_text(json.dumps(result))


def _credentials(key: tuple[str, ...]) -> Credentials:
    return coinbase.Credentials(*key) if len(key) == 3 else binance_spot.Credentials(key[0], key[1], "ed25519")


class FixChild:
    """A daemon just started. With a ``point`` it dies there, else it ends by itself once its account is settled.

    ``key``: name and secret of Binance's, or name, passphrase and secret of Coinbase's.
    """

    def __init__(self, into: Path, config: Path, key: tuple[str, ...], point: str) -> None:
        self._into = into
        self._ready.unlink(missing_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process: BaseProcess = context.Process(target=_live, args=(into, config, key, point))
        self._process.start()

    @property
    def _ready(self) -> Path:
        return self._into / "ready"

    async def begun(self) -> None:
        """Return once it trades, or has ended before."""
        while self._process.is_alive() and not self._ready.exists():
            await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        while self._process.is_alive():
            await asyncio.sleep(0.05)
        assert self._process.exitcode is not None
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it wrote to its error output."""
        return (self._into / "err.txt").read_text()

    @property
    def result(self) -> dict[str, Any]:
        """What it left when it ended by itself."""
        return dict(json.loads((self._into / "result.json").read_text()))
