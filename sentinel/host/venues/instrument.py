"""What a session knows of the run's symbols, and the CONTROL records that tell the engine of them and of balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from sentinel.errors import VenueError
from sentinel.host.venues.order_events import RecordBatch
from sentinel.wire import Command, FeeAsset, InstrumentField, Venue


@dataclass(frozen=True)
class Instrument:
    """One symbol of the run. ``fields`` maps InstrumentField to its value."""

    symbol: str
    base_asset: str
    quote_asset: str
    fields: dict[InstrumentField, int] = field(default_factory=dict)

    def fee_asset(self, asset: str | None) -> FeeAsset:
        """How a commission in ``asset`` counts; None (no commission) as QUOTE."""
        if asset is None or asset == self.quote_asset:
            return FeeAsset.QUOTE
        return FeeAsset.BASE if asset == self.base_asset else FeeAsset.OTHER

    def write(self, index: int, t: int, batch: RecordBatch) -> None:
        """Append one INSTRUMENT record per field."""
        for name, value in self.fields.items():
            batch.control(Command.INSTRUMENT, t, symbol=index, value=value, field=name)


def instrument_records(venue: Venue, instruments: Sequence[Instrument], t: int) -> NDArray[Any]:
    """INSTRUMENT records of every symbol, int64[n, 8]."""
    batch = RecordBatch(venue)
    for index, instrument in enumerate(instruments):
        instrument.write(index, t, batch)
    return batch.take()


def balance_records(venue: Venue, instruments: Sequence[Instrument], totals: Mapping[str, int], t: int) -> NDArray[Any]:
    """BASE_BALANCE of every symbol and QUOTE_BALANCE from asset -> amount, int64[n, 8].

    Raises VenueError for symbols of several quote assets.
    """
    batch = RecordBatch(venue)
    for index, instrument in enumerate(instruments):
        batch.control(Command.BASE_BALANCE, t, symbol=index, value=totals.get(instrument.base_asset, 0))
    quotes = {instrument.quote_asset for instrument in instruments}
    if len(quotes) != 1:
        raise VenueError("feed.symbols", sorted(quotes), "symbols of one quote asset", "run one process per quote asset")
    batch.control(Command.QUOTE_BALANCE, t, value=totals.get(quotes.pop(), 0))
    return batch.take()
