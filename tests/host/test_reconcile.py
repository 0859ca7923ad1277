import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import VenueError
from sentinel.host.reconcile import EngineView, LiveOrder, Reconciliation, engine_view, reconcile
from sentinel.host.venues.contract import VenueOrder
from sentinel.host.venues.order_events import foreign_key
from sentinel.units import E8, NS_PER_S
from sentinel.wire import (
    Command,
    Kind,
    OrderEventFlag,
    OrderEventKind,
    OrderState,
    Side,
    Venue,
    client_key,
    record_views,
)
from tests.engine.world import World
from tests.host.venue_truth import Truth
from tests.host.venues.offline_session import ManualClock, Sink

KEY = client_key(1, 1, 1)


def run(truth: Truth, orders: list[LiveOrder] | None = None, last: dict[int, int] | None = None) -> tuple[Reconciliation, Sink]:
    sink = Sink()
    view = EngineView(tuple(orders or ()), last or {})
    outcome = asyncio.run(reconcile(truth, view, sink, 3, ManualClock()))  # type: ignore[arg-type]
    return outcome, sink


def test_records_name_the_venue_of_the_session() -> None:
    truth = Truth(venue=Venue.COINBASE)
    truth.fill(truth.add_order(KEY), 2)
    batches: list[Any] = []

    class Kept:
        def deliver(self, source: int, records: Any) -> None:
            batches.append(records)

    view = EngineView((LiveOrder(KEY, 0),), {})
    asyncio.run(reconcile(truth, view, Kept(), 3, ManualClock()))  # type: ignore[arg-type]
    told = record_views(batches[0].copy()).order1[:2]
    assert told["kind"].tolist() == [Kind.ORDER_EVENT] * 2
    assert set(told["venue"].tolist()) == {Venue.COINBASE}


def test_the_session_is_told_which_live_orders_the_venue_had_taken() -> None:
    world, place = engine_with_an_order()
    truth = Truth()
    asyncio.run(reconcile(truth, world.state, Sink(), 3, ManualClock()))  # type: ignore[arg-type]
    assert truth.recalled == []
    world.order(place["client_key"], OrderEventKind.ACKED, venue_order_id=55).run()
    asyncio.run(reconcile(truth, world.state, Sink(), 3, ManualClock()))  # type: ignore[arg-type]
    (order,) = truth.recalled
    assert (order.key, order.symbol, order.venue_order_id, order.side) == (place["client_key"], 0, 55, place["side"])
    assert (order.qty, order.price, order.cum_qty, order.state) == (place["qty"], place["price"], 0, OrderState.ACKED)
    assert order.t_update_ns == place["t"]


def test_a_live_order_is_told_with_all_its_fills_then_its_status() -> None:
    truth = Truth()
    order = truth.fill(truth.fill(truth.add_order(KEY), 2), 3, commission=7)
    outcome, sink = run(truth, [LiveOrder(KEY, 0)])
    first, second, status = sink.events
    assert [(e.kind, e.last_qty, e.cum_qty, e.cum_quote, e.commission) for e in (first, second)] == [
        (OrderEventKind.TRADE, 2 * E8, 2 * E8, 2 * E8, 0),
        (OrderEventKind.TRADE, 3 * E8, 5 * E8, 5 * E8, 7),
    ]
    assert (status.kind, status.state, status.cum_qty, status.venue_order_id) == (
        OrderEventKind.STATUS,
        OrderState.PARTIAL,
        5 * E8,
        order.venue_order_id,
    )
    assert {e.key for e in sink.events} == {KEY}
    assert (outcome.resolved, outcome.trades, outcome.rounds) == (1, 2, 1)
    assert sink.controls[0] == (Command.BASE_BALANCE, 0, 5 * E8, 0)


def test_an_order_the_venue_does_not_have_is_not_found() -> None:
    outcome, sink = run(Truth(), [LiveOrder(KEY, 1)])
    (event,) = sink.events
    assert (event.kind, event.key, event.symbol) == (OrderEventKind.NOT_FOUND, KEY, 1)
    assert outcome.not_found == 1


def test_a_fill_of_a_finished_order_that_was_missed_is_told() -> None:
    truth = Truth()
    seen = truth.fill(truth.add_order(KEY), 9, OrderState.FILLED)
    truth.fill(truth.add_order(KEY + 1), 4, OrderState.CANCELED)
    outcome, sink = run(truth, [], {0: truth.trades[0].trade_id})
    assert [(e.kind, e.key) for e in sink.events] == [(OrderEventKind.TRADE, KEY + 1), (OrderEventKind.STATUS, KEY + 1)]
    assert (outcome.unlisted_here, outcome.last_trade_ids) == (1, {0: truth.trades[1].trade_id})
    assert seen.key == KEY


def test_open_orders_of_others_and_of_ours_are_told_apart() -> None:
    truth = Truth()
    ours = truth.fill(truth.add_order(KEY + 5), 1)
    theirs = truth.fill(truth.add_order(None, symbol=1), 2)
    truth.add_order(None, symbol=-1)
    outcome, sink = run(truth)
    trade, status, foreign = sink.events
    assert [(e.kind, e.key) for e in (trade, status)] == [(OrderEventKind.TRADE, KEY + 5), (OrderEventKind.STATUS, KEY + 5)]
    assert (foreign.kind, foreign.key) == (OrderEventKind.STATUS, foreign_key(1, theirs.venue_order_id))
    assert foreign.flags & OrderEventFlag.FOREIGN
    assert not status.flags & OrderEventFlag.FOREIGN
    assert (outcome.foreign_orders, outcome.unlisted_here) == (1, 1)
    assert ours.symbol == 0


def test_finished_trades_of_others_are_only_counted() -> None:
    truth = Truth()
    truth.fill(truth.add_order(None), 9, OrderState.FILLED)
    outcome, sink = run(truth, [], {0: 5})
    assert sink.events == []
    assert outcome.foreign_trades == 1
    assert sink.controls[0] == (Command.BASE_BALANCE, 0, 9 * E8, 0)


def test_a_fill_during_the_reading_of_balances_makes_another_round() -> None:
    truth = Truth()
    order = truth.add_order(KEY)
    truth.during_balances.append(lambda: void(truth.fill(order, 3)))
    outcome, sink = run(truth, [LiveOrder(KEY, 0)])
    assert outcome.rounds == 2
    assert [e.kind for e in sink.events] == [OrderEventKind.TRADE, OrderEventKind.STATUS]
    assert [value for _, symbol, value, _ in sink.controls if symbol == 0] == [3 * E8]


def _told_and_owned(sink: Sink) -> tuple[int, int]:
    """What the last round told of fills, and the balance that came with it."""
    told = sum(event.last_qty for event in sink.events if event.kind == OrderEventKind.TRADE)
    return told, next(value for command, symbol, value, _ in sink.controls if (command, symbol) == (Command.BASE_BALANCE, 0))


def test_a_fill_after_the_look_at_its_order_is_told_before_balances_hold_it() -> None:
    """The stream may bring it later still: it would then be counted on top of the balances."""
    truth = Truth()
    order = truth.add_order(KEY)
    truth.after_look.append(lambda: truth.fill(order, 9, OrderState.FILLED))
    outcome, sink = run(truth, [LiveOrder(KEY, 0)])
    assert _told_and_owned(sink) == (9 * E8, 9 * E8)
    assert outcome.rounds == 2


def test_a_foreign_fill_after_the_listing_of_open_orders_is_in_what_is_told_of_it() -> None:
    truth = Truth()
    order = truth.add_order(None)
    truth.after_listing.append(lambda: truth.fill(order, 4))
    _, sink = run(truth)
    (status,) = sink.events
    assert status.cum_qty == _told_and_owned(sink)[1] == 4 * E8


def test_an_order_opened_during_the_listing_makes_another_round() -> None:
    truth = Truth()
    truth.add_order(None)
    truth.after_listing.append(lambda: truth.add_order(None, symbol=1))
    outcome, sink = run(truth)
    assert outcome.rounds == 2
    assert {event.symbol for event in sink.events} == {0, 1}


def test_orders_of_high_epochs_are_asked_for_under_the_id_they_were_sent_with() -> None:
    world = World().start(epoch=40_000).quiet()
    world.pump()
    world.retrace()
    (place,) = world.places()
    (order,) = engine_view(world.state).orders
    assert order.key == place["client_key"] > 1 << 63
    truth = Truth()
    truth.fill(truth.add_order(order.key, side=Side.SELL), 9, OrderState.FILLED)
    outcome, _ = run(truth, [order])
    assert outcome.resolved == 1


def test_a_fill_seen_on_the_stream_meanwhile_makes_another_round() -> None:
    truth = Truth()

    def seen() -> None:
        truth.stream_trades += 1

    truth.during_balances.append(seen)
    outcome, _ = run(truth, [])
    assert outcome.rounds == 2


def test_an_account_that_never_rests_is_refused_and_nothing_is_told() -> None:
    truth = Truth()

    def seen() -> None:
        truth.stream_trades += 1

    truth.during_balances = [seen] * 100
    sink = Sink()
    with pytest.raises(VenueError, match="at rest"):
        asyncio.run(reconcile(truth, EngineView((), {}), sink, 3, ManualClock()))  # type: ignore[arg-type]
    assert (sink.events, sink.controls) == ([], [])


def void(_: object) -> None:
    return None


@settings(max_examples=80)
@given(st.data())
def test_what_the_engine_knew_and_what_it_is_told_is_the_venues_truth_fill_by_fill(data: st.DataObject) -> None:
    truth = Truth()
    ends = [OrderState.ACKED, OrderState.PARTIAL, OrderState.CANCELED, OrderState.EXPIRED]
    orders: list[VenueOrder] = []
    for n in range(data.draw(st.integers(0, 5))):
        ours = data.draw(st.booleans())
        orders.append(truth.add_order(KEY + n if ours else None, symbol=data.draw(st.integers(0, 1))))
    for _ in range(data.draw(st.integers(0, 10))):
        if orders:
            which = data.draw(st.integers(0, len(orders) - 1))
            if orders[which].cum_qty < orders[which].qty:
                orders[which] = truth.fill(orders[which], 1, data.draw(st.sampled_from(ends)))
    # The engine saw a prefix of the trades on each symbol; an order it has not seen end is live for it.
    known: set[tuple[int, int]] = set()
    last: dict[int, int] = {}
    for symbol in range(2):
        ids = [t.trade_id for t in truth.trades if t.symbol == symbol]
        seen = ids[: data.draw(st.integers(0, len(ids)))]
        known |= {(symbol, trade_id) for trade_id in seen}
        if seen:
            last[symbol] = seen[-1]
    live = [LiveOrder(o.key, o.symbol) for o in orders if o.key is not None and data.draw(st.booleans())]
    for order in orders:
        missed = [t for t in truth.trades if t.venue_order_id == order.venue_order_id and (t.symbol, t.trade_id) not in known]
        # An order with unseen fills on a symbol never traded can only be known to the engine as live.
        if missed and order.key is not None and order.symbol not in last:
            live.append(LiveOrder(order.key, order.symbol))
    outcome, sink = run(truth, sorted(set(live), key=lambda o: o.key), last)
    told = {(e.symbol, e.trade_id): e for e in sink.events if e.kind == OrderEventKind.TRADE}
    by_order = {o.venue_order_id: o for o in orders}
    own = {(t.symbol, t.trade_id) for t in truth.trades if by_order[t.venue_order_id].key is not None}
    assert own - known <= set(told)
    assert set(told) <= own
    for trade in truth.trades:
        event = told.get((trade.symbol, trade.trade_id))
        if event is not None:
            assert (event.last_qty, event.last_price, event.key) == (trade.qty, trade.price, by_order[trade.venue_order_id].key)
            earlier = [t for t in truth.trades if t.venue_order_id == trade.venue_order_id and t.trade_id <= trade.trade_id]
            assert event.cum_qty == sum(t.qty for t in earlier)
    statuses = {e.key: e for e in sink.events if e.kind == OrderEventKind.STATUS and not e.flags & OrderEventFlag.FOREIGN}
    for one in live:
        order = next(o for o in orders if o.key == one.key)
        assert (statuses[one.key].state, statuses[one.key].cum_qty) == (order.state, order.cum_qty)
    assert outcome.foreign_orders == sum(o.key is None and o.state in (OrderState.ACKED, OrderState.PARTIAL) for o in orders)


# With the engine itself


def engine_with_an_order() -> tuple[World, dict[str, Any]]:
    """An engine that has just sent a sell order and was then started anew."""
    world = World().start().quiet()
    world.wait(NS_PER_S).bbo(1.049, 1.051).trade(1.05).wait(NS_PER_S).bbo(1.034, 1.036).trade(1.035).run()
    (place,) = world.of(Kind.PLACE)
    world.order(place["client_key"], OrderEventKind.SENT).run()
    world.wait(NS_PER_S).control(Command.EPOCH, id=2).control(Command.RECOVERING).run()
    return world, place


def settle(world: World, truth: Truth) -> Reconciliation:
    class Feed:
        def deliver(self, source: int, records: Any) -> None:
            world.feed(np.ascontiguousarray(records))

    clock = ManualClock()
    clock.ns = world.now
    outcome: Reconciliation = asyncio.run(reconcile(truth, world.state, Feed(), 3, clock))  # type: ignore[arg-type]
    return outcome


def test_the_engine_adopts_what_happened_while_it_was_away_once_however_often_it_is_told() -> None:
    world, place = engine_with_an_order()
    view = engine_view(world.state)
    assert view.orders == (LiveOrder(place["client_key"], 0),)
    truth = Truth(base=[1_000 * E8, 1_000 * E8])
    order = truth.add_order(place["client_key"], side=Side.SELL, price=place["price"], qty=place["qty"] // E8 + 1)
    truth.orders[0] = order = VenueOrder(**{name: getattr(order, name) for name in order.__slots__} | {"qty": place["qty"]})
    assert place["qty"] > 300 * E8
    truth.fill(truth.fill(order, 100), 200, OrderState.EXPIRED)
    for _ in range(2):
        settle(world, truth)
        row = world.state.orders[world.state.orders["key"] == place["client_key"]][0]
        assert row["state"] == OrderState.EXPIRED
        assert row["cum_qty"] == 300 * E8
        assert world.symbol()["inventory"] == 700 * E8
        assert world.symbol()["position"] == -300 * E8
        assert engine_view(world.state) == EngineView((), {0: 1001})
    assert world.c["contradictions"] == 0


def test_a_fill_lost_between_two_that_came_is_told_though_its_order_has_ended() -> None:
    world, place = engine_with_an_order()
    truth = Truth(base=[1_000 * E8, 1_000 * E8])
    order = truth.add_order(place["client_key"], side=Side.SELL, price=place["price"])
    truth.orders[0] = order = VenueOrder(**{name: getattr(order, name) for name in order.__slots__} | {"qty": place["qty"]})
    truth.fill(truth.fill(order, 100, commission=3 * E8), 200, OrderState.EXPIRED, commission=5 * E8)
    world.fill(place, 200, 300, price=place["price"] / E8, trade_id=1001, commission=5 * E8)
    world.order(place["client_key"], OrderEventKind.EXPIRED, cum_qty=300 * E8).run()
    assert engine_view(world.state) == EngineView((LiveOrder(place["client_key"], 0),), {0: 1001})
    fees = int(world.g["fees_quote"])
    for _ in range(2):
        settle(world, truth)
        row = world.state.orders[world.state.orders["key"] == place["client_key"]][0]
        assert (row["state"], row["cum_qty"], row["trade_qty"]) == (OrderState.EXPIRED, 300 * E8, 300 * E8)
        assert int(world.g["fees_quote"]) == fees + 3 * E8
        assert engine_view(world.state) == EngineView((), {0: 1001})
    assert world.c["contradictions"] == 0


def test_an_order_the_venue_never_saw_stays_in_doubt_until_the_engines_own_queries_have_proved_it() -> None:
    world, place = engine_with_an_order()
    settle(world, Truth(base=[1_000 * E8, 1_000 * E8]))
    row = world.state.orders[world.state.orders["key"] == place["client_key"]][0]
    assert row["state"] == OrderState.UNKNOWN
    for _ in range(2):
        for _ in range(60):
            if world.of(Kind.QUERY, world.wait(NS_PER_S).tick().run()):
                break
        else:
            pytest.fail("the engine did not ask within a minute")
        world.order(place["client_key"], OrderEventKind.NOT_FOUND).run()
    row = world.state.orders[world.state.orders["key"] == place["client_key"]][0]
    assert row["state"] == OrderState.NEVER_ACCEPTED


def test_a_foreign_open_order_halts_its_symbol_and_counts_in_exposure() -> None:
    world = World().start()
    truth = Truth(base=[1_000 * E8, 1_000 * E8])
    truth.add_order(None, symbol=1)
    truth.add_order(None, symbol=1)
    settle(world, truth)
    assert world.c["foreign_orders"] == 2
    assert world.symbol(1)["halt"] != 0
    assert world.symbol(1)["open_buy"] == 18 * E8
    assert engine_view(world.state) == EngineView((), {})
