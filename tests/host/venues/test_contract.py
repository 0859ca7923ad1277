"""What every venue's order session keeps, each against the simulated exchange that speaks its protocol on loopback."""

from __future__ import annotations

import contextlib
import random

import pytest

from sentinel.host.clock import LiveClock
from sentinel.host.reconcile import EngineView, LiveOrder, reconcile
from sentinel.host.venues import keeper
from sentinel.host.venues.coinbase import ended
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import keeper as fix_keeper
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8, format_e8, notional
from sentinel.wire import Command, FeeAsset, OrderEventFlag, OrderEventKind, OrderState, OrderType, Side
from tests.host.venues.venue_rigs import GTC, IOC, ORDER, START_BASE, START_QUOTE, VENUES, Rig, play
from tests.host.waiting import until

pytestmark = pytest.mark.parametrize("venue", VENUES)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(fix_keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


# --- orders and their fills ------------------------------------------------------------------------


def test_an_order_is_sent_acknowledged_and_filled(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place()
        await until(lambda: rig.bought() == 3 * E8 and rig.of(OrderEventKind.ACKED))
        assert rig.sink.events[0].kind == OrderEventKind.SENT
        last = rig.of(OrderEventKind.TRADE)[-1]
        assert (last.state, last.cum_qty, last.cum_quote, last.side) == (OrderState.FILLED, 3 * E8, 303 * E8, Side.BUY)
        assert not last.flags & OrderEventFlag.MAKER
        ids = {event.venue_order_id for event in rig.of(OrderEventKind.ACKED, OrderEventKind.TRADE)}
        assert len(ids) == 1
        assert min(ids) > 0

    play(venue, scenario)


def test_a_partial_fill_leaves_an_order_that_is_open(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=8 * E8, tif=GTC)
        await until(lambda: rig.bought() == 5 * E8)
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty, status.cum_quote, status.qty) == (OrderState.PARTIAL, 5 * E8, 505 * E8, 8 * E8)
        assert rig.bought() == 5 * E8

    play(venue, scenario)


def test_the_rest_of_an_immediate_order_ends(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=8 * E8)
        end = await rig.heard(OrderEventKind.EXPIRED)
        assert (end.state, end.cum_qty, end.cum_quote) == (OrderState.EXPIRED, 5 * E8, 505 * E8)
        assert rig.bought() == 5 * E8

    play(venue, scenario)


def test_a_resting_order_is_filled_as_a_maker(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=100 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.exchange.take(0, Side.SELL, 2 * E8, 100 * E8)
        rig.server.wake()
        trade = await rig.heard(OrderEventKind.TRADE)
        assert trade.flags & OrderEventFlag.MAKER
        assert (trade.last_price, trade.last_qty, trade.state) == (100 * E8, 2 * E8, OrderState.PARTIAL)

    play(venue, scenario)


def test_a_fill_that_comes_before_the_answer_counts_once(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DELAY_RESPONSE, target="order.place", delay_ns=300_000_000)
        rig.place()
        await rig.heard(OrderEventKind.TRADE)
        assert rig.answers() == 0
        await until(lambda: rig.answers() == 1)
        assert rig.bought() == 3 * E8
        assert rig.of(OrderEventKind.ACKED)
        assert not rig.of(OrderEventKind.AMBIGUOUS, OrderEventKind.REJECTED)

    play(venue, scenario)


def test_fills_and_their_fees_explain_the_balances(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=7 * E8, price=102 * E8)
        await until(lambda: rig.bought() == 7 * E8)
        rig.place(key=ORDER + 1, side=Side.SELL, price=99 * E8, qty=2 * E8)
        await until(lambda: rig.bought(ORDER + 1) == 2 * E8)
        base, quote = START_BASE, START_QUOTE
        for event in rig.fills() + rig.fills(ORDER + 1):
            sign = 1 if event.side == Side.BUY else -1
            base += sign * event.last_qty - (event.commission if event.fee_asset == FeeAsset.BASE else 0)
            amount = notional(event.last_price, event.last_qty)
            quote -= sign * amount + (event.commission if event.fee_asset == FeeAsset.QUOTE else 0)
            assert event.commission > 0
        rig.sink.deliver(0, await rig.session.balances())
        told = {(command, symbol): value for command, symbol, value, _ in rig.sink.controls}
        assert told[Command.BASE_BALANCE, 0] == base
        assert next(value for (command, _), value in told.items() if command == Command.QUOTE_BALANCE) == quote

    play(venue, scenario)


# --- cancels ---------------------------------------------------------------------------------------


def test_a_cancelled_order_ends_and_is_no_longer_listed(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.session.cancel(ORDER, rig.symbols[0])
        end = await rig.heard(OrderEventKind.CANCELED)
        assert (end.state, end.cum_qty) == (OrderState.CANCELED, 0)
        assert await rig.session.open_orders() == []
        told = await rig.answer(OrderEventKind.STATUS, OrderEventKind.CANCELED)
        assert told.state == OrderState.CANCELED

    play(venue, scenario)


def test_a_partly_filled_order_is_cancelled_with_what_it_got(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=8 * E8, tif=GTC)
        await until(lambda: rig.bought() == 5 * E8)
        rig.session.cancel(ORDER, rig.symbols[0])
        end = await rig.heard(OrderEventKind.CANCELED)
        assert (end.state, end.cum_qty, end.cum_quote) == (OrderState.CANCELED, 5 * E8, 505 * E8)

    play(venue, scenario)


def test_the_cancel_of_a_filled_order_is_refused_and_a_query_tells_why(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place()
        await until(lambda: rig.bought() == 3 * E8)
        rig.session.cancel(ORDER, rig.symbols[0])
        refused = await rig.heard(OrderEventKind.CANCEL_REJECTED)
        assert refused.code < 0
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty) == (OrderState.FILLED, 3 * E8)

    play(venue, scenario)


# --- what is refused -------------------------------------------------------------------------------


def test_an_over_precise_quantity_is_refused(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=3 * E8 + 1)
        refused = await rig.heard(OrderEventKind.REJECTED)
        assert refused.code < 0
        assert rig.trades_at_the_venue() == 0

    play(venue, scenario)


def test_an_order_without_the_funds_is_refused(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(side=Side.SELL, price=101 * E8, qty=11 * E8, tif=GTC)
        assert (await rig.heard(OrderEventKind.REJECTED)).code < 0
        assert rig.session.counters["rejected"] == 1

    play(venue, scenario)


def test_a_client_id_used_twice_proves_nothing_and_makes_no_second_order(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.place(price=90 * E8, tif=GTC)
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code < 0
        assert len(await rig.session.open_orders()) == 1
        assert (await rig.answer(OrderEventKind.STATUS)).state == OrderState.ACKED

    play(venue, scenario)


def test_values_that_are_no_order_never_leave(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=0)
        rig.place(price=-1)
        rig.session.place(ORDER, "NOSUCH", Side.BUY, OrderType.LIMIT, IOC, 101 * E8, E8)
        rig.session.place(ORDER, rig.symbols[0], Side.NONE, OrderType.LIMIT, IOC, 101 * E8, E8)
        rig.session.deny(ORDER, rig.symbols[0])
        codes = [event.code for event in rig.of(OrderEventKind.NOT_SENT)]
        assert codes == [LocalCode.BAD_VALUE] * 4 + [LocalCode.NOT_PERMITTED]
        assert (rig.session.counters["sent"], rig.session.counters["not_sent"]) == (0, 5)

    play(venue, scenario)


def test_a_rehearsed_order_does_nothing(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        before = dict(rig.session.counters)
        rig.session.rehearse(ORDER, rig.symbols[0], Side.BUY, OrderType.LIMIT, IOC, 101 * E8, E8)
        assert rig.sink.events == []
        assert rig.session.counters == before
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None

    play(venue, scenario)


# --- doubt, and how it ends ------------------------------------------------------------------------


def test_an_order_the_venue_never_saw_is_not_found(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        told = await rig.answer(OrderEventKind.NOT_FOUND)
        assert told.code < 0

    play(venue, scenario)


@pytest.mark.parametrize(
    "fault",
    [
        FaultKind.RESET_AFTER_ACCEPT,
        FaultKind.ERROR_AFTER_ACCEPT,
        FaultKind.CLOSE_MID_FRAME,
    ],
)
def test_a_lost_answer_is_ambiguous_and_a_query_resolves_it_without_a_second_order(venue: str, fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(fault, target="order.place")
        rig.place(qty=8 * E8)
        await rig.heard(OrderEventKind.AMBIGUOUS)
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.state in (OrderState.EXPIRED, OrderState.CANCELED), status.cum_qty) == (True, 5 * E8)
        assert rig.bought() == 5 * E8
        assert rig.trades_at_the_venue() == 1
        assert rig.session.counters["ambiguous"] == 1

    play(venue, scenario)


def test_a_swallowed_answer_is_resolved_by_query_without_a_second_order(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        rig.place(qty=8 * E8)
        await rig.heard(OrderEventKind.TRADE, OrderEventKind.AMBIGUOUS)
        status = await rig.answer(OrderEventKind.STATUS)
        assert rig.faults.counts == {FaultKind.DROP_RESPONSE: 1}
        assert (status.state in (OrderState.EXPIRED, OrderState.CANCELED), status.cum_qty) == (True, 5 * E8)
        assert rig.bought() == 5 * E8
        assert rig.trades_at_the_venue() == 1
        assert rig.session.counters["sent"] == 1
        assert not rig.of(OrderEventKind.REJECTED, OrderEventKind.NOT_SENT)

    play(venue, scenario)


def test_an_answer_given_twice_is_taken_for_no_other_order_and_doubles_nothing(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DUPLICATE_RESPONSE, target="order.place")
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.place(key=ORDER + 1, qty=2 * E8)
        await until(lambda: rig.bought(ORDER + 1) == 2 * E8 and rig.of(OrderEventKind.ACKED, key=ORDER + 1))
        status = await rig.answer(OrderEventKind.STATUS)
        assert rig.faults.counts == {FaultKind.DUPLICATE_RESPONSE: 1}
        assert (status.state, status.cum_qty) == (OrderState.ACKED, 0)
        ids = [{event.venue_order_id for event in rig.of(OrderEventKind.ACKED, key=key)} for key in (ORDER, ORDER + 1)]
        assert [len(one) for one in ids] == [1, 1]
        assert ids[0] != ids[1]
        (listed,) = await rig.session.open_orders()
        assert listed.key == ORDER
        assert rig.trades_at_the_venue() == 1
        doubts = (OrderEventKind.AMBIGUOUS, OrderEventKind.REJECTED, OrderEventKind.NOT_SENT)
        assert not rig.of(*doubts) + rig.of(*doubts, key=ORDER + 1)
        assert rig.session.counters["sent"] == 2

    play(venue, scenario)


def test_an_order_lost_on_its_way_is_not_found(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_REQUEST, target="order.place")
        rig.place()
        await rig.heard(OrderEventKind.SENT)
        await rig.answer(OrderEventKind.NOT_FOUND)
        assert rig.trades_at_the_venue() == 0
        assert not rig.of(OrderEventKind.REJECTED)

    play(venue, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_under_faults_at_random_no_fill_is_lost_doubled_or_another_orders(venue: str, seed: int) -> None:
    chance = random.Random(seed)
    losses = [FaultKind.RESET_AFTER_ACCEPT, FaultKind.ERROR_AFTER_ACCEPT, FaultKind.CLOSE_MID_FRAME, FaultKind.DROP_REQUEST]

    async def scenario(rig: Rig) -> None:
        keys = [ORDER + number for number in range(10)]
        for key in keys:
            await until(lambda: rig.session.ready)
            fault = chance.choice([None, *losses])
            if fault is not None:
                rig.faults.inject(fault, target="order.place")
            rig.place(
                key, price=chance.choice([99, 101, 102]) * E8, qty=chance.randrange(1, 9) * E8, tif=chance.choice([GTC, IOC])
            )
            await rig.heard(OrderEventKind.SENT, OrderEventKind.NOT_SENT, OrderEventKind.AMBIGUOUS, key=key)
            if chance.random() < 0.3:
                rig.session.cancel(chance.choice(keys), rig.symbols[0])

        def resolved(key: int) -> bool:
            ends = (OrderEventKind.STATUS, OrderEventKind.NOT_FOUND, OrderEventKind.CANCELED)
            return any(event.flags & OrderEventFlag.FROM_QUERY for event in rig.of(*ends, key=key))

        for key in keys:
            while not resolved(key):
                await until(lambda: rig.session.ready and rig.session.pending_requests == 0)
                rig.session.query(key, rig.symbols[0])
                with contextlib.suppress(TimeoutError):
                    await until(lambda key=key: resolved(key), 0.5)  # type: ignore[misc]
        desk = rig.exchange.desk
        names = {order.order_id: order.client_id for (symbol, _), order in desk.orders.items() if symbol == 0}
        there = sorted(
            (names[row["orderId"]], row["id"], row["qty"]) for row in rig.exchange.my_trades("paper", {"symbol": rig.symbols[0]})
        )
        here = sorted((rig.client_id(key), fill.trade_id, format_e8(fill.last_qty)) for key in keys for fill in rig.fills(key))
        assert here == there
        assert len(set(names.values())) == len(names)

    play(venue, scenario)


# --- the session's life ----------------------------------------------------------------------------


def test_a_cut_connection_comes_back_is_reconciled_and_takes_orders_again(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.cut()
        await until(lambda: rig.reconciled == 1)
        assert rig.session.ready
        assert rig.session.counters["reconnects"] == 1
        rig.place()
        await until(lambda: rig.bought() == 3 * E8)

    play(venue, scenario)


def test_nothing_is_sent_without_a_connection(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.session.close()
        assert not rig.session.ready
        rig.place()
        assert (await rig.heard(OrderEventKind.NOT_SENT)).code == LocalCode.DISCONNECTED
        assert rig.trades_at_the_venue() == 0

    play(venue, scenario)


def test_an_order_is_cancelled_while_its_connection_is_down(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        if rig.network is not None:
            rig.network.refuse()
        rig.cut()
        await until(lambda: not rig.session.ready)
        rig.session.cancel(ORDER, rig.symbols[0])
        await until(lambda: rig.exchange.open_orders("paper", {}) == [])
        await rig.heard(OrderEventKind.CANCELED)

    play(venue, scenario)


def test_a_new_session_reconciles_what_it_did_not_hear(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=8 * E8, tif=GTC)
        await until(lambda: rig.bought() == 5 * E8)
        await rig.session.close()
        state, bought, fills = OrderState.PARTIAL, 7 * E8, 2
        if rig.cancels_on_disconnect:
            state, bought, fills = OrderState.CANCELED, 5 * E8, 1
            await until(lambda: rig.exchange.open_orders("paper", {}) == [])
        rig.exchange.take(0, Side.SELL, 2 * E8, 101 * E8)
        rig.session = rig.new_session()
        await rig.session.connect()
        rig.sink.take()
        view = EngineView((LiveOrder(ORDER, 0), LiveOrder(ORDER + 1, 1)), {})
        outcome = await reconcile(rig.session, view, rig.sink, 5, LiveClock())
        events = rig.sink.take()
        assert [(event.kind, event.key) for event in events] == [
            *[(OrderEventKind.TRADE, ORDER)] * fills,
            (OrderEventKind.STATUS, ORDER),
            (OrderEventKind.NOT_FOUND, ORDER + 1),
        ]
        assert (events[fills].state, events[fills].cum_qty) == (state, bought)
        assert (outcome.resolved, outcome.not_found, outcome.trades) == (1, 1, fills)

    play(venue, scenario)


def test_an_order_of_another_store_with_the_same_key_is_somebody_elses(venue: str) -> None:
    """A second daemon of the account, elsewhere, or this one's earlier store."""

    async def scenario(rig: Rig) -> None:
        theirs = type(rig.names)("0THERTAG").order(ORDER)
        order = {"symbol": rig.symbols[0], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "newClientOrderId": theirs}
        rig.exchange.place("paper", {**order, "quantity": "8", "price": "101"})
        (listed,) = await rig.session.open_orders()
        assert (listed.key, listed.cum_qty) == (None, 5 * E8)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None
        await rig.answer(OrderEventKind.NOT_FOUND)
        rig.place(tif=GTC, price=90 * E8)
        await rig.heard(OrderEventKind.ACKED)
        assert {(one.key, one.cum_qty) for one in await rig.session.open_orders()} == {(None, 5 * E8), (ORDER, 0)}
        assert not rig.fills()

    play(venue, scenario)


# --- listings --------------------------------------------------------------------------------------


def test_open_orders_fills_and_single_orders_are_listed(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=8 * E8, tif=GTC)
        rig.place(key=ORDER + 1, price=90 * E8, qty=E8, tif=GTC)
        await until(lambda: rig.bought() == 5 * E8 and rig.of(OrderEventKind.ACKED, key=ORDER + 1))
        rig.exchange.place(
            "paper",
            {"symbol": rig.symbols[1], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "80"},
        )
        listed = await rig.session.open_orders()
        assert {(order.key, order.symbol, order.state, order.cum_qty) for order in listed} == {
            (ORDER, 0, OrderState.PARTIAL, 5 * E8),
            (ORDER + 1, 0, OrderState.ACKED, 0),
            (None, 1, OrderState.ACKED, 0),
        }
        of_second = await rig.session.open_orders(rig.symbols[1])
        assert [(order.key, order.symbol) for order in of_second] == [(None, 1)]
        (trade,) = await rig.session.my_trades(rig.symbols[0])
        (fill,) = rig.fills()
        assert (trade.trade_id, trade.venue_order_id, trade.qty) == (fill.trade_id, fill.venue_order_id, fill.last_qty)
        assert (trade.commission, trade.fee_asset) == (fill.commission, fill.fee_asset)
        assert await rig.session.my_trades(rig.symbols[0], from_id=trade.trade_id + 1) == []
        assert await rig.session.my_trades(rig.symbols[0], venue_order_id=trade.venue_order_id) == [trade]
        found = await rig.session.find_order(rig.symbols[0], venue_order_id=trade.venue_order_id)
        assert found is not None
        assert (found.key, found.price, found.qty) == (ORDER, 101 * E8, 8 * E8)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER + 2) is None

    play(venue, scenario)


def test_instruments_describe_what_the_venue_takes(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.sink.deliver(0, await rig.session.instruments(reload=True))
        values = {(symbol, field): value for _, symbol, value, field in rig.sink.controls}
        assert values[0, 1] == 1
        assert values[0, 2] == E8 // 100
        assert values[1, 5] == E8 // 1000
        assert values[0, 8] == 5 * E8

    play(venue, scenario)


def test_nothing_is_pending_and_nothing_unexplained_after_a_quiet_session(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place()
        await until(lambda: rig.bought() == 3 * E8 and rig.answers() == 1)
        await until(lambda: rig.session.pending_requests == 0)
        counters = rig.session.counters
        silent = ("not_sent", "rejected", "ambiguous", "malformed", "foreign", "query_errors", "reconnects")
        assert {name: counters[name] for name in silent} == dict.fromkeys(silent, 0)
        assert counters["sent"] == 1
        assert rig.session.stream_trades == 1

    play(venue, scenario)
