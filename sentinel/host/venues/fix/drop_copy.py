"""A drop copy: the account's ExecutionReports from a second session, kept as an independent record of fills.

It comes about a second later than order entry's own reports (Binance), so a fill counts as missing only
when it is older than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sentinel.errors import ParseError, UnitError
from sentinel.host.ports import Clock
from sentinel.host.venues.contract import VenueTrade
from sentinel.host.venues.fix import reports
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.keeper import SessionKeeper
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.protocol import Ended, Event, Received, Unusable
from sentinel.host.venues.fix.session import FixAddress, FixSession
from sentinel.host.venues.instrument import Instrument
from sentinel.units import notional
from sentinel.wire import OrderEventKind

_KEPT_FILLS = 100_000
_RAW_LOG_MESSAGES = 64
_RAW_LOG_BYTES = 4096
_COUNTERS = "reports fills duplicates contradictions malformed unlisted gaps"


@dataclass(frozen=True, slots=True)
class FillDifference:
    """Fills one record has and the other has not, and those both have with other figures (as the drop copy has them)."""

    only_in_drop_copy: list[VenueTrade]
    only_elsewhere: list[VenueTrade]
    unequal: list[VenueTrade]


class DropCopy:
    """``fills`` maps (symbol, trade id) to the fill; the oldest of more than 100,000 are dropped.

    ``counters["gaps"]`` counts sessions that ended: neither venue sends again what was missed in between, so
    fills of that time must be read elsewhere. ``raw_log`` holds the last 64 messages that could not be used.
    """

    def __init__(
        self, address: FixAddress, dialect: Dialect, logons: Sequence[Logon], instruments: Sequence[Instrument], clock: Clock
    ) -> None:
        self.fills: dict[tuple[int, int], VenueTrade] = {}
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS.split(), 0)
        self.raw_log: deque[tuple[int, str, bytes]] = deque(maxlen=_RAW_LOG_MESSAGES)
        self._clock = clock
        self._dialect = dialect
        self._instruments = list(instruments)
        self._index = {instrument.symbol: k for k, instrument in enumerate(self._instruments)}
        self._keeper = SessionKeeper(address, dialect, logons, clock, self._take)

    @property
    def up(self) -> bool:
        return self._keeper.current is not None

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key; None while it has not."""
        return self._keeper.halted

    @property
    def deaths(self) -> int:
        """How often the task that keeps a session up was ended by a defect."""
        return self._keeper.deaths

    async def connect(self) -> None:
        """Log on. Raises VenueError."""
        await self._keeper.start()

    async def close(self) -> None:
        await self._keeper.stop()

    def compare(self, trades: Iterable[VenueTrade], from_ns: int, until_ns: int) -> FillDifference:
        """Hold the fills of [from_ns, until_ns) by venue time against another record of them."""
        theirs = {(one.symbol, one.trade_id): one for one in trades if from_ns <= one.t_ns < until_ns}
        ours = {name: one for name, one in self.fills.items() if from_ns <= one.t_ns < until_ns}
        return FillDifference(
            [ours[name] for name in ours.keys() - theirs.keys()],
            [theirs[name] for name in theirs.keys() - ours.keys()],
            [ours[name] for name in ours.keys() & theirs.keys() if _figures(ours[name]) != _figures(theirs[name])],
        )

    def _take(self, session: FixSession, event: Event) -> None:
        if isinstance(event, Received) and event.message.msg_type == reports.EXECUTION_REPORT:
            self.counters["reports"] += 1
            try:
                self._book(reports.read_report(event.message, self._dialect))
            except (ParseError, UnitError) as error:
                self._keep(str(error), event.message.raw)
        elif isinstance(event, Unusable):
            self._keep(event.why, event.raw)
        elif isinstance(event, Ended):
            self.counters["gaps"] += 1

    def _keep(self, why: str, raw: bytes) -> None:
        self.counters["malformed"] += 1
        self.raw_log.append((self._clock.now_ns(), why, raw[:_RAW_LOG_BYTES]))

    def _book(self, report: reports.ExecutionReport) -> None:
        if report.event is not OrderEventKind.TRADE:
            return
        symbol = self._index.get(report.symbol)
        if symbol is None:
            self.counters["unlisted"] += 1
            return
        fill = VenueTrade(
            symbol=symbol,
            trade_id=report.trade_id,
            venue_order_id=report.venue_order_id,
            side=report.side,
            maker=report.maker,
            price=report.last_price,
            qty=report.last_qty,
            quote=notional(report.last_price, report.last_qty),
            commission=report.commission,
            fee_asset=self._instruments[symbol].fee_asset(report.fee_currency),
            t_ns=report.t_ns,
        )
        known = self.fills.setdefault((symbol, fill.trade_id), fill)
        if known is not fill:
            self.counters["duplicates" if known == fill else "contradictions"] += 1
            return
        self.counters["fills"] += 1
        if len(self.fills) > _KEPT_FILLS:
            del self.fills[next(iter(self.fills))]


def _figures(fill: VenueTrade) -> tuple[int, ...]:
    """What must agree; times and quote amounts are rounded differently by each interface."""
    return fill.venue_order_id, fill.side, fill.maker, fill.price, fill.qty, fill.commission, fill.fee_asset
