"""What no venue should ever say, said to each session: counted, logged, its bytes kept, nothing guessed, and life goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sentinel.errors import VenueError
from sentinel.host.venues import keeper
from sentinel.host.venues.coinbase import ended
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import keeper as fix_keeper
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from sentinel.wire import InstrumentField, OrderEventFlag, OrderEventKind, OrderState, Side
from tests.host.venues import offline_session
from tests.host.venues.venue_rigs import BINANCE, COINBASE, COINBASE_FIX, COINBASES, GTC, KEY, ORDER, VENUES, Rig, play
from tests.host.waiting import until

pytestmark = pytest.mark.parametrize("venue", VENUES)

_KEPT_BYTES = 4096
_UUID = "d0c5340b-6d6c-49d9-b567-48c4bfca13d2"
_TIME = "2026-11-22T12:00:00.000000Z"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(fix_keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


def hear(rig: Rig, message: dict[str, Any] | bytes) -> None:
    """A message on the session's connection: JSON or any bytes."""
    session: Any = rig.session
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    if rig.network is not None:
        rig.network.say(payload)
    else:
        session.on_message(session.links[0], payload)


def kept(rig: Rig) -> bytes:
    """Every message that was kept, one after another; no more than the beginning of each."""
    session: Any = rig.session
    logs = [session.raw_log]
    if rig.network is not None:
        logs.append(session._entry.raw_log)
    assert all(len(raw) <= _KEPT_BYTES for log in logs for _, _, raw in log)
    return b"\n".join(raw for log in logs for _, _, raw in log)


def told_of_order(rig: Rig, **changes: Any) -> None:
    """News of ORDER, which rests: a fill of 2 at 90 as each venue tells it, with ``changes`` under these names:
    ``status``, ``qty``, ``without``.
    """
    status, qty, without = changes.get("status"), changes.get("qty", "2.00000000"), changes.get("without")
    oid = rig.client_id(ORDER)
    number = rig.of(OrderEventKind.ACKED)[0].venue_order_id
    if rig.name == BINANCE:
        event = offline_session.report(s=rig.symbols[0], c=oid, i=number, l=qty, L="90.00000000", z="2.00000000", Z="180.0")
        event |= {"X": status} if status else {}
        event.pop({"size": "l"}.get(without or "", ""), None)
        hear(rig, {"subscriptionId": 0, "event": event})
    elif rig.name == COINBASE:
        uuid = next(order["id"] for order in _coinbase_orders(rig) if order["client_oid"] == oid)
        match = {"type": "match", "trade_id": 77, "maker_order_id": uuid, "taker_order_id": _UUID, "side": "buy", "size": qty}
        match |= {"price": "90", "product_id": rig.symbols[0], "time": _TIME, "sequence": 1, "maker_fee_rate": "0.001"}
        if status:
            match = {"type": "done", "reason": status, "order_id": uuid, "product_id": rig.symbols[0], "time": _TIME}
        match.pop(without or "", None)
        hear(rig, match)
    else:
        fields = {11: oid, 37: str(number), 17: "1", 38: "3", 44: "90", 54: "1", 55: rig.symbols[0], 150: "F", 39: status or "1"}
        fields |= {14: "2", 25017: "180", 31: "90", 32: qty, 1003: "77", 1057: "N", 60: "20261122-12:00:00.000000"}
        if rig.name == COINBASE_FIX:
            (known,) = _coinbase_orders(rig)
            fields |= {37: known["id"]}
            del fields[25017]
        fields.pop({"size": 32}.get(without or "", 0), None)
        rig.acceptor.say("8", fields)


def _coinbase_orders(rig: Rig) -> list[dict[str, Any]]:
    session: Any = rig.session
    return [{"id": known.uuid, "client_oid": rig.client_id(ORDER)} for known in session._desk.live() if known.key == ORDER]


async def rests(rig: Rig) -> None:
    rig.place(price=90 * E8, tif=GTC)
    await rig.heard(OrderEventKind.ACKED)
    await until(lambda: rig.session.pending_requests == 0)


def _keys(rig: Rig) -> Any:
    """The keys the venue knows."""
    return rig.server.keys if rig.name in COINBASES else rig.server.gateway.keys


def refused_count(rig: Rig) -> int:
    counters = rig.session.counters
    return counters["malformed"] + counters.get("unknown_reports", 0)


async def lives_on(rig: Rig) -> None:
    """Nothing was invented about ORDER, no task has died, and another order is filled."""
    assert rig.of(OrderEventKind.TRADE, OrderEventKind.REJECTED, OrderEventKind.EXPIRED, OrderEventKind.CANCELED) == []
    await until(lambda: rig.session.ready)
    rig.place(key=ORDER + 7)
    await until(lambda: rig.bought(ORDER + 7) == 3 * E8)
    assert rig.session.counters["dead_tasks"] == 0


async def _in_doubt(rig: Rig, mark: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The message about ORDER was counted, kept and logged; the venue is to be asked, and says that it rests."""
    await rig.heard(OrderEventKind.CANCEL_REJECTED, OrderEventKind.AMBIGUOUS)
    assert refused_count(rig) == 1
    assert mark in kept(rig)
    assert "not used" in caplog.text
    assert (await rig.answer(OrderEventKind.STATUS)).state == OrderState.ACKED
    await lives_on(rig)


def test_an_unknown_order_status_puts_the_order_in_doubt(venue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        told_of_order(rig, status="HALF_DONE")
        await _in_doubt(rig, b"HALF_DONE", caplog)

    play(venue, scenario)


def test_a_missing_field_puts_the_order_in_doubt(venue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        told_of_order(rig, without="size")
        await _in_doubt(rig, rig.symbols[0].encode(), caplog)

    play(venue, scenario)


@pytest.mark.parametrize("qty", ["-2.00000000", "NaN", "1e308", "two", "99999999999999.0", "1.999999999999"])
def test_an_impossible_quantity_puts_the_order_in_doubt(venue: str, qty: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        told_of_order(rig, qty=qty)
        await _in_doubt(rig, qty.encode(), caplog)

    play(venue, scenario)


def test_an_unknown_error_code_proves_nothing(venue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.UNKNOWN_ERROR, target="order.place")
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.AMBIGUOUS)
        assert rig.session.counters["ambiguous"] == 1
        assert kept(rig)
        assert "proves nothing" in caplog.text or "not used" in caplog.text
        assert (await rig.answer(OrderEventKind.STATUS)).state == OrderState.ACKED
        await lives_on(rig)

    play(venue, scenario)


def test_an_answer_to_what_was_never_asked_is_counted_and_changes_nothing(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        before = len(rig.sink.events)
        if venue == BINANCE:
            hear(rig, {"id": "never-asked", "status": 200, "result": {"orderId": 5}, "rateLimits": []})
            assert rig.session.counters["unknown_replies"] == 1
            assert b"never-asked" in kept(rig)
        elif venue == COINBASE:
            # Its answers come on the connection of their question; an order of ours nobody has sent is asked for.
            done = {"type": "done", "order_id": _UUID, "reason": "filled", "product_id": rig.symbols[0], "time": _TIME}
            hear(rig, done)
            assert rig.session.counters["unknown_orders"] == 1
            await until(lambda: rig.session.pending_requests == 0)
        else:
            rig.acceptor.say("9", {11: "never-asked", 41: "nor-this", 434: "1", 25016: "-2011", 58: "Unknown order sent."})
            rig.acceptor.say("3", {45: "99", 372: "D", 373: "5", 58: "never-asked"})
            await until(lambda: rig.session.counters["unknown_rejects"] == 2)
            assert kept(rig).count(b"never-asked") == 2
        assert len(rig.sink.events) == before
        await lives_on(rig)

    play(venue, scenario)


def test_a_fill_of_a_foreign_order_is_told_as_foreign_and_never_as_ours(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        order = {"symbol": rig.symbols[0], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "2", "price": "100"}
        rig.exchange.place("paper", order)
        rig.exchange.take(0, Side.SELL, E8, 100 * E8)
        rig.server.wake()

        def trades() -> list[offline_session.Event]:
            return [event for event in rig.sink.events if event.kind == OrderEventKind.TRADE]

        await until(trades)
        (fill,) = trades()
        assert fill.flags & OrderEventFlag.FOREIGN
        assert (fill.last_qty, fill.last_price) == (E8, 100 * E8)
        assert fill.key != ORDER
        assert rig.session.counters["foreign"] >= 1
        await lives_on(rig)

    play(venue, scenario)


def test_an_order_under_filters_that_have_changed_is_refused_with_a_code_and_the_new_ones_can_be_read(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        for instrument in rig.exchange.instruments:
            object.__setattr__(instrument, "step", E8)
        rig.place(qty=3 * E8 // 2)
        assert (await rig.heard(OrderEventKind.REJECTED)).code < 0
        assert rig.session.counters["rejected"] == 1
        rig.sink.deliver(0, await rig.session.instruments(reload=True))
        steps = {value for _, symbol, value, field in rig.sink.controls if (symbol, field) == (0, InstrumentField.STEP_SIZE)}
        assert steps == {E8}
        rig.place(key=ORDER + 7)
        await until(lambda: rig.bought(ORDER + 7) == 3 * E8)

    play(venue, scenario)


def test_a_key_revoked_in_mid_run_halts_orders_for_good(venue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        _keys(rig).revoke(KEY)
        if rig.acceptor is not None:
            rig.acceptor.say("5", {25016: "-2015", 58: "Invalid API-key, IP, or permissions for action."})
        else:
            rig.place(key=ORDER + 1)
        session: Any = rig.session
        await until(lambda: session.halted is not None)
        assert not session.ready
        rig.place(key=ORDER + 2)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 2)).code == LocalCode.KEY_REFUSED
        assert rig.trades_at_the_venue() == 0
        assert "refuses" in caplog.text

    play(venue, scenario)


def refusals(rig: Rig) -> Callable[[], int]:
    """How many REST requests with a key that it refuses the venue has had from now on."""
    if rig.name not in COINBASES:
        keys = rig.server.gateway.keys
        begun = keys.refused
        return lambda: keys.refused - begun
    rest, seen = rig.server._rest, []
    original = rest.answer

    async def answer(request: Any) -> Any:
        response = await original(request)
        if response.status == 401:
            seen.append(request)
        return response

    rest.answer = answer
    return lambda: len(seen)


def test_with_a_refused_key_questions_end_and_cancels_are_still_tried(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        count = refusals(rig)
        _keys(rig).revoke(KEY)
        session: Any = rig.session
        for _ in range(10):
            for listing in (session.balances, session.open_orders):
                with pytest.raises(VenueError):
                    await listing()
            session.query(ORDER, rig.symbols[0])
        await until(lambda: session.pending_requests == 0)
        assert session.halted is not None
        assert not session.ready
        assert not session.has_room
        assert count() <= 3, "one question, and what was under way with it"
        rig.place(key=ORDER + 1)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 1)).code == LocalCode.KEY_REFUSED
        session.cancel(ORDER, rig.symbols[0])
        if rig.acceptor is not None:
            # Its sessions stand: who is logged on by FIX still is.
            await rig.heard(OrderEventKind.CANCELED)
        else:
            await rig.heard(OrderEventKind.CANCEL_REJECTED)
            assert count() >= 2, "the cancel has left"

    play(venue, scenario)


_PAGE = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"


@pytest.mark.parametrize("make", [lambda: _PAGE, lambda: b"[" + b"7," * (5 << 20) + b"7]"], ids=["an HTML page", "10 MB"])
def test_what_is_no_message_at_all_is_counted_and_its_beginning_kept(venue: str, make: Callable[[], bytes]) -> None:
    async def scenario(rig: Rig) -> None:
        await rests(rig)
        hear(rig, make())
        if rig.network is not None:
            # In a stream of FIX only the next message shows where such bytes end.
            rig.place(key=ORDER + 1, price=90 * E8, tif=GTC)
        await until(lambda: rig.session.counters["malformed"] > 0)
        assert make()[:16] in kept(rig)
        await lives_on(rig)

    play(venue, scenario)
