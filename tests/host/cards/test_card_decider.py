"""The card's decider over a fake bus: every fault leads to the fallback, none to a wrong or lost record."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import BAD_BEAT, DECIDED, CpuDecider, pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.card_decider import CONTRADICTED, FAIL_AFTER, FAILED, TIMED_OUT, UNSENT, CardDecider
from sentinel.host.cards.link import QUEUE_SLOTS, CardLink
from sentinel.model.artifact import load_model
from sentinel.model.rule import Comparison, Condition, RuleTable, rule_table
from sentinel.wire import CARD_STATUS, DECISION, PERMIT, DecisionFlag, Kind
from tests.host.cards.fake_card import FakeCard, seal

ARTIFACT = load_model()


def _resealed(data: bytes, slot: int) -> bytes:
    return seal(np.frombuffer(data, np.uint8), slot)


class World:
    """One fake card, its link and decider, and vectors with what the CPU decides on them."""

    def __init__(self, rules: RuleTable = ARTIFACT.rules, on_rule: bool = False, ring: int = 64, vectors: int = 200) -> None:
        self.cpu = CpuDecider(ARTIFACT, rules, on_rule)
        self.card = FakeCard(self.cpu, ring)
        self.link = CardLink(self.card)
        self.decider = CardDecider(self.link, ARTIFACT, self.cpu.beats, on_rule)
        vectors_ = np.random.default_rng(5).normal(size=(vectors, 26)).astype(np.float32)
        self.beats = pack_beats(vectors_, symbol=7)
        self.expected = self.cpu.score(vectors_)
        self.expected["symbol"] = 7
        self._call: Any = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int64)(self.decider.address)

    def ask(self, i: int, deadline_ns: int = 0) -> tuple[int, NDArray[np.void]]:
        decision = np.zeros(1, DECISION)
        code = self._call(self.decider.context, self.beats[i].ctypes.data, decision.ctypes.data, deadline_ns)
        return code, decision[0]

    def ask_fine(self, i: int) -> None:
        code, decision = self.ask(i)
        assert code == DECIDED
        assert decision == self.expected[i]

    @property
    def report(self) -> dict[str, Any]:
        return self.decider.report()


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("on_rule", [False, True])
def test_record_is_bit_for_bit_that_of_the_cpu_decider(on_rule: bool) -> None:
    world = World(on_rule=on_rule)
    for i in range(len(world.beats)):
        world.ask_fine(i)
    assert world.report["decisions"] == len(world.beats)
    assert (world.report["cycles_min"], world.report["cycles_mean"], world.report["cycles_max"]) == (35, 35.0, 35)


def test_stream_gives_the_same_in_order(world: World) -> None:
    assert (world.decider.score(world.beats) == world.expected).all()


def test_two_beats_make_a_vector_under_one_number() -> None:
    world = World(rules=rule_table([[Condition(20, Comparison.GT, 0.0)]]))
    assert world.cpu.beats == 2
    assert (world.decider.score(world.beats) == world.expected).all()
    assert world.card.seqs[:6] == [0, 0, 1, 1, 2, 2]


def test_numbers_of_messages_are_the_links_own_and_slots_rotate(world: World) -> None:
    world.link.restart(next_slot=1, next_seq=0xFFFFFFFE)
    for i in (5, 5, 9):
        world.ask_fine(i)
    assert world.card.seqs == [0xFFFFFFFE, 0xFFFFFFFF, 0]
    assert world.card.offsets == [0, 64, 128]


def test_slot_number_zero_is_left_out_when_numbers_wrap(world: World) -> None:
    world.link.restart(next_slot=0xFFFFFFFE, next_seq=0)
    slots = iter([0xFFFFFFFE, 0xFFFFFFFF, 1, 2])

    def renumber(due: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        return [(slot, _resealed(data, slot)) for (_, data), slot in zip(due, slots, strict=False)]

    world.card.mangle = renumber
    for i in range(4):
        world.ask_fine(i)


def test_torn_or_foreign_beat_is_refused_before_it_leaves(world: World) -> None:
    world.beats["check"][0, 0] ^= 1
    world.beats["kind"][1, 0] = 2
    assert [world.ask(i)[0] for i in (0, 1)] == [BAD_BEAT, BAD_BEAT]
    assert not world.card.seqs


def test_frozen_card_times_out_and_after_enough_of_it_is_asked_no_more(world: World) -> None:
    world.card.frozen = True
    assert [world.ask(i)[0] for i in range(FAIL_AFTER + 2)] == [TIMED_OUT] * FAIL_AFTER + [FAILED] * 2
    assert len(world.card.seqs) == FAIL_AFTER
    assert world.report["failed"]
    assert (world.report["timeouts"], world.report["bypassed"]) == (FAIL_AFTER, 2)


def test_failed_card_is_asked_again_only_when_revived(world: World) -> None:
    world.card.frozen = True
    for i in range(FAIL_AFTER):
        world.ask(i)
    world.card.frozen = False
    assert world.ask(0)[0] == FAILED
    world.decider.revive()
    world.ask_fine(0)


def test_late_result_is_dropped_by_its_number_and_never_answers_another_vector(world: World) -> None:
    world.card.frozen = True
    assert world.ask(0)[0] == TIMED_OUT
    world.card.frozen = False
    world.ask_fine(1)
    world.ask_fine(2)
    assert (world.report["late"], world.report["timeouts"], world.report["failed"]) == (1, 1, False)


def test_one_answer_ends_a_row_of_doubts(world: World) -> None:
    for i in range(3 * FAIL_AFTER):
        world.card.frozen = i % FAIL_AFTER != 0
        world.ask(i)
    assert not world.report["failed"]


def test_deadline_ends_the_wait_without_any_limit_of_looks(world: World) -> None:
    world.link.state["poll_limit"] = 0
    world.card.frozen = True
    assert world.ask(0, deadline_ns=1)[0] == TIMED_OUT
    world.link.state["timeout_ns"] = 1_000_000
    assert world.ask(1)[0] == TIMED_OUT


def test_refused_store_is_no_decision(world: World) -> None:
    world.card.takes_writes = False
    number = int(world.link.state["next_seq"])
    assert world.ask(0)[0] == UNSENT
    assert world.report["refused_writes"] == 1
    # Its number is given to the next: the card sees no gap.
    world.card.takes_writes = True
    assert world.ask(0)[0] == DECIDED
    assert world.card.seqs[-1] == number


def test_record_with_a_wrong_crc_is_never_an_answer(world: World) -> None:
    world.card.mangle = lambda due: [(slot, data[:32] + bytes([data[32] ^ 1]) + data[33:]) for slot, data in due]
    assert world.ask(0)[0] == TIMED_OUT
    world.card.mangle = lambda due: due
    world.ask_fine(1)
    assert (world.report["damaged"], world.report["timeouts"]) == (1, 1)


def test_record_still_being_written_is_waited_for(world: World) -> None:
    whole: list[tuple[int, bytes]] = []

    def in_halves(due: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        if due:
            whole.extend(due)
            return [(slot, bytes(32) + data[32:]) for slot, data in due]
        return [whole.pop()] if whole else []

    world.card.mangle = in_halves
    world.ask_fine(0)
    assert (world.report["damaged"], world.report["timeouts"]) == (0, 0)


def test_skipped_slot_costs_one_decision_and_is_counted(world: World) -> None:
    world.card.mangle = lambda due: [(slot + 1, _resealed(data, slot + 1)) for slot, data in due]
    assert world.ask(0)[0] == TIMED_OUT
    world.card.mangle, world.card.slot = lambda due: due, world.card.slot + 1
    world.ask_fine(1)
    assert (world.report["lost_records"], world.report["late"]) == (1, 1)


def test_card_that_went_round_the_ring_is_caught_up_with() -> None:
    world = World(ring=8)
    world.card.extra = [_status(k) for k in range(30)]
    world.card.relax()
    world.ask_fine(0)
    kept = world.link.statuses()["seq"].tolist()
    assert kept == list(range(30))[-len(kept) :]
    assert len(kept) >= 7
    assert world.report["lost_records"] == 30 - len(kept)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_crc", 0x12345678),
        ("symbol", 8),
        ("classes", 3),
        ("flags", int(DecisionFlag.NO_MODEL)),
        ("flags", int(DecisionFlag.MEMORY_FAULT)),
        ("flags", int(DecisionFlag.FOREST_SKIPPED)),
    ],
)
def test_answer_of_another_model_symbol_or_shape_fails_the_card_at_once(world: World, field: str, value: int) -> None:
    def alter(decision: NDArray[np.void]) -> None:
        decision[field] = value

    world.card.alter = alter
    assert world.ask(0)[0] == CONTRADICTED
    assert world.ask(1)[0] == FAILED
    assert (world.report["contradictions"], world.report["failed"]) == (1, True)


def test_answer_to_a_vector_not_yet_asked_fails_the_card(world: World) -> None:
    def alter(decision: NDArray[np.void]) -> None:
        decision["seq"] += 1

    world.card.alter = alter
    assert world.ask(0)[0] == CONTRADICTED
    assert world.report["failed"]


def test_reordered_answers_are_never_mistaken_for_each_other(world: World) -> None:
    def swapped(due: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        slots = [slot for slot, _ in due]
        return [(slot, _resealed(data, slot)) for slot, (_, data) in zip(slots, reversed(due), strict=True)]

    world.card.mangle = swapped
    with pytest.raises(CardError, match="card decisions = 0"):
        world.decider.score(world.beats[:2], window=2)


def test_records_written_out_of_turn_to_their_own_slots_are_all_taken(world: World) -> None:
    world.card.mangle = lambda due: due[::-1]
    assert (world.decider.score(world.beats) == world.expected).all()


def _permit(key: int) -> NDArray[np.void]:
    record = np.zeros(1, PERMIT)
    record["kind"], record["client_key"] = Kind.PERMIT, key
    return record


def _status(seq: int) -> NDArray[np.void]:
    record = np.zeros(1, CARD_STATUS)
    record["kind"], record["seq"] = Kind.CARD_STATUS, seq
    return record


def test_permits_and_heartbeats_met_on_the_way_are_queued_in_order(world: World) -> None:
    for i in range(20):
        world.card.extra = [_permit(i), _status(i)]
        world.card.relax()
        world.ask_fine(i)
    assert world.link.permits()["client_key"].tolist() == list(range(20))
    assert world.link.statuses()["seq"].tolist() == list(range(20))
    assert len(world.link.permits()) == 0


def test_permits_nobody_fetches_stay_in_the_ring_and_are_not_lost(world: World) -> None:
    sent = 0
    while sent < QUEUE_SLOTS:
        world.card.extra = [_permit(sent + k) for k in range(32)]
        sent += 32
        world.card.relax()
        world.link.poll()
    world.card.extra = [_permit(sent)]
    world.card.relax()
    assert world.ask(0)[0] == TIMED_OUT
    assert world.link.permits()["client_key"].tolist() == list(range(sent))
    world.link.poll()
    assert world.link.permits()["client_key"].tolist() == [sent]
    world.ask_fine(1)


def test_newest_heartbeats_are_kept_when_nobody_fetches_them(world: World) -> None:
    for k in range(QUEUE_SLOTS + 40):
        world.card.extra = [_status(k)]
        world.card.relax()
        world.link.poll()
    assert world.link.statuses()["seq"].tolist() == list(range(40, QUEUE_SLOTS + 40))
    assert world.link.counters()["dropped_statuses"] == 40


def test_record_of_no_known_kind_is_counted_and_skipped(world: World) -> None:
    record = np.zeros(1, CARD_STATUS)
    record["kind"] = 77
    world.card.extra = [record]
    world.card.relax()
    world.ask_fine(0)
    assert world.link.counters()["stray_records"] == 1


def test_ring_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(CardError, match="card ring"):
        World(ring=48)
