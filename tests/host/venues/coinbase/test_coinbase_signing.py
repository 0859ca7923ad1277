"""Signatures, checked by another implementation of HMAC, and what a key never shows."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.coinbase import Credentials
from sentinel.host.venues.coinbase.credentials import seconds
from sentinel.sim.coinbase.auth import CoinbaseKey, KeyRing, Proof
from sentinel.sim.coinbase.refusal import Refusal

SECRET = bytes(range(64))
CREDENTIALS = Credentials("thekey", "the-phrase", base64.b64encode(SECRET).decode())
NOW = 1_723_161_255_400_000_000


def signature(message: bytes, secret: bytes = SECRET) -> str:
    mac = HMAC(secret, SHA256())
    mac.update(message)
    return base64.b64encode(mac.finalize()).decode()


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=200), st.sampled_from(["GET", "POST", "DELETE"]))
def test_a_request_is_signed_over_time_method_path_and_body(secret: bytes, body: bytes, verb: str) -> None:
    credentials = Credentials("k", "p", base64.b64encode(secret).decode())
    headers = credentials.headers(NOW, verb, "/fills?product_id=A-B&limit=10", body)
    assert headers["CB-ACCESS-TIMESTAMP"] == "1723161255.400"
    expected = signature(f"1723161255.400{verb}/fills?product_id=A-B&limit=10".encode() + body, secret)
    assert headers["CB-ACCESS-SIGN"] == expected


def test_a_subscription_signs_the_verification_of_oneself() -> None:
    fields = CREDENTIALS.subscription(NOW)
    assert fields == {
        "key": "thekey",
        "passphrase": "the-phrase",
        "timestamp": "1723161255.400",
        "signature": signature(b"1723161255.400GET/users/self/verify"),
    }


def test_a_timestamp_has_three_decimals() -> None:
    assert seconds(1_000_000_000_007_999_999) == "1000000000.007"


def test_a_key_shows_neither_secret_nor_passphrase() -> None:
    shown = repr(CREDENTIALS)
    assert "thekey" in shown
    assert "phrase" not in shown.replace("passphrase", "")
    assert CREDENTIALS.secret not in shown


@pytest.mark.parametrize(
    ("key", "phrase", "secret"),
    [("", "p", "AAAA"), ("k\r\nX: y", "p", "AAAA"), ("k", "p p", "AAAA"), ("k", "p", "not base64!"), ("k", "p", "")],
)
def test_texts_that_cannot_be_a_key_are_refused_unseen(key: str, phrase: str, secret: str) -> None:
    with pytest.raises(VenueError, match="not shown") as caught:
        Credentials(key, phrase, secret)
    assert "p p" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"},
        {"passphrase": "wrong"},
        {"timestamp": "1723161224.000"},
        {"timestamp": "1723161286.000"},
        {"timestamp": "soon"},
        {"signature": "AAAA"},
    ],
)
def test_the_simulated_exchange_refuses_every_proof_but_the_right_one(change: dict[str, str]) -> None:
    ring = KeyRing([CoinbaseKey("thekey", "the-phrase", CREDENTIALS.secret)])
    signed = b"GET/accounts"
    good = {
        "key": "thekey",
        "passphrase": "the-phrase",
        "timestamp": "1723161255.400",
        "signature": CREDENTIALS.sign("1723161255.400", "GET", "/accounts"),
    }
    assert ring.check(Proof(**good), signed, NOW).account == "paper"
    with pytest.raises(Refusal, match="401"):
        ring.check(Proof(**(good | change)), signed, NOW)


def venue_of(**settings: Any) -> VenueConfig:
    address = "ws://127.0.0.1:2"
    return VenueConfig(name="coinbase", rest_url="http://127.0.0.1:1", stream_url=address, api_url=address, **settings)


def test_key_secret_and_passphrase_come_from_the_environment_or_from_files_of_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, phrase = tmp_path / "secret", tmp_path / "phrase"
    for path, text in ((secret, CREDENTIALS.secret), (phrase, "the-phrase")):
        path.write_text(text + "\n", encoding="ascii")
        path.chmod(0o600)
    monkeypatch.setenv("SENTINEL_API_KEY", "thekey")
    files = venue_of(api_secret_file=str(secret), api_passphrase_file=str(phrase))
    assert Credentials.from_environment(files) == CREDENTIALS
    monkeypatch.setenv("SENTINEL_API_SECRET", CREDENTIALS.secret)
    monkeypatch.setenv("SENTINEL_API_PASSPHRASE", "the-phrase")
    assert Credentials.from_environment(venue_of()) == CREDENTIALS
    phrase.chmod(0o644)
    with pytest.raises(ConfigError, match=r"venue\.api_passphrase_file.*chmod 600"):
        Credentials.from_environment(files)


@pytest.mark.parametrize("name", ["SENTINEL_API_KEY", "SENTINEL_API_SECRET", "SENTINEL_API_PASSPHRASE"])
@pytest.mark.parametrize("value", ["", "not usable \x07"])
def test_a_key_that_is_missing_or_cannot_be_one_is_an_error_that_names_its_place_and_not_its_text(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"SENTINEL_API_KEY": "thekey", "SENTINEL_API_SECRET": CREDENTIALS.secret, "SENTINEL_API_PASSPHRASE": "the-phrase"}
    for variable, text in (texts | {name: value}).items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=name) as caught:
        Credentials.from_environment(venue_of())
    assert "usable" not in str(caught.value)
