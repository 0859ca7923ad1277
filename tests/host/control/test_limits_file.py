"""Limits files: every way in which one cannot be meant, and that nobody but its signers made it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.layout import SYMBOL_LIMITS, LimitField
from sentinel.errors import LimitsError
from sentinel.host.control.limits_file import (
    LIMITS,
    RestrictedList,
    parse_limits,
    read_signing_key,
    sign_limits,
    verified_signers,
)
from sentinel.host.mode import STATED_LIMITS
from sentinel.units import E8, NS_PER_S, format_e8
from tests.host.control.persons import FIRM, KEYS, PERSONS, limits_text, own_limits, restricted_list, signatures, write_key

NOW_NS = 1_790_000_000 * NS_PER_S
TEXT = limits_text(4, NOW_NS)


def test_a_file_is_read_in_exact_units() -> None:
    limits = parse_limits(limits_text(4, NOW_NS, max_order_notional='"20.00000001"').encode())
    assert (limits.version, limits.mode) == (4, "live")
    assert (limits.firm["max_order_notional"], limits.firm["max_drawdown_bps"]) == (20 * E8 + 1, 2_000)
    assert (limits.valid_from_ns, limits.expires_ns) == (NOW_NS - 3_600 * NS_PER_S, NOW_NS + 30 * 86_400 * NS_PER_S)


#: Of these less is not stricter, 0 asks nothing, or they are no limits.
NOT_SIGNED = {
    LimitField.PEAK_EQUITY,
    LimitField.LOSS_BASE,
    LimitField.MIN_FREE_CAPITAL_BPS,
    LimitField.APPROVAL_NOTIONAL_PER_MINUTE,
    LimitField.MAX_CLOCK_ERROR_NS,
    LimitField.COLLAR_SPREADS,
    LimitField.COLLAR_FLOOR_BPS,
    LimitField.MAX_EXIT_MINUTES,
    LimitField.MAX_INSTRUMENT_AGE_NS,
    LimitField.RESTRICTED,
    LimitField.RESTRICTED_ISSUED,
}


def test_every_limit_of_the_engine_that_is_stricter_the_less_it_is_can_be_signed() -> None:
    assert {bounds.field for bounds in LIMITS.values()} == set(LimitField) - NOT_SIGNED
    assert all(bounds.field.name.lower() == name for name, bounds in LIMITS.items())
    assert set(STATED_LIMITS) == set(FIRM) <= set(LIMITS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_drawdown_bps", "20"),  # meant as per cent
        ("max_drawdown_bps", "2.5"),
        ("max_drawdown_bps", '"2000"'),
        ("max_drawdown_bps", "true"),
        ("max_drawdown_bps", "10001"),
        ("price_collar_bps", "5"),
        ("max_drawdown_pct", "20"),
        ("max_order_notional", "25000"),  # a whole number may be meant in units of 1e-8
        ("max_order_notional", "25000.0"),
        ("max_order_notional", '"-1"'),
        ("max_order_notional", '"25 000"'),
        ("max_order_notional", '"25e3"'),
        ("max_order_notional", '"0.000000001"'),
        ("max_order_notional", '"90000000001"'),
        ("max_order_notional", '"25000.01"'),  # above the position's
        ("max_position_notional", '"100001"'),  # above the whole
        ("max_trades_per_minute", "0"),
        ("max_trades_per_minute", "1001"),
        ("max_open_orders", "-1"),
        ("peak_equity", '"0"'),
    ],
)
def test_a_value_in_another_unit_or_out_of_bounds_is_refused_by_name(name: str, value: str) -> None:
    changed: dict[str, Any] = {name: value}
    text = limits_text(4, NOW_NS, **changed).encode()
    with pytest.raises(LimitsError) as caught:
        parse_limits(text)
    assert caught.value.field == f"limits.firm.{name}"


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("version = 4", "version = 0", "limits.version"),
        ("version = 4", "version = 4294967296", "limits.version"),
        ("version = 4", 'version = "4"', "limits.version"),
        ("version = 4", "version = true", "limits.version"),
        ("version = 4\n", "", "limits.version"),
        ('mode = "live"', 'mode = "both"', "limits.mode"),
        ("valid_from = ", "valid_from = 2026-01-01 #", "limits.valid_from"),
        ("expires = ", "expires = 2036-01-01T00:00:00Z #", "limits.expires"),
        ("expires = ", "expires = 2016-01-01T00:00:00Z #", "limits.expires"),
        ("expires = ", "expires = 2026-10-10T00:00:00 #", "limits.expires"),
        ("expires = ", "expiry = ", "limits.expiry"),
        ("[firm]", "[symbol.BTCUSDT]", "limits.symbol"),
        ("[firm]", "[venue.coinbase]", "limits.venue"),
        ("[firm]", "[strategy.contrarian]", "limits.strategy"),
        ("[firm]", "[firms]", "limits.firms"),
        ("[firm]", "[firm", "limits file"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(before: str, after: str, field: str) -> None:
    assert before in TEXT
    with pytest.raises(LimitsError) as caught:
        parse_limits(TEXT.replace(before, after).encode())
    assert caught.value.field == field


def test_limits_of_symbols_and_the_restricted_list_are_read_too() -> None:
    more = own_limits("NOVAUSDT", max_order_notional='"5"', price_collar_bps=50) + restricted_list(NOW_NS, "MOONUSDT", "X-USD")
    limits = parse_limits(limits_text(4, NOW_NS, more=more).encode())
    assert limits.symbols == {"NOVAUSDT": {"max_order_notional": 5 * E8, "price_collar_bps": 50}}
    assert limits.restricted == RestrictedList(NOW_NS, ("MOONUSDT", "X-USD"))
    assert {limit: value for limit, value in limits.values.items() if limit not in limits.firm} == {
        "NOVAUSDT.max_order_notional": 5 * E8,
        "NOVAUSDT.price_collar_bps": 50,
        "MOONUSDT.restricted": 0,
        "X-USD.restricted": 0,
    }


@pytest.mark.parametrize("name", SYMBOL_LIMITS)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_symbols_own_limit_is_at_most_the_firms(name: str, over: int) -> None:
    money = LIMITS[name].money
    value = f'"{format_e8(40 * E8 + over)}"' if money else 20 + over
    firm: dict[str, Any] = {name: '"40"' if money else 20}
    text = limits_text(4, NOW_NS, more=own_limits("NOVAUSDT", **{name: value}), **firm)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("max_") or name in line)
    if over <= 0:
        parse_limits(text.encode())
        return
    with pytest.raises(LimitsError) as caught:
        parse_limits(text.encode())
    assert (caught.value.field, "the firm's" in caught.value.allowed) == (f"limits.symbols.NOVAUSDT.{name}", True)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (own_limits("NOVAUSDT"), "limits.symbols"),
        ("[symbols]\nmax_order_qty = 3\n", "limits.symbols"),
        (own_limits("NOVAUSDT", max_drawdown_bps=100), "limits.symbols.NOVAUSDT.max_drawdown_bps"),
        (own_limits("NOVAUSDT", price_collar_bps=5), "limits.symbols.NOVAUSDT.price_collar_bps"),
        (own_limits("NOVAUSDT", max_order_qty=5), "limits.symbols.NOVAUSDT.max_order_qty"),
        (
            own_limits("NOVAUSDT", max_order_notional='"6"', max_position_notional='"5"'),
            "limits.symbols.NOVAUSDT.max_order_notional",
        ),
        ("[restricted]\nsymbols = []\n", "limits.restricted"),
        ("[restricted]\nissued = 2026-11-22T12:00:00Z\n", "limits.restricted"),
        ("[restricted]\nissued = 2026-11-22T12:00:00\nsymbols = []\n", "limits.restricted.issued"),
        ('[restricted]\nissued = 2026-11-22T12:00:00Z\nsymbols = ["A", "A"]\n', "limits.restricted.symbols"),
        ("[restricted]\nissued = 2026-11-22T12:00:00Z\nsymbols = [7]\n", "limits.restricted.symbols"),
        ("[restricted]\nissued = 2026-11-22T12:00:00Z\nsymbols = []\nage = 4\n", "limits.restricted"),
    ],
)
def test_tables_of_symbols_and_lists_that_cannot_be_meant_are_refused_by_name(more: str, field: str) -> None:
    with pytest.raises(LimitsError) as caught:
        parse_limits(limits_text(4, NOW_NS, more=more).encode())
    assert caught.value.field == field


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(raw: bytes) -> None:
    with pytest.raises(LimitsError):
        parse_limits(raw)


def test_signers_are_named_and_only_over_exactly_these_bytes() -> None:
    given_ = signatures(TEXT, "alice", "bob")
    assert [one.name for one in verified_signers(TEXT.encode(), given_, PERSONS)] == ["alice", "bob"]
    for k in range(0, len(TEXT), 7):
        tampered = TEXT[:k] + chr(ord(TEXT[k]) ^ 1) + TEXT[k + 1 :]
        with pytest.raises(LimitsError, match="exactly this file"):
            verified_signers(tampered.encode(), given_, PERSONS)


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"mallory": signatures(TEXT, "alice")["alice"]},
        {"bob": signatures(TEXT, "alice")["alice"]},
        signatures(TEXT, "carol"),
        signatures(TEXT, "alice", "dave"),
        {"alice": ""},
        {"alice": "x"},
        {"alice": "é"},
        {"alice": base64.b64encode(KEYS["alice"].sign(TEXT.encode())).decode()},  # without the prefix
    ],
    ids=["none", "unknown", "another's", "trader", "viewer beside risk", "empty", "no base64", "no ASCII", "signed for else"],
)
def test_a_file_without_a_right_signature_is_refused_and_one_wrong_one_spoils_the_others(given_: dict[str, str]) -> None:
    with pytest.raises(LimitsError) as caught:
        verified_signers(TEXT.encode(), given_, PERSONS)
    assert caught.value.field == "signatures"


def test_a_bad_file_is_not_even_signed() -> None:
    with pytest.raises(LimitsError):
        sign_limits(TEXT.replace("2000", "20").encode(), KEYS["alice"])


def test_a_key_made_by_openssl_signs_and_one_that_others_may_read_does_not(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True)
    path.chmod(0o600)
    assert len(base64.b64decode(sign_limits(TEXT.encode(), read_signing_key(path)))) == 64
    assert read_signing_key(write_key(tmp_path, "alice")).public_key() == KEYS["alice"].public_key()
    path.chmod(0o640)
    with pytest.raises(LimitsError, match="chmod 600"):
        read_signing_key(path)


def test_an_unusable_key_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n")
    for wrong in (path, tmp_path / "missing.pem"):
        with pytest.raises(LimitsError) as caught:
            read_signing_key(wrong)
        assert (caught.value.field, "SECRET" in str(caught.value)) == ("--key", False)
