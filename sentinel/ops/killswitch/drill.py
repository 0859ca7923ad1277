"""The drill: a kill level by level on a paper daemon, timed, and its record kept for the review."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from sentinel.config import Config, settings_hash
from sentinel.errors import ConfigError, ControlError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.control.client import ask
from sentinel.host.venues.chosen import Credentials
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.chosen import new_kill_session
from sentinel.ops.killswitch.protocol import MAX_WAIT_S, KillRequest, KillTo, Status
from sentinel.ops.killswitch.session import FINAL, KillSession, Placed
from sentinel.ops.killswitch.switch import process_user
from sentinel.units import BPS, E8
from sentinel.wire import InstrumentField

DRILLS_NAME = "drills"
#: How long an order may still leave after the word is stored, an idle daemon may take to latch, and each level may take.
ORDER_BOUND_MS, LATCH_BOUND_MS, CANCEL_BOUND_MS, FLAT_BOUND_MS, DISCONNECT_BOUND_MS = 1.0, 500.0, 1_000.0, 60_000.0, 5_000.0
_ORDERS = 6
_REST_BPS = 1_000
_LATCH_WAIT_S = _SETTLE_WAIT_S = 5.0


@dataclass(frozen=True)
class Measure:
    """One figure of a drill. ``ms`` is None where it never came about."""

    level: int
    what: str
    ms: float | None
    bound_ms: float

    @property
    def met(self) -> bool:
        return self.ms is not None and self.ms <= self.bound_ms


async def drill(
    config: Config,
    credentials: Credentials,
    through: int,
    before: Callable[[int], Awaitable[None]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Rest orders on the account, take a small position, kill level by level up to ``through``, and write the record.

    Args:
        config: of the daemon and the kill process that run.
        credentials: the daemon's key, for the orders of the drill.
        before: awaited with each level before its kill.
        say: tells of progress.

    Raises ConfigError for a live run, ControlError where no kill process answers or one is killed already, VenueError.
    """
    if config.mode != "paper":
        raise ConfigError("mode", config.mode, "paper", "drill on a paper daemon with the same settings otherwise")
    status = await _ask(config, Status())
    if status["level"]:
        raise ControlError("kill level", status["level"], "0 before a drill", "re-arm it by sentinel killswitch rearm first")
    if status["daemon"] is None:
        raise ControlError("heartbeat", None, "a daemon that runs on this store", "start it with sentinel run, then drill")
    venue = new_kill_session(config.venue, credentials, LiveClock())
    try:
        await venue.synchronise()
        instruments = await venue.instruments(config.feed.symbols)
        placed = await _rest_orders(venue, instruments)
        bought = await _take_position(config, venue, instruments)
    finally:
        venue.close()
    say(f"{placed} orders rest on the account" + (f", {bought} is bought" if bought else ""))
    measures: list[Measure] = []
    for level in range(1, through + 1):
        await before(level)
        measures += await _kill(config, level)
        for measure in measures:
            if measure.level == level:
                took = "never" if measure.ms is None else f"{measure.ms:.1f} ms"
                say(f"level {level}: {measure.what}: {took}, bound {measure.bound_ms:g} ms{'' if measure.met else '  MISSED'}")
    status = await _ask(config, Status())
    result = {
        "t_ns": time.time_ns(),
        "by": process_user(),
        "config_hash": settings_hash(config),
        "orders_rested": placed,
        "bought": bought,
        "measures": [asdict(measure) | {"met": measure.met} for measure in measures],
        "status": status,
        "passed": all(measure.met for measure in measures),
    }
    result["record"] = str(_keep(config.killswitch_directory / DRILLS_NAME, result))
    return result


async def _ask(config: Config, request: KillRequest) -> dict[str, Any]:
    return await asyncio.to_thread(ask, config.killswitch_directory, request, MAX_WAIT_S + 5.0)


async def _kill(config: Config, level: int) -> list[Measure]:
    status = await _ask(config, KillTo(level, "drill", FLAT_BOUND_MS / 1000))
    if level == 1:
        until = time.monotonic() + _LATCH_WAIT_S
        while status["daemon"]["saw_kill_after_ms"] is None and time.monotonic() < until:
            await asyncio.sleep(0.01)
            status = await _ask(config, Status())
        daemon = status["daemon"]
        last_ms = daemon["last_order_after_ms"]
        return [
            # Before the word, or never: no order left after it.
            Measure(1, "kill word stored -> last order sent", max(last_ms or 0.0, 0.0), ORDER_BOUND_MS),
            Measure(1, "kill word stored -> seen by the daemon", daemon["saw_kill_after_ms"], LATCH_BOUND_MS),
        ]
    if level == 2:
        return [Measure(2, "kill -> verified empty", status["verified_ms"], CANCEL_BOUND_MS)]
    if level == 3:
        return [Measure(3, "kill -> flat", status["flat_ms"], FLAT_BOUND_MS)]
    # The venue was empty and flat before: what is left is to close the session.
    return [Measure(4, "kill -> disconnected", status["disconnected_ms"], DISCONNECT_BOUND_MS)]


async def _rest_orders(venue: KillSession, instruments: list[Instrument]) -> int:
    for number in range(_ORDERS):
        instrument = instruments[number % len(instruments)]
        quote = await venue.quote(instrument.symbol)
        price, qty = _sized(instrument, quote.bid * (BPS - _REST_BPS) // BPS, 2)
        placed = await venue.place(instrument.symbol, "BUY", qty, price, venue.client_id(f"STD-{time.time_ns():x}"), "GTC")
        if placed.status != "NEW":
            raise VenueError("order of the drill", f"{placed.status} {placed.text}", "NEW", "see the venue's error codes")
    return _ORDERS


async def _take_position(config: Config, venue: KillSession, instruments: list[Instrument]) -> str:
    """Buy a little of a symbol with a stated baseline, so that there is something to flatten. Its symbol; empty without one."""
    for instrument in instruments:
        if instrument.symbol not in config.killswitch.baselines:
            continue
        quote = await venue.quote(instrument.symbol)
        price, qty = _sized(instrument, quote.ask * (BPS + 50) // BPS, 10)
        client_id = venue.client_id(f"STD-{time.time_ns():x}")
        placed: Placed | None = await venue.place(instrument.symbol, "BUY", qty, price, client_id)
        until = time.monotonic() + _SETTLE_WAIT_S
        while placed is not None and placed.status not in FINAL and time.monotonic() < until:
            # Some venues answer before they match.
            await asyncio.sleep(0.1)
            placed = await venue.find(instrument.symbol, client_id)
        if placed is not None and placed.executed:
            return instrument.symbol
    return ""


def _sized(instrument: Instrument, price: int, times: int) -> tuple[int, int]:
    """Price and quantity on the venue's grids, ``times`` the least value it takes."""
    tick, step = (instrument.fields.get(name, 1) or 1 for name in (InstrumentField.TICK_SIZE, InstrumentField.STEP_SIZE))
    price = max(price // tick * tick, tick)
    value = times * max(instrument.fields.get(InstrumentField.MIN_NOTIONAL, 0), 5 * E8)
    qty = max(value * E8 // price, instrument.fields.get(InstrumentField.MIN_QTY, 0))
    return price, -(-qty // step) * step


def _keep(directory: Path, result: dict[str, Any]) -> Path:
    path = directory / f"drill-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(result['t_ns'] / 1e9))}.json"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ControlError("drill record", str(path), "a file that can be written", f"check the disk ({error})") from None
    return path
