"""Each venue's Logon against an independent checker of its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sentinel.errors import VenueError
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.fix import BINANCE, BinanceLogon, CoinbaseLogon
from sentinel.host.venues.fix.codec import Decoder, FixMessage
from sentinel.host.venues.fix.protocol import FixProtocol
from sentinel.host.venues.fix.timestamps import parse_utc

# The key, payload and message of the venue's documentation.
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u\n-----END PRIVATE KEY-----\n"
ED25519 = Credentials("apikeyapikey", PEM, "ed25519")
API_KEY = "sBRXrJx2DsOraMXOaUovEhgVRcjOvCtQwnWj8VxkOh1xqboS02SPGfKi2h8spZJb"
SENT_NS = parse_utc("20240627-11:17:25.223")
DOCUMENTED = (
    "8=FIX.4.4|9=247|35=A|34=1|49=EXAMPLE|52=20240627-11:17:25.223|56=SPOT|95=88|96=4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8"
    f"AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA==|98=0|108=30|141=Y|553={API_KEY}|25035=2|10=227|"
)


def key_of(private: Ed25519PrivateKey) -> Credentials:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Credentials("apikeyapikey", pem, "ed25519")


def test_binance_logon_is_the_documented_message_to_the_byte() -> None:
    protocol = FixProtocol(BINANCE.begin_string, BinanceLogon("EXAMPLE", Credentials(API_KEY, PEM, "ed25519"), heartbeat_s=30))
    protocol.start(SENT_NS)
    assert protocol.take_outgoing() == DOCUMENTED.replace("|", "\x01").encode()


def test_binance_signature_verifies_under_the_public_key_and_covers_each_part() -> None:
    key = Ed25519PrivateKey.generate()
    fields = dict(BinanceLogon("ME", key_of(key), drop_copy=True).fields(1, "20240627-11:17:25.223"))
    signature = fields[96]
    assert isinstance(signature, bytes)
    assert (fields[95], fields[141], fields[9406]) == (len(signature), "Y", "Y")
    parts = ["A", "ME", "SPOT", "1", "20240627-11:17:25.223"]
    key.public_key().verify(base64.b64decode(signature), "\x01".join(parts).encode())
    for k in range(len(parts)):
        changed = [*parts[:k], parts[k] + "x", *parts[k + 1 :]]
        with pytest.raises(InvalidSignature):
            key.public_key().verify(base64.b64decode(signature), "\x01".join(changed).encode())


@pytest.mark.parametrize("drop_copy", [False, True])
def test_coinbase_logon_signs_its_six_parts_in_their_order(drop_copy: bool) -> None:
    secret = base64.b64encode(bytes(range(64))).decode()
    logon = CoinbaseLogon("keykey", "passpass", secret, drop_copy=drop_copy)
    fields = dict(logon.fields(1, "20240627-11:17:25.223"))
    payload = b"20240627-11:17:25.223\x01A\x011\x01keykey\x01Coinbase\x01passpass"
    expected = base64.b64encode(hmac.new(bytes(range(64)), payload, hashlib.sha256).digest())
    assert (fields[96], fields[95]) == (expected, len(expected))
    assert (logon.sender, fields[553], fields[554], fields[1137], fields[141]) == ("keykey", "keykey", "passpass", 9, "Y")
    assert (fields.get(9406), fields.get(8013)) == (("Y", None) if drop_copy else (None, "S"))


def test_message_of_a_logon_can_be_read_back() -> None:
    protocol = FixProtocol("FIXT.1.1", CoinbaseLogon("k", "p", "c2VjcmV0"))
    protocol.start(SENT_NS)
    (found,) = Decoder("FIXT.1.1").feed(protocol.take_outgoing())
    assert isinstance(found, FixMessage)
    assert (found.msg_type, found.fault, found.text(49), found.text(56)) == ("A", "", "k", "Coinbase")


def test_no_secret_is_shown() -> None:
    shown = repr(CoinbaseLogon("apikeyapikey", "passphrase", "c2VjcmV0")) + repr(BinanceLogon("ME", ED25519))
    assert not any(secret in shown for secret in ("apikeyapikey", "passphrase", "c2VjcmV0", "MC4C"))
    with pytest.raises(VenueError) as caught:
        CoinbaseLogon("key", "pass", "not base64!")
    assert "not base64!" not in str(caught.value)


@pytest.mark.parametrize("sender", ["", "NINECHARS", "a b", "é"])
def test_session_name_the_venue_would_refuse_is_refused_here(sender: str) -> None:
    with pytest.raises(VenueError, match="SenderCompID"):
        BinanceLogon(sender, ED25519)


@pytest.mark.parametrize("make", [lambda: BinanceLogon("ME", ED25519, heartbeat_s=4), lambda: CoinbaseLogon("k", "p", "", 31)])
def test_heartbeat_outside_the_venues_range_is_refused(make: type) -> None:
    with pytest.raises(VenueError, match="heartbeat_s"):
        make()


def test_key_of_another_kind_than_fix_takes_is_refused() -> None:
    with pytest.raises(VenueError, match="key_type = 'hmac'"):
        BinanceLogon("ME", Credentials("key", "secret"))
