"""The step as a whole: deciders, bad input, books, determinism, snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from numpy.typing import NDArray

from sentinel.engine.layout import FOREIGN, ORDER_SLOTS, Setup
from sentinel.engine.readout import counters, equity_e8, last_trade_ids, live_orders, trading_state
from sentinel.engine.state import EngineSpec, load_state_arrays, new_effects, new_state, state_arrays
from sentinel.engine.state_hash import state_hash
from sentinel.engine.step import step, step_many
from sentinel.errors import ConfigError, JournalError
from sentinel.units import E8
from sentinel.wire import (
    CARD_BEAT,
    MAX_FEATURES,
    NO_SYMBOL,
    Command,
    FeedStatus,
    Kind,
    MarketFlag,
    OrderEventKind,
    OrderState,
    Side,
    SignalCode,
    TradingState,
    Venue,
    empty_slots,
    record_views,
)
from tests.engine.world import FAIL, MS, SECOND, T0, World


def story(world: World) -> World:
    """A pump sold and bought back, a dump bought, an order left open, a balance corrected."""
    world.start()
    world.enter(commission=10_000)
    world.retrace(1.0)
    world.complete(world.places()[-1], commission=9_000)
    world.quiet(1.0, 90, symbol=1)
    world.pump(0.8, symbol=1)
    world.retrace(0.85, symbol=1)
    world.order(world.places()[-1]["client_key"], OrderEventKind.SENT, 1).run()
    world.control(Command.QUOTE_BALANCE, value=100_123 * E8).tick().run()
    return world


def test_same_records_give_the_same_hash_and_the_same_effects() -> None:
    first, second = story(World()), World()
    for slots in first.history:
        second.feed(slots)
    assert second.effects == first.effects
    assert state_hash(second.state) == state_hash(first.state)


def test_batching_does_not_matter() -> None:
    first = story(World())
    slots = np.concatenate(first.history)
    second = World()
    second.feed(slots)
    assert second.effects == first.effects
    assert state_hash(second.state) == state_hash(first.state)


def test_single_steps_equal_step_many() -> None:
    first = story(World())
    slots = np.concatenate(first.history)
    world, views, i = World(), record_views(slots), 0
    while i < len(slots):
        i += step(world.state, world.dec, views, i, (1 << 62) - 1, world.out)
        world.out.cursor[0] = 0
    assert state_hash(world.state) == state_hash(first.state)


@pytest.mark.parametrize("venue", list(Venue))
def test_effects_name_the_venue_of_the_run_and_nothing_else_depends_on_it(venue: Venue) -> None:
    world, plain = story(World(venue=venue)), story(World())
    assert {effect.pop("venue") for effect in world.effects} == {venue}
    for effect in plain.effects:
        del effect["venue"]
    assert world.effects == plain.effects
    assert state_hash(world.state) == state_hash(plain.state)


def test_snapshot_and_tail_equal_the_whole() -> None:
    whole = story(World())
    slots = np.concatenate(whole.history)
    for cut in (len(slots) // 3, len(slots) // 2):
        if record_views(slots).order2[cut]["part"] == 1:
            cut += 1
        before, after = World(), World()
        before.feed(slots[:cut])
        load_state_arrays(after.state, {name: array.copy() for name, array in state_arrays(before.state).items()})
        after.feed(slots[cut:])
        assert before.effects + after.effects == whole.effects
        assert state_hash(after.state) == state_hash(whole.state)


def test_different_decision_gives_a_different_hash() -> None:
    first, second = World().start(), World().start()
    first.quiet(1.0, 80)
    second.quiet(1.0, 80)
    assert state_hash(first.state) == state_hash(second.state)
    first.wait(SECOND).trade(1.05).run()
    second.wait(SECOND).trade(1.01).run()
    assert int(first.g["cash"]) == int(second.g["cash"])
    assert state_hash(first.state) != state_hash(second.state)


def test_ticks_alone_leave_the_hash_as_it_was() -> None:
    world = World().start()
    world.enter()
    before = state_hash(world.state)
    for _ in range(50):
        world.wait(100 * MS).tick().run()
    assert state_hash(world.state) == before


def test_snapshot_of_another_shape_is_refused_before_anything_changes() -> None:
    world = World().start()
    before = state_hash(world.state)
    other = state_arrays(new_state(EngineSpec(symbols=3)))
    with pytest.raises(JournalError, match="symbols"):
        load_state_arrays(world.state, other)
    with pytest.raises(JournalError, match="arrays"):
        load_state_arrays(world.state, {})
    assert state_hash(world.state) == before


@pytest.mark.parametrize("changes", [{"symbols": 0}, {"symbols": 2000}, {"books": (5,)}, {"books": (0, 0)}, {"size_margins": ()}])
def test_spec_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EngineSpec(**({"symbols": 2} | changes))


def test_engine_time_never_goes_back() -> None:
    world = World().start()
    world.trade(1.0, t_recv=T0 + SECOND).trade(1.0, t_recv=T0 - SECOND).run()
    assert int(world.g["now"]) == T0 + SECOND


def test_vector_is_handed_over_as_beats() -> None:
    world = World(wide=1).start().quiet(1.0, 70)
    world.wait(SECOND).trade(1.01).run()
    beats = world.state.scratch.beats
    assert beats.dtype == CARD_BEAT
    assert list(beats["part"]) == [0, 1]
    assert set(beats["seq"]) == {int(world.g["decision_seq"])}
    assert np.array_equal(beats["check"], ~beats["seq"])
    words = np.concatenate([beats["words"][0], beats["words"][1]])
    assert np.array_equal(words, world.state.scratch.vector.view(np.uint32)[:MAX_FEATURES])
    assert float(world.state.scratch.vector[0]) == pytest.approx(0.01, rel=1e-5)


def test_failed_decider_falls_back_and_is_counted() -> None:
    world = World().start().quiet(1.0, 70)
    world.knob[0] = FAIL
    good = np.zeros(1, np.int64)
    world.dec[2], world.dec[3] = world.dec[0], good.ctypes.data
    world.pump()
    assert int(world.c["decider_fallbacks"]) == 1
    assert world.signals(SignalCode.ARMED)


def test_failed_decider_without_fallback_decides_nothing() -> None:
    world = World().start().quiet(1.0, 70)
    decided = int(world.c["decisions"])
    world.knob[0] = FAIL
    world.pump()
    assert (int(world.c["decider_failures"]), int(world.c["decisions"])) == (1, decided)
    assert not world.effects[-1:] or not world.signals(SignalCode.ANOMALY)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Kind.TRADE, {"price": 0, "qty": E8}),
        (Kind.TRADE, {"price": -E8, "qty": E8}),
        (Kind.TRADE, {"price": E8, "qty": 0}),
        (Kind.TRADE, {"price": (1 << 63) - 1, "qty": (1 << 63) - 1}),
        (Kind.TRADE, {"price": E8, "qty": E8, "symbol": 2}),
        (Kind.TRADE, {"price": E8, "qty": E8, "symbol": NO_SYMBOL}),
        (Kind.TRADE, {"price": E8, "qty": E8, "side": 3}),
        (Kind.BBO, {"price": -1, "price2": E8}),
        (Kind.BBO, {"price": E8, "price2": (1 << 63) - 1}),
        (Kind.BBO, {"price": E8, "price2": 2 * E8, "symbol": 2}),
        (Kind.LEVEL, {"price": E8, "symbol": 77}),
        (Kind.GAP, {"symbol": 77}),
        (Kind.STATUS, {"symbol": 77, "qty": FeedStatus.LIVE}),
        (Kind.STATUS, {"qty": 99}),
    ],
)
def test_impossible_market_event_is_counted_and_changes_nothing(kind: int, fields: dict[str, int]) -> None:
    world = World().start().quiet(1.0, 5)
    before, y = state_hash(world.state), world.symbol().copy()
    values = {"side": Side.BUY} | fields
    world.market(kind, values.pop("symbol", 0), **values).run()
    assert int(world.c["bad_input"]) == 1
    assert state_hash(world.state) == before
    assert world.symbol() == y


@pytest.mark.parametrize("kind", [0, 8, 31, Kind.PLACE, Kind.SIGNAL, Kind.DECISION, 255])
def test_unknown_kind_is_counted(kind: int) -> None:
    world = World().start()
    world.market(kind).run()
    assert int(world.c["unknown_kind"]) == 1


def test_crossed_quote_is_no_reference() -> None:
    world = World().start().quiet(1.0, 5)
    world.bbo(1.01, 1.0).run()
    assert (int(world.symbol()["bid"]), int(world.symbol()["ask"])) == (0, 0)
    assert int(world.c["crossed_quotes"]) == 1


@pytest.mark.parametrize("command", [0, max(Command) + 1, 255])
def test_unknown_command_is_counted(command: int) -> None:
    world = World().start()
    world.control(command).run()
    assert int(world.c["bad_input"]) == 1


@pytest.mark.parametrize(
    ("command", "symbol", "fields"),
    [
        (Command.BASE_BALANCE, 0, {"value": -1}),
        (Command.BASE_BALANCE, 9, {"value": 1}),
        (Command.QUOTE_BALANCE, NO_SYMBOL, {"value": -1}),
        (Command.QUOTE_BALANCE, NO_SYMBOL, {"value": (1 << 63) - 1}),
        (Command.INSTRUMENT, 0, {"id": 99, "value": 1}),
        (Command.INSTRUMENT, 0, {"id": 2, "value": -1}),
        (Command.INSTRUMENT, 7, {"id": 2, "value": 1}),
        (Command.NEWS, 0, {"value": 2 * E8}),
        (Command.NEWS, 5, {"value": 0}),
        (Command.SYMBOL_HALT, 9, {}),
        (Command.FEED_STALE, 9, {}),
        (Command.EPOCH, NO_SYMBOL, {"id": 1}),
        (Command.EPOCH, NO_SYMBOL, {"id": 0x10000}),
        (Command.RECOVERED, NO_SYMBOL, {}),
    ],
)
def test_impossible_control_is_counted_and_changes_nothing(command: int, symbol: int, fields: dict[str, int]) -> None:
    world = World().start()
    before = state_hash(world.state)
    world.control(command, symbol, **fields).run()
    assert int(world.c["bad_input"]) == 1
    assert state_hash(world.state) == before


def test_start_is_never_active_and_arming_needs_recovery_and_a_new_epoch() -> None:
    world = World()
    assert trading_state(world.state) == TradingState.HALTED
    world.control(Command.ARM, id=1).run()
    assert trading_state(world.state) == TradingState.HALTED
    world.control(Command.RECOVERING).control(Command.RECOVERED).run()
    assert trading_state(world.state) == TradingState.RECOVERING  # no EPOCH yet: no client keys
    world.control(Command.EPOCH, id=1).control(Command.RECOVERING).control(Command.ARM, id=1).run()
    assert trading_state(world.state) == TradingState.RECOVERING
    world.control(Command.RECOVERED).run()
    assert trading_state(world.state) == TradingState.REDUCE_ONLY
    world.control(Command.ARM, id=1).run()
    assert trading_state(world.state) == TradingState.ACTIVE
    world.control(Command.KILL).control(Command.ARM, id=1).run()
    assert trading_state(world.state) == TradingState.HALTED
    world.control(Command.ARM, id=2).run()
    assert trading_state(world.state) == TradingState.ACTIVE


def test_kill_outlives_a_restart() -> None:
    world = World().start()
    world.control(Command.KILL, value=5).control(Command.EPOCH, id=2).control(Command.RECOVERING).control(Command.RECOVERED).run()
    assert trading_state(world.state) == TradingState.HALTED
    assert int(world.g["killed"]) == 1


def test_restart_is_reduce_only_until_armed() -> None:
    world = World().start()
    world.control(Command.EPOCH, id=2).run()
    assert trading_state(world.state) == TradingState.HALTED
    world.control(Command.RECOVERING).control(Command.RECOVERED).run()
    assert trading_state(world.state) == TradingState.REDUCE_ONLY


def test_journal_fault_stops_new_orders_until_restored() -> None:
    world = World().start().quiet()
    world.control(Command.JOURNAL_FAULT, value=1).run()
    world.pump()
    world.retrace()
    assert world.signals(SignalCode.RISK_REJECT)
    assert not world.places()
    world.control(Command.JOURNAL_FAULT, value=0).run()
    assert int(world.g["journal_fault"]) == 0


@pytest.mark.parametrize("stale", ["command", "status", "all"])
def test_stale_feed_halts_its_symbols_until_it_lives(stale: str) -> None:
    world = World().start()
    if stale == "command":
        world.control(Command.FEED_STALE, 0).run()
    else:
        world.market(Kind.STATUS, 0 if stale == "status" else NO_SYMBOL, qty=FeedStatus.DISCONNECTED).run()
    assert int(world.symbol(0)["halt"]) != 0
    assert bool(world.symbol(1)["halt"]) == (stale == "all")
    world.market(Kind.STATUS, NO_SYMBOL, qty=FeedStatus.LIVE).run()
    assert int(world.symbol(0)["halt"]) == 0


def test_operator_halts_and_resumes_a_symbol() -> None:
    world = World().start()
    world.control(Command.SYMBOL_HALT, 1).run()
    assert (int(world.symbol(0)["halt"]), int(world.symbol(1)["halt"])) == (0, 1)
    world.control(Command.SYMBOL_RESUME, 1).run()
    assert int(world.symbol(1)["halt"]) == 0


def _level(world: World, side: int, price: float, seq: int, **fields: int) -> None:
    world.market(Kind.LEVEL, 0, side=side, price=round(price * E8), qty=E8, seq=seq, **fields)


def test_gap_in_update_ids_makes_the_book_unusable_until_the_next_snapshot() -> None:
    world = World(books=(0,)).start()
    world.bbo(0.99, 1.01, seq=10)
    world.market(Kind.SNAPSHOT_BEGIN, 0, seq=10)
    _level(world, Side.BUY, 0.99, 10, flags=int(MarketFlag.FROM_SNAPSHOT))
    _level(world, Side.SELL, 1.01, 10, flags=int(MarketFlag.FROM_SNAPSHOT))
    world.run()
    assert int(world.symbol()["halt"]) != 0
    world.market(Kind.SNAPSHOT_END, 0, seq=10).run()
    assert int(world.symbol()["halt"]) == 0
    world.state.book.books["tickers"][0, 0, 2] = E8
    world.state.book.books["tickers"][0, 0, 4] = E8
    _level(world, Side.BUY, 0.98, 11, flags=int(MarketFlag.LAST_OF_EVENT))
    world.run()
    assert (counters(world.state)["bbo_checked"], counters(world.state)["bbo_mismatches"]) == (1, 0)
    _level(world, Side.BUY, 0.995, 12, flags=int(MarketFlag.LAST_OF_EVENT))
    world.run()
    assert counters(world.state)["bbo_mismatches"] == 1
    world.market(Kind.GAP, 0, seq=13).run()
    assert int(world.symbol()["halt"]) != 0
    assert counters(world.state)["gaps"] == 1


def test_a_book_of_before_a_restart_halts_its_symbol_until_the_next_snapshot() -> None:
    world = World(books=(0,)).start()
    assert int(world.symbol()["halt"]) == 0
    for epoch in (2, 3):
        world.market(Kind.SNAPSHOT_BEGIN, 0, seq=10)
        _level(world, Side.BUY, 0.99, 10, flags=int(MarketFlag.FROM_SNAPSHOT))
        _level(world, Side.SELL, 1.01, 10, flags=int(MarketFlag.FROM_SNAPSHOT))
        world.market(Kind.SNAPSHOT_END, 0, seq=10).run()
        assert int(world.symbol()["halt"]) == 0
        world.control(Command.EPOCH, id=epoch).run()
        assert int(world.symbol()["halt"]) != 0
        assert world.state.book.books["counts"][0].tolist() == [0, 0]


def test_level_of_a_symbol_without_book_is_ignored_and_counted() -> None:
    world = World(books=(0,)).start()
    world.market(Kind.LEVEL, 1, side=Side.BUY, price=E8, qty=E8).run()
    assert int(world.c["ignored_levels"]) == 1


def test_step_many_waits_for_the_second_half_of_an_order_event() -> None:
    world = World().start()
    world.order(1, OrderEventKind.ACKED)
    slots = world.records.pop()
    views = record_views(np.concatenate([slots, empty_slots(2)]))
    assert step_many(world.state, world.dec, views, 3, 0, 1, world.out) == 0
    assert step_many(world.state, world.dec, views, 3, 0, 2, world.out) == 2


def test_two_slot_record_may_wrap_around_the_ring() -> None:
    world = World().start().quiet()
    world.pump()
    world.retrace()
    key = world.places()[0]["client_key"]
    world.order(key, OrderEventKind.ACKED)
    slots = world.records.pop()
    ring = empty_slots(4)
    ring[3], ring[0] = slots[0], slots[1]
    assert step_many(world.state, world.dec, record_views(ring), 3, 7, 9, world.out) == 9
    assert int(live_orders(world.state)[0]["state"]) == OrderState.ACKED


def test_step_many_stops_while_there_is_little_room_for_effects() -> None:
    world = World().start()
    world.out = new_effects(70)
    world.out.cursor[0] = 7
    slots = empty_slots(1)
    assert step_many(world.state, world.dec, record_views(slots), 0, 0, 1, world.out) == 0
    world.out.cursor[0] = 6
    assert step_many(world.state, world.dec, record_views(slots), 0, 0, 1, world.out) == 1


def test_how_full_the_effects_buffer_is_decides_nothing() -> None:
    """64 symbols expire at one tick: the step's own budget, not the buffer, says how many are reached."""
    spec = EngineSpec(symbols=64, threshold=100, size_margins=(100,))
    hashes, seen = [], []
    for used in (0, 4096 - 64):
        world = World(spec).start()
        for s in range(64):
            world.quiet(1.0, 1, symbol=s)
        world.wait(70 * SECOND)
        for s in range(64):
            world.trade(1.2, symbol=s)
        world.run()
        world.wait(180 * SECOND).tick()
        views = record_views(world.records.pop())
        world.out.cursor[0] = used
        step(world.state, world.dec, views, 0, 0, world.out)
        seen.append(int(world.out.cursor[0]) - used)
        hashes.append([array.tobytes() for array in state_arrays(world.state).values()])
    assert seen[0] == seen[1]
    assert 0 < seen[0] <= 64
    assert hashes[0] == hashes[1]


def test_trade_from_long_ago_is_ignored_and_counted() -> None:
    world = World().start().quiet(1.0, 5)
    world.trade(2.0, t_exchange=T0 - 3600 * SECOND).run()
    assert int(world.c["ignored_trades"]) == 1
    assert int(world.symbol()["last_price"]) == E8


def test_without_room_no_order_is_made_and_none_is_lost() -> None:
    world = World().start().quiet()
    world.pump()
    world.out = new_effects(3)
    effects = world.wait(SECOND).bbo(1.12, 1.14).trade(1.13).records
    slots = np.concatenate(effects)
    views = record_views(slots)
    for i in range(len(slots)):
        step(world.state, world.dec, views, i, (1 << 62) - 1, world.out)
    assert int(world.g["sequence"]) == int(world.g["live_orders"]) == 0


def test_readout_names_what_a_host_needs() -> None:
    world = story(World())
    assert [int(o["symbol"]) for o in live_orders(world.state)] == [1]
    assert int(last_trade_ids(world.state)[0]) == world.trade_ids
    assert equity_e8(world.state) == int(world.g["cash"]) + sum(
        int(y["inventory"]) * int(y["last_price"]) // E8 for y in world.state.symbols
    )
    found = counters(world.state)
    assert found["round_trips"] == 1
    seen = ("trades", "bbos", "levels", "gaps", "statuses")
    assert sum(found[name] for name in seen) <= found["market_events"] < found["events"]


def _invariants(world: World) -> None:
    orders, g = world.state.orders, world.g
    live = orders[(orders["state"] >= OrderState.INTENT) & (orders["state"] <= OrderState.UNKNOWN)]
    assert int(g["live_orders"]) == len(live)
    assert int(g["unknown_orders"]) == int((live["state"] == OrderState.UNKNOWN).sum())
    assert int(g["open_notional"]) == int(live["open_notional"].sum())
    for s, y in enumerate(world.state.symbols):
        mine = live[live["symbol"] == s]
        rest = np.maximum(mine["qty"] - mine["cum_qty"], 0)
        assert int(y["open_buy"]) == int(rest[mine["side"] == Side.BUY].sum())
        assert int(y["open_sell"]) == int(rest[mine["side"] == Side.SELL].sum())
        assert (int(y["live"]), int(y["unknown"])) == (len(mine), int((mine["state"] == OrderState.UNKNOWN).sum()))
    assert int(g["watched"]) == int((world.state.symbols["watch"] != 0).sum())
    assert int(g["inventory_value"]) == int(world.state.symbols["inventory_value"].sum())
    assert int(g["position_value"]) == int(world.state.symbols["position_value"].sum())


def _noise(seed: int, count: int) -> NDArray[np.int64]:
    """Records of every kind, mostly plausible, some absurd, some raw bytes."""
    rng = np.random.default_rng(seed)
    slots = rng.integers(-(1 << 63), 1 << 63, (count, 8), np.int64, endpoint=False)
    views = record_views(slots)
    m, e1, control = views.market, views.order1, views.control
    tame = rng.random(count) < 0.9
    m["kind"] = np.where(tame, rng.choice([1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 64, 96, 96], count), m["kind"])
    m["symbol"] = np.where(tame, rng.integers(0, 3, count), m["symbol"])
    m["side"] = np.where(tame, rng.integers(0, 3, count), m["side"])
    m["part"] = 0
    m["t_recv"] = T0 + np.sort(rng.integers(0, 600 * SECOND, count))
    market = tame & (m["kind"] < 8)
    for name, low, high in (("price", 90_000_000, 130_000_000), ("qty", 1, 10**10), ("price2", 90_000_000, 130_000_000)):
        m[name] = np.where(market, rng.integers(low, high, count), m[name])
    m["t_exchange"] = np.where(market, m["t_recv"], m["t_exchange"])
    commands = tame & (m["kind"] == Kind.CONTROL)
    control["command"] = np.where(commands, rng.integers(0, 20, count), control["command"])
    control["value"] = np.where(commands, rng.integers(-2, 10**13, count), control["value"])
    control["id"] = np.where(commands, rng.integers(0, 12, count), control["id"])
    for i in np.flatnonzero(m["kind"] == Kind.ORDER_EVENT)[:-1]:
        if i + 1 < count and rng.random() < 0.9:
            slots[i + 1] = slots[i]
            views.order2[i + 1]["part"] = 1
            key = 1 << 48 | 1 << 40 | int(rng.integers(0, 4))
            e1[i]["client_key"] = views.order2[i + 1]["client_key"] = key
            e1[i]["event"], e1[i]["state"], e1[i]["fee_asset"] = rng.integers(0, 13), rng.integers(0, 12), rng.integers(0, 3)
            for record, names in (
                (e1[i], ("last_price", "last_qty", "cum_qty")),
                (views.order2[i + 1], ("cum_quote", "qty", "price")),
            ):
                for name in names:
                    record[name] = rng.integers(-1, 10**11)
            views.order2[i + 1]["commission"] = rng.integers(-1, 10**6)
            views.order2[i + 1]["trade_id"] = rng.integers(-1, 40)
            e1[i]["flags"] = rng.choice([0, 0, 0, 8])
    return slots


@settings(max_examples=25)
@given(seed=hs.integers(0, 1 << 32))
def test_no_record_whatever_breaks_the_engine_or_its_sums(seed: int) -> None:
    world = World(books=(0,)).start().quiet(1.0, 65)
    world.pump()
    slots = _noise(seed, 400)
    if record_views(slots).market[-1]["kind"] == Kind.ORDER_EVENT:
        slots = slots[:-1]
    for part in np.array_split(slots, 8):
        views = record_views(part)
        for i in range(len(part)):
            step(world.state, world.dec, views, i, (1 << 62) - 1 if i + 1 < len(part) else 0, world.out)
            world.out.cursor[0] = 0
        _invariants(world)
    assert len(live_orders(world.state, foreign=True)) <= ORDER_SLOTS


@pytest.mark.full
@settings(max_examples=300)
@given(seed=hs.integers(0, 1 << 32))
def test_long_noise_keeps_the_sums_and_repeats_exactly(seed: int) -> None:
    slots = _noise(seed, 3000)
    hashes = []
    for _ in range(2):
        world = World(books=(0,)).start()
        views = record_views(slots)
        for i in range(len(slots) - 1):
            step(world.state, world.dec, views, i, (1 << 62) - 1, world.out)
            world.out.cursor[0] = 0
        _invariants(world)
        hashes.append(state_hash(world.state))
    assert hashes[0] == hashes[1]


def test_foreign_orders_are_told_apart() -> None:
    world = World().start()
    world.order(5, OrderEventKind.STATUS, side=Side.BUY, state=OrderState.ACKED, qty=E8, price=E8, flags=8).run()
    assert int(live_orders(world.state, foreign=True)[0]["flags"]) & FOREIGN
    assert int(world.symbol()["setup"]) == Setup.NONE
