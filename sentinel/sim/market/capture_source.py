"""A recorded market as a source: every message of a capture again, at its time, with a matching book behind it.

A capture holds lines ``<local ns> <json>``: combined-stream messages and REST depth snapshots; ``.zst`` files are decompressed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from sentinel.errors import CaptureError, UnitError
from sentinel.sim.market.relayed import RelayedSymbol
from sentinel.sim.market.source import Market
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import NS_PER_MS, parse_e8

QUOTE_ASSETS = ("FDUSD", "USDT", "USDC", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(local ns, message) of each line. Raises CaptureError for an unreadable file or line."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    number = 1
    try:
        with path.open("rb") as raw:
            stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
            for line in io.BufferedReader(stream, 1 << 20):
                stamp, _, body = line.partition(b" ")
                yield int(stamp), decode(body)
                number += 1
    except (OSError, ValueError, EOFError, zstandard.ZstdError) as error:
        raise CaptureError(
            f"{path}:{number}", str(error), "lines of '<local ns> <json>', plain or zstd", "record it again or cut the bad lines"
        ) from None


class CaptureSource:
    """A MarketSource that relays a capture.

    Virtual time is the capture's local time shifted by one constant, so that no message comes before its own event time: the
    recording machine's clock may have been wrong. Raises CaptureError for a file that is not a capture.
    """

    relays = True

    def __init__(self, path: str | Path, instruments: tuple[Instrument, ...] | None = None) -> None:
        self.path = Path(path)
        survey = _Survey(self.path)
        self.shift_ns = survey.shift_ns
        self.messages = survey.messages
        self.start_ns = survey.first_ns + self.shift_ns
        self.end_ns: int | None = survey.last_ns + self.shift_ns
        self.instruments = survey.instruments() if instruments is None else instruments
        self.maker_size = (0,) * len(self.instruments)
        index = {instrument.symbol: i for i, instrument in enumerate(self.instruments)}
        missing = [symbol for symbol in survey.symbols if symbol not in index]
        if missing:
            raise CaptureError("instruments", sorted(index), f"the capture's symbols {missing} too", "add them")
        self._symbols = {symbol: RelayedSymbol(i, symbol) for symbol, i in index.items()}
        self._by_index = list(self._symbols.values())
        self._snapshots = survey.snapshots_by_symbol()
        self._lines = read_lines(self.path)
        self._next: tuple[int, dict[str, Any]] | None = None
        self._now_ns = self.start_ns
        self._step()

    def open(self, market: Market) -> None:
        for symbol in self._symbols:
            self._adopt(market, symbol)

    def next_time(self) -> int | None:
        return None if self._next is None else self._next[0]

    def fire(self, market: Market) -> None:
        assert self._next is not None
        message = self._next[1]
        self._step()
        stream, payload = message["stream"], message["data"]
        symbol = payload["s"]
        self._symbols[symbol].handle(market, stream, payload)
        if not self._symbols[symbol].book.synced:
            self._adopt(market, symbol)

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        """The book of the relayed depth stream. Raises ApiError -1001 where the capture has none: no depth, or a gap in it."""
        book = self._by_index[symbol].book
        if not book.synced:
            raise ApiError(503, -1001, "Internal error; unable to process your request. Please try again.")
        return book.snapshot(limit)

    def _adopt(self, market: Market, symbol: str) -> None:
        """Take the capture's next own snapshot of the symbol: the first at the start, a later one after a gap."""
        waiting = self._snapshots.get(symbol, [])
        if waiting:
            self._symbols[symbol].load(market, waiting.pop(0))

    def _step(self) -> None:
        for local_ns, message in self._lines:
            if "stream" in message:
                self._now_ns = max(self._now_ns, local_ns + self.shift_ns)
                self._next = (self._now_ns, message)
                return
        self._next = None


class _Survey:
    """One pass over a capture: its span, clock shift, symbols, increments and snapshots."""

    def __init__(self, path: Path) -> None:
        self.first_ns = self.last_ns = 0
        self.messages = 0
        shift: int | None = None
        self.symbols: dict[str, list[int]] = {}
        self._ids: dict[str, tuple[int, int]] = {}
        self._snapshots: list[dict[str, Any]] = []
        for local_ns, message in read_lines(path):
            if "lastUpdateId" in message:
                self._snapshots.append(message)
                continue
            try:
                payload = message["data"]
                self._note(payload)
                if "E" in payload:
                    early = payload["E"] * NS_PER_MS - local_ns
                    shift = early if shift is None else max(shift, early)
            except (KeyError, TypeError, ValueError, UnitError) as error:
                raise CaptureError(
                    str(path), message, "combined-stream messages of one spot market", f"record it with spot streams ({error!r})"
                ) from None
            self.first_ns = self.first_ns or local_ns
            self.last_ns = max(self.last_ns, local_ns)
            self.messages += 1
        if not self.messages:
            raise CaptureError("capture", str(path), "at least one stream message", "record for longer")
        self.shift_ns = shift or 0

    def _note(self, payload: dict[str, Any]) -> None:
        symbol = payload["s"]
        increments = self.symbols.setdefault(symbol, [0, 0])
        if "U" in payload:
            first, last = self._ids.get(symbol, (payload["U"], payload["u"]))
            self._ids[symbol] = (min(first, payload["U"]), max(last, payload["u"]))
        elif "b" in payload:
            increments[0] = math.gcd(increments[0], parse_e8(payload["b"]), parse_e8(payload["a"]))
            increments[1] = math.gcd(increments[1], parse_e8(payload["B"]), parse_e8(payload["A"]))
        else:
            increments[0] = math.gcd(increments[0], parse_e8(payload["p"]))
            increments[1] = math.gcd(increments[1], parse_e8(payload["q"]))

    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments whose tick and step are the largest increments that fit every price and quantity seen."""
        found = []
        for symbol, (tick, step) in self.symbols.items():
            quote = next((asset for asset in QUOTE_ASSETS if symbol.endswith(asset) and symbol != asset), symbol[-3:])
            found.append(Instrument(symbol, symbol[: -len(quote)], quote, tick=tick or 1, step=step or 1, min_qty=step or 1))
        return tuple(found)

    def snapshots_by_symbol(self) -> dict[str, list[dict[str, Any]]]:
        """A snapshot that names no symbol is of the one whose depth ids surround its own."""
        result: dict[str, list[dict[str, Any]]] = {}
        for snapshot in self._snapshots:
            update_id = snapshot["lastUpdateId"]
            if "s" in snapshot:
                result.setdefault(snapshot["s"], []).append(snapshot)
                continue
            for symbol, (first, last) in self._ids.items():
                if first - 1 <= update_id <= last:
                    result.setdefault(symbol, []).append(snapshot)
                    break
        return result
