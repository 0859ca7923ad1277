import base64
import json
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.binance_spot.signing import Credentials, KeyType, sign_rest, websocket_payload
from sentinel.host.venues.key_refused import KeyRefused
from tests.host.venues import ed25519_reference

# The vectors of the venue's documentation.
CREDENTIALS = Credentials(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
)
REST: dict[str, str | int] = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": "0.1"}
REST_TIME = {"recvWindow": 5000, "timestamp": 1499827319559}


def test_websocket_signature_matches_the_documented_vector() -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": CREDENTIALS.api_key,
        "signature": "not part of the text",
    }
    signature = CREDENTIALS.sign(websocket_payload(params))
    assert signature == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        ("１２３４５６", "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_rest_signature_matches_the_documented_vectors(symbol: str, signature: str) -> None:
    signed = sign_rest({"symbol": symbol, **REST, **REST_TIME}, CREDENTIALS)
    assert signed["signature"] == signature
    assert list(signed)[-1] == "signature"


def test_order_request_carries_exact_decimals_and_a_signature_over_all_of_it() -> None:
    raw = Requests(CREDENTIALS, 500).place("STL-0000000000000", "币安USDT", 2, 1, 2, 1250, 8000 * 10**8, 1723161255400)
    assert raw is not None
    request = json.loads(raw)
    params = request["params"]
    assert request["id"] == params["newClientOrderId"] == "STL-0000000000000"
    assert (params["price"], params["quantity"]) == ("0.0000125", "8000")
    assert (params["side"], params["type"], params["timeInForce"]) == ("SELL", "LIMIT", "IOC")
    assert (params["recvWindow"], params["timestamp"], params["newOrderRespType"]) == (500, 1723161255400, "FULL")
    assert params["signature"] == CREDENTIALS.sign(websocket_payload(params))


@pytest.mark.parametrize(
    ("order_type", "tif", "names"),
    [(1, 3, {"price", "timeInForce"}), (2, 1, {"price"}), (3, 2, set())],
)
def test_each_order_type_sends_only_the_parameters_it_takes(order_type: int, tif: int, names: set[str]) -> None:
    raw = Requests(CREDENTIALS, 500).place("a", "BTCUSDT", 1, order_type, tif, 10**8, 10**8, 1)
    assert raw is not None
    assert {"price", "timeInForce"} & set(json.loads(raw)["params"]) == names


@pytest.mark.parametrize(
    "order",
    [
        (0, 1, 2, 1, 1),
        (3, 1, 2, 1, 1),
        (1, 0, 2, 1, 1),
        (1, 9, 2, 1, 1),
        (1, 1, 0, 1, 1),
        (1, 1, 2, 0, 1),
        (1, 2, 1, -1, 1),
        (1, 1, 2, 1, 0),
        (1, 1, 2, 1, -5),
    ],
)
def test_values_that_cannot_be_an_order_give_no_request(order: tuple[int, int, int, int, int]) -> None:
    assert Requests(CREDENTIALS, 500).place("a", "BTCUSDT", *order, 1) is None


def test_credentials_are_not_shown() -> None:
    assert CREDENTIALS.secret not in repr(CREDENTIALS)
    assert CREDENTIALS.api_key not in repr(CREDENTIALS)
    with pytest.raises(VenueError) as caught:
        Credentials("key", 'se"cret')
    assert 'se"cret' not in str(caught.value)


def test_credentials_come_from_the_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = VenueConfig(rest_url="http://x", stream_url="ws://x", api_key_env="MY_KEY", api_secret_env="MY_SECRET")
    monkeypatch.setenv("MY_KEY", "abc")
    monkeypatch.delenv("MY_SECRET", raising=False)
    with pytest.raises(ConfigError, match="MY_SECRET"):
        Credentials.from_environment(venue)
    monkeypatch.setenv("MY_SECRET", "def")
    assert Credentials.from_environment(venue) == Credentials("abc", "def")


# Ed25519: the key and signature of the venue's documentation

DOCUMENTED_DER = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"
DOCUMENTED_PEM = f"-----BEGIN PRIVATE KEY-----\n{DOCUMENTED_DER}\n-----END PRIVATE KEY-----\n"
ED25519 = Credentials("edkey", DOCUMENTED_PEM, "ed25519")


def public_key() -> bytes:
    key = load_der_private_key(base64.b64decode(DOCUMENTED_DER), None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.public_key().public_bytes_raw()


def test_ed25519_signature_matches_the_documented_vector() -> None:
    payload = "\x01".join(["A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223"]).encode()
    signature = ED25519.sign(payload)
    assert signature == "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    assert ed25519_reference.verify(public_key(), payload, base64.b64decode(signature))
    assert not ed25519_reference.verify(public_key(), payload + b"x", base64.b64decode(signature))


def test_the_reference_accepts_the_vector_of_rfc_8032() -> None:
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519_reference.verify(public, b"\x72", signature)
    assert not ed25519_reference.verify(public, b"\x73", signature)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40), st.integers(0, 2**53), st.sampled_from(["BTCUSDT", "币安USDT", "a b+c/d=e&f"]))
def test_ed25519_signatures_over_either_api_hold_for_another_implementation(text: str, number: int, symbol: str) -> None:
    params: dict[str, str | int] = {"symbol": symbol, "newClientOrderId": text, "timestamp": number}
    for payload, signature in (
        (websocket_payload(params), ED25519.sign(websocket_payload(params))),
        (b"timestamp=%d" % number, str(sign_rest({"timestamp": number}, ED25519)["signature"])),
    ):
        raw = base64.b64decode(signature, validate=True)
        assert ed25519_reference.verify(public_key(), payload, raw)
        ed25519.Ed25519PublicKey.from_public_bytes(public_key()).verify(raw, payload)


def test_an_order_on_a_logged_on_connection_differs_by_key_and_signature_alone() -> None:
    requests = Requests(ED25519, 500)
    order = ("STL-0000000000000", "BTCUSDT", 1, 1, 3, 10**8, 10**8, 1723161255400)
    raw, bare = requests.place(*order), requests.place(*order, True)
    assert raw is not None
    assert bare is not None
    whole, short = json.loads(raw), json.loads(bare)
    signature = base64.b64decode(whole["params"].pop("signature"))
    assert ed25519_reference.verify(public_key(), websocket_payload(whole["params"]), signature)
    assert whole["params"].pop("apiKey") == "edkey"
    assert short == whole
    asked = json.loads(requests.authorized("Q", "order.status", {"symbol": "BTCUSDT"}, 7, True))
    assert asked["params"] == {"symbol": "BTCUSDT", "recvWindow": 500, "timestamp": 7}


def other_keys() -> list[str]:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    return [
        "",
        "not a key",
        DOCUMENTED_DER,
        DOCUMENTED_PEM[:60],
        DOCUMENTED_PEM.replace("MC4C", "MC4D"),
        curve.decode(),
        locked.decode(),
    ]


@pytest.mark.parametrize("secret", other_keys(), ids=range(7))
def test_what_is_no_ed25519_private_key_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(VenueError, match="openssl genpkey") as caught:
        Credentials("edkey", secret, "ed25519")
    assert caught.value.__cause__ is None
    assert caught.value.value == "(not shown)"
    if len(secret) > 9:
        assert secret[28:60] not in str(caught.value) + repr(caught.value)


def venue_of(api_key_type: KeyType = "hmac", api_secret_file: str = "") -> VenueConfig:
    return VenueConfig(
        rest_url="http://x",
        stream_url="ws://x",
        api_key_env="MY_KEY",
        api_secret_env="MY_SECRET",
        api_key_type=api_key_type,
        api_secret_file=api_secret_file,
    )


def test_an_ed25519_key_comes_from_a_variable_or_from_a_file_of_its_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "edkey")
    monkeypatch.setenv("MY_SECRET", DOCUMENTED_PEM)
    assert Credentials.from_environment(venue_of(api_key_type="ed25519")).sign(b"x") == ED25519.sign(b"x")
    monkeypatch.delenv("MY_SECRET")
    path = tmp_path / "key.pem"
    path.write_text(DOCUMENTED_PEM)
    venue = venue_of(api_key_type="ed25519", api_secret_file=str(path))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Credentials.from_environment(venue)
    path.chmod(0o600)
    assert Credentials.from_environment(venue).sign(b"x") == ED25519.sign(b"x")
    path.write_text("hmacsecret\n")
    assert Credentials.from_environment(venue_of(api_secret_file=str(path))) == Credentials("edkey", "hmacsecret")
    with pytest.raises(ConfigError, match="api_key_type") as caught:
        Credentials.from_environment(venue)
    assert "hmacsecret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 70_000, None])
def test_a_secret_file_that_cannot_be_one_is_an_error_of_the_settings(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "edkey")
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigError, match="api_secret_file"):
        Credentials.from_environment(venue_of(api_secret_file=str(path)))


def test_a_pem_given_as_an_hmac_secret_names_the_setting_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "edkey")
    monkeypatch.setenv("MY_SECRET", DOCUMENTED_PEM)
    with pytest.raises(ConfigError, match="api_key_type") as caught:
        Credentials.from_environment(venue_of())
    assert DOCUMENTED_DER not in str(caught.value)


def test_ed25519_credentials_are_not_shown() -> None:
    shown = repr(ED25519) + str(ED25519) + f"{ED25519!r:}"
    assert "edkey" not in shown
    assert DOCUMENTED_DER[20:] not in shown


def test_a_refused_key_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(KeyRefused("session.logon", -2015, "Invalid API-key.")))
    assert (error.code, error.field, "-2015" in str(error)) == (-2015, "session.logon", True)
