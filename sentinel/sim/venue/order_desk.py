"""Order entry: checks, matching and settlement of account orders, and the events their owners see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sentinel.sim.venue import filters
from sentinel.sim.venue.account import INSUFFICIENT, Ledger, locked_asset, required_lock
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.matching import Book, Match, Prevented, RestingOrder, Stop
from sentinel.sim.venue.order_request import OrderRequest, read_order
from sentinel.sim.venue.orders import OPEN, Order, reached
from sentinel.sim.venue.refusals import filter_failure, rejected
from sentinel.units import BPS, E8, INT64_MAX, NS_PER_MS, format_e8
from sentinel.wire import Side

#: Publishes a taker's fills on the public tape and returns their trade ids: (symbol index, aggressor side, [(price, qty)]).
PrintTrades = Callable[[int, int, list[tuple[int, int]]], list[int]]


class OrderDesk:
    """All account orders of the exchange. ``now_ns`` is set by the exchange before each call."""

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        books: list[Book],
        ledger: Ledger,
        print_trades: PrintTrades,
        average_price: Callable[[int], int],
        last_price: Callable[[int], int],
        publish_user: Callable[[str, dict[str, Any]], None],
        first_order_id: int,
    ) -> None:
        self.now_ns = 0
        self.instruments = list(instruments)
        self.books = books
        self.ledger = ledger
        self.index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self.orders: dict[tuple[int, int], Order] = {}
        self.by_client: dict[tuple[str, int, str], Order] = {}
        self.open: list[dict[int, Order]] = [{} for _ in instruments]
        #: Open orders whose stop price the market has not reached.
        self.stops: list[dict[int, Order]] = [{} for _ in instruments]
        #: Told of every order of a list that has traded or ended.
        self.on_list_order: Callable[[Order], None] = lambda order: None
        self.cancel_list: Callable[[int, str | None], dict[str, Any]] = lambda list_id, cancel_id: {}
        self.default_stp = "EXPIRE_MAKER"  # of orders that name none
        #: Of all orders, whatever they name: both ways an order of ours may end can then be struck.
        self.forced_stp: str | None = None
        self.last_price = last_price
        self.account_trades: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._print_trades = print_trades
        self._average_price = average_price
        self.publish_user = publish_user
        self._next_order_id = [first_order_id] * len(instruments)
        self.execution_id = first_order_id * 3
        self._prevention_id = 0

    def symbol_index(self, symbol: str) -> int:
        """Raises ApiError -1121 for an unknown symbol."""
        index = self.index.get(symbol)
        if index is None:
            raise ApiError(400, -1121, "Invalid symbol.")
        return index

    def find(self, account: str, index: int, params: Mapping[str, str], id_name: str, client_name: str) -> Order | None:
        """The account's order named by id or client id (both: they must agree), None when there is none."""
        order_id = filters.integer_param(params, id_name)
        client_id = filters.client_id_param(params, client_name)
        if order_id is None and client_id is None:
            raise ApiError(400, -1102, f"Param '{client_name}' or '{id_name}' must be sent, but both were empty/null!")
        if order_id is None:
            assert client_id is not None
            return self.by_client.get((account, index, client_id))
        order = self.orders.get((index, order_id))
        if order is None or order.account != account:
            return None
        if client_id is not None and order.client_id != client_id:
            raise ApiError(400, -2039, "Client order ID is not correct for this order ID.")
        return order

    def open_of(self, account: str, index: int) -> list[Order]:
        return [order for order in self.open[index].values() if order.account == account]

    # Placement

    def validate(self, params: Mapping[str, str]) -> tuple[int, OrderRequest]:
        """What is refused before the matching engine: shape, symbol status and filters. Raises ApiError."""
        if self.forced_stp is not None:
            params = {**params, "selfTradePreventionMode": self.forced_stp}
        request = read_order(params, self.default_stp)
        index = self.symbol_index(request.symbol)
        instrument = self.instruments[index]
        if instrument.status != "TRADING":
            raise rejected("Market is closed.")
        average = self._average_price(index)
        market = request.kind == "MARKET"
        if request.stop_price:
            filters.check_price(instrument, request.side, request.stop_price, 0)
        if request.price:
            filters.check_price(instrument, request.side, request.price, average)
        if request.qty:
            filters.check_quantity(instrument, request.qty, market)
            filters.check_notional(instrument, request.price or request.stop_price or average, request.qty, market)
        elif request.quote_qty < instrument.min_notional:
            raise filter_failure("NOTIONAL")
        return index, request

    def admit(self, account: str, index: int, request: OrderRequest) -> int:
        """What the matching engine refuses: too many orders, duplicates, no funds. Returns the amount to lock."""
        instrument, mine = self.instruments[index], self.open_of(account, index)
        filters.check_open_orders(instrument, len(mine))
        if request.stop_price:
            filters.check_algo_orders(instrument, sum(order.stop_price > 0 for order in mine))
        self.check_one(account, index, request)
        lock = self.needed(account, index, request)
        self.check_funds(account, instrument, request.side, lock)
        return lock

    def check_funds(self, account: str, instrument: Instrument, side: int, lock: int) -> None:
        if lock > self.ledger.accounts[account].balance(locked_asset(instrument, side)).free:
            raise rejected(INSUFFICIENT)

    def check_one(self, account: str, index: int, request: OrderRequest) -> None:
        """What the matching engine refuses of an order by itself, funds and counts aside."""
        instrument, owner = self.instruments[index], self.ledger.accounts[account]
        mine = self.open_of(account, index)
        if request.side == Side.BUY and instrument.max_position:
            base = owner.balance(instrument.base)
            buys = sum(order.remaining for order in mine if order.side == Side.BUY)
            filters.check_position(instrument, base.free + base.locked, buys, request.qty)
        if request.client_id is not None:
            known = self.by_client.get((account, index, request.client_id))
            if known is not None and known.status in OPEN:
                raise rejected("Duplicate order sent.")
        book = self.books[index]
        if request.kind == "LIMIT_MAKER" and book.available(request.side, request.price, 1):
            raise rejected("Order would immediately match and take.")
        if request.stop_price and reached(request.kind, request.side, request.stop_price, self.last_price(index)):
            raise rejected("Order would trigger immediately.")

    def needed(self, account: str, index: int, request: OrderRequest) -> int:
        """What an order locks."""
        if request.kind != "MARKET":
            return required_lock(request.side, request.price or request.stop_price, request.qty)
        book, limit = self.books[index], self._range_limit(index, request.side, request.price)
        group = self.ledger.accounts[account].group
        base, quote = book.cost(request.side, request.qty, limit, request.quote_qty, group, request.stp)
        if request.side == Side.SELL:
            return request.qty or base
        return request.quote_qty or quote

    def _range_limit(self, index: int, side: int, price: int) -> int:
        """The worst price a taker may trade at: its own limit, tightened by the PRICE_RANGE execution rule (0: none)."""
        bps, average = self.instruments[index].price_range_bps, self._average_price(index)
        if not bps or not average:
            return price
        if side == Side.BUY:
            bound = average * (BPS + bps) // BPS
            return min(bound, price) if price else bound
        return max(average * max(BPS - bps, 0) // BPS, price, 1)

    def place(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.place: the answer in the asked or default form (ACK, RESULT, FULL). Raises ApiError."""
        index, request = self.validate(params)
        lock = self.admit(account, index, request)
        order = self.accept(account, index, request, lock)
        if order.stop_price:
            self.wait(index, order)
        else:
            self.work(index, order)
        self.flush_positions()
        return order.response(request.response)

    def wait(self, index: int, order: Order) -> None:
        """An order with a stop price is open, and not on the book."""
        self.open[index][order.order_id] = order
        self.stops[index][order.order_id] = order
        self.report(order, "NEW")

    def work(self, index: int, order: Order) -> None:
        """An accepted order, its funds locked, meets the book."""
        book, instrument = self.books[index], self.instruments[index]
        limit, group = self._range_limit(index, order.side, order.price), self.ledger.accounts[order.account].group
        order.status = "NEW"
        order.working_ns = order.updated_ns = self.now_ns
        self.report(order, "NEW")
        if order.tif == "FOK" and book.available(order.side, limit, order.qty, group, order.stp) < order.qty:
            self.expire(order, "UNFILLED_FOK_ORDER_EXPIRED")
        else:
            # What sizes a quote order is its budget.
            match = book.take(order.side, order.qty or INT64_MAX, limit, group, order.stp, order.quote_qty, instrument.step or 1)
            self._apply_match(index, order, match)
            self._conclude(index, order, match, range_bound=limit != order.price)

    def accept(self, account: str, index: int, request: OrderRequest, lock: int) -> Order:
        instrument = self.instruments[index]
        order_id = self._next_order_id[index]
        self._next_order_id[index] += 1
        order = Order(
            account=account,
            instrument=instrument,
            order_id=order_id,
            client_id=request.client_id or f"auto-{index}-{order_id}",
            side=request.side,
            kind=request.kind,
            tif=request.tif,
            price=request.price,
            qty=request.qty,
            quote_qty=request.quote_qty,
            stp=request.stp,
            stop_price=request.stop_price,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
            locked=lock,
            extra=request.extra,
        )
        self.ledger.accounts[account].lock(locked_asset(instrument, request.side), lock)
        self.orders[index, order_id] = order
        self.by_client[account, index, order.client_id] = order
        return order

    def _apply_match(self, index: int, taker: Order, match: Match) -> None:
        fills = [(fill.price, fill.qty) for fill in match.fills]
        if not taker.qty:
            taker.qty = _quantity_of_quote_order(taker, match, fills)
        ids = iter(self._print_trades(index, taker.side, fills))
        for event in match.events:
            if isinstance(event, Prevented):
                self._prevent(index, taker, event)
                continue
            trade_id = next(ids)
            self._fill(taker, event.price, event.qty, trade_id, maker=False)
            if event.maker is not None:
                self.fill_maker(index, event.maker, event.price, event.qty, trade_id)

    def _conclude(self, index: int, order: Order, match: Match, range_bound: bool) -> None:
        """What becomes of a taker's remainder: rest, expire, or nothing when filled."""
        if order.status not in OPEN:
            self.open[index].pop(order.order_id, None)
            self.release(order)
        elif match.stop == Stop.LIMIT and range_bound:
            self.expire(order, "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")
        elif order.takes_market:
            self.expire(order, "INSUFFICIENT_LIQUIDITY")
        elif order.tif == "IOC":
            self.expire(order, "UNFILLED_IOC_QUANTITY_EXPIRED")
        else:
            group = self.ledger.accounts[order.account].group
            order.resting = RestingOrder(order.order_id, group, order.side, order.price, order.remaining)
            self.books[index].rest(order.resting)
            self.open[index][order.order_id] = order

    def expire(self, order: Order, reason: str) -> None:
        """End an open order, wherever it is."""
        self.remove(order)
        order.status = "EXPIRED"
        order.expiry_reason = reason
        order.updated_ns = self.now_ns
        self.release(order)
        self.report(order, "EXPIRED")
        self._tell_list(order)

    def remove(self, order: Order) -> None:
        """Take an order off the book, and from among those that are open or wait for their price."""
        index = self.index[order.instrument.symbol]
        if order.resting is not None and order.order_id in self.open[index]:
            self.books[index].resize(order.resting, 0)
        self.open[index].pop(order.order_id, None)
        self.stops[index].pop(order.order_id, None)

    def _tell_list(self, order: Order) -> None:
        if order.list_id >= 0:
            self.on_list_order(order)

    def release(self, order: Order) -> None:
        self.ledger.accounts[order.account].unlock(locked_asset(order.instrument, order.side), order.locked)
        order.locked = 0

    def shrink_lock(self, order: Order) -> None:
        needed = required_lock(order.side, order.price, order.remaining)
        self.ledger.accounts[order.account].unlock(locked_asset(order.instrument, order.side), order.locked - needed)
        order.locked = needed

    # Executions

    def _fill(self, order: Order, price: int, qty: int, trade_id: int, maker: bool) -> None:
        """Settle one execution of an order and report it to its owner."""
        instrument, owner = order.instrument, self.ledger.accounts[order.account]
        order.executed += qty
        order.updated_ns = self.now_ns
        order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
        if order.takes_market:
            unlocked = price * qty // E8 if order.side == Side.BUY else qty
        else:
            unlocked = order.locked - required_lock(order.side, order.price, order.remaining)
        order.locked -= unlocked
        amount, commission, asset = self.ledger.settle(owner, instrument, order.side, price, qty, maker, unlocked)
        order.quote_executed += amount
        trade = {"price": format_e8(price), "qty": format_e8(qty), "commission": format_e8(commission), "commissionAsset": asset}
        if not maker:
            order.fills.append(trade | {"tradeId": trade_id})
        self.account_trades.setdefault((order.account, self.index[instrument.symbol]), []).append(
            {"symbol": instrument.symbol, "id": trade_id, "orderId": order.order_id, "orderListId": order.list_id}
            | trade
            | {
                "quoteQty": format_e8(amount),
                "time": self.now_ns // NS_PER_MS,
                "isBuyer": order.side == Side.BUY,
                "isMaker": maker,
                "isBestMatch": True,
            }
        )
        self.report(
            order,
            "TRADE",
            l=format_e8(qty),
            L=format_e8(price),
            n=format_e8(commission),
            N=asset,
            t=trade_id,
            m=maker,
            M=True,
            Y=format_e8(amount),
        )
        self._tell_list(order)

    def fill_maker(self, index: int, resting: RestingOrder, price: int, qty: int, trade_id: int) -> None:
        """An execution of a resting order, already taken off the book."""
        order = self.orders[index, resting.order_id]
        self._fill(order, price, qty, trade_id, maker=True)
        if order.status not in OPEN:
            del self.open[index][order.order_id]

    def _prevent(self, index: int, taker: Order, stopped: Prevented) -> None:
        """Report self-trade prevention to both orders (they are of one trade group)."""
        self._prevention_id += 1
        maker = self.orders[index, stopped.maker.order_id]
        maker_cut = maker.remaining if stopped.maker_expired else maker.remaining - stopped.maker.remaining
        for order, cut, counter in ((maker, maker_cut, taker), (taker, stopped.taker_cut, maker)):
            if not cut:
                continue
            order.prevented += cut
            order.updated_ns = self.now_ns
            if order.remaining == 0:
                order.status = "EXPIRED_IN_MATCH"
            self.report(
                order,
                "TRADE_PREVENTION",
                v=self._prevention_id,
                A=format_e8(order.prevented),
                B=format_e8(cut),
                u=self.ledger.accounts[self.ledger.accounts[order.account].group].uid,
                U=counter.order_id,
                Cs=order.instrument.symbol,
                pl=format_e8(stopped.qty),
                pL=format_e8(stopped.price),
                pY=format_e8(stopped.price * stopped.qty // E8),
            )
            if order.resting is not None:
                self.shrink_lock(order)
        if maker.status not in OPEN:
            del self.open[index][maker.order_id]
        for order in (maker, taker):
            self._tell_list(order)

    # Events

    def report(self, order: Order, execution: str, **changes: Any) -> None:
        self.execution_id += 1
        self.publish_user(order.account, order.report(execution, self.execution_id, self.now_ns, **changes))

    def flush_positions(self) -> None:
        """Send outboundAccountPosition to every account whose balances changed."""
        for account in self.ledger.accounts.values():
            if not account.touched:
                continue
            account.update_ms = self.now_ns // NS_PER_MS
            held = [(asset, account.balance(asset)) for asset in account.touched]
            account.touched.clear()
            self.publish_user(
                account.name,
                {
                    "e": "outboundAccountPosition",
                    "E": account.update_ms,
                    "u": account.update_ms,
                    "B": [{"a": asset, "f": format_e8(b.free), "l": format_e8(b.locked)} for asset, b in held],
                },
            )


def _quantity_of_quote_order(order: Order, match: Match, fills: list[tuple[int, int]]) -> int:
    """The base quantity of an order sized in quote: what it got, plus what the unspent rest would buy at its last price."""
    got = sum(qty for _, qty in fills)
    if match.stop in (Stop.BUDGET, Stop.FILLED) and fills:
        return got
    unspent = order.quote_qty - sum(price * qty // E8 for price, qty in fills)
    step = order.instrument.step or 1
    price = fills[-1][0] if fills else E8
    return got + max(unspent * E8 // price // step, 1) * step
