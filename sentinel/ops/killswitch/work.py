"""What a kill does at the venue, level by level, until it is done: cancel, flatten, disconnect; then watch."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any

from sentinel.config import Config
from sentinel.errors import ConfigError, VenueError
from sentinel.host.holdings import Holdings, read_holdings
from sentinel.host.kill_word import KillLevel
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.flatten import NO_BASELINE, Flattening
from sentinel.ops.killswitch.latch import LatchRecord
from sentinel.ops.killswitch.reduce_gate import FlattenLimits
from sentinel.ops.killswitch.session import KillSession, pause
from sentinel.ops.killswitch.share import Share, share_of
from sentinel.ops.killswitch.sweep import SweepReport, sweep
from sentinel.ops.killswitch.switch import KillSwitch
from sentinel.units import NS_PER_MS, NS_PER_S

_log = logging.getLogger(__name__)

_WARM_S = 20.0
_RETRY_S = 1.0
#: Between looks at the account while a kill stands.
_WATCH_S = 10.0
#: What a daemon told of the account this long ago proves nothing any more.
_HOLDINGS_AGE_S = 86_400
_TELL_S = 1.5


class KillWork:
    """Does what ``switch`` says with ``venue``.

    Args:
        venue: the session; ``revoke`` says what an operator must do at the venue itself after level 4.
        key_names: the environment variables of every key that was in use, masked values beside them.
    """

    def __init__(self, config: Config, switch: KillSwitch, venue: KillSession, key_names: list[str]) -> None:
        self._config = config
        self._switch = switch
        self._venue = venue
        self._key_names = key_names
        self._wake = asyncio.Event()
        self._numbers = itertools.count(1)
        self._started_s = int(time.time())
        self._swept_level = 0
        self.instruments: list[Instrument] = []
        self.session = "not begun"
        self.sweep = SweepReport()
        self._again = SweepReport()
        self.late_orders = 0
        self.flattening: Flattening | None = None
        self.flat_ns = self.disconnected_ns = 0
        self.disconnected = switch.record.disconnected
        self.flattened = False

    @property
    def verified_empty(self) -> bool:
        """Whether, since the kill, the venue has said that nothing is open, and has not said otherwise after that."""
        late = self._again.left and not self._again.verified_ns
        return bool(self.sweep.verified_ns) and self.sweep.verified_ns >= self._switch.killed_ns and not late

    @property
    def is_over(self) -> bool:
        """Whether what the kill does at the venue has been done, or has ended for good: nothing more is sold."""
        return self.done(self._switch.level)

    def wake(self) -> None:
        """The level has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        after_restart = self._switch.record.flattening
        while True:
            self._wake.clear()
            level = self._switch.level
            if level >= KillLevel.CANCEL_ALL and not self.disconnected:
                await self._cancel()
                if level >= KillLevel.FLATTEN and not self.flattened and self._switch.level >= KillLevel.FLATTEN:
                    await self._flatten(after_restart)
                    after_restart = False
                if self._switch.level >= KillLevel.DISCONNECT and self.flattened:
                    self._disconnect()
            if self._switch.level > level:
                continue
            await self._idle(level)

    async def keep_warm(self) -> None:
        """Keep a connection open and the key proven, until cancelled."""
        while not self.disconnected:
            try:
                await self._venue.synchronise()
                if not self.instruments:
                    self.instruments = await self._venue.instruments(self._config.feed.symbols)
                await self._venue.open_orders()
                self.session = "ready"
                await asyncio.sleep(_WARM_S)
            except (VenueError, ConfigError) as error:
                if self.session != str(error):
                    _log.error("kill session: %s", error)
                self.session = str(error)
                await asyncio.sleep(_RETRY_S)

    async def _idle(self, level: KillLevel) -> None:
        """Wait for a change, and while a kill stands look whether something has come since."""
        if level < KillLevel.CANCEL_ALL or self.disconnected:
            await self._wake.wait()
            return
        try:
            await asyncio.wait_for(self._wake.wait(), self._until_look_s())
        except TimeoutError:
            if self._switch.level:
                await self._look_again()

    def _until_look_s(self) -> float:
        # What had left before the word may arrive until the venue takes it no more. Looks have a price: twenty and a few.
        settled_s = self._venue.recv_window_ms / 1000 + 0.5
        age_s = (time.monotonic_ns() - self._switch.killed_ns) / 1e9
        return max(0.25, settled_s / 20) if age_s < settled_s else _WATCH_S

    async def _look_again(self) -> None:
        again = self._again = SweepReport()
        await sweep(self._venue, self._config.feed.symbols, again)
        if again.found:
            self.late_orders += again.found
            _log.error("%d orders came after the sweep, and were cancelled", again.found)
            self._switch.note("late orders", found=again.found)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._until_look_s())
            await self._look_again()

    async def _cancel(self) -> None:
        if self.verified_empty and self._swept_level:
            return
        self.sweep = SweepReport()
        since_ns = self._switch.killed_ns
        await sweep(self._venue, self._config.feed.symbols, self.sweep)
        self._swept_level = int(self._switch.level)
        took_ms = self.sweep.took_ms(since_ns)
        _log.warning("open orders: none, verified %.1f ms after the kill; %d were open", took_ms, self.sweep.found)
        self._switch.note("verified empty", took_ms=took_ms, found=self.sweep.found, rounds=self.sweep.rounds)

    async def _flatten(self, after_restart: bool) -> None:
        settings, record = self._config.killswitch, self._switch.record
        while not self.instruments:
            try:
                self.instruments = await self._venue.instruments(self._config.feed.symbols)
            except (VenueError, ConfigError) as error:
                self.session = str(error)
                await asyncio.sleep(_RETRY_S)
        # It may take minutes: what arrives meanwhile does not wait for its end.
        looking = asyncio.create_task(self._keep_looking())
        try:
            shares, without = await self._shares() if record.baselines is None else (_kept(record), NO_BASELINE)
            self._switch.keep(
                "flattening",
                flattening=True,
                baselines={symbol: share.baseline for symbol, share in shares.items()},
                ours={symbol: share.ours for symbol, share in shares.items() if share.ours is not None},
                doubtful={symbol: share.doubtful for symbol, share in shares.items() if share.doubtful},
            )
            limits = FlattenLimits(settings.flatten_bound_bps, settings.flatten_slice_bps, settings.flatten_slice_notional)
            anchors, pause_s = dict(record.anchors), settings.flatten_pause_ms / 1000
            note = self._switch.note
            self.flattening = Flattening(self._venue, limits, pause_s, anchors, self._keep_anchor, self._name, note, without)
            await self.flattening.run(self.instruments, shares, after_restart)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        self.flat_ns = time.monotonic_ns() if self.flattening.is_flat else 0
        self.flattened = True
        rows = [report.shown() for report in self.flattening.reports]
        self._switch.keep("flattened", flattening=False)
        self._switch.note("flat" if self.flattening.is_flat else "not flat", symbols=rows)

    async def _shares(self) -> tuple[dict[str, Share], str]:
        """What of each symbol may be traded, and what to say of those without: the settings' word, else the daemon's last."""
        shares = {symbol: Share(amount) for symbol, amount in self._config.killswitch.baselines.items()}
        told = None if shares.keys() >= set(self._config.feed.symbols) else await self._told()
        if told is None:
            return shares, NO_BASELINE
        age_s = (time.time_ns() - told.t_ns) // NS_PER_S
        if not 0 <= age_s <= _HOLDINGS_AGE_S:
            return shares, f"{NO_BASELINE}: what the daemon told is {age_s} s old, and counts for {_HOLDINGS_AGE_S}"
        balances = await self._balances()
        for instrument in self.instruments:
            symbol = instrument.symbol
            if symbol not in shares and symbol in told.by_symbol:
                shares[symbol] = share_of(sum(balances.get(instrument.base_asset, (0, 0))), told.by_symbol[symbol])
        return shares, NO_BASELINE

    async def _told(self) -> Holdings | None:
        """What the daemon tells of the account. One that lives says within a second what its last fills have changed."""
        began_ns = time.time_ns()
        until = time.monotonic() + _TELL_S
        while True:
            told = read_holdings(self._config.store.directory, self._config.feed.symbols)
            if told is None or told.t_ns >= began_ns or time.monotonic() > until:
                return told
            await asyncio.sleep(0.02)

    async def _balances(self) -> dict[str, tuple[int, int]]:
        while True:
            try:
                return await self._venue.balances()
            except VenueError as error:
                self.session = str(error)
                await pause(error, _RETRY_S)

    def _keep_anchor(self, symbol: str, price: int) -> None:
        self._switch.keep("anchor", anchors={**self._switch.record.anchors, symbol: price})

    def _name(self) -> str:
        # Never one used before: the second of this start, and a count.
        return self._venue.client_id(f"STK-{self._switch.record.generation:x}-{self._started_s:x}-{next(self._numbers):x}")

    def _disconnect(self) -> None:
        self._venue.close()
        self.disconnected = True
        self.disconnected_ns = time.monotonic_ns()
        self.session = "disconnected: level 4"
        for line in self.revoke:
            _log.error("%s", line)
        self._switch.keep("disconnected", disconnected=True)
        self._switch.note("disconnected", revoke=self.revoke)

    @property
    def revoke(self) -> list[str]:
        """What a person must do at the venue, which has no request for it."""
        return [f"revoke at the exchange, by its web page: the key of {name}" for name in self._key_names]

    def rearmed(self) -> None:
        """A new life begins."""
        self.sweep, self.flattening, self.flat_ns, self.late_orders = SweepReport(), None, 0, 0
        self._again = SweepReport()
        self.flattened = False
        self._swept_level = 0
        self.wake()

    def shown(self) -> dict[str, Any]:
        """For status and reports."""
        switch, report = self._switch, self.sweep
        took_ms = report.took_ms(switch.killed_ns) if self.verified_empty else None
        return {
            "session": self.session,
            "verified_empty": self.verified_empty,
            "verified_ms": None if took_ms is None else round(took_ms, 3),
            "orders_found": report.found,
            "orders_left": list(report.left),
            "late_orders": self.late_orders,
            "failures": list(report.failures),
            "flatten_ended": self.flattened,
            "flat": bool(self.flattening is not None and self.flattened and self.flattening.is_flat),
            "flat_ms": _ms(self.flat_ns, switch.killed_ns),
            "flatten": [] if self.flattening is None else [one.shown() for one in self.flattening.reports],
            "disconnected": self.disconnected,
            "disconnected_ms": _ms(self.disconnected_ns, switch.killed_ns),
            "revoke": self.revoke if switch.level == KillLevel.DISCONNECT else [],
        }

    def done(self, level: KillLevel) -> bool:
        """Whether what ``level`` does has been done, or has ended for good."""
        if self.disconnected:
            return True
        if level >= KillLevel.CANCEL_ALL and not self.verified_empty:
            return False
        if level >= KillLevel.FLATTEN and not self.flattened:
            return False
        return level < KillLevel.DISCONNECT or self.disconnected


def _kept(record: LatchRecord) -> dict[str, Share]:
    """The shares that flattening of this kill began with."""
    begun = record.baselines or {}
    return {symbol: Share(begun[symbol], record.ours.get(symbol), record.doubtful.get(symbol, 0)) for symbol in begun}


def _ms(ns: int, since_ns: int) -> float | None:
    return round((ns - since_ns) / NS_PER_MS, 3) if ns > since_ns > 0 else None
