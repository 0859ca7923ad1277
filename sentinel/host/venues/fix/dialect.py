"""What differs between the FIX order entry of Binance (FIX 4.4) and of Coinbase Exchange (FIXT.1.1, FIX 5.0 SP2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sentinel.host.venues.fix.verdicts import BinanceVerdicts, CoinbaseVerdicts, Verdicts
from sentinel.host.venues.order_names import TextNames, UuidNames
from sentinel.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Dialect:
    """``names``: the ids of orders and of their cancels, ``tagged`` with a store's tag.

    ``has_recv_window``: RecvWindow (25000) may stand in the header. ``has_cancel_replace``: XCN is known.
    ``self_trade``: which of two orders of ours that would meet gives way, as each order says it.
    ``market_tif``: the TimeInForce a market order must have. ``verdicts``: what the venue's refusals prove.
    At most ``messages`` may be sent in any ``window_ns``: above it the venue ends the session.
    """

    begin_string: str
    names: TextNames | UuidNames
    post_only: str
    has_recv_window: bool
    has_cancel_replace: bool
    self_trade: tuple[tuple[int, str], ...]
    market_tif: str | None
    verdicts: Verdicts
    messages: int
    window_ns: int

    def tagged(self, order_tag: str) -> Dialect:
        """The same words with the ids of one store."""
        return replace(self, names=type(self.names)(order_tag))


BINANCE = Dialect(
    begin_string="FIX.4.4",
    names=TextNames(),
    post_only="6",
    has_recv_window=True,
    has_cancel_replace=True,
    self_trade=((25001, "3"),),  # the resting one expires
    market_tif=None,
    verdicts=BinanceVerdicts(),
    messages=10_000,
    window_ns=10 * NS_PER_S,
)
COINBASE = Dialect(
    begin_string="FIXT.1.1",
    names=UuidNames(),
    post_only="A",
    has_recv_window=False,
    has_cancel_replace=False,
    self_trade=((7928, "N"),),  # the newer one is cancelled
    market_tif="3",
    verdicts=CoinbaseVerdicts(),
    messages=100,
    window_ns=NS_PER_S,
)
