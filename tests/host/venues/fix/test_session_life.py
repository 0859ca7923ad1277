"""Sessions come, go and are replaced; TLS lets in only the gateway that was asked for."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sentinel.errors import VenueError
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import keeper
from sentinel.host.venues.fix.protocol import Notice
from sentinel.host.venues.fix.session import LogonRefused
from tests.host.venues.fix.fix_peer import KEY, ORDER, Connection, Gateway, PlainLogon
from tests.host.venues.fix.order_desk import Desk, idle, play
from tests.host.waiting import until


@pytest.fixture(autouse=True)
def _quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(keeper, "_HANDOVER_S", 0.05)


def test_maintenance_is_announced_and_a_second_name_takes_over_before_the_first_leaves() -> None:
    order: list[str] = []
    coming = asyncio.Event()

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        connection.say("B", (148, "You'll be disconnected in 600 seconds. Please reconnect."))
        await coming.wait()
        # Said again while the successor is on its way: one successor is enough.
        connection.say("B", (148, "You'll be disconnected in 590 seconds. Please reconnect."))
        await connection.until_logout()
        order.append("first left")

    async def successor(connection: Connection) -> None:
        logon = await connection.hear("A")
        coming.set()
        await asyncio.sleep(0.05)
        connection.say("A", (98, 0), (108, logon.text(108)))
        order.append("second came")
        await connection.until_logout()

    async def run() -> None:
        async with Gateway(venue, successor) as gateway:
            desk = Desk(gateway.port, PlainLogon("ONE"), PlainLogon("TWO"))
            await desk.entry.connect()
            await until(lambda: order == ["second came", "first left"])
            assert desk.entry.ready
            assert [one.heard[0].text(49) for one in gateway.connections] == ["ONE", "TWO"]
            assert any(isinstance(event, Notice) for event in desk.events)
            await asyncio.sleep(0.1)
            assert desk.reconciled == 1
            await desk.entry.close()
            assert len(gateway.connections) == 2

    asyncio.run(asyncio.wait_for(run(), 60))


def test_refused_key_stops_everything_and_a_refused_name_is_tried_again() -> None:
    async def refuse_name(connection: Connection) -> None:
        await connection.hear("A")
        connection.say("3", (25016, -1033), (58, "SenderCompId(49) is currently in use."))

    async def refuse_key(connection: Connection) -> None:
        await connection.hear("A")
        connection.say("5", (25016, -2015), (58, "Invalid API-key, IP, or permissions for action."))

    async def cut(connection: Connection) -> None:
        await connection.log_on()

    async def user(desk: Desk) -> None:
        await until(lambda: desk.entry.halted is not None)
        desk.entry.place(KEY, "AAAUSDT", *ORDER)

    desk = play(cut, user, refuse_name, refuse_key)
    assert desk.sink.events[-1].code == LocalCode.KEY_REFUSED
    assert "-2015" in str(desk.entry.halted)
    assert desk.entry.reconnects == 0


@pytest.mark.parametrize(("code", "final"), [(-1022, True), (-2015, True), (-4056, True), (-1033, False), (-1021, False)])
def test_a_first_logon_with_a_key_or_signature_that_is_refused_is_final_and_one_that_may_pass_is_not(
    code: int, final: bool
) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.hear("A")
        connection.say("5", (58, "no"), (25016, code))

    async def run() -> None:
        async with Gateway(refuse) as gateway:
            desk = Desk(gateway.port)
            with pytest.raises(LogonRefused):
                await desk.entry.connect()
            assert (desk.entry.halted is not None) == final

    asyncio.run(asyncio.wait_for(run(), 20))


def test_first_logon_that_is_refused_raises_with_the_venues_words() -> None:
    async def refuse(connection: Connection) -> None:
        await connection.hear("A")
        connection.say("5", (58, "Invalid signature."), (25016, -1022))

    async def run() -> None:
        async with Gateway(refuse) as gateway:
            with pytest.raises(LogonRefused, match=r"Invalid signature\. \(-1022\)"):
                await Desk(gateway.port).entry.connect()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_session_that_could_not_be_reconciled_is_begun_anew() -> None:
    async def cut(connection: Connection) -> None:
        await connection.log_on()

    async def run() -> None:
        async with Gateway(cut, idle) as gateway:
            desk = Desk(gateway.port)
            failures = [VenueError("listing", "500", "an answer", "ask again")]

            async def reconcile() -> None:
                desk.reconciled += 1
                if failures:
                    raise failures.pop()

            desk.entry._keeper._on_up = reconcile
            await desk.entry.connect()
            await until(lambda: desk.reconciled == 2)
            await until(lambda: desk.entry.ready)
            await desk.entry.close()
            assert len(gateway.connections) == 3

    asyncio.run(asyncio.wait_for(run(), 60))


def test_the_socket_sends_at_once_and_notices_a_silent_peer() -> None:
    async def user(desk: Desk) -> None:
        session = desk.entry._keeper.current
        assert session is not None
        assert session._transport is not None
        raw = session._transport.get_extra_info("socket")
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        assert all(raw.getsockopt(*option) for option in options)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000

    play(idle, user)


def test_gateway_that_is_not_there_raises() -> None:
    async def run() -> None:
        async with Gateway(idle) as gateway:
            port = gateway.port
        with pytest.raises(VenueError, match="FIX gateway"):
            await Desk(port).entry.connect()

    asyncio.run(asyncio.wait_for(run(), 60))


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server and client contexts; the client trusts this one certificate."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    alternative = x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "gateway.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example"])
def test_tls_names_the_host_and_takes_no_other_ones_certificate(tmp_path: Path, name: str) -> None:
    server, client = certificate(tmp_path, name)
    asked: list[str | None] = []
    server.sni_callback = lambda _, host, __: asked.append(host)

    async def run() -> None:
        async with Gateway(idle, tls=server) as gateway:
            desk = Desk(gateway.port, tls=client, host="localhost")
            if name == "localhost":
                await desk.entry.connect()
                assert desk.entry.ready
                await desk.entry.close()
            else:
                with pytest.raises(VenueError, match="certificate"):
                    await desk.entry.connect()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert asked == ["localhost"]
