"""Duplicate windows against a plain set, and recovery when ids restart."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sentinel.host.feeds.admit import (
    ACCEPT,
    ACCEPT_LATE,
    DUPLICATE,
    DUPLICATES,
    LATE,
    MISSING,
    RESTART_AFTER,
    RESTARTS,
    WINDOW_IDS,
    admit_ticker,
    admit_trade,
    forget,
    new_memory,
)
from sentinel.native import JIT


@njit(**JIT)
def _trade(memory: Any, s: int, trade_id: int, t: int) -> int:
    return admit_trade(memory, s, trade_id, t)


@njit(**JIT)
def _ticker(memory: Any, s: int, update_id: int) -> int:
    return admit_ticker(memory, s, update_id)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(-200, 300), st.integers(0, 5)), min_size=1, max_size=150))
def test_each_trade_id_is_admitted_exactly_once_in_any_order_inside_the_window(moves: list[tuple[int, int]]) -> None:
    memory = new_memory(3)
    seen: set[int] = set()
    newest, latest = 10_000, 0
    for move, t in moves:
        trade_id = newest + move
        newest = max(newest, trade_id)
        verdict = _trade(memory, 1, trade_id, t)
        if trade_id in seen:
            assert verdict == DUPLICATE
        else:
            assert verdict == (ACCEPT_LATE if t < latest else ACCEPT)
            latest = max(latest, t)
        seen.add(trade_id)
    assert memory[1, DUPLICATES] == len(moves) - len(seen)
    first = 10_000 + moves[0][0]
    if min(seen) == first:
        assert memory[1, MISSING] == max(seen) - first + 1 - len(seen)
    assert not memory[[0, 2]][:, [DUPLICATES, MISSING, LATE]].any()


def test_ids_a_whole_window_back_are_duplicates() -> None:
    memory = new_memory(1)
    _trade(memory, 0, 100_000, 1)
    assert _trade(memory, 0, 100_000 - WINDOW_IDS - 64, 1) == DUPLICATE
    assert _trade(memory, 0, 100_001, 1) == ACCEPT


def test_jump_far_ahead_forgets_the_bits_of_the_old_window() -> None:
    memory = new_memory(1)
    for trade_id in range(100, 164):
        _trade(memory, 0, trade_id, 1)
    assert _trade(memory, 0, 100 + 64 * 64 * 5, 1) == ACCEPT
    for trade_id in range(100 + 64 * 64 * 5 - 64, 100 + 64 * 64 * 5):
        assert _trade(memory, 0, trade_id, 1) == ACCEPT


def test_one_damaged_huge_id_silences_a_symbol_only_until_the_run_of_old_ids_is_noticed() -> None:
    memory = new_memory(1)
    _trade(memory, 0, 1_000, 1)
    _trade(memory, 0, 900_000_000_000_000_000, 1)
    verdicts = [_trade(memory, 0, 1_001 + k, 1) for k in range(RESTART_AFTER + 10)]
    assert verdicts == [DUPLICATE] * (RESTART_AFTER - 1) + [ACCEPT] * 11
    assert memory[0, RESTARTS] == 1


def test_a_lagging_duplicate_stream_beside_a_fresh_one_never_counts_as_restart() -> None:
    memory = new_memory(1)
    _trade(memory, 0, 1_000_000, 1)
    for k in range(1, 500):
        assert _trade(memory, 0, 1_000_000 + k, 1) == ACCEPT
        assert _trade(memory, 0, 900_000 + k, 1) == DUPLICATE
    assert memory[0, RESTARTS] == 0


def test_ticker_no_newer_than_the_last_is_a_duplicate() -> None:
    memory = new_memory(1)
    assert [_ticker(memory, 0, u) for u in (5, 5, 4, 6, 6, 9)] == [ACCEPT, DUPLICATE, DUPLICATE, ACCEPT, DUPLICATE, ACCEPT]


def test_tickers_whose_ids_restart_lower_are_admitted_again() -> None:
    memory = new_memory(1)
    _ticker(memory, 0, 10**15)
    verdicts = [_ticker(memory, 0, 7 + k) for k in range(RESTART_AFTER + 5)]
    assert verdicts.index(ACCEPT) == RESTART_AFTER - 1
    assert set(verdicts[RESTART_AFTER - 1 :]) == {ACCEPT}


def test_forgetting_a_symbol_admits_its_old_ids_again_and_leaves_the_others() -> None:
    memory = new_memory(2)
    for s in (0, 1):
        _trade(memory, s, 500, 1)
        _ticker(memory, s, 500)
    forget(memory, [0])
    assert (_trade(memory, 0, 400, 1), _ticker(memory, 0, 400)) == (ACCEPT, ACCEPT)
    assert (_trade(memory, 1, 500, 1), _ticker(memory, 1, 500)) == (DUPLICATE, DUPLICATE)
    assert memory.dtype == np.int64
