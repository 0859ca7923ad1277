"""Order entry over real sockets: what is asked, what is answered, what stays in doubt."""

from __future__ import annotations

import asyncio

import pytest

from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import COINBASE, FixAddress, FixOrderEntry, keeper
from sentinel.host.venues.fix.codec import Field, encode
from sentinel.units import NS_PER_S
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Venue, client_order_id
from tests.host.venues.fix.fix_peer import FILL, INSTRUMENTS, KEY, ORDER, OTHER_KEY, Connection, PlainLogon, report
from tests.host.venues.fix.order_desk import Desk, idle, play
from tests.host.venues.offline_session import (
    ACKED,
    AMBIGUOUS,
    CANCEL_REJECTED,
    CANCELED,
    NOT_SENT,
    REJECTED,
    SENT,
    TRADE,
    ManualClock,
    Sink,
)
from tests.host.waiting import until

OURS = (11, client_order_id(KEY))


@pytest.fixture(autouse=True)
def _quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(keeper, "_HANDOVER_S", 0.05)


def test_order_leaves_with_its_window_and_its_life_comes_back_as_events() -> None:
    seen: list[dict[int, bytes]] = []

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        seen.append(dict((await connection.hear("D")).fields))
        connection.say("8", *report(OURS))
        connection.say("8", *report(OURS, *FILL))
        seen.append(dict((await connection.hear("F")).fields))
        cancel = client_order_id(KEY).replace("STL-", "STC-")
        connection.say("8", *report((11, cancel), (41, client_order_id(KEY)), (150, "4"), (39, "4"), (14, "1"), (25017, "2")))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(TRADE)
        desk.entry.cancel(KEY, "AAAUSDT")
        await desk.wait(CANCELED)

    desk = play(venue, user)
    assert [(event.kind, event.key, event.state) for event in desk.sink.events] == [
        (SENT, KEY, OrderState.FREE),
        (ACKED, KEY, OrderState.ACKED),
        (TRADE, KEY, OrderState.PARTIAL),
        (CANCELED, KEY, OrderState.CANCELED),
    ]
    assert (seen[0][25000], seen[0][11], seen[0][44]) == (b"500", client_order_id(KEY).encode(), b"2")
    assert seen[1][41] == client_order_id(KEY).encode()
    assert (desk.entry.counters["ambiguous"], desk.entry.stream_trades) == (0, 1)


def test_orders_in_flight_when_the_session_is_lost_become_ambiguous_and_are_not_sent_again() -> None:
    second: list[Connection] = []

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say("8", *report(OURS))
        await connection.hear("D")
        await connection.hear("F")

    async def again(connection: Connection) -> None:
        second.append(connection)
        await idle(connection)

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(ACKED)
        desk.entry.place(OTHER_KEY, "AAAUSDT", *ORDER)
        desk.entry.cancel(KEY, "AAAUSDT")
        await until(lambda: desk.reconciled == 1)
        assert desk.entry.ready
        await asyncio.sleep(0.05)

    desk = play(venue, user, again)
    assert [(event.kind, event.key, event.code) for event in desk.sink.events] == [
        (SENT, KEY, 0),
        (ACKED, KEY, 0),
        (SENT, OTHER_KEY, 0),
        (AMBIGUOUS, OTHER_KEY, LocalCode.LOST_REPLY),
        (CANCEL_REJECTED, KEY, LocalCode.LOST_REPLY),
    ]
    assert desk.entry.reconnects == 1
    assert [message.msg_type for message in second[0].heard] == ["A", "5"]
    assert second[0].heard[0].text(34) == "1"


def test_gap_in_the_venues_messages_ends_the_session_in_doubt() -> None:
    said_goodbye: list[str] = []

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.sequence += 1
        connection.say("8", *report(OURS))
        said_goodbye.append((await connection.hear("5")).text(58))

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await until(lambda: desk.reconciled == 1)

    desk = play(venue, user, idle)
    assert [event.kind for event in desk.sink.events] == [SENT, AMBIGUOUS]
    assert said_goodbye == ["expected 2, received 3"]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ([(45, 2), (373, 1), (25016, -1102), (58, "Mandatory parameter")], REJECTED, -1102),
        ([(45, 2), (25016, -1007)], AMBIGUOUS, -1007),
        ([(45, 2), (25016, -9999)], AMBIGUOUS, -9999),
    ],
)
def test_reject_settles_the_order_whose_message_it_names(answer: list[Field], kind: OrderEventKind, code: int) -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say("3", *answer)
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(kind)

    desk = play(venue, user)
    assert [(event.kind, event.key, event.code) for event in desk.sink.events] == [(SENT, KEY, 0), (kind, KEY, code)]
    assert len(desk.entry.raw_log) == 1


def test_business_reject_without_proof_leaves_the_order_in_doubt() -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say("j", (45, 2), (372, "D"), (380, 4), (58, "Application not available"))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(AMBIGUOUS)

    assert play(venue, user).sink.events[-1].code == LocalCode.UNKNOWN_CODE


def test_refused_cancel_is_reported_with_the_venues_code() -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        cancel = await connection.hear("F")
        connection.say(
            "9",
            (11, cancel.text(11)),
            (41, cancel.text(41)),
            (55, "AAAUSDT"),
            (434, 1),
            (25016, -2011),
            (58, "Unknown order sent."),
        )
        connection.say("9", (11, "web"), (55, "AAAUSDT"), (434, 1), (25016, -2011))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.cancel(KEY, "AAAUSDT")
        await until(lambda: desk.entry.counters["unknown_rejects"] == 1)

    desk = play(venue, user)
    assert [(event.kind, event.key, event.code) for event in desk.sink.events] == [(CANCEL_REJECTED, KEY, -2011)]


def test_cancel_replace_reports_both_orders_and_its_reject_settles_both() -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        asked = await connection.hear("XCN")
        connection.say("8", *report((11, asked.text(25034)), (41, asked.text(41)), (150, "4"), (39, "4")))
        connection.say("8", *report((11, asked.text(11))))
        await connection.hear("XCN")
        connection.say("3", (45, 3), (25016, -1102))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.replace(KEY, OTHER_KEY, "AAAUSDT", *ORDER)
        await desk.wait(ACKED)
        desk.entry.replace(OTHER_KEY, KEY, "AAAUSDT", *ORDER)
        await desk.wait(REJECTED)

    assert [(event.kind, event.key) for event in play(venue, user).sink.events] == [
        (SENT, OTHER_KEY),
        (CANCELED, KEY),
        (ACKED, OTHER_KEY),
        (SENT, KEY),
        (REJECTED, KEY),
        (CANCEL_REJECTED, OTHER_KEY),
    ]


def test_report_that_cannot_be_used_puts_its_order_in_doubt_and_is_kept() -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say("8", *report(OURS, (150, "Z")))
        connection.say("8", *report(OURS, *FILL, (31, "-2")))
        connection.say("8", *report((55, "AAAUSDT"), (150, "Z")))
        connection.say("zz", (58, "what is this"))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await until(lambda: desk.entry.counters["unknown_messages"] == 1)

    desk = play(venue, user)
    # The second finds the order no longer waiting: a cancel that is not confirmed is what makes the engine ask.
    expected = [(SENT, 0), (AMBIGUOUS, LocalCode.MALFORMED_REPLY), (CANCEL_REJECTED, LocalCode.MALFORMED_REPLY)]
    assert [(event.kind, event.code) for event in desk.sink.events] == expected
    counters = desk.entry.counters
    assert (counters["unknown_reports"], counters["malformed"], counters["unknown_messages"]) == (2, 1, 1)
    assert [b"150=Z" in raw for _, _, raw in desk.entry.raw_log] == [True, False, True, False]


def test_orders_of_others_are_marked_and_symbols_outside_the_run_are_counted() -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        connection.say("8", *report(*FILL))
        connection.say("8", *report((150, "8"), (39, "8"), (25016, -2010), drop=(37,)))
        connection.say("8", *report((55, "CCCUSDT")))
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        await until(lambda: desk.entry.counters["foreign_unlisted"] == 1)

    desk = play(venue, user)
    assert [(event.kind, event.flags & OrderEventFlag.FOREIGN) for event in desk.sink.events] == [(TRADE, OrderEventFlag.FOREIGN)]
    assert desk.entry.counters["foreign"] == 2


def test_what_cannot_leave_is_not_sent_and_says_why() -> None:
    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "NOWHERE", *ORDER)
        desk.entry.place(KEY, "AAAUSDT", 1, 1, 1, 0, 1)
        desk.entry.deny(KEY, "AAAUSDT")
        desk.entry.cancel(KEY, "NOWHERE")
        await desk.entry.close()
        assert not desk.entry.ready
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        desk.entry.cancel(KEY, "AAAUSDT")

    assert [(event.kind, event.code) for event in play(idle, user).sink.events] == [
        (NOT_SENT, LocalCode.BAD_VALUE),
        (NOT_SENT, LocalCode.BAD_VALUE),
        (NOT_SENT, LocalCode.NOT_PERMITTED),
        (CANCEL_REJECTED, LocalCode.BAD_VALUE),
        (NOT_SENT, LocalCode.DISCONNECTED),
        (CANCEL_REJECTED, LocalCode.DISCONNECTED),
    ]


@pytest.mark.parametrize(
    "refusal", [("8", report((11, client_order_id(KEY)), (150, "8"), (39, "8"), (25016, -2015), (58, "Invalid API-key"))),
                ("3", [(45, 2), (25016, -2015), (58, "Invalid API-key")])],
    ids=["report", "reject"],
)  # fmt: skip
def test_an_order_refused_for_its_key_is_the_last_and_cancels_still_leave(refusal: tuple[str, list[Field]]) -> None:
    heard: list[str] = []

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say(refusal[0], *refusal[1])
        heard.append((await connection.hear("F")).msg_type)
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(REJECTED)
        assert "-2015" in str(desk.entry.halted)
        assert not desk.entry.ready
        desk.entry.place(OTHER_KEY, "AAAUSDT", *ORDER)
        assert (desk.sink.events[-1].kind, desk.sink.events[-1].code) == (NOT_SENT, LocalCode.KEY_REFUSED)
        desk.entry.cancel(OTHER_KEY, "AAAUSDT")
        await until(lambda: heard == ["F"])

    play(venue, user)


@pytest.mark.parametrize(("code", "seconds"), [(-1015, 10), (-1003, 60)])
def test_a_limit_the_venue_names_stops_orders_for_its_window_and_no_cancel(code: int, seconds: int) -> None:
    async def venue(connection: Connection) -> None:
        await connection.log_on()
        await connection.hear("D")
        connection.say("8", *report((11, client_order_id(KEY)), (150, "8"), (39, "8"), (25016, code), (58, "Too many")))
        await connection.hear("F")
        await connection.hear("D")
        await connection.until_logout()

    async def user(desk: Desk) -> None:
        desk.entry.place(KEY, "AAAUSDT", *ORDER)
        await desk.wait(REJECTED)
        desk.clock.ns += seconds * NS_PER_S - 1
        desk.entry.place(OTHER_KEY, "AAAUSDT", *ORDER)
        assert (desk.sink.events[-1].kind, desk.sink.events[-1].code) == (NOT_SENT, LocalCode.PAUSED)
        desk.entry.cancel(OTHER_KEY, "AAAUSDT")
        desk.clock.ns += 1
        desk.entry.place(OTHER_KEY, "AAAUSDT", *ORDER)
        assert desk.sink.events[-1].kind == OrderEventKind.SENT
        assert desk.entry.halted is None

    play(venue, user)


def test_orders_stop_before_the_venues_message_limit_and_cancels_still_leave() -> None:
    async def user(desk: Desk) -> None:
        for _ in range(8001):
            desk.entry.place(KEY, "AAAUSDT", *ORDER)
        assert (desk.sink.events[-1].kind, desk.sink.events[-1].code) == (NOT_SENT, LocalCode.ORDER_BUDGET)
        desk.sink.take()
        desk.entry.cancel(KEY, "AAAUSDT")
        assert desk.sink.take() == []

    play(idle, user)


def test_coinbase_speaks_fixt_and_uuids() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(kind: str, sequence: int, *fields: Field) -> None:
            head: list[Field] = [(34, sequence), (49, "Coinbase"), (52, "20240627-11:17:25.223"), (56, "key")]
            writer.write(encode("FIXT.1.1", kind, [*head, *fields]))

        heard.append(await reader.read(4096))
        say("A", 1, (98, 0), (108, 10), (1137, 9))
        heard.append(await reader.read(4096))
        order_id = COINBASE.names.order(KEY)
        say("8", 2, *report((11, order_id), (37, "2a0da34e-0000-4000-8000-000000000000"), (55, "BBB-USD"), drop=(25017,)))
        heard.append(await reader.read(4096))
        say("5", 3)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        sink = Sink()
        address = FixAddress("127.0.0.1", server.sockets[0].getsockname()[1], None)
        logon = PlainLogon("key", "Coinbase")
        entry = FixOrderEntry(address, COINBASE, [logon], INSTRUMENTS, ManualClock(), sink, 1, Venue.BINANCE_SPOT)
        await entry.connect()
        entry.place(KEY, "BBB-USD", *ORDER)
        await until(lambda: len(sink.events) == 2)
        await entry.close()
        server.close()
        assert (sink.events[1].kind, sink.events[1].key, sink.events[1].symbol) == (ACKED, KEY, 1)
        assert sink.events[1].venue_order_id > 0

    asyncio.run(asyncio.wait_for(run(), 60))
    assert heard[0].startswith(b"8=FIXT.1.1\x01")
    assert COINBASE.names.order(KEY).encode() in heard[1]
    assert b"\x0125000=" not in heard[1]
