"""Bad input, end to end: the daemon lives on, counts and logs what it refuses, orders nothing upon it, and recovers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.streams import wrap
from sentinel.wire import FeedStatus, FrameType, Kind, record_views
from tests.e2e.hostile_market import DEPTH, PUMPED, TICKERS, TRADES, Hand, Outcome, Scene, trade, wait_for_orders, with_raw
from tests.e2e.lockstep_rig import run

#: Injected one after the other from here on, through the pump and the orders it causes.
FIRST_S, SPAN_S = 125.0, 45.0
NUMBERS = (
    '"NaN"',
    "NaN",
    '"-0.05"',
    '"1e308"',
    "1e308",
    '"Infinity"',
    '"0.05x"',
    '""',
    '"9e18"',
    '"92233720368.54775808"',
    "null",
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run that nobody disturbs."""
    outcome = run(trade(tmp_path_factory.mktemp("clean")))
    assert outcome.finished
    assert len([second for second, symbol in outcome.places if symbol == PUMPED]) > 20
    assert outcome.halted == []
    return outcome


def _recovered(outcome: Outcome) -> None:
    """The scenario was lived through to its end, with whole books, nothing in doubt, the venue's own balances, and a journal
    that leads to the same state."""
    assert outcome.finished
    assert outcome.books["usable"].tolist() == [1, 1]
    assert (outcome.live_orders, outcome.unknown_orders) == (0, 0)
    assert outcome.held == outcome.owned
    replayed = ReplayedRun(outcome.store)
    assert replayed.state_hash == outcome.state_hash
    assert replayed.replay.mismatched_effects == 0


def _malformed_reports(store: Path) -> int:
    """STATUS / MALFORMED records the engine was told."""
    count = 0
    for segment in read_segments(store):
        market = record_views(frame_slots(segment.frames)).market[segment.frames["type"] == FrameType.INPUT]
        count += int(((market["kind"] == Kind.STATUS) & (market["qty"] == FeedStatus.MALFORMED)).sum())
    return count


# --- messages that must be refused: they leave no trace but their count ----------------------------------------------

#: Makes a frame for listeners of a stream from what was last said on it.
Message = Callable[[Hand], tuple[str, bytes]]
Body = Callable[..., bytes]


def _trade(hand: Hand, **raw: str) -> bytes:
    return with_raw({**hand.last[TRADES], "t": hand.last[TRADES]["t"] + 1}, **raw)


def _ticker(hand: Hand, **raw: str) -> bytes:
    return with_raw({**hand.last[TICKERS], "u": hand.last[TICKERS]["u"] + 1}, **raw)


def _depth(hand: Hand, **raw: str) -> bytes:
    after = hand.last[DEPTH]["u"] + 1
    return with_raw({**hand.last[DEPTH], "U": after, "u": after}, **raw)


STREAM_OF: dict[Body, str] = {_trade: TRADES, _ticker: TICKERS, _depth: DEPTH}


def _frame(body: Body, **raw: str) -> Message:
    """The next message of a stream, but for the raw JSON text of some keys."""
    stream = STREAM_OF[body]
    return lambda hand: (stream, wrap(stream, body(hand, **raw)))


def _cut(body: Body, part: float) -> Message:
    def message(hand: Hand) -> tuple[str, bytes]:
        stream, frame = _frame(body)(hand)
        return stream, frame[: max(1, int(len(frame) * part))]

    return message


def _text(text: bytes) -> Message:
    return lambda hand: (TRADES, text)


def _named(name: bytes) -> Message:
    """A trade of this name, given as raw bytes."""
    return lambda hand: (TRADES, wrap(TRADES, _trade(hand, s="0").replace(b'"s":0', b'"s":' + name)))


def _crossed(locked: bool) -> Message:
    def message(hand: Hand) -> tuple[str, bytes]:
        bid, ask = hand.last[TICKERS]["b"], hand.last[TICKERS]["a"]
        return _frame(_ticker, b=json.dumps(ask), a=json.dumps(ask if locked else bid))(hand)

    return message


NOT_JSON = (
    b" ",
    b"{",
    b"[]",
    b"null",
    b"nonsense",
    b"\xff\xfe\x00",
    b'{"stream":"novausdt@trade","data":{}}',
    b'{"stream":1,"data":1}',
    b"[" * 5000,
    b'{"e":"trade"}' * 2,
    b"x" * 100_000,
)
WRONG_TYPES: dict[Body, dict[str, tuple[str, ...]]] = {
    _trade: {
        "t": ('"7"', "7.5", "-7", "99999999999999999999", "null", ""),
        "T": ('"7"', "-1", "0", "true", "32503680000000", ""),
        "m": ('"true"', "1", "null", ""),
        "s": ("7", "null", "[]", ""),
        "e": ("7", '"tade"'),
    },
    _depth: {
        "U": ('"7"', ""),
        "u": ("7.5", "0"),
        "b": ("{}", '["0.04"]', '[["0.04"]]', '[["0.04","1","2"]]', "[[0.04,1]]", ""),
    },
    _ticker: {"B": ("5", "[]", "")},
}
NO_TEXT = (b'"\xff\xfe"', b'"NOVA\xc3"', rb'"\ud800"', b'"\xed\xa0\x80"', b'"NOVA\x00USDT"')

REFUSED: dict[str, list[Message]] = {
    "truncated JSON": [_cut(body, part) for body in (_trade, _depth) for part in (0.01, 0.2, 0.4, 0.6, 0.8, 0.99)],
    "what is no message": [_text(text) for text in NOT_JSON],
    "impossible numbers": [
        *(_frame(_trade, **{key: number}) for key in "pq" for number in NUMBERS),
        *(_frame(_ticker, **{key: number}) for key in "bA" for number in NUMBERS[:6]),
        *(_frame(_depth, b=f'[["0.04",{number}]]') for number in NUMBERS),
        *(_frame(_depth, a=f'[["0.05","100"],[{number},"5"]]') for number in NUMBERS),
    ],
    "wrong types": [
        _frame(body, **{key: raw}) for body, keys in WRONG_TYPES.items() for key, raws in keys.items() for raw in raws
    ],
    "crossed best bid and ask": [_crossed(locked) for locked in (False, True) for _ in range(12)],
    "symbols that are no text": [_named(name) for name in NO_TEXT],
}


def _say_all(scene: Scene, messages: list[Message]) -> None:
    """One after the other, all through the pump and the orders it causes."""

    def say(message: Message) -> None:
        scene.hand.say_raw(*message(scene.hand))

    for k, message in enumerate(messages):
        scene.at(FIRST_S + SPAN_S * k / len(messages), partial(say, message))


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_messages_are_counted_and_logged_and_leave_no_trace(
    clean: Outcome, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    messages = REFUSED[kind]
    outcome = run(trade(tmp_path, lambda scene: _say_all(scene, messages)))
    _recovered(outcome)
    assert outcome.feed["malformed"] == len(messages)
    assert outcome.feed["unknown_symbol"] == 0
    assert _malformed_reports(outcome.store) == len(messages)
    assert "message refused" in caplog.text
    assert outcome.places == clean.places
    assert outcome.state_hash == clean.state_hash


@pytest.mark.parametrize("body", STREAM_OF)
def test_the_same_messages_without_a_fault_do_leave_a_trace(clean: Outcome, tmp_path: Path, body: Body) -> None:
    outcome = run(trade(tmp_path, lambda scene: _say_all(scene, [_frame(body)])))
    assert outcome.finished
    assert outcome.feed["malformed"] == 0
    accepted = {_trade: "trades", _ticker: "bbos", _depth: "levels"}[body]
    assert outcome.engine[accepted] != clean.engine[accepted] or outcome.feed["gaps"] + outcome.feed["duplicates"] > 0


def test_unknown_symbols_are_counted_apart_and_leave_no_trace(clean: Outcome, tmp_path: Path) -> None:
    names = ["DOGEUSDT", "novausdt", "NOVAUSDT ", "", "N" * 5000, "币安人生USDT", "NOVAUSDＴ", "NÖVAUSDT", "💥"]
    escaped = [_frame(body, s=json.dumps(name)) for name in names for body in (_trade, _ticker, _depth)]
    plain = [_named(json.dumps(name, ensure_ascii=False).encode()) for name in names]
    outcome = run(trade(tmp_path, lambda scene: _say_all(scene, escaped + plain)))
    _recovered(outcome)
    assert outcome.feed["unknown_symbol"] == 4 * len(names)
    assert outcome.feed["malformed"] == 0
    assert outcome.state_hash == clean.state_hash


def test_garbage_on_the_order_connection_is_counted_and_leaves_no_trace(
    clean: Outcome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = [
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"id":"STL-0","status":"200"}',
        b'{"id":{},"status":200,"result":{}}',
        b'{"event":{"e":"executionReport"}}',
        b'{"event":{"e":"executionReport","s":"NOVAUSDT","c":"STL-","l":"NaN"}}',
        b'{"event":7}',
    ]

    def prepare(scene: Scene) -> None:
        for k, text in enumerate(garbage * 3):
            scene.at(FIRST_S + 1.5 * k, partial(scene.hand.say_to_orders, text))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.session["malformed"] + outcome.session["unknown_replies"] == 3 * len(garbage)
    assert "message of the venue not used" in caplog.text
    assert outcome.state_hash == clean.state_hash


# --- sequence numbers ------------------------------------------------------------------------------------------------


def test_every_message_twice_gives_the_same_run(clean: Outcome, tmp_path: Path) -> None:
    streams = (TRADES, TICKERS, DEPTH, "user")

    def prepare(scene: Scene) -> None:
        for stream in streams:
            scene.hand.on(stream, lambda payload: (payload, payload))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.published == clean.published
    # What came before the connections is doubled for nobody: the first depth events among it are held for the snapshot.
    assert outcome.feed["duplicates"] == sum(outcome.published[stream] for stream in streams[:3])
    assert outcome.engine["duplicate_fills"] > clean.engine["duplicate_fills"]
    assert outcome.state_hash == clean.state_hash


def test_late_trades_are_taken_once_and_marked(clean: Outcome, tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def hold_one(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if held and payload["T"] > held[0]["T"]:
            return (payload, held.pop())
        if not held:
            held.append(payload)
            return ()
        return (payload,)

    def prepare(scene: Scene) -> None:
        scene.at(140.0, lambda: scene.hand.on(TRADES, hold_one))
        scene.at(160.0, lambda: scene.hand.on(TRADES, lambda payload: (payload, *(held.pop() for _ in held[:]))))
        scene.at(170.0, lambda: scene.hand.off(TRADES))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.feed["late_trades"] > 20
    assert outcome.feed["missing_trades"] == 0
    assert outcome.feed["duplicates"] == 0
    assert outcome.engine["trades"] == outcome.published[TRADES] + outcome.published["lumiusdt@trade"]


def test_missing_trades_are_counted(tmp_path: Path) -> None:
    def prepare(scene: Scene) -> None:
        for second in (60.0, 131.0, 150.0, 170.0):
            scene.at(second, lambda: scene.venue.faults.inject(FaultKind.DROP_MESSAGE, 3, TRADES))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.feed["missing_trades"] == 12
    assert outcome.engine["trades"] == outcome.published[TRADES] + outcome.published["lumiusdt@trade"] - 12


def _orders_between(outcome: Outcome, first: float, last: float) -> int:
    return sum(symbol == PUMPED and first <= second <= last for second, symbol in outcome.places)


def _spoiled_span(outcome: Outcome) -> tuple[float, float]:
    seconds = [second for second, symbol in outcome.halted if symbol == PUMPED]
    return seconds[0], seconds[-1]


def _no_snapshot_for_a_while(scene: Scene) -> None:
    """The next snapshots fail: 4 s pass before a book is whole again."""
    scene.venue.faults.inject(FaultKind.ERROR_AFTER_ACCEPT, 8, "depth")


def _lose_depth(scene: Scene) -> None:
    scene.venue.faults.inject(FaultKind.DROP_MESSAGE, 1, DEPTH)
    _no_snapshot_for_a_while(scene)


def _truncate_depth(scene: Scene) -> None:
    scene.venue.faults.inject(FaultKind.MALFORMED_MESSAGE, 1, DEPTH)
    _no_snapshot_for_a_while(scene)


def _swap_depth(scene: Scene) -> None:
    held: list[dict[str, Any]] = []

    def swap(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if not held:
            held.append(payload)
            return ()
        scene.hand.off(DEPTH)
        return (payload, held[0])

    scene.hand.on(DEPTH, swap)
    _no_snapshot_for_a_while(scene)


def _cross_book(scene: Scene) -> None:
    def cross(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
        scene.hand.off(DEPTH)
        return ({**payload, "b": [*payload["b"], ["0.09000000", "5000.00000000"]]},)

    scene.hand.on(DEPTH, cross)
    _no_snapshot_for_a_while(scene)


def _break_market_link(scene: Scene) -> None:
    scene.venue.faults.inject(FaultKind.CLOSE_MID_FRAME, 1, TRADES)
    _no_snapshot_for_a_while(scene)


@pytest.mark.parametrize(
    ("spoil", "counts", "says"),
    [
        (_lose_depth, {"gaps": 1, "malformed": 0, "reconnects": 0}, "snapshot of NOVAUSDT failed"),
        (_truncate_depth, {"gaps": 1, "malformed": 1, "reconnects": 0}, "message refused"),
        (_swap_depth, {"gaps": 1, "malformed": 0, "reconnects": 0}, "snapshot of NOVAUSDT failed"),
        (_cross_book, {"gaps": 0, "malformed": 0, "reconnects": 0}, "book of NOVAUSDT is crossed"),
        (_break_market_link, {"malformed": 0, "reconnects": 1}, "snapshot of NOVAUSDT failed"),
    ],
)
def test_no_order_is_priced_from_a_spoiled_book_and_trading_goes_on_with_a_new_one(
    clean: Outcome,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Scene], None],
    counts: dict[str, int],
    says: str,
) -> None:
    # Just before an order that the undisturbed run places.
    moment = next(second for second, symbol in clean.places if second > 150.0 and symbol == PUMPED) - 0.8
    outcome = run(trade(tmp_path, lambda scene: scene.at(moment, lambda: spoil(scene))))
    _recovered(outcome)
    assert says in caplog.text
    assert {key: outcome.feed[key] for key in counts} == counts
    assert outcome.feed["resyncs"] > clean.feed["resyncs"]
    first, last = _spoiled_span(outcome)
    assert moment <= first <= moment + 0.7
    assert 2.0 < last - first < 8.0
    assert _orders_between(clean, first, last) >= 2
    assert _orders_between(outcome, first, last) == 0
    assert _orders_between(outcome, last, 300.0) >= 4
    crossed = int(spoil is _cross_book)
    assert outcome.books["crossed"].tolist() == outcome.books["mismatched"].tolist() == [crossed, 0]
    assert outcome.books_given_up == crossed


def test_a_depth_level_that_was_changed_on_its_way_is_noticed_and_the_book_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Continuous ids, a plausible price: only the comparison with the ticker shows it."""

    def prepare(scene: Scene) -> None:
        def remove_best(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
            scene.hand.off(DEPTH)
            best = scene.hand.last[TICKERS]["b"]
            return ({**payload, "b": [*(level for level in payload["b"] if level[0] != best), [best, "0.00000000"]]},)

        scene.at(100.0, lambda: scene.hand.on(DEPTH, remove_best))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.books["mismatched"][0] >= 1
    assert outcome.books["mismatched"][0] < 10
    assert outcome.books_given_up == 1
    assert "differs from the ticker" in caplog.text


# --- the order connection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        FaultKind.CLOSE_MID_FRAME,
        FaultKind.RESET_AFTER_ACCEPT,
        FaultKind.DROP_RESPONSE,
        FaultKind.ERROR_AFTER_ACCEPT,
        FaultKind.DUPLICATE_RESPONSE,
        FaultKind.DROP_REQUEST,
    ],
)
def test_an_order_whose_answer_is_lost_is_resolved_and_trading_goes_on(tmp_path: Path, fault: FaultKind) -> None:
    def prepare(scene: Scene) -> None:
        wait_for_orders(scene)
        scene.at(140.0, lambda: scene.venue.faults.inject(fault, 1, "order.place"))

    broken = fault in (FaultKind.CLOSE_MID_FRAME, FaultKind.RESET_AFTER_ACCEPT)
    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.session["reconnects"] == int(broken)
    assert outcome.session["duplicate_replies"] == int(fault is FaultKind.DUPLICATE_RESPONSE)
    assert outcome.session["ambiguous"] == int(fault is not FaultKind.DUPLICATE_RESPONSE)
    assert outcome.engine["unknown_orders"] >= int(fault is FaultKind.DROP_REQUEST)
    assert outcome.places[-1][0] > 165.0
    assert len(outcome.places) >= 10


def test_half_a_frame_at_the_end_of_the_order_connection_is_not_taken_for_a_message(tmp_path: Path) -> None:
    def prepare(scene: Scene) -> None:
        wait_for_orders(scene)
        scene.at(145.0, lambda: scene.hand.break_order_link(b'\x81\x7e\x01\x00{"event":{"e":"executionReport"'))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert (outcome.session["reconnects"], outcome.session["malformed"]) == (1, 0)
    assert outcome.places[-1][0] > 165.0


@pytest.mark.parametrize("changes", [{"l": "NaN"}, {"L": "-1"}, {"z": "1e308"}, {"l": 5}, {"i": "x"}])
def test_an_execution_report_that_cannot_be_puts_its_order_in_doubt_until_it_is_resolved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    spoiled: list[dict[str, Any]] = []

    def spoil(event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if event.get("x") == "TRADE" and not spoiled:
            spoiled.append(event)
            return ({**event, **changes},)
        return (event,)

    outcome = run(trade(tmp_path, lambda scene: scene.hand.on("user", spoil)))
    _recovered(outcome)
    assert spoiled
    assert outcome.session["malformed"] == 1
    assert "message of the venue not used" in caplog.text
    assert outcome.places[-1][0] > 165.0


# --- clocks ------------------------------------------------------------------------------------------------------------


def test_a_venue_whose_clock_goes_back_an_hour_costs_no_time_and_no_life(clean: Outcome, tmp_path: Path) -> None:
    def back(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
        return ({key: value - 3_600_000 if key in ("E", "T") else value for key, value in payload.items()},)

    seen: list[int] = []

    def prepare(scene: Scene) -> None:
        scene.each_step(lambda: seen.append(scene.daemon.host.now_ns))
        for stream in (TRADES, DEPTH):
            scene.at(140.0, partial(scene.hand.on, stream, back))
            scene.at(160.0, partial(scene.hand.off, stream))

    outcome = run(trade(tmp_path, prepare))
    _recovered(outcome)
    assert outcome.feed["late_trades"] > 100
    assert seen == sorted(seen)
    assert outcome.now_ns >= clean.now_ns
    assert outcome.places[-1][0] > 165.0
