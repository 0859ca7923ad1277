"""Reports of made trails: random ones against a plain count, empty ones, and conduct on made orders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import AuditError
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.segment import NO_ROOT, AuditHeader, segment_name
from sentinel.ops.compliance.articles import MAPS
from sentinel.ops.compliance.conduct import MarketFacts, conduct_report, joins, lacks_reason, layering, pinging, self_trades
from sentinel.ops.compliance.orders import COLUMNS, EMPTY_COLUMNS, OrderRecords, OwnFill, OwnOrder, order_rows
from sentinel.ops.compliance.page import report_page
from sentinel.ops.compliance.report import Sources, make_report, report_json
from sentinel.ops.compliance.trail import open_trail
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Control, Kind, Side, SignalCode, record_views
from tests.ops.audit.journals import T0, follow_all, open_journal, records_of, trail_config

CODES = [SignalCode.RISK_REJECT, SignalCode.KILLED, SignalCode.CONTROL_FIRED, SignalCode.FILL]
#: With one that this version has no name for.
CONTROLS = [*Control, *[60_000] * 9]


def _make(store: Path, seed: int, count: int) -> Path:
    """A trail of random records whose signals name random controls, unknown ones too."""
    random = Random(seed)
    with open_journal(store) as journal:
        for number in range(count):
            frame_type, slots = records_of(random, number)
            views = record_views(slots)
            if views.signal["kind"][0] == Kind.SIGNAL:
                views.signal["code"], views.signal["control"] = random.choice(CODES), random.choice(CONTROLS)
            journal.append(frame_type, slots)
    follow_all(trail_config(store))
    return store / "audit"


def _report(trail: Path, out: Path) -> dict[str, Any]:
    return make_report(open_trail(trail), Sources(None, out), out / "orders.csv")


@pytest.mark.parametrize("seed", range(8))
def test_counts_equal_a_plain_count_over_the_records(tmp_path: Path, seed: int) -> None:
    trail = _make(tmp_path / "store", seed, 400)
    report = _report(trail, tmp_path)
    rows = list(read_trail(trail))
    records = [row["record"] for row in rows]
    assert report["kinds"] == dict(Counter(row["kind"] for row in rows))
    signals = [record for record in records if record.get("kind") == "SIGNAL"]
    refused = Counter(one["control"] for one in signals if one["code"] == "RISK_REJECT")
    acted = Counter(one["control"] for one in signals if one["code"] in ("KILLED", "CONTROL_FIRED"))
    found = {code: firing for control in report["controls"] for code, firing in control["codes"].items()}
    found |= report["other_codes"]
    fired = {code: (one["refused"], one["acted"]) for code, one in found.items() if one["refused"] + one["acted"]}
    assert fired == {code: (refused[code], acted[code]) for code in refused | acted}
    assert "60000" in report["other_codes"]
    commands = Counter(record["command"] for record in records if record.get("kind") == "CONTROL")
    figures = report["figures"]
    for name, command in (("armings", "ARM"), ("limits", "LIMITS"), ("starts", "EPOCH"), ("clock_looks", "CLOCK")):
        assert figures[name] == commands[command]
    killed = sum(one["code"] == "KILLED" for one in signals)
    assert figures["kills"] == commands["KILL"] + killed
    assert figures["order_rows"] == sum(record.get("kind") in ("PLACE", "ORDER_EVENT") for record in records)
    assert "<h2>Control register</h2>" in report_page(report)
    assert report_json(report) == report_json(_report(trail, tmp_path))


def test_a_control_that_never_fired_is_not_called_good(tmp_path: Path) -> None:
    report = _report(_make(tmp_path / "store", 1, 1), tmp_path)
    states = {control["state"] for control in report["controls"]}
    assert states <= {"never fired in this trail", "leaves no code of its own in the trail"}


def test_a_trail_without_records_gives_a_report_of_zeros(tmp_path: Path) -> None:
    trail = tmp_path / "audit"
    trail.mkdir()
    (trail / segment_name(0)).write_bytes(AuditHeader(0, 0, NO_ROOT, ("BTCUSDT",)).encode())
    report = _report(trail, tmp_path)
    assert report["trail"]["whole"]
    assert report["period"] is None
    assert set(report["figures"].values()) == {0}
    assert (tmp_path / "orders.csv").read_text().strip() == ",".join(COLUMNS)
    assert "none" in report_page(report)


def test_a_directory_without_a_trail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError):
        open_trail(tmp_path)


def test_records_that_were_cut_off_after_they_were_verified_are_missed(tmp_path: Path) -> None:
    trail = open_trail(_make(tmp_path / "store", 3, 100))
    segment = max((tmp_path / "store" / "audit").glob("*.audit"))
    segment.write_bytes(segment.read_bytes()[: -3 * 256])
    with pytest.raises(AuditError, match="verified"):
        list(trail.records())


def test_what_was_added_after_the_verification_is_left_out(tmp_path: Path) -> None:
    store = tmp_path / "store"
    trail = open_trail(_make(store, 3, 50))
    with open_journal(store) as journal:
        for number in range(50, 80):
            journal.append(*records_of(Random(number), number))
    follow_all(trail_config(store))
    assert len(list(trail.records())) == trail.verification.records < len(list(read_trail(store / "audit")))


def test_every_row_of_the_order_record_has_every_column(tmp_path: Path) -> None:
    trail = open_trail(_make(tmp_path / "store", 5, 300))
    rows = list(order_rows(trail.records(), OrderRecords({})))
    assert rows
    assert {tuple(row) for row in rows} == {COLUMNS}
    assert all(row[name] == "" for row in rows for name in EMPTY_COLUMNS)


@pytest.mark.control("E14")
def test_no_map_claims_conformity() -> None:
    words = " ".join(one.sentinel + one.firm for articles in MAPS.values() for one in articles).lower()
    assert "compliant" not in words
    assert "conform" not in words


def _order(number: int, of_side: Side, t_ms: int, **changes: Any) -> OwnOrder:
    fields: dict[str, Any] = {
        "id": f"order {number}",
        "symbol": "BTCUSDT",
        "side": of_side.name,
        "order_type": "LIMIT",
        "tif": "GTC",
        "reason": "ENTRY_WAIT",
        "reduce_only": False,
        "t": T0 + t_ms * NS_PER_MS,
        "price": 100 * E8 + number * E8,
        "qty": E8,
        "setup_id": 1,
        "ref_price": 100 * E8,
        "fair_value": 90 * E8,
        "edge_bps": 10,
        "intent": {},
    }
    return OwnOrder(**(fields | changes))


def _filled(number: int, side: Side, t_ms: int, trade_id: int, **changes: Any) -> OwnOrder:
    fill = OwnFill(T0 + t_ms * NS_PER_MS, 100 * E8, E8, trade_id)
    return _order(number, side, t_ms - 1, fills={trade_id: fill}, cum_qty=E8, end="FILLED", **changes)


def _cancelled(number: int, of_side: Side, t_ms: int, end_ms: int, **changes: Any) -> OwnOrder:
    return _order(number, of_side, t_ms, t_ended=T0 + end_ms * NS_PER_MS, end="CANCELED", **changes)


def _layers(count: int, end_ms: int = 2_000, **changes: Any) -> list[OwnOrder]:
    bids = [_cancelled(k, Side.BUY, 0, end_ms, **changes) for k in range(1, count + 1)]
    return [_filled(100, Side.SELL, 1_000, 7), *bids]


@pytest.mark.control("E16")
def test_layers_that_vanish_after_a_fill_on_the_other_side_are_an_episode() -> None:
    (episode,) = layering(_layers(3))
    assert episode.pattern == "M2"
    assert episode.orders == ["order 100", "order 1", "order 2", "order 3"]


@pytest.mark.parametrize(
    "orders",
    [
        _layers(2),
        _layers(3, 3_001),
        _layers(3, 1_000),
        _layers(3, side="SELL"),
        _layers(3, tif="IOC"),
        _layers(3, cum_qty=1),
        _layers(3, t=T0 + 1_001 * NS_PER_MS),
    ],
    ids=["too few", "too late", "before the fill", "same side", "cannot rest", "partly filled", "made after the fill"],
)
def test_what_is_no_layering_is_left_alone(orders: list[OwnOrder]) -> None:
    assert layering(orders) == []


def test_one_order_of_three_times_the_usual_size_is_an_episode() -> None:
    usual = [_filled(k, Side.SELL, k * 10_000, k) for k in range(2, 6)]
    big = _cancelled(50, Side.BUY, 19_000, 21_000, qty=3 * E8)
    (episode,) = layering([*usual, big])
    assert episode.orders == ["order 2", "order 50"]
    assert layering([*usual, _cancelled(50, Side.BUY, 19_000, 21_000, qty=3 * E8 - 1)]) == []


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=80), st.booleans())
def test_pinging_is_found_exactly_where_a_minute_holds_too_many(times_ms: list[int], tiny: bool) -> None:
    orders = [_filled(k, Side.BUY, t, k + 1) for k, t in enumerate(times_ms)]
    found = pinging(orders, E8 // 2 if tiny else E8 // 2 - 1, 0)
    ts = sorted(times_ms)
    most = max(sum(t <= other < t + 60_000 for other in ts) for t in ts)
    assert bool(found) == (tiny and most > 30)


def test_exits_of_the_least_size_are_no_pings() -> None:
    orders = [_filled(k, Side.BUY, k, k + 1, reduce_only=True) for k in range(40)]
    assert pinging(orders, E8, 0) == []
    assert pinging([_filled(k, Side.BUY, k, k + 1) for k in range(40)], 0, 200 * E8) != []


@pytest.mark.control("E16")
def test_both_sides_of_one_trade_are_an_episode() -> None:
    (episode,) = self_trades([_filled(1, Side.BUY, 5, 9), _filled(2, Side.SELL, 5, 9)])
    assert episode.orders == ["order 1", "order 2"]
    assert self_trades([_filled(1, Side.BUY, 5, 9), _filled(2, Side.SELL, 5, 10)]) == []


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({}, False),
        ({"reason": "NONE"}, True),
        ({"setup_id": 0}, True),
        ({"fair_value": 0}, True),
        ({"ref_price": 0}, True),
        ({"edge_bps": 0}, True),
        ({"edge_bps": 0, "reduce_only": True}, False),
    ],
)
def test_an_order_needs_its_reason(changes: dict[str, Any], lacking: bool) -> None:
    assert lacks_reason(_order(1, Side.BUY, 0, **changes)) == lacking


def test_entries_with_a_push_are_those_shortly_after_it_in_its_direction() -> None:
    market = MarketFacts()
    alarm = {"kind": "SIGNAL", "code": "ANOMALY", "control": "NONE", "symbol": "BTCUSDT", "side": "SELL", "t": T0}
    market.take({"record": {**alarm, "price": "101", "value": 100 * E8}})
    pause_ns = 5 * NS_PER_S
    assert joins(_order(1, Side.BUY, 5_000), market.pushes, pause_ns)
    assert not joins(_order(1, Side.BUY, 5_001), market.pushes, pause_ns)
    assert not joins(_order(1, Side.SELL, 1), market.pushes, pause_ns)
    assert not joins(_order(1, Side.BUY, 1, reduce_only=True), market.pushes, pause_ns)
    assert not joins(_order(1, Side.BUY, -1), market.pushes, pause_ns)


def test_figures_of_a_day_are_exact() -> None:
    orders = [_filled(k, Side.SELL, 60_000 * k, k) for k in (1, 2)]
    orders += [_cancelled(10 + k, Side.BUY, 60_000 * k, 60_000 * k + 49 + k) for k in range(3)]
    (day,) = conduct_report(orders, MarketFacts(), None)["days"]
    assert (day["orders"], day["filled_orders"], day["trades"], day["order_to_trade"]) == (5, 2, 2, "2.50")
    assert (day["resting"], day["cancelled_unfilled"], day["short_quotes"], day["short_quotes_bps"]) == (5, 3, 1, 2_000)
    assert not day["over_order_to_trade"]
    assert not day["stuffing"]


def test_a_day_of_cancels_is_an_episode_with_its_orders() -> None:
    orders = [_cancelled(k, Side.BUY, 1_000 * k, 1_000 * k + 10) for k in range(20)]
    report = conduct_report(orders, MarketFacts(), None)
    (episode,) = [one for one in report["episodes"] if one["pattern"] == "M3"]
    assert len(episode["orders"]) == 20
    assert report["days"][0]["over_short_quotes"]
