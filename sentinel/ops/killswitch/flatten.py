"""Level 3: bring every symbol back to its baseline by bounded IOC slices.

What is to be traded is read from the venue before each slice: balance less baseline, within the strategy's share. A slice is
sent only after the fate of the one before it is proven, so nothing is sold twice, and a restart first waits until nothing sent
before can still arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.reduce_gate import FlattenLimits, Slice, Stop, next_slice
from sentinel.ops.killswitch.session import FINAL, Placed, Quote, pause
from sentinel.ops.killswitch.share import Share, within
from sentinel.units import format_e8

_log = logging.getLogger(__name__)

_RETRY_S = 0.1
#: IOC orders in a row that traded nothing: then the book offers nothing within reach.
_MAX_EMPTY = 5
#: Requests in a row that got no answer: then the venue is not there.
_MAX_FAILURES = 5
#: How long the venue may still execute what it had accepted. Source: Binance, -1007 after ten seconds.
_ENGINE_S = 10.0
NO_BASELINE = "no baseline: what of it is ours to trade is not known; set killswitch.baselines"


class Market(Protocol):
    """What flattening needs of the venue; see ``session.KillSession``."""

    recv_window_ms: int

    async def balances(self) -> dict[str, tuple[int, int]]: ...

    async def quote(self, symbol: str) -> Quote: ...

    async def place(self, symbol: str, side: str, qty: int, price: int, client_id: str) -> Placed: ...

    async def find(self, symbol: str, client_id: str) -> Placed | None: ...


@dataclass
class SymbolReport:
    """What became of one symbol. ``flat``: nothing tradable is left; ``why`` says how it ended. Quantities in base e8;
    ``doubtful`` as in Share.
    """

    symbol: str
    excess: int = 0
    doubtful: int = 0
    traded: int = 0
    slices: int = 0
    flat: bool = False
    why: str = "not begun"

    def say_doubtful(self) -> None:
        """Say what is left open because nothing proves that it is the strategy's to trade."""
        if self.doubtful:
            self.flat = False
            what = f"{format_e8(abs(self.doubtful))} {'too much' if self.doubtful > 0 else 'missing'}"
            self.why += f"; LEFT OPEN: {what}, not in the position the daemon last told; look at the account"

    def shown(self) -> dict[str, object]:
        amounts = {"excess": format_e8(self.excess), "traded": format_e8(self.traded)}
        return {"symbol": self.symbol, **amounts, "slices": self.slices, "flat": self.flat, "why": self.why}


@dataclass
class Flattening:
    """One symbol after the other.

    Args:
        market: the venue.
        limits: of a slice.
        pause_s: between two slices.
        anchors: symbol -> price at the first begin, int64 e8; ``keep_anchor`` puts a new one onto the disk before it is used.
        name: makes the client id of the next slice.
        note: puts a line of the kill process's log onto the disk, behind the caller's back: each slice before it is sent, and how
            it ended.
        without: said of a symbol that has no share.
    """

    market: Market
    limits: FlattenLimits
    pause_s: float
    anchors: dict[str, int]
    keep_anchor: Callable[[str, int], None]
    name: Callable[[], str]
    note: Callable[..., None]
    without: str = NO_BASELINE
    reports: list[SymbolReport] = field(default_factory=list)

    async def run(self, instruments: list[Instrument], shares: Mapping[str, Share], after_restart: bool) -> None:
        """Flatten every instrument that has a share. Never raises for the venue: what failed is in ``reports``."""
        self.reports[:] = [SymbolReport(instrument.symbol) for instrument in instruments]
        if after_restart:
            await asyncio.sleep(self.market.recv_window_ms / 1000 + _ENGINE_S)
        for instrument, report in zip(instruments, self.reports, strict=True):
            if instrument.symbol not in shares:
                report.why = self.without
                _log.error("flatten %s: %s", report.symbol, report.why)
                continue
            await self._flatten(instrument, shares[instrument.symbol], report)
            report.say_doubtful()
            _log.log(logging.WARNING if report.flat else logging.ERROR, "flatten %s: %s", report.symbol, report.why)

    @property
    def is_flat(self) -> bool:
        return bool(self.reports) and all(report.flat for report in self.reports)

    async def _flatten(self, instrument: Instrument, share: Share, report: SymbolReport) -> None:
        symbol, whole, empty, failures, ours = instrument.symbol, 0, 0, 0, share.ours
        report.doubtful = share.doubtful
        while True:
            try:
                free, locked = (await self.market.balances()).get(instrument.base_asset, (0, 0))
                found = free + locked - share.baseline
                report.excess = found if ours is None else within(found, ours)
                report.doubtful = share.doubtful + found - report.excess
                whole = max(whole, abs(report.excess))
                quote = await self.market.quote(symbol) if report.excess else Quote(0, 0, 0, 0)
                chosen = next_slice(report.excess, whole, self._anchor(symbol, quote), quote, instrument, self.limits)
                if isinstance(chosen, Stop):
                    report.flat, report.why = chosen.done, chosen.why
                    return
                traded, text = await self._send(symbol, chosen, report)
            except VenueError as error:
                # One lost answer leaves no position behind.
                report.why, failures = str(error), failures + 1
                if failures == _MAX_FAILURES:
                    return
                await pause(error, _RETRY_S)
                continue
            if ours is not None:
                ours -= traded if chosen.side == "SELL" else -traded
            failures, empty = 0, 0 if traded else empty + 1
            if empty == _MAX_EMPTY:
                report.why = f"stopped: {empty} slices in a row traded nothing ({text})"
                return
            await asyncio.sleep(self.pause_s)

    def _anchor(self, symbol: str, quote: Quote) -> int:
        if symbol not in self.anchors and quote.bid > 0 and quote.ask > 0:
            anchor = (quote.bid + quote.ask) // 2
            self.keep_anchor(symbol, anchor)
            self.anchors[symbol] = anchor
        return self.anchors.get(symbol, 0)

    async def _send(self, symbol: str, chosen: Slice, report: SymbolReport) -> tuple[int, str]:
        client_id = self.name()
        report.slices += 1
        amounts = {"qty": format_e8(chosen.qty), "price": format_e8(chosen.price)}
        self.note("slice", id=client_id, symbol=symbol, side=chosen.side, **amounts)
        placed = await self.market.place(symbol, chosen.side, chosen.qty, chosen.price, client_id)
        if placed.status not in FINAL:
            placed = await self._resolve(symbol, client_id)
        self.note("slice ended", id=client_id, status=placed.status, executed=format_e8(placed.executed))
        report.traded += placed.executed
        report.why = f"{chosen.side} {format_e8(chosen.qty)} at {format_e8(chosen.price)}: {placed.status} {placed.text}".rstrip()
        return placed.executed, placed.text or placed.status

    async def _resolve(self, symbol: str, client_id: str) -> Placed:
        """Ask until the order has ended, or until it can no longer be accepted and the venue does not know it."""
        loop = asyncio.get_running_loop()
        gone_at = loop.time() + self.market.recv_window_ms / 1000 + _ENGINE_S
        while True:
            try:
                found = await self.market.find(symbol, client_id)
            except VenueError as error:
                await pause(error, _RETRY_S)
                continue
            if found is not None and found.status in FINAL:
                return found
            if found is None and loop.time() >= gone_at:
                return Placed("NEVER ACCEPTED", 0)
            await asyncio.sleep(_RETRY_S)
