"""Keys, signatures and the timestamp rule, against the venue's published vectors."""

from __future__ import annotations

import pytest

from sentinel.errors import VenueError
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.auth import (
    ApiKey,
    KeyRing,
    RequestTime,
    check_signature,
    is_percent_encoded,
    parse_request_time,
    require_permission,
    rest_payload,
    websocket_payload,
)
from tests.sim.venue.venue_client import KEY, SECRET

MS = 1_000_000
ORDER = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000"}


def test_websocket_signature_of_the_published_example_is_accepted() -> None:
    params = {**ORDER, "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": KEY.key}
    assert KEY.verifies(websocket_payload(params), "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24")


def test_rest_signature_of_the_published_example_is_accepted_however_query_and_body_share_it() -> None:
    whole = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert KEY.verifies(rest_payload(f"{whole}&signature={signature}", ""), signature)
    assert KEY.verifies(rest_payload("", f"{whole}&signature={signature}"), signature)
    assert KEY.verifies(rest_payload(whole[:40], f"{whole[40:]}&signature={signature}"), signature)


def test_non_ascii_symbol_is_signed_in_its_percent_encoded_form() -> None:
    symbol = "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96"
    query = f"symbol={symbol}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    assert KEY.verifies(rest_payload(query, ""), "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3")
    assert is_percent_encoded(query)
    assert not is_percent_encoded("symbol=１２")
    assert not is_percent_encoded("symbol=%E")


def test_hmac_signature_is_accepted_in_upper_case_and_refused_with_one_digit_changed() -> None:
    params = {**ORDER, "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": KEY.key}
    good = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    check_signature(KEY, websocket_payload(params), good.upper())
    for bad in ("b" + good[1:], good[:-1], "ü" * 64):
        with pytest.raises(ApiError) as refusal:
            check_signature(KEY, websocket_payload(params), bad)
        assert refusal.value.code == -1022


def test_absent_signature_is_a_missing_parameter() -> None:
    with pytest.raises(ApiError) as refusal:
        check_signature(KEY, "x", None)
    assert (refusal.value.code, "'signature'" in refusal.value.msg) == (-1102, True)


def test_ed25519_signature_of_the_published_example_is_accepted() -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    import base64

    private = serialization.load_der_private_key(
        base64.b64decode("MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"), None
    )
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = ApiKey("E", public.decode(), "paper", "ED25519")
    payload = "\x01".join(["A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223"])
    signature = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    assert key.verifies(payload, signature)
    assert not key.verifies(payload, signature.lower())
    assert not key.verifies(payload, "not base64!")


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_ed25519_public_key_is_refused_before_it_is_used(pem: str) -> None:
    with pytest.raises(VenueError, match="Ed25519 public key"):
        ApiKey("E", pem, "paper", "ED25519")


@pytest.mark.parametrize(
    ("age_ms", "window", "code"),
    [
        (5000, None, None),
        (5001, None, -1021),
        (-999, None, None),
        (-1000, None, -1021),
        (100, "100", None),
        (101, "100", -1021),
        (60_000, "60000", None),
        (0, "60001", -1102),
        (0, "-1", -1100),
        (0, "1e3", -1100),
    ],
)
def test_timestamp_rule_at_its_boundaries(age_ms: int, window: str | None, code: int | None) -> None:
    now_ns = 1_700_000_000_000 * MS
    params = {"timestamp": str(1_700_000_000_000 - age_ms)}
    if window is not None:
        params["recvWindow"] = window
    if code is None:
        parse_request_time(params).check(now_ns)
        return
    with pytest.raises(ApiError) as refusal:
        parse_request_time(params).check(now_ns)
    assert refusal.value.code == code


def test_microsecond_timestamps_and_fractional_windows_are_exact() -> None:
    time = parse_request_time({"timestamp": "1700000000000000", "recvWindow": "6000.346"})
    assert time == RequestTime(1_700_000_000_000 * MS, 6_000_346_000)
    time.check(1_700_000_000_000 * MS + 6_000_346_000)
    with pytest.raises(ApiError):
        time.check(1_700_000_000_000 * MS + 6_000_346_001)


@pytest.mark.parametrize("text", ["", "abc", "-1", "1.5", "١٢", "1" * 19])
def test_unusable_timestamp_is_a_missing_parameter(text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_request_time({"timestamp": text})
    assert refusal.value.code == -1102


def test_keys_that_cannot_be_keys_and_unknown_keys_are_told_apart() -> None:
    ring = KeyRing([KEY])
    assert ring.find(KEY.key) is KEY
    for name, code in ((None, -2014), ("", -2014), ("a b", -2014), ("unknown", -2015)):
        with pytest.raises(ApiError) as refusal:
            ring.find(name)
        assert refusal.value.code == code
    ring.revoke(KEY.key)
    assert not ring.holds(KEY)


def test_a_suspended_key_is_refused_until_it_is_restored() -> None:
    ring = KeyRing([KEY])
    ring.suspend(KEY.key)
    with pytest.raises(ApiError) as refusal:
        ring.find(KEY.key)
    assert (refusal.value.code, ring.refused, ring.holds(KEY)) == (-2015, 1, False)
    ring.restore(KEY.key)
    assert ring.find(KEY.key) is KEY
    assert ring.holds(KEY)


def test_a_key_without_trade_permission_may_read_but_not_trade() -> None:
    reader = ApiKey("r", SECRET, "paper", permissions=frozenset({"USER_DATA"}))
    require_permission(reader, "USER_DATA")
    require_permission(reader, "USER_STREAM")
    with pytest.raises(ApiError) as refusal:
        require_permission(reader, "TRADE")
    assert refusal.value.code == -2015


def test_secret_is_not_in_the_representation_of_a_key() -> None:
    assert SECRET not in repr(KEY)
