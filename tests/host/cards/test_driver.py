"""The driver's own checks, over a fake bus: identity, ranges, ring, what it refuses before a card could."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import CardError
from sentinel.host.cards.bus import ALL_ONES
from sentinel.host.cards.driver import CardDriver, next_answer
from sentinel.host.cards.limits import CardLimits
from sentinel.host.cards.model_words import WORDS_PER_TREE, model_load
from sentinel.host.cards.registers import MAGIC, MAP_HASH, STAGED_LIMITS, Ocl, Sda, Status
from sentinel.model.artifact import load_model
from sentinel.model.float_key import float_key
from sentinel.wire import CARD_BEAT, BeatKind, Side
from tests.host.cards.fake_card import FakeCard

ARTIFACT = load_model()
STATUS = 0xA5 << 24
LIMITS = CardLimits(version=1, max_order_notional=10**20, max_gross_notional=10**21, max_daily_loss=10**12)


@pytest.fixture
def card() -> FakeCard:
    card = FakeCard(CpuDecider(ARTIFACT, ARTIFACT.rules, False))
    card.registers = {
        Ocl.MAGIC: MAGIC,
        Ocl.VERSION: 0x1_0002,
        Ocl.MAP_HASH: MAP_HASH,
        Ocl.CAPABILITIES: 0x0400_1A80,
        Ocl.STATUS: STATUS | Status.TRIPPED | Status.PCIM_ENABLED,
    }
    return card


@pytest.fixture
def driver(card: FakeCard) -> CardDriver:
    return CardDriver(card)


def test_identity_of_a_card_of_ours(driver: CardDriver) -> None:
    identity = driver.identify()
    assert identity.version == (1, 2)
    assert (identity.trees, identity.features, identity.symbols) == (128, 26, 1024)


@pytest.mark.parametrize(
    ("register", "value", "field", "remedy"),
    [
        (Ocl.MAGIC, ALL_ONES, "MAGIC", "no card answers"),
        (Ocl.MAGIC, 0x12345678, "MAGIC", "another design"),
        (Ocl.VERSION, 0x2_0000, "VERSION", "image of this release"),
        (Ocl.MAP_HASH, MAP_HASH ^ 1, "MAP_HASH", "another register map"),
    ],
)
def test_card_that_is_not_ours_is_refused_by_name(
    card: FakeCard, driver: CardDriver, register: Ocl, value: int, field: str, remedy: str
) -> None:
    card.registers[register] = value
    with pytest.raises(CardError, match=remedy) as caught:
        driver.identify()
    assert caught.value.field == field


@pytest.mark.parametrize(
    "act",
    [
        lambda driver: driver.identify(),
        lambda driver: driver.start(),
        lambda driver: driver.status(),
        lambda driver: driver.standing(),
        lambda driver: driver.now(),
        lambda driver: driver.counters(),
        lambda driver: driver.arm(),
        lambda driver: driver.kill(),
        lambda driver: driver.set_limits(LIMITS),
        lambda driver: driver.set_symbol(1, 1, 1),
        lambda driver: driver.set_equity_peak(1),
        lambda driver: driver.load_model(ARTIFACT, ARTIFACT.rules),
        lambda driver: driver.gate.heartbeat(),
    ],
)
def test_card_that_is_gone_is_a_typed_error_wherever_it_is_met(
    card: FakeCard, driver: CardDriver, act: Callable[[CardDriver], object]
) -> None:
    card.dead = True
    with pytest.raises(CardError):
        act(driver)


def test_word_without_the_status_magic_is_no_status(card: FakeCard, driver: CardDriver) -> None:
    card.registers[Ocl.STATUS] = 0
    with pytest.raises(CardError, match="0xa5 in the top byte"):
        driver.status()


def test_kill_that_leaves_the_card_armed_is_an_error(card: FakeCard, driver: CardDriver) -> None:
    card.registers[Ocl.STATUS] = STATUS | Status.ARMED
    with pytest.raises(CardError, match="tripped after KILL"):
        driver.kill()
    card.registers[Sda.STATUS] = STATUS | Status.ARMED
    with pytest.raises(CardError, match="remove power"):
        driver.kill_by_management()
    assert (-Sda.KILL, 1) in card.writes


def test_management_kill_of_a_lost_card_is_taken_as_tripped(card: FakeCard, driver: CardDriver) -> None:
    card.dead = True
    driver.kill_by_management()


def test_start_trips_places_the_ring_and_agrees_on_both_numbers(card: FakeCard, driver: CardDriver) -> None:
    driver.start()
    order = [register for register, _ in card.writes]
    assert order[0] == Ocl.KILL
    assert order.index(Ocl.PCIM_SLOTS) < len(order) - 1 - order[::-1].index(Ocl.PCIM_ENABLE)
    written = dict(card.writes)
    assert written[Ocl.PCIM_BASE_HI] << 31 | written[Ocl.PCIM_BASE_LO] == card.ring_address
    assert (written[Ocl.PCIM_SLOTS], written[Ocl.BEAT_SEQ]) == (64, 0)
    assert driver.link.state["next_slot"] == 1
    driver.gate.heartbeat()
    assert card.seqs == [0]


@pytest.mark.parametrize("address", [0, 1 << 62, 0x1000_0020])
def test_ring_the_card_could_not_reach_is_refused(card: FakeCard, driver: CardDriver, address: int) -> None:
    card.ring_address = address
    with pytest.raises(CardError, match="ring address"):
        driver.start()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 0),
        ("version", 1 << 31),
        ("max_order_notional", 0),
        ("max_order_notional", 1 << 124),
        ("max_gross_notional", 1 << 124),
        ("max_daily_loss", 0),
        ("max_daily_loss", 1 << 62),
        ("collar_bps", 0),
        ("collar_bps", 10_001),
        ("max_drawdown_bps", 10_001),
        ("reference_max_age", 1 << 62),
        ("heartbeat_max_age", 0),
        ("equity_max_age", -1),
        ("duplicate_window", -1),
        ("window", 0),
        ("permits_per_window", 1_001),
        ("reject_trip", 65_536),
        ("watchdog_period", 0),
    ],
)
def test_limit_that_overflows_is_named_before_a_word_is_written(
    card: FakeCard, driver: CardDriver, name: str, value: int
) -> None:
    with pytest.raises(CardError) as caught:
        driver.set_limits(CardLimits(**{**LIMITS.__dict__, name: value}))
    assert caught.value.field == f"limits.{name}"
    assert caught.value.value == value
    assert not card.writes


def test_watchdog_without_a_window_is_refused() -> None:
    with pytest.raises(CardError, match="min < max <= period"):
        CardLimits(**{**LIMITS.__dict__, "watchdog_min": LIMITS.watchdog_max}).check()


def test_limits_fill_every_staged_register_once() -> None:
    writes = LIMITS.writes()
    assert [register for register, _ in writes] == list(STAGED_LIMITS)
    words = dict(writes)
    notional = [words[Ocl[f"LIMIT_MAX_ORDER_NOTIONAL_{k}"]] for k in range(4)]
    assert sum(word << 31 * k for k, word in enumerate(notional)) == LIMITS.max_order_notional


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda driver: driver.set_limits(LIMITS), "limits"),
        (lambda driver: driver.set_symbol(1, 1, 1), "symbol"),
        (lambda driver: driver.set_equity_peak(1), "equity peak"),
        (lambda driver: driver.arm(), "ARM_KEY"),
    ],
)
def test_nothing_is_changed_under_an_armed_gate(
    card: FakeCard, driver: CardDriver, change: Callable[[CardDriver], object], what: str
) -> None:
    card.registers[Ocl.STATUS] = STATUS | Status.ARMED
    with pytest.raises(CardError) as caught:
        change(driver)
    assert caught.value.field == what
    assert not card.writes


@pytest.mark.parametrize("symbol", [-1, 1024])
def test_symbol_outside_the_table_never_reaches_the_card(card: FakeCard, driver: CardDriver, symbol: int) -> None:
    for act in (
        lambda: driver.set_symbol(symbol, 1, 1),
        lambda: driver.gate.order(symbol, Side.BUY, 1, 1, 1, 1, 1),
        lambda: driver.gate.fill(symbol, Side.BUY, 1, 1, 1),
        lambda: driver.gate.reference(symbol, 1, 2),
        lambda: driver.gate.adjust(symbol, 1, 1),
    ):
        with pytest.raises(CardError, match="symbol"):
            act()
    assert not card.writes
    assert not card.seqs


@pytest.mark.parametrize("amount", [0, -1, 1 << 61])
def test_price_or_quantity_outside_the_gates_range_never_reaches_the_card(
    card: FakeCard, driver: CardDriver, amount: int
) -> None:
    for price, qty in ((amount, 1), (1, amount)):
        with pytest.raises(CardError):
            driver.gate.order(1, Side.SELL, price, qty, 1, 1, 1)
        with pytest.raises(CardError):
            driver.gate.release(1, Side.SELL, price, qty, 1)
    with pytest.raises(CardError, match="side"):
        driver.gate.order(1, Side.NONE, 1, 1, 1, 1, 1)
    assert not card.seqs


def test_every_beat_of_the_gate_takes_the_next_number(card: FakeCard, driver: CardDriver) -> None:
    sent: list[bytes] = []
    keep = card.pcis_write64
    card.pcis_write64 = lambda offset, data: sent.append(data) or keep(offset, data)  # type: ignore[method-assign,func-returns-value]
    driver.gate.order(3, Side.BUY, 10, 20, 77, 5, 6, reduce_only=True)
    driver.gate.fill(3, Side.BUY, 10, 20, 77)
    driver.gate.release(3, Side.BUY, 10, 20, 77)
    driver.gate.adjust(3, 10, -5)
    driver.gate.reference(3, 9, 11)
    driver.gate.equity(1000, 900)
    driver.gate.heartbeat()
    beats = np.frombuffer(b"".join(sent), CARD_BEAT)
    assert beats["seq"].tolist() == list(range(7))
    assert (beats["check"] == ~beats["seq"]).all()
    kinds = [BeatKind.ORDER, *[BeatKind.ORDER_EVENT] * 3, BeatKind.REFERENCE_PRICE, BeatKind.EQUITY, BeatKind.HEARTBEAT]
    assert beats["kind"].tolist() == kinds
    order = beats[0]["words"]
    assert (order[0], order[2], order[4], order[6], order[7], order[8]) == (77, 10, 20, 5, 6, 1 | 1 << 8)


def test_standing_cause_and_lock_refuse_arming_before_a_key_is_spent(card: FakeCard, driver: CardDriver) -> None:
    card.registers[Ocl.STANDING] = 0x20
    with pytest.raises(CardError, match="HEARTBEAT"):
        driver.arm()
    card.registers[Ocl.STATUS] |= Status.LOCKED
    with pytest.raises(CardError, match="LOCKED"):
        driver.arm()
    assert not card.writes


def test_model_words_are_in_the_cards_order() -> None:
    load = model_load(ARTIFACT, ARTIFACT.rules, forest_on_rule=True)
    heap = ARTIFACT.heap
    assert len(load.words) == WORDS_PER_TREE * heap.trees + 48 == 191 * heap.trees + 48
    tree = load.words[191 : 2 * 191]
    assert tree[0] == heap.tree_output[1]
    assert tree[1 + 2 * 5] == heap.keys[1, 5]
    assert tree[2 + 2 * 5] == int(heap.features[1, 5]) | int(heap.default_left[1, 5]) << 8
    assert tree[127 + 9] == int(heap.leaves[1, 9]) & 0xFFFFFFFF
    rule = load.words[191 * heap.trees :]
    # Row 0, first condition: price_delta > threshold; a NaN fails it.
    threshold = float(ARTIFACT.rules.conditions[0, 0]["threshold"])
    assert rule[:3].tolist() == [1 << 8, float_key(threshold) + 1, float_key(float("inf"))]


@pytest.mark.parametrize("number", [0, 0xFFFFFFFF])
def test_model_not_told_from_an_empty_or_lost_card_is_refused(card: FakeCard, driver: CardDriver, number: int) -> None:
    load = replace(model_load(ARTIFACT, ARTIFACT.rules, forest_on_rule=False), model_id=number)
    with pytest.raises(CardError, match="MODEL_ID"):
        driver.write_model(load)
    assert not card.writes


def test_decider_of_another_model_than_the_loaded_one_is_refused(driver: CardDriver) -> None:
    with pytest.raises(CardError, match="load it first"):
        driver.decider(ARTIFACT)


def test_watchdog_answer_is_one_step_of_the_lfsr() -> None:
    assert next_answer(2) == 1
    assert next_answer(1) == 0xA3000000
