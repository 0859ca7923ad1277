"""A connection that has logged on by Ed25519: at the simulated exchange, which checks every signature, and a scripted one."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials, handshake
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.key_refused import KeyRefused
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderEventKind, Side
from tests.host.venues.offline_session import KEY, SYMBOLS, Sink, full
from tests.host.venues.scripted_venue import ScriptedVenue
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

NAME = "K" * 32


def new_key() -> tuple[Credentials, ApiKey]:
    """The two halves of a key: ours and the venue's."""
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Credentials(NAME, secret, "ed25519"), ApiKey(NAME, public, "paper", "ED25519")


OURS, THEIRS = new_key()
PRIVATE_TEXT = OURS.secret.splitlines()[1]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)


class Rig:
    """A session at an exchange with 5 on sale at 101; ``seen`` are the requests the exchange was sent, by connection."""

    def __init__(self, venue: VenueServer, credentials: Credentials) -> None:
        self.venue = venue
        self.sink = Sink()
        config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=venue.api_url)
        self.session = BinanceSpotSession(config, SYMBOLS, credentials, LiveClock(), self.sink, 5)
        self.sent: list[bytes] = []

    def buy(self, key: int = KEY, price: int = 101 * E8, tif: int = 1) -> None:
        self.session.place(key, "AAAUSDT", 1, 1, tif, price, E8)

    async def told(self, kind: OrderEventKind, key: int = KEY) -> None:
        await until(lambda: any(event.kind == kind and event.key == key for event in self.sink.events))

    def listen(self) -> None:
        """Keep what the session sends from now on."""
        link = self.session.links[-1]
        send = link.send

        def keep(message: bytes) -> None:
            self.sent.append(message)
            send(message)

        link.send = keep  # type: ignore[method-assign]


Scenario = Callable[[Rig], Coroutine[Any, Any, None]]


def at_exchange(scenario: Scenario, keys: list[ApiKey], credentials: Credentials = OURS, connect: bool = True) -> None:
    async def run() -> None:
        instruments = tuple(Instrument(name, name[:3], "USDT", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS)

        def opening(market: Market) -> None:
            market.set_level(0, Side.SELL, 101 * E8, 5 * E8)
            market.set_level(0, Side.BUY, 99 * E8, 5 * E8)

        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8}})
        async with VenueServer(exchange, keys) as venue:
            rig = Rig(venue, credentials)
            if connect:
                await rig.session.connect()
            try:
                await scenario(rig)
            finally:
                await rig.session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_orders_cancels_and_queries_carry_no_key_and_no_signature_once_logged_on() -> None:
    async def scenario(rig: Rig) -> None:
        rig.listen()
        rig.buy(price=90 * E8)
        await rig.told(OrderEventKind.ACKED)
        rig.session.query(KEY, "AAAUSDT")
        await rig.told(OrderEventKind.STATUS)
        rig.session.cancel(KEY, "AAAUSDT")
        await rig.told(OrderEventKind.CANCELED)
        rig.buy(KEY + 1)
        await rig.told(OrderEventKind.TRADE, KEY + 1)
        assert len(rig.sent) == 4
        assert not any(word in message for message in rig.sent for word in (b"apiKey", b"signature"))
        assert all(b'"timestamp"' in message for message in rig.sent)
        # User data came by the logon too, and REST is signed by the same key.
        assert rig.session.counters["events"] > 0
        assert len(await rig.session.my_trades("AAAUSDT")) == 1

    at_exchange(scenario, [THEIRS])


def test_a_new_connection_logs_on_again_before_orders_leave_on_it() -> None:
    async def scenario(rig: Rig) -> None:
        for n in range(2):
            rig.venue.cut_connections()
            await until(lambda n=n: rig.session.counters["reconnects"] == n + 1)  # type: ignore[misc]
            assert rig.session.links[-1].logged_on
            rig.buy(KEY + n)
            await rig.told(OrderEventKind.TRADE, KEY + n)

    at_exchange(scenario, [THEIRS])


def test_a_key_revoked_in_mid_session_stops_everything_and_leaves_the_order_it_met_in_doubt() -> None:
    async def scenario(rig: Rig) -> None:
        rig.buy(price=90 * E8)
        await rig.told(OrderEventKind.ACKED)
        rig.venue.gateway.keys.revoke(NAME)
        rig.buy(KEY + 1)
        await rig.told(OrderEventKind.AMBIGUOUS, KEY + 1)
        assert rig.session.halted == "-2015 Invalid API-key, IP, or permissions for action."
        assert not rig.session.ready
        rig.buy(KEY + 2)
        last = rig.sink.events[-1]
        assert (last.kind, last.key, last.code) == (OrderEventKind.NOT_SENT, KEY + 2, LocalCode.KEY_REFUSED)
        # The cancel goes over REST, which refuses the key too; then nothing is asked any more.
        rig.session.cancel(KEY, "AAAUSDT")
        await rig.told(OrderEventKind.CANCEL_REJECTED)
        assert rig.sink.events[-1].code == -2015
        rig.session.cancel(KEY, "AAAUSDT")
        assert rig.sink.events[-1].code == LocalCode.KEY_REFUSED
        assert rig.session.counters["rest_requests"] == 1
        await asyncio.sleep(0.1)
        assert rig.session.links == ()
        assert rig.session.counters["reconnects"] == 0

    at_exchange(scenario, [THEIRS])


@pytest.mark.parametrize(
    ("known", "code"),
    [([], -2015), ([new_key()[1]], -1022), ([ApiKey(NAME, "hmacsecret", "paper")], -1022)],
    ids=["unknown key", "another key's public half", "registered as an HMAC key"],
)
def test_a_refused_logon_is_a_typed_error_with_a_remedy_and_no_order_leaves(known: list[ApiKey], code: int) -> None:
    async def scenario(rig: Rig) -> None:
        with pytest.raises(KeyRefused, match="logon") as caught:
            await rig.session.connect()
        assert caught.value.code == code
        assert "check the API key at the exchange" in str(caught.value)
        assert rig.session.halted is not None
        assert str(code) in rig.session.halted
        rig.buy()
        assert [event.kind for event in rig.sink.events] == [OrderEventKind.NOT_SENT]

    at_exchange(scenario, known, connect=False)


def test_a_connection_the_exchange_has_logged_out_is_given_up_and_logged_on_anew() -> None:
    async def scenario(rig: Rig) -> None:
        link = rig.session.links[0]
        link.send(b'{"id":"out","method":"session.logout"}')
        await until(lambda: rig.session.counters["unknown_replies"] == 1)
        # The order meets a connection without a key: refused for certain, and the reason is looked into at once.
        rig.buy()
        await rig.told(OrderEventKind.REJECTED)
        assert rig.sink.events[-1].code == -1102
        await until(lambda: rig.session.counters["reconnects"] == 1)
        assert rig.session.halted is None
        rig.buy(KEY + 1)
        await rig.told(OrderEventKind.TRADE, KEY + 1)

    at_exchange(scenario, [THEIRS])


@pytest.mark.parametrize("fault", [FaultKind.DROP_RESPONSE, FaultKind.RESET_AFTER_ACCEPT, FaultKind.CLOSE_MID_FRAME])
@pytest.mark.parametrize("method", ["session.logon", "userDataStream.subscribe", "session.status"])
def test_a_logon_that_is_not_confirmed_is_begun_anew(method: str, fault: FaultKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_REPLY_TIMEOUT_S", 0.1)

    async def scenario(rig: Rig) -> None:
        rig.venue.faults.inject(fault, target=method)
        rig.venue.cut_connections()
        await until(lambda: rig.session.counters["reconnects"] == 1)
        rig.buy()
        await rig.told(OrderEventKind.TRADE)

    at_exchange(scenario, [THEIRS])


# Against a scripted venue


def scripted(
    scenario: Callable[[ScriptedVenue, BinanceSpotSession, Sink], Coroutine[Any, Any, None]],
    prepare: Callable[[ScriptedVenue], None] = lambda venue: None,
    connect: bool = True,
) -> None:
    async def run() -> None:
        async with ScriptedVenue(credentials=OURS) as venue:
            prepare(venue)
            sink = Sink()
            session = BinanceSpotSession(venue.config, SYMBOLS, OURS, LiveClock(), sink, 5)
            if connect:
                await session.connect()
            try:
                await scenario(venue, session, sink)
            finally:
                await session.close()
            assert venue.bad_signatures == 0

    asyncio.run(asyncio.wait_for(run(), 60))


def test_where_logon_is_not_offered_each_request_is_signed() -> None:
    def prepare(venue: ScriptedVenue) -> None:
        venue.refuse_logon = (400, -1020)

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        assert session.ready
        venue.answer = lambda request: {"id": request["id"], "status": 200, "result": full()}
        session.place(KEY, "AAAUSDT", 1, 1, 2, 100 * E8, 5 * E8)
        await until(lambda: len(sink.events) > 1)
        assert {"apiKey", "signature"} <= set(venue.requests[0]["params"])

    scripted(scenario, prepare)


@pytest.mark.parametrize(("status", "code"), [(400, -4056), (401, -9999), (401, -1002), (400, -1022), (401, -2014)])
def test_a_refusal_on_reconnect_ends_the_trying(status: int, code: int) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.refuse_logon = (status, code)
        venue.connections[-1].transport.abort()
        await until(lambda: session.halted is not None)
        await asyncio.sleep(0.1)
        assert venue.logons == 2
        session.place(KEY, "AAAUSDT", 1, 1, 2, 100 * E8, 5 * E8)
        assert sink.kinds() == [OrderEventKind.NOT_SENT]

    scripted(scenario)


@pytest.mark.parametrize(("status", "code"), [(500, -1000), (503, -1008), (400, -1021), (403, 0), (400, -1007), (400, -9999)])
def test_a_refusal_that_may_pass_is_tried_again(status: int, code: int) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.refuse_logon = (status, code)
        venue.connections[-1].transport.abort()
        await until(lambda: venue.logons >= 3)
        venue.refuse_logon = None
        await until(lambda: session.ready)
        assert session.halted is None

    scripted(scenario)


def test_a_logon_refused_for_a_limit_is_tried_again_only_when_the_wait_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.refuse_logon = (429, -1003)
        venue.connections[-1].transport.abort()
        await until(lambda: caplog.text.count("told to wait") >= 3)
        assert venue.logons == 2
        venue.refuse_logon = None
        session._desk.budget._paused_until_ns = 0
        await until(lambda: session.ready)
        assert session.halted is None

    scripted(scenario)


@pytest.mark.parametrize(
    "session_of",
    [
        {"apiKey": "somebody else"},
        {"apiKey": None},
        {"authorizedSince": None},
        {"authorizedSince": "now"},
        {"userDataStream": False},
        {"userDataStream": None},
    ],
)
def test_a_session_that_is_not_ours_is_not_traded_on(session_of: dict[str, Any]) -> None:
    def prepare(venue: ScriptedVenue) -> None:
        venue.session = session_of

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        with pytest.raises(VenueError, match="session") as caught:
            await session.connect()
        assert not isinstance(caught.value, KeyRefused)
        assert not session.ready

    scripted(scenario, prepare, connect=False)


def test_the_logon_is_looked_after_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_CHECK_EVERY_S", 0.05)

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.session = {"userDataStream": False}
        await until(lambda: not session.ready)
        venue.session = {}
        await until(lambda: session.counters["reconnects"] == 1)
        assert session.ready

    scripted(scenario)


def test_requests_that_met_the_revocation_together_are_all_in_doubt() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        for n in range(3):
            session.place(KEY + n, "AAAUSDT", 1, 1, 2, 100 * E8, 5 * E8)
        session.cancel(KEY, "AAAUSDT")
        await until(lambda: len(venue.requests) == 4)
        sink.take()
        await venue.tell({"id": None, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key."}})
        await until(lambda: len(sink.events) == 4)
        kinds = [(event.kind, event.key) for event in sink.take()]
        assert kinds[:3] == [(OrderEventKind.AMBIGUOUS, KEY + n) for n in range(3)]
        assert kinds[3] == (OrderEventKind.CANCEL_REJECTED, KEY)
        assert session.counters["unknown_replies"] == 1
        assert b"-2015" in session.raw_log[-1][2]

    scripted(scenario)


# What nobody may read


@pytest.mark.parametrize(
    ("credentials", "known", "secret"),
    [(OURS, THEIRS, PRIVATE_TEXT), (Credentials(NAME, "S" * 40), ApiKey(NAME, "S" * 40, "paper"), "S" * 40)],
    ids=["ed25519", "hmac"],
)
def test_no_secret_is_logged_shown_or_raised(
    credentials: Credentials, known: ApiKey, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts: list[str] = []

    async def scenario(rig: Rig) -> None:
        session = rig.session
        rig.buy()
        await rig.told(OrderEventKind.TRADE)
        rig.venue.gateway.keys.revoke(NAME)
        rig.buy(KEY + 1)
        await until(lambda: session.halted is not None)
        with pytest.raises(VenueError, match="-2015") as listing:
            await session.balances()
        await session.close()
        with pytest.raises(VenueError, match="-2015") as logon:
            await session.connect()
        for error in (listing.value, logon.value):
            texts.extend([str(error), repr(error), repr(vars(error))])
        parts = [value for value in vars(session).values() if hasattr(value, "__dict__")]
        texts.extend(repr(value) for part in [session, credentials, *parts] for value in [part, *vars(part).items()])
        texts.append(repr(session.raw_log))

    with caplog.at_level(logging.DEBUG):
        at_exchange(scenario, [known], credentials)
    shown = [text for text in texts if repr(credentials.secret) not in text]
    assert len(shown) == len(texts) - 1, "the secret itself is a field of the credentials and of nothing else"
    logged = [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    assert "-2015" in caplog.text
    assert not any(secret in text for text in [*shown, *logged])
