"""Limits in force: tightened at once, widened by two persons and a wait, whatever ends in between. On a real journal."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.layout import GLOBAL, NO_LIMIT, PARAMS, SYMBOL, SYMBOL_LIMITS, LimitField
from sentinel.errors import LimitsError
from sentinel.host.control.limits_desk import LimitsDesk
from sentinel.host.control.limits_draft import draft_limits
from sentinel.host.control.limits_file import LIMITS
from sentinel.host.control.roles import Persons
from sentinel.host.engine_host import EngineHost
from sentinel.host.replay import JournalReplay, state_of
from sentinel.units import E8, NS_PER_S
from tests.host.control.persons import PERSONS, limits_text, own_limits, restricted_list, signatures
from tests.host.plain_config import plain_config
from tests.host.venues.offline_session import ManualClock

START_NS = 1_790_000_000 * NS_PER_S
WAIT_S = 600
RISK = {
    "max_order_notional": "1000",
    "max_position_notional": "2000",
    "max_gross_notional": "3000",
    "max_drawdown_bps": 1000,
    "max_trades_per_minute": 100,
}
#: What a first file states: below the settings.
TIGHT: dict[str, Any] = {
    "max_order_notional": '"500"',
    "max_position_notional": '"1000"',
    "max_gross_notional": '"2000"',
    "max_drawdown_bps": 500,
    "max_trades_per_minute": 50,
}
#: And every other limit of theirs, as live trading wants it signed.
WHOLE = dict(
    row.split(" = ")
    for row in draft_limits(plain_config(Path("unused"), risk=RISK), 1, START_NS, 30).split("[firm]\n")[1].splitlines()
)


class Life:
    """One process's engine over ``directory``'s journal, and its desk."""

    def __init__(self, directory: Path, risk: dict[str, Any] = RISK, persons: Persons = PERSONS, t_ns: int = START_NS) -> None:
        config = plain_config(directory, risk=risk, access={"limits_cool_down_s": WAIT_S})
        self.host = EngineHost(config, lambda slots, ready_ns: None)
        self.clock = ManualClock()
        self.clock.ns = t_ns
        self.monotonic_ns = 5
        self.persons = persons
        self.desk = LimitsDesk(self.host, self.clock, directory, config, lambda: self.persons, lambda: self.monotonic_ns)
        self.desk.begin()

    def apply(
        self, version: int, *names: str, mode: str = "paper", days: float = 30.0, more: str = "", **firm: Any
    ) -> dict[str, Any]:
        text = limits_text(version, START_NS, mode, days, more, **{**WHOLE, **TIGHT, **firm})
        return self.desk.apply(text, signatures(text, *names), 61_000)

    def refuses(self, version: int, *names: str, **firm: Any) -> LimitsError:
        """The refusal, which has changed nothing."""
        before = self.desk.show(), self.desk.in_force()
        with pytest.raises(LimitsError) as caught:
            self.apply(version, *names, **firm)
        assert (self.desk.show(), self.desk.in_force()) == before
        return caught.value

    def waits(self, seconds: float) -> None:
        self.monotonic_ns += round(seconds * NS_PER_S)
        self.desk.tick()

    def own(self, name: str) -> int:
        """A limit of the only symbol's own."""
        return self.desk.in_force()[f"BTCUSDT.{name}"]

    def __getitem__(self, name: str) -> int:
        return self.desk.in_force()[name]

    def die(self) -> None:
        """As kill -9 leaves it."""
        self.host.abandon()


@pytest.mark.control("E10")
def test_tighter_limits_need_one_person_and_hold_at_once_and_after_a_death(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert (life["max_order_notional"], life["max_drawdown_bps"]) == (1_000 * E8, 1_000)
    answer = life.apply(1, "alice")
    assert (life["max_order_notional"], life["max_drawdown_bps"]) == (500 * E8, 500)
    assert {change["when"] for change in answer["changes"]} == {"now"}
    change = next(change for change in answer["changes"] if change["limit"] == "max_drawdown_bps")
    assert (change["before"], change["after"]) == (1_000, 500)
    assert int(life.host.state.glob["limits_version"][0]) == 1
    life.die()
    life = Life(tmp_path)
    assert (life["max_order_notional"], life["max_drawdown_bps"], life.desk.show()["version"]) == (500 * E8, 500, 1)
    life.desk.show()
    life.host.close()


@pytest.mark.control("E10")
def test_wider_limits_need_two_persons_and_the_whole_wait(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    assert life.refuses(2, "alice", max_drawdown_bps=800).field == "signatures"
    answer = life.apply(2, "alice", "bob", max_drawdown_bps=800)
    assert [(one["limit"], one["before"], one["after"], one["when"]) for one in answer["changes"]] == [
        ("max_drawdown_bps", 500, 800, "later")
    ]
    assert answer["pending_left_s"] == WAIT_S
    life.waits(WAIT_S - 0.001)
    assert (life["max_drawdown_bps"], life.desk.show()["pending_left_s"]) == (500, 1)
    life.waits(0.001)
    assert (life["max_drawdown_bps"], life.desk.show()["pending"]) == (800, None)
    assert life.desk.show()["signed"]["signers"] == ["alice", "bob"]
    life.host.close()
    state, _ = state_of(tmp_path)
    JournalReplay(tmp_path, state).run()
    assert (int(state.params["max_drawdown_bps"][0]), int(state.glob["limits_version"][0])) == (800, 2)


def test_a_death_during_the_wait_begins_it_anew(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", max_drawdown_bps=800)
    life.waits(WAIT_S - 1)
    life.die()
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life.desk.show()["pending_left_s"]) == (500, WAIT_S)
    life.waits(WAIT_S - 1)
    life.die()
    life = Life(tmp_path)
    life.waits(WAIT_S - 1)
    assert life["max_drawdown_bps"] == 500
    life.waits(1)
    assert life["max_drawdown_bps"] == 800
    life.die()
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life.desk.show()["pending"]) == (800, None)
    life.die()


def test_a_file_that_widens_and_tightens_tightens_at_once_and_no_single_person_undoes_that(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    answer = life.apply(2, "alice", "bob", max_drawdown_bps=800, max_trades_per_minute=20)
    assert (life["max_drawdown_bps"], life["max_trades_per_minute"]) == (500, 20)
    assert {(one["limit"], one["when"]) for one in answer["changes"]} == {
        ("max_trades_per_minute", "now"),
        ("max_drawdown_bps", "later"),
    }
    assert life.refuses(3, "alice", max_trades_per_minute=50).field == "signatures"
    life.die()
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life["max_trades_per_minute"]) == (500, 20)
    life.waits(WAIT_S)
    assert (life["max_drawdown_bps"], life["max_trades_per_minute"]) == (800, 20)
    life.die()


def test_one_person_may_tighten_while_wider_limits_wait_and_that_ends_their_waiting(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", max_drawdown_bps=800)
    life.apply(3, "bob", max_drawdown_bps=400)
    life.waits(2 * WAIT_S)
    assert (life["max_drawdown_bps"], life.desk.show()["pending"]) == (400, None)
    assert life.refuses(2, "alice", "bob", max_drawdown_bps=800).field == "limits.version"
    life.die()
    life = Life(tmp_path)
    life.waits(2 * WAIT_S)
    assert life["max_drawdown_bps"] == 400
    life.die()


def test_leaving_a_limit_out_that_was_signed_is_widening_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice", price_collar_bps=100)
    assert life.refuses(2, "alice").field == "signatures"
    life.apply(2, "alice", "bob")
    assert life["price_collar_bps"] == 100
    life.waits(WAIT_S)
    assert life["price_collar_bps"] == 500
    life.die()


def test_no_file_exceeds_the_settings_and_a_value_far_above_them_is_another_unit(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.refuses(1, "alice", max_gross_notional='"5000"').field == "signatures"
    life.apply(1, "alice", "bob", max_gross_notional='"5000"')
    life.waits(WAIT_S)
    assert life["max_gross_notional"] == 3_000 * E8
    error = life.refuses(2, "alice", "bob", max_gross_notional='"300000000"')
    assert (error.field, "unit" in error.remedy) == ("limits.firm.max_gross_notional", True)
    life.die()
    wider = Life(tmp_path, {**RISK, "max_gross_notional": "9000"})
    assert wider["max_gross_notional"] == 5_000 * E8
    wider.die()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_version_that_does_not_rise_is_refused_whatever_it_says(tmp_path: Path, version: int) -> None:
    life = Life(tmp_path)
    life.apply(2, "alice")
    assert life.refuses(version, "alice", "bob", max_drawdown_bps=100).field == "limits.version"
    life.die()


def test_files_for_another_mode_not_yet_or_no_longer_valid_are_refused(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.refuses(1, "alice", mode="live").field == "limits.mode"
    life.clock.ns = START_NS - 3_601 * NS_PER_S
    assert life.refuses(1, "alice").field == "limits.valid_from"
    life.clock.ns = START_NS + 30 * 86_400 * NS_PER_S
    assert life.refuses(1, "alice").field == "limits.expires"
    life.clock.ns -= 1
    life.apply(1, "alice")
    life.die()


@pytest.mark.control("E10")
def test_an_unsigned_or_tampered_file_changes_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.refuses(1).field == "signatures"
    assert life.refuses(1, "carol").field == "signatures"
    text = limits_text(1, START_NS, "paper", **TIGHT)
    signed = signatures(text, "alice")
    with pytest.raises(LimitsError, match="exactly this file"):
        life.desk.apply(text.replace('"500"', '"501"'), signed, 0)
    assert life["max_order_notional"] == 1_000 * E8
    life.die()


def test_who_lost_the_role_during_the_wait_has_not_agreed(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", max_drawdown_bps=800)
    life.persons = Persons(tuple(one for one in PERSONS.everybody if one.name != "bob"))
    life.waits(WAIT_S)
    assert life["max_drawdown_bps"] == 500
    assert "bob" in life.desk.show()["trouble"]
    with pytest.raises(LimitsError):
        life.desk.require_signed()
    life.die()


def test_a_file_that_ends_during_the_wait_is_not_put_in_force(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", days=0.001, max_drawdown_bps=800)
    life.clock.ns += 3_600 * NS_PER_S
    life.waits(WAIT_S)
    assert life["max_drawdown_bps"] == 500
    life.die()


def _flip(path: Path) -> None:
    raw = path.read_bytes()
    at = raw.index(b"max_drawdown_bps")
    path.write_bytes(raw[:at] + raw[at:].replace(b"500", b"900", 1))


def _older(path: Path) -> None:
    path.write_bytes((path.parent / "kept").read_bytes())


@pytest.mark.parametrize("spoil", [_flip, _older, Path.unlink, lambda path: path.write_bytes(b"{")])
def test_a_stored_file_that_is_changed_older_or_gone_widens_nothing_and_arms_nothing(tmp_path: Path, spoil: Any) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    (tmp_path / "kept").write_bytes((tmp_path / "limits-current.json").read_bytes())
    life.apply(2, "alice", max_order_notional='"400"')
    life.desk.require_signed()
    life.die()
    spoil(tmp_path / "limits-current.json")
    life = Life(tmp_path)
    assert (life["max_order_notional"], life["max_drawdown_bps"]) == (400 * E8, 500)
    with pytest.raises(LimitsError):
        life.desk.require_signed()
    assert life.refuses(2, "alice").field == "limits.version"
    assert life.refuses(3, "alice").field == "signatures"
    life.apply(3, "alice", max_order_notional='"400"')
    life.desk.require_signed()
    life.die()


@pytest.mark.parametrize("method", ["save", "drop"])
def test_a_death_at_either_side_of_the_disks_answer_leaves_old_or_new_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Dead right after the new file was stored, and before the engine heard of it."""
    life = Life(tmp_path)
    life.apply(1, "alice")
    store: Any = life.desk._store
    stored = getattr(store, method)

    class Dead(BaseException):
        pass

    def die(*arguments: Any) -> None:
        stored(*arguments)
        raise Dead

    monkeypatch.setattr(store, method, die)
    with pytest.raises(Dead):
        life.apply(2, "alice", max_order_notional='"400"')
    assert life["max_order_notional"] == 500 * E8
    life.die()
    life = Life(tmp_path)
    assert (life["max_order_notional"], life.desk.show()["version"]) == (400 * E8, 2)
    life.die()


@pytest.mark.parametrize("moved", [True, False])
def test_wider_limits_the_engine_was_never_told_of_wait_again_whoever_put_them_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """A file that waits is moved to where the one in force is; or the process dies between disk and engine."""
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", max_drawdown_bps=800)
    if not moved:
        monkeypatch.setattr(life.desk, "_enforce", lambda *_: None)
        life.waits(WAIT_S)
    life.die()
    if moved:
        (tmp_path / "limits-pending.json").rename(tmp_path / "limits-current.json")
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life.desk.show()["pending_left_s"]) == (500, WAIT_S)
    with pytest.raises(LimitsError):
        life.desk.require_signed()
    life.waits(WAIT_S)
    assert life["max_drawdown_bps"] == 800
    life.desk.require_signed()
    life.die()


def test_a_disk_that_takes_nothing_refuses_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sentinel.host.control.limits_store.os.fsync", full)
    assert life.refuses(1, "alice").field == "stored limits"
    monkeypatch.undo()
    life.apply(1, "alice")
    life.die()


@pytest.mark.control("E10")
@pytest.mark.parametrize("name", [*WHOLE, "BTCUSDT.max_open_orders", "BTCUSDT.restricted"])
def test_live_nothing_is_armed_while_the_settings_alone_say_a_limit_because_a_restart_would_widen_it(
    tmp_path: Path, name: str
) -> None:
    risk = RISK | {"symbols": {"BTCUSDT": {"max_open_orders": 3}}, "restricted_symbols": ["BTCUSDT"]}
    tables = {
        "BTCUSDT.max_open_orders": own_limits("BTCUSDT", max_open_orders=3),
        "BTCUSDT.restricted": restricted_list(START_NS, "BTCUSDT"),
    }
    life = Life(tmp_path, risk)
    some = "".join(text for limit, text in tables.items() if limit != name)
    left_out: dict[str, Any] = {} if name in tables else {name: None}
    life.apply(1, "alice", "bob", more=some, **left_out)
    with pytest.raises(LimitsError, match=f"without {name}"):
        life.desk.require_signed()
    life.apply(2, "alice", more="".join(tables.values()))
    life.desk.require_signed()
    life.die()


def test_live_trading_wants_every_stated_limit_signed_and_in_time(tmp_path: Path) -> None:
    life = Life(tmp_path)
    with pytest.raises(LimitsError, match="signed limits file"):
        life.desk.require_signed()
    life.apply(1, "alice")
    life.desk.require_signed()
    life.clock.ns = life.desk.expires_ns
    with pytest.raises(LimitsError, match="expires"):
        life.desk.require_signed()
    life.die()


@pytest.mark.parametrize("name", ["max_source_gap_bps", "max_impact_bps"])
def test_a_file_turns_on_what_the_settings_do_not_ask_and_no_file_turns_it_off(tmp_path: Path, name: str) -> None:
    life = Life(tmp_path, {**RISK, name: 0})

    def row() -> dict[str, Any]:
        return next(one for one in life.desk.show()["limits"] if one["limit"] == name)

    assert (row()["in_force"], row()["settings"], row()["signed"]) == (0, 0, None)
    low: dict[str, Any] = {name: 20}
    high: dict[str, Any] = {name: 30}
    left_out: dict[str, Any] = {name: None}
    changes = life.apply(1, "alice", **high)["changes"]
    assert {"symbol": None, "limit": name, "before": 0, "after": 30, "when": "now"} in changes
    assert (life[name], row()["in_force"], row()["signed"]) == (30, 30, 30)
    life.refuses(2, "alice", **{name: 40})
    life.refuses(2, "alice", **left_out)
    life.apply(2, "alice", **low)
    assert life[name] == 20
    # Left out by two persons it is in no file any more, and still asked for: only a start makes the settings' 0 count.
    changes = life.apply(3, "alice", "bob", **left_out)["changes"]
    assert name not in {change["limit"] for change in changes}
    life.waits(WAIT_S)
    assert (life[name], row()["in_force"], row()["signed"]) == (20, 20, None)
    life.die()


STEPS = st.lists(
    st.tuples(
        st.integers(50, 1_500),
        st.integers(1, 1_000),
        st.one_of(st.none(), st.integers(1, 500)),
        st.booleans(),
        st.sampled_from([("alice",), ("alice", "bob")]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


class Told:
    """What an engine that only takes LIMITS events holds."""

    def __init__(self, risk: Any) -> None:
        self.params, self.glob, self.symbols = np.zeros(1, PARAMS), np.zeros(1, GLOBAL), np.zeros(1, SYMBOL)
        self.state = self
        for name in LIMITS:
            self.params[name] = getattr(risk, name)
        for name in SYMBOL_LIMITS:
            self.symbols[name] = NO_LIMIT

    def control(self, command: Any, t: int, **fields: int) -> None:
        if fields["id"] == LimitField.RESTRICTED:
            self.symbols["restricted"][fields["symbol"]] = fields["value"] == 0
        elif fields["id"] == LimitField.RESTRICTED_ISSUED:
            assert self.glob["restricted_t"][0] < fields["value"] <= t
            self.glob["restricted_t"] = fields["value"]
        else:
            name = next(name for name, bounds in LIMITS.items() if bounds.field == fields["id"])
            (self.symbols if "symbol" in fields else self.params)[name][0] = fields["value"]
        self.glob["limits_version"] = fields["version"]


@settings(max_examples=60, deadline=None)
@given(STEPS)
@pytest.mark.control("E10")
def test_whatever_is_applied_one_person_never_widens_and_nothing_widens_before_the_wait(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = plain_config(directory, risk=RISK, access={"limits_cool_down_s": WAIT_S})
        engine, clock, now = Told(config.risk), ManualClock(), [0]
        clock.ns = START_NS
        desk = LimitsDesk(engine, clock, Path(directory), config, lambda: PERSONS, lambda: now[0])  # type: ignore[arg-type]
        at_start = desk.in_force()
        for version, (drawdown, trades, order, listed, names, waits) in enumerate(steps, 1):
            before = desk.in_force()
            firm = {**TIGHT, "max_drawdown_bps": drawdown, "max_trades_per_minute": trades}
            more = "" if order is None else own_limits("BTCUSDT", max_order_notional=f'"{order}"', max_open_orders=order % 20)
            more += restricted_list(START_NS - NS_PER_S, *["BTCUSDT"] * listed)
            text = limits_text(version, START_NS, "paper", more=more, **firm)
            try:
                desk.apply(text, signatures(text, *names), 0)
            except LimitsError:
                assert desk.in_force() == before
            assert all(value <= before[name] for name, value in desk.in_force().items())
            if waits:
                pending = desk.show()["pending"]
                before = desk.in_force()
                now[0] += WAIT_S * NS_PER_S
                desk.tick()
                assert pending is not None or desk.in_force() == before
                assert pending is None or pending["signers"] == ["alice", "bob"]
                if pending is not None and pending["version"] == version:
                    # All of it is in force now, as if there had been nothing before.
                    held = desk.in_force()
                    assert held["max_drawdown_bps"] == min(drawdown, 1_000)
                    assert held["BTCUSDT.max_order_notional"] == (NO_LIMIT if order is None else order * E8)
                    assert held["BTCUSDT.restricted"] == (0 if listed else NO_LIMIT)
            assert all(value <= at_start[name] for name, value in desk.in_force().items())


def test_a_file_that_waits_and_has_tightened_something_waits_again_where_somebody_has_moved_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice")
    life.apply(2, "alice", "bob", max_drawdown_bps=800, max_order_notional='"400"')
    assert (life["max_order_notional"], life["max_drawdown_bps"]) == (400 * E8, 500)
    life.die()
    (tmp_path / "limits-pending.json").rename(tmp_path / "limits-current.json")
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life.desk.show()["pending_left_s"]) == (500, WAIT_S)
    life.waits(WAIT_S)
    assert (life["max_order_notional"], life["max_drawdown_bps"]) == (400 * E8, 800)
    life.die()
    life = Life(tmp_path)
    assert (life["max_drawdown_bps"], life.desk.show()["pending"]) == (800, None)
    life.die()


def _own(**limits: Any) -> str:
    return own_limits("BTCUSDT", **limits)


def test_a_symbols_own_limit_is_tightened_by_one_person_and_widened_by_two_and_a_wait(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.own("max_order_notional") == NO_LIMIT
    answer = life.apply(1, "alice", more=_own(max_order_notional='"300"', price_collar_bps=50))
    assert [
        (one["limit"], one["before"], one["after"], one["when"]) for one in answer["changes"] if one["symbol"] == "BTCUSDT"
    ] == [
        ("max_order_notional", None, "300.00000000", "now"),
        ("price_collar_bps", None, 50, "now"),
    ]
    assert (life.own("max_order_notional"), life.own("price_collar_bps")) == (300 * E8, 50)
    assert life["max_order_notional"] == 500 * E8
    # Both a higher value and a limit that is left out are wider.
    assert life.refuses(2, "alice", more=_own(max_order_notional='"301"', price_collar_bps=50)).field == "signatures"
    assert life.refuses(2, "alice", more=_own(max_order_notional='"300"')).field == "signatures"
    assert life.refuses(2, "alice").field == "signatures"
    life.apply(2, "alice", "bob", more=_own(max_order_notional='"299"', price_collar_bps=60))
    assert (life.own("max_order_notional"), life.own("price_collar_bps")) == (299 * E8, 50)
    life.waits(WAIT_S - 1)
    assert life.own("price_collar_bps") == 50
    life.die()
    life = Life(tmp_path)
    assert (life.own("max_order_notional"), life.own("price_collar_bps")) == (299 * E8, 50)
    life.waits(WAIT_S)
    assert (life.own("max_order_notional"), life.own("price_collar_bps")) == (299 * E8, 60)
    life.apply(3, "alice", "bob")
    life.waits(WAIT_S)
    assert (life.own("max_order_notional"), life.own("price_collar_bps")) == (NO_LIMIT, NO_LIMIT)
    life.die()


def test_limits_of_symbols_are_replayed_to_the_bit_and_outlive_a_snapshot(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice", more=_own(max_order_notional='"300"') + restricted_list(START_NS - 60 * NS_PER_S, "BTCUSDT"))
    life.host.close()
    again = Life(tmp_path)
    assert (again.own("max_order_notional"), again.own("restricted")) == (300 * E8, 0)
    held, issued = again.desk.in_force(), int(again.host.state.glob["restricted_t"][0])
    symbols = again.host.state.symbols.copy()
    again.die()
    state, _ = state_of(tmp_path)
    replay = JournalReplay(tmp_path, state)
    replay.run()
    assert replay.mismatched_effects == 0
    assert (state.symbols.tobytes(), int(state.glob["restricted_t"][0])) == (symbols.tobytes(), issued)
    assert (issued, held["BTCUSDT.max_order_notional"]) == (START_NS - 60 * NS_PER_S, 300 * E8)


def test_a_symbols_own_limit_never_exceeds_that_of_the_settings(tmp_path: Path) -> None:
    life = Life(tmp_path, {**RISK, "symbols": {"BTCUSDT": {"max_order_notional": "100", "max_order_qty": "1"}}})
    assert life.own("max_order_notional") == 100 * E8
    assert life.refuses(1, "alice", more=_own(max_order_notional='"200"')).field == "signatures"
    life.apply(1, "alice", "bob", more=_own(max_order_notional='"200"'))
    life.waits(WAIT_S)
    assert life.own("max_order_notional") == 100 * E8
    row = next(row for row in life.desk.show()["limits"] if row["symbol"] and row["limit"] == "max_order_notional")
    assert (row["in_force"], row["settings"], row["signed"]) == ("100.00000000", "100.00000000", "200.00000000")
    error = life.refuses(2, "alice", "bob", more=_own(max_order_notional='"200"', max_order_qty='"101"'))
    assert (error.field, "unit" in error.remedy) == ("limits.symbols.BTCUSDT.max_order_qty", True)
    life.die()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (own_limits("MOONUSDT", max_open_orders=1), "limits.symbols.MOONUSDT"),
        (own_limits("BTCUSDT", max_order_qty='"90000000000"'), ""),
        (restricted_list(START_NS, "MOONUSDT"), "limits.restricted.symbols"),
        (restricted_list(START_NS + NS_PER_S), "limits.restricted.issued"),
    ],
)
def test_a_symbol_nobody_watches_and_a_list_from_the_future_are_refused(tmp_path: Path, more: str, field: str) -> None:
    life = Life(tmp_path)
    if field:
        assert life.refuses(1, "alice", more=more).field == field
    else:
        life.apply(1, "alice", more=more)
    life.die()


def test_the_list_grows_by_one_person_shrinks_by_two_and_its_age_is_that_of_the_newest(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.desk.show()["restricted"] == dict.fromkeys(("version", "issued_ns", "age_s", "max_age_s")) | {"symbols": []}
    life.apply(1, "alice", more=restricted_list(START_NS - 100 * NS_PER_S))
    assert life.desk.show()["restricted"]["age_s"] == 100
    life.apply(2, "alice", more=restricted_list(START_NS - 90 * NS_PER_S, "BTCUSDT"))
    shown = life.desk.show()["restricted"]
    assert (shown["symbols"], shown["version"], shown["age_s"]) == (["BTCUSDT"], 2, 90)
    assert life.refuses(3, "alice", more=restricted_list(START_NS)).field == "signatures"
    older = restricted_list(START_NS - 91 * NS_PER_S, "BTCUSDT")
    assert life.refuses(3, "alice", "bob", more=older).field == "limits.restricted.issued"
    life.apply(3, "alice", "bob", more=restricted_list(START_NS - 80 * NS_PER_S))
    # What waits for longer to be taken off is newer all the same: nothing of it is missing in what is in force.
    assert (life.own("restricted"), life.desk.show()["restricted"]["age_s"]) == (0, 80)
    life.die()
    life = Life(tmp_path)
    life.waits(WAIT_S)
    assert (life.own("restricted"), life.desk.show()["restricted"]["age_s"]) == (NO_LIMIT, 80)
    life.die()


def test_who_leaves_out_the_list_keeps_its_symbols_waiting_and_its_age(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.apply(1, "alice", more=restricted_list(START_NS - 100 * NS_PER_S, "BTCUSDT"))
    assert life.refuses(2, "alice").field == "signatures"
    life.apply(2, "alice", "bob")
    life.waits(WAIT_S)
    assert (life.own("restricted"), life.desk.show()["restricted"]["age_s"]) == (NO_LIMIT, 100)
    life.die()
