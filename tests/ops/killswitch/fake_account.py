"""An account at a venue that answers late, wrongly or not at all, by a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sentinel.errors import VenueError
from sentinel.ops.killswitch.session import OpenOrder, Placed, Quote
from sentinel.units import E8


def no_answer() -> VenueError:
    return VenueError("request", "TimeoutError", "a complete answer", "check the network")


@dataclass
class FakeAccount:
    """``fails`` is asked with each request's name, and raises where that one gets no answer."""

    open: list[OpenOrder] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    book: Quote = field(default_factory=lambda: Quote(100 * E8, E8, 101 * E8, E8))
    fails: Callable[[str], None] = lambda name: None
    takes: Callable[[str, int, int], Placed] | None = None
    found: dict[str, Placed | None] = field(default_factory=dict)
    recv_window_ms: int = 20
    stubborn: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    placed: list[tuple[str, str, int, int, str]] = field(default_factory=list)

    def _ask(self, name: str) -> None:
        self.requests.append(name)
        self.fails(name)

    def client_id(self, name: str) -> str:
        return name

    async def cancel_all(self, symbol: str) -> None:
        self._ask(f"cancel_all {symbol}")
        self.open = [order for order in self.open if order.symbol != symbol or order.client_id in self.stubborn]

    async def cancel(self, order: OpenOrder) -> None:
        self._ask(f"cancel {order.client_id}")
        self.open = [one for one in self.open if one != order]

    async def open_orders(self) -> list[OpenOrder]:
        self._ask("open_orders")
        return list(self.open)

    async def balances(self) -> dict[str, tuple[int, int]]:
        self._ask("balances")
        return {asset: (amount, 0) for asset, amount in self.held.items()}

    async def quote(self, symbol: str) -> Quote:
        self._ask("quote")
        return self.book

    async def place(self, symbol: str, side: str, qty: int, price: int, client_id: str) -> Placed:
        self.requests.append("place")
        self.placed.append((symbol, side, qty, price, client_id))
        became = Placed("FILLED", qty) if self.takes is None else self.takes(side, qty, price)
        self.settle(symbol, side, became.executed)
        return became

    def settle(self, symbol: str, side: str, qty: int) -> None:
        asset = symbol.removesuffix("USDT")
        self.held[asset] = self.held.get(asset, 0) + (qty if side == "BUY" else -qty)

    async def find(self, symbol: str, client_id: str) -> Placed | None:
        self._ask("find")
        return self.found.get(client_id)
