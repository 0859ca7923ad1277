"""Settings and limits after restarts, rotations and replays: what the live engine works by is what a replay works by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.engine.layout import LimitField
from sentinel.host.engine_host import EngineHost
from sentinel.host.replay import JournalReplay, state_of
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Command
from tests.host.plain_config import plain_config

T0 = 1_700_000_000 * NS_PER_S


def _host(directory: Path, **sections: Any) -> EngineHost:
    return EngineHost(plain_config(directory, **sections), lambda slots, ready_ns: None)


def _limits(state: Any) -> dict[str, Any]:
    return {name: state.params[0][name].tolist() for name in state.params.dtype.names}


def _replayed(directory: Path) -> dict[str, Any]:
    state, _ = state_of(directory)
    JournalReplay(directory, state).run()
    return _limits(state)


def _tick(host: EngineHost) -> None:
    host.control(Command.TICK, T0)


def _lower_the_limit(host: EngineHost) -> None:
    host.control(Command.LIMITS, T0, id=LimitField.MAX_ORDER_NOTIONAL, value=7 * E8, version=2)


@pytest.mark.parametrize("clean", [True, False])
def test_changed_settings_hold_from_the_next_start_on(tmp_path: Path, clean: bool) -> None:
    host = _host(tmp_path)
    _tick(host)
    host.close() if clean else host.journal.close()
    host = _host(tmp_path, risk={"max_order_notional": "100"})
    _tick(host)
    live = _limits(host.state)
    host.close()
    assert live["max_order_notional"] == 100 * E8
    assert _replayed(tmp_path) == live


@pytest.mark.parametrize("clean", [True, False])
def test_a_limit_set_by_an_operator_outlives_a_restart_under_the_same_settings(tmp_path: Path, clean: bool) -> None:
    host = _host(tmp_path)
    _lower_the_limit(host)
    host.snapshot()
    host.finish_store_job()
    _tick(host)
    host.close() if clean else host.journal.close()
    host = _host(tmp_path)
    _tick(host)
    live = _limits(host.state)
    host.close()
    assert live["max_order_notional"] == 7 * E8
    assert _replayed(tmp_path) == live


def test_a_limit_set_by_an_operator_outlives_the_rotation_of_the_journal(tmp_path: Path) -> None:
    host = _host(tmp_path)
    _lower_the_limit(host)
    host.journal.rotate()
    _tick(host)
    live = _limits(host.state)
    host.journal.close()
    assert _replayed(tmp_path) == live
    again = _host(tmp_path)
    assert _limits(again.state) == live
    again.close()


def test_the_wait_before_an_order_counts_as_never_accepted_is_replayed_as_it_was(tmp_path: Path) -> None:
    """It follows from the venue's receive window, which a restart may change."""
    host = _host(tmp_path)
    _tick(host)
    host.close()
    config = plain_config(tmp_path)
    slow = config.model_copy(update={"venue": config.venue.model_copy(update={"recv_window_ms": 5000})})
    host = EngineHost(slow, lambda slots, ready_ns: None)
    _tick(host)
    live = _limits(host.state)
    host.close()
    assert live["resolve_ns"] == 16 * NS_PER_S
    assert _replayed(tmp_path) == live


def test_a_snapshot_with_books_of_other_symbols_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two symbols, one book: its levels would be taken for the other coin's."""
    symbols = ["AAAUSDT", "BBBUSDT"]
    host = _host(tmp_path, feed={"symbols": symbols, "depth_symbols": ["AAAUSDT"]})
    _tick(host)
    host.close()
    host = _host(tmp_path, feed={"symbols": symbols, "depth_symbols": ["BBBUSDT"]})
    assert host.state.symbols["book"].tolist() == [-1, 0]
    assert "snapshot.symbols.book" in caplog.text
    host.close()
