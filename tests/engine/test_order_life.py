"""The order's life: whatever the order, number and path of what the venue says, the same end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from numpy.typing import NDArray

from sentinel.engine.layout import ORDER_SLOTS, TRADE_GENERATION
from sentinel.engine.orders import QUERY_INTERVAL_NS, is_live, next_state
from sentinel.engine.readout import last_trade_ids, live_orders
from sentinel.engine.state import load_state_arrays, state_arrays
from sentinel.units import E8
from sentinel.wire import TERMINAL_STATES, Command, FeeAsset, Kind, OrderEventFlag, OrderEventKind, OrderState, Side, SignalCode
from tests.engine.world import MS, SECOND, World

E = OrderEventKind


class Sent(World):
    """A world with one entry order just placed, and a way back to that moment."""

    def __init__(self, pump: bool = True) -> None:
        super().__init__()
        self.start().quiet()
        self.pump(1.2 if pump else 0.8)
        self.retrace(1.13 if pump else 0.87)
        self.place = self.places()[-1]
        self.key = self.place["client_key"]
        self.moment = {name: array.copy() for name, array in state_arrays(self.state).items()}
        self.placed_at = self.now

    def again(self) -> Sent:
        load_state_arrays(self.state, self.moment)
        self.now, self.effects = self.placed_at, []
        return self

    def say(self, event: int, **fields: int) -> Sent:
        self.order(self.key, event, side=self.place["side"], **fields)
        return self

    @property
    def state_now(self) -> OrderState:
        return OrderState(int(self.order_record["state"]))

    @property
    def order_record(self) -> Any:
        return self.state.orders[self.state.orders["key"] == self.key][0]

    def account(self) -> tuple[int, ...]:
        o, y, g = self.order_record, self.symbol(), self.g
        order = [int(o[name]) for name in ("state", "cum_qty", "cum_quote", "trade_qty", "trade_quote", "open_notional")]
        held = [int(y[name]) for name in ("inventory", "position", "cost", "fees", "open_buy", "open_sell", "live", "unknown")]
        return (*order, *held, int(g["cash"]), int(g["fees_quote"]), int(g["live_orders"]), int(g["open_notional"]))


@pytest.fixture(scope="module")
def sold() -> Sent:
    return Sent(pump=True)


@pytest.fixture(scope="module")
def bought() -> Sent:
    return Sent(pump=False)


@hs.composite
def histories(draw: hs.DrawFn) -> tuple[list[tuple[int, dict[str, int]]], list[int]]:
    """What a venue may truly say of one order of 100 parts, and the sequence (with repeats) in which it arrives."""
    fills = draw(hs.lists(hs.integers(1, 30), max_size=3))
    ends = draw(hs.sampled_from([None, E.CANCELED, E.EXPIRED, E.REJECTED]))
    if ends == E.REJECTED:
        fills = []
    if draw(hs.booleans()) and ends != E.REJECTED:
        fills, ends = [*fills, 100 - sum(fills)], None
    said: list[tuple[int, dict[str, int]]] = [(E.SENT, {})]
    if draw(hs.booleans()):
        said.append((E.AMBIGUOUS, {}))
    if ends != E.REJECTED and (fills or ends or draw(hs.booleans())):
        said.append((E.ACKED, {}))
    parts = quote = 0
    for number, fill in enumerate(fills):
        parts += fill
        quote += fill * (100 + number)
        said.append((E.TRADE, {"parts": fill, "cum": parts, "quote": quote, "price": 100 + number, "trade_id": 50 + number}))
        if draw(hs.booleans()):
            state = OrderState.FILLED if parts == 100 else OrderState.PARTIAL
            said.append((E.STATUS, {"cum": parts, "quote": quote, "state": state}))
    if ends is not None:
        said.append((ends, {"cum": parts, "quote": quote}))
    indices = list(range(len(said)))
    arrival = draw(hs.permutations(indices + draw(hs.lists(hs.sampled_from(indices), max_size=4))))
    return said, list(arrival)


def _tell(world: Sent, said: list[tuple[int, dict[str, int]]], arrival: list[int]) -> tuple[int, ...]:
    world.again()
    part = world.place["qty"] // 100
    fee_asset = FeeAsset.BASE if world.place["side"] == Side.BUY else FeeAsset.QUOTE
    for index in arrival:
        event, about = said[index]
        fields = {"cum_qty": about.get("cum", 0) * part, "cum_quote": about.get("quote", 0) * part // 100}
        if about.get("cum") == 100:
            fields["cum_qty"] = world.place["qty"]
        if event == E.TRADE:
            fields |= {"last_qty": about["parts"] * part, "last_price": about["price"] * E8 // 100}
            fields |= {"trade_id": about["trade_id"], "commission": 1000 + about["parts"], "fee_asset": fee_asset}
        if event == E.STATUS:
            fields["state"] = about["state"]
        world.say(event, **fields)
    world.run()
    return world.account()


@settings(max_examples=150)
@given(history=histories(), pump=hs.booleans())
def test_any_order_and_number_of_arrivals_ends_the_same(
    sold: Sent, bought: Sent, history: tuple[list[tuple[int, dict[str, int]]], list[int]], pump: bool
) -> None:
    world = sold if pump else bought
    said, arrival = history
    straight = _tell(world, said, list(range(len(said))))
    assert _tell(world, said, arrival) == straight


STATES = [state for state in OrderState if state != OrderState.FREE]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", list(E))
def test_repeating_an_event_changes_nothing_more(state: OrderState, event: E) -> None:
    for cum in (0, 5):
        once = next_state(int(state), int(event), int(OrderState.ACKED), cum, 10, True)
        twice = next_state(once, int(event), int(OrderState.ACKED), cum, 10, True)
        if once == OrderState.UNKNOWN and state in (OrderState.REJECTED, OrderState.NEVER_ACCEPTED):
            # The venue insists on a life it had denied: believed, for a live order is the safe reading.
            assert is_live(twice)
        else:
            assert twice == once


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", list(E))
def test_a_whole_fill_wins_over_everything(state: OrderState, event: E) -> None:
    assert next_state(int(state), int(event), int(OrderState.CANCELED), 10, 10, True) == OrderState.FILLED


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES - {OrderState.REJECTED, OrderState.NEVER_ACCEPTED}))
@pytest.mark.parametrize("event", list(E))
def test_a_finished_order_never_lives_again(state: OrderState, event: E) -> None:
    after = next_state(int(state), int(event), int(OrderState.ACKED), 3, 10, True)
    assert not is_live(after)


@pytest.mark.parametrize("event", [E.ACKED, E.TRADE])
@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.NEVER_ACCEPTED])
def test_life_after_refusal_is_a_contradiction_to_ask_about(state: OrderState, event: E) -> None:
    assert next_state(int(state), int(event), 0, 3, 10, True) == OrderState.UNKNOWN


def test_ambiguous_outcome_freezes_the_order_and_counts_it_worst_case(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.AMBIGUOUS).run()
    assert sold.state_now == OrderState.UNKNOWN
    assert int(sold.symbol()["unknown"]) == 1
    assert int(sold.symbol()["open_sell"]) == sold.place["qty"]
    assert sold.signals(SignalCode.ORDER_UNKNOWN)


def test_missing_ack_makes_the_order_unknown_at_the_time_out_and_not_before(sold: Sent) -> None:
    sold.again().say(E.SENT).run()
    sold.wait(500 * MS - 1).tick().run()
    assert sold.state_now == OrderState.SENT
    sold.wait(1).tick().run()
    assert sold.state_now == OrderState.UNKNOWN


def test_query_waits_until_the_venue_can_no_longer_accept_the_order(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.AMBIGUOUS).run()
    sold.wait(sold.spec.resolve_ns).tick()
    assert not sold.of(Kind.QUERY, sold.run())
    sold.wait(1).tick()
    queries = sold.of(Kind.QUERY, sold.run())
    assert [q["client_key"] for q in queries] == [sold.key]
    assert queries[0]["side"] == Side.SELL


def test_queries_repeat_every_two_seconds(sold: Sent) -> None:
    sold.again().say(E.AMBIGUOUS).run()
    sold.wait(sold.spec.resolve_ns + 1)
    asked = 0
    for _ in range(100):
        sold.tick()
        asked += len(sold.of(Kind.QUERY, sold.run()))
        sold.wait(100 * MS)
    assert asked == 5


def _ask(world: Sent) -> None:
    world.tick()
    assert world.of(Kind.QUERY, world.run())


def test_two_not_found_after_the_bound_prove_never_accepted(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.AMBIGUOUS).run()
    sold.wait(sold.spec.resolve_ns + 1)
    _ask(sold)
    sold.say(E.NOT_FOUND).run()
    assert sold.state_now == OrderState.UNKNOWN
    sold.wait(QUERY_INTERVAL_NS)
    _ask(sold)
    sold.say(E.NOT_FOUND).run()
    assert sold.state_now == OrderState.NEVER_ACCEPTED
    assert int(sold.g["live_orders"]) == int(sold.symbol()["open_sell"]) == 0
    assert sold.signals(SignalCode.ORDER_RESOLVED)


def test_not_found_proves_nothing_before_the_engine_has_asked(sold: Sent) -> None:
    sold.again().say(E.AMBIGUOUS).run()
    for _ in range(5):
        sold.wait(3 * SECOND).say(E.NOT_FOUND).run()
    assert sold.state_now == OrderState.UNKNOWN


def test_one_query_allows_one_not_found_however_often_it_is_repeated(sold: Sent) -> None:
    sold.again().say(E.AMBIGUOUS).run()
    sold.wait(sold.spec.resolve_ns + 1)
    _ask(sold)
    sold.say(E.NOT_FOUND).say(E.NOT_FOUND).wait(QUERY_INTERVAL_NS + 1)
    sold.say(E.NOT_FOUND).run()
    assert sold.state_now == OrderState.UNKNOWN


def test_acknowledged_order_is_never_declared_never_accepted(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.ACKED).run()
    sold.wait(sold.spec.resolve_ns + 1)
    for _ in range(4):
        _ask(sold)
        sold.say(E.NOT_FOUND).run()
        sold.wait(QUERY_INTERVAL_NS)
    assert sold.state_now == OrderState.UNKNOWN


def test_status_from_a_query_is_adopted(sold: Sent) -> None:
    sold.again().say(E.AMBIGUOUS).run()
    half = sold.place["qty"] // 2
    sold.say(E.STATUS, state=OrderState.EXPIRED, cum_qty=half, cum_quote=half, venue_order_id=77).run()
    assert sold.state_now == OrderState.EXPIRED
    assert int(sold.symbol()["position"]) == -half
    assert int(sold.order_record["venue_order_id"]) == 77


@pytest.mark.parametrize(("field", "other", "adopted"), [("qty", 0, True), ("qty", 1, False), ("price", 1, False)])
def test_another_order_found_under_our_key_is_not_adopted(sold: Sent, field: str, other: int, adopted: bool) -> None:
    sold.again().say(E.SENT).say(E.AMBIGUOUS).run()
    place = sold.place
    fields = {"qty": place["qty"], "price": place["price"], "cum_qty": place["qty"], "cum_quote": E8}
    fields[field] += other
    sold.say(E.STATUS, state=OrderState.FILLED, **fields).run()
    assert sold.state_now == (OrderState.FILLED if adopted else OrderState.UNKNOWN)
    assert int(sold.c["bad_input"]) == int(not adopted)
    assert (int(sold.symbol()["position"]) != 0) == adopted


def test_fills_found_by_status_and_again_by_trades_count_once_and_fees_come_with_the_trades(sold: Sent) -> None:
    qty, price = sold.place["qty"], sold.place["price"]
    sold.again().say(E.SENT).say(E.AMBIGUOUS)
    sold.say(E.STATUS, state=OrderState.FILLED, cum_qty=qty, cum_quote=price * qty // E8).run()
    assert (int(sold.symbol()["position"]), int(sold.g["fees_quote"])) == (-qty, 0)
    for trade_id in (7, 8, 7):
        sold.say(E.TRADE, trade_id=trade_id, last_qty=qty // 2, last_price=price, commission=500)
    sold.run()
    assert (int(sold.symbol()["position"]), int(sold.g["fees_quote"])) == (-qty, 1000)
    assert int(last_trade_ids(sold.state)[0]) == 8


def test_trades_without_cumulative_quantity_add_up_by_their_ids(sold: Sent) -> None:
    qty, price = sold.place["qty"] // 4, sold.place["price"]
    sold.again()
    for trade_id in (1, 2, 1, 3, 2):
        sold.say(E.TRADE, trade_id=trade_id, last_qty=qty, last_price=price)
    sold.run()
    assert int(sold.symbol()["position"]) == -3 * qty
    assert sold.state_now == OrderState.PARTIAL
    assert int(sold.c["duplicate_fills"]) == 2


def test_fill_after_the_cancel_wins_its_quantity(sold: Sent) -> None:
    qty, price = sold.place["qty"], sold.place["price"]
    sold.again().say(E.ACKED).say(E.CANCELED)
    sold.say(E.TRADE, trade_id=1, last_qty=qty // 2, last_price=price, cum_qty=qty // 2).run()
    assert sold.state_now == OrderState.CANCELED
    assert int(sold.symbol()["position"]) == -(qty // 2)


def test_refusal_before_sending_ends_the_order_and_frees_the_exposure(sold: Sent) -> None:
    sold.again().say(E.NOT_SENT, error_code=-9).run()
    assert sold.state_now == OrderState.REJECTED
    assert int(sold.g["live_orders"]) == int(sold.g["open_notional"]) == 0
    assert int(sold.order_record["error_code"]) == -9


def test_not_sent_is_not_believed_once_the_bytes_have_left(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.NOT_SENT).run()
    assert sold.state_now == OrderState.SENT


def test_ioc_that_never_ends_is_asked_about(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.ACKED).run()
    sold.wait(sold.spec.resolve_ns).tick().run()
    assert sold.state_now == OrderState.ACKED
    sold.wait(1).tick()
    effects = sold.run()
    assert sold.state_now == OrderState.UNKNOWN
    assert sold.of(Kind.QUERY, effects)


def test_refused_cancel_is_not_taken_for_cancelled(sold: Sent) -> None:
    sold.again().say(E.ACKED).say(E.CANCEL_REJECTED).run()
    assert sold.state_now == OrderState.UNKNOWN
    _ask(sold)


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": 9},
        {"event": 0},
        {"event": 12},
        {"event": E.TRADE, "last_qty": 0, "trade_id": 1},
        {"event": E.TRADE, "last_qty": -5, "trade_id": 1},
        {"event": E.TRADE, "last_qty": 5},
        {"event": E.STATUS, "state": OrderState.UNKNOWN},
        {"event": E.STATUS, "state": OrderState.FREE},
        {"event": E.ACKED, "side": 7},
        {"event": E.ACKED, "side": Side.BUY},
        {"event": E.TRADE, "last_qty": 1 << 62, "last_price": 1 << 62, "trade_id": 1},
        {"event": E.TRADE, "last_qty": 5, "trade_id": 1, "commission": -1},
        {"event": E.ACKED, "fee_asset": 9},
    ],
)
def test_impossible_order_event_is_counted_and_changes_nothing(sold: Sent, fields: dict[str, int]) -> None:
    sold.again()
    before, bad = sold.account(), int(sold.c["bad_input"])
    values = {"side": sold.place["side"], "event": E.ACKED} | fields
    sold.order(sold.key, values.pop("event"), values.pop("symbol", 0), **values).run()
    assert sold.account() == before
    assert int(sold.c["bad_input"]) == bad + 1


def test_halves_of_different_orders_are_no_event(sold: Sent) -> None:
    sold.again().say(E.ACKED)
    sold.records[-1][1, 0] += 1
    before = sold.account()
    sold.run()
    assert sold.account() == before


def test_foreign_order_counts_in_exposure_and_halts_its_symbol(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.ACKED).run()
    before = int(sold.symbol()["open_buy"])
    sold.order(
        0xDEAD, E.STATUS, side=Side.BUY, state=OrderState.ACKED, qty=50 * E8, price=E8, flags=int(OrderEventFlag.FOREIGN)
    ).run()
    assert int(sold.symbol()["open_buy"]) == before + 50 * E8
    assert int(sold.symbol()["halt"]) != 0
    assert sold.signals(SignalCode.FOREIGN_ORDER)
    assert len(live_orders(sold.state)) == 1
    assert len(live_orders(sold.state, foreign=True)) == 2


def test_foreign_fill_moves_the_balance_and_not_the_position(sold: Sent) -> None:
    sold.again()
    inventory = int(sold.symbol()["inventory"])
    for _ in range(2):
        sold.order(
            0xBEEF,
            E.TRADE,
            side=Side.BUY,
            last_qty=2 * E8,
            last_price=E8,
            cum_qty=2 * E8,
            qty=2 * E8,
            trade_id=4,
            flags=int(OrderEventFlag.FOREIGN),
        )
    sold.run()
    assert int(sold.symbol()["inventory"]) == inventory + 2 * E8
    assert int(sold.symbol()["position"]) == 0


def test_unseen_trade_of_a_forgotten_order_halts_instead_of_guessing(sold: Sent) -> None:
    sold.again()
    sold.state.glob[0]["sequence"] = 10
    sold.order(sold.key + 5, E.TRADE, side=Side.SELL, last_qty=E8, last_price=E8, trade_id=99).run()
    assert int(sold.symbol()["position"]) == 0
    assert int(sold.symbol()["halt"]) != 0
    assert int(sold.c["late_order_events"]) == 1


def test_restart_doubts_every_live_order(sold: Sent) -> None:
    sold.again().say(E.SENT).say(E.ACKED).run()
    sold.control(Command.EPOCH, id=2).control(Command.RECOVERING).run()
    assert sold.state_now == OrderState.UNKNOWN
    assert int(sold.symbol()["unknown"]) == 1
    sold.say(E.STATUS, state=OrderState.ACKED).run()
    assert sold.state_now == OrderState.ACKED


def test_an_order_that_may_have_left_until_the_process_died_is_asked_about_only_a_whole_wait_later() -> None:
    """Stopped for a minute between journal and socket, then sent, then killed before it could say so."""
    world = World().start()
    world.quiet()
    world.pump()
    world.retrace()
    (place,) = world.places()
    world.wait(60 * SECOND).control(Command.EPOCH, id=2).control(Command.RECOVERING).control(Command.RECOVERED).tick().run()
    world.wait(world.spec.resolve_ns).tick().run()
    assert not world.of(Kind.QUERY)
    world.wait(MS).tick().run()
    assert [query["client_key"] for query in world.of(Kind.QUERY)] == [place["client_key"]]


def test_new_epoch_starts_a_new_sequence_of_keys(sold: Sent) -> None:
    sold.again().control(Command.EPOCH, id=5).run()
    assert (int(sold.g["epoch"]), int(sold.g["sequence"])) == (5, 0)
    sold.control(Command.EPOCH, id=5).run()
    assert int(sold.c["bad_input"]) == 1


def test_trade_ids_are_remembered_over_generations() -> None:
    world = Sent()
    price = world.place["price"]
    for trade_id in range(TRADE_GENERATION + 10):
        world.say(E.TRADE, trade_id=trade_id, last_qty=1, last_price=price)
    world.run()
    position = int(world.symbol()["position"])
    assert position == -(TRADE_GENERATION + 10)
    for trade_id in range(20, TRADE_GENERATION + 10):
        world.say(E.TRADE, trade_id=trade_id, last_qty=1, last_price=price)
    world.run()
    assert int(world.symbol()["position"]) == position


def test_finished_orders_give_their_slots_back_and_live_ones_never_do() -> None:
    limits: Any = {
        "max_orders_per_10s": 10_000,
        "max_trades_per_minute": 1000,
        "max_repeats_per_minute": 1000,
        "max_order_to_trade": 10_000,
    }
    world = World(cooldown_ns=0, exit_retry_ns=1, **limits).start().quiet()
    world.pump()
    placed: list[int] = []
    for _ in range(2 * ORDER_SLOTS):
        world.wait(SECOND).bbo(1.12, 1.14).trade(1.13).run()
        fresh = [p["client_key"] for p in world.places() if p["client_key"] not in placed]
        placed += fresh
        for key in fresh:
            world.order(key, E.SENT).order(key, E.EXPIRED).run()
        if len(world.signals(SignalCode.SETUP_EXPIRED)) or not fresh:
            world.pump(1.2 + 0.001 * len(placed))
    assert len(set(placed)) == len(placed) > ORDER_SLOTS // 2
    assert int(world.g["live_orders"]) == 0


def _sums(orders: NDArray[Any], symbol: int) -> tuple[int, int]:
    live = orders[(orders["state"] >= OrderState.INTENT) & (orders["state"] <= OrderState.UNKNOWN) & (orders["symbol"] == symbol)]
    rest = np.maximum(live["qty"] - live["cum_qty"], 0)
    return int(rest[live["side"] == Side.BUY].sum()), int(rest[live["side"] == Side.SELL].sum())


def test_exposure_sums_equal_a_recount_of_the_table(sold: Sent) -> None:
    sold.again().say(E.ACKED).say(E.TRADE, trade_id=3, last_qty=E8, last_price=E8, cum_qty=E8).run()
    sold.order(1, E.STATUS, 1, side=Side.SELL, state=OrderState.PARTIAL, qty=9 * E8, cum_qty=E8, price=E8, flags=8).run()
    for s in range(2):
        y = sold.state.symbols[s]
        assert (int(y["open_buy"]), int(y["open_sell"])) == _sums(sold.state.orders, s)


def test_an_amended_order_counts_with_its_smaller_quantity_and_ends_with_it(sold: Sent) -> None:
    world = sold.again()
    qty, less = world.place["qty"], world.place["qty"] // 2
    same = {"venue_order_id": 77}
    world.say(E.SENT).say(E.ACKED, qty=qty, **same).run()
    world.say(E.STATUS, state=OrderState.ACKED, qty=less, **same).run()
    assert (int(world.order_record["qty"]), int(world.symbol()["open_sell"])) == (less, less)
    # News of before the amend comes late: the fill counts, the larger quantity does not come back.
    fill = {"last_price": world.place["price"], "last_qty": less, "cum_qty": less, "trade_id": 5}
    world.say(E.TRADE, qty=qty, **fill, **same).run()
    assert (world.state_now, int(world.symbol()["open_sell"])) == (OrderState.FILLED, 0)
    assert int(world.symbol()["position"]) == -less


def test_fills_and_amends_in_any_order_end_the_same(sold: Sent) -> None:
    ends = set()
    for fill_first in (True, False):
        world = sold.again()
        less = world.place["qty"] // 2
        world.say(E.SENT).say(E.ACKED, qty=world.place["qty"], venue_order_id=77).run()
        amend: dict[str, int] = {"state": OrderState.ACKED, "qty": less, "venue_order_id": 77}
        fill = {"last_price": world.place["price"], "last_qty": less, "cum_qty": less, "trade_id": 5, "venue_order_id": 77}
        for is_fill in (fill_first, not fill_first):
            world.say(E.TRADE, qty=less, **fill) if is_fill else world.say(E.STATUS, **amend)
            world.run()
        ends.add(world.account())
        assert world.state_now == OrderState.FILLED
    assert len(ends) == 1


def test_another_quantity_under_another_id_of_the_venue_is_another_order(sold: Sent) -> None:
    world = sold.again()
    qty = world.place["qty"]
    world.say(E.SENT).say(E.ACKED, qty=qty, venue_order_id=77).run()
    world.say(E.STATUS, state=OrderState.CANCELED, qty=qty // 2, venue_order_id=78).run()
    assert (world.state_now, int(world.order_record["qty"])) == (OrderState.ACKED, qty)
    assert int(world.c["bad_input"]) == 1
