"""What Coinbase Exchange's refusals over FIX prove: it has no error codes, only reasons and texts."""

from __future__ import annotations

import pytest

from sentinel.errors import ParseError
from sentinel.host.venues.binance_spot.outcomes import Reaction
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage
from sentinel.host.venues.fix.verdicts import CoinbaseVerdicts
from sentinel.units import NS_PER_S
from tests.host.venues.fix.fix_peer import said

VERDICTS = CoinbaseVerdicts()


def message(kind: str, *fields: Field) -> FixMessage:
    (found,) = Decoder("FIX.4.4").feed(said(kind, 2, *fields))
    assert isinstance(found, FixMessage)
    return found


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ([(103, 0), (58, "Insufficient funds")], (True, -103_000)),
        ([(103, 1)], (True, -103_001)),
        ([(103, 5)], (True, -103_005)),
        ([], (True, -103_000)),
        ([(103, 0), (58, "Duplicate client_oid")], (False, -103_000)),
        ([(103, 0), (58, "ClOrdID has been used")], (False, -103_000)),
        ([(103, 99)], (False, -103_099)),
        ([(103, 100_000)], (False, LocalCode.UNKNOWN_CODE)),
        ([(103, -1)], (False, LocalCode.UNKNOWN_CODE)),
    ],
)
def test_a_rejected_order_never_was_only_for_a_published_reason_that_is_not_its_own_id(
    fields: list[Field], verdict: tuple[bool, int]
) -> None:
    assert VERDICTS.order(message("8", (150, "8"), *fields)) == verdict


@pytest.mark.parametrize(
    ("kind", "fields", "verdict"),
    [
        ("9", [(102, 1)], (True, -102_001)),
        ("9", [(102, 2)], (True, -102_002)),
        ("9", [], (True, -102_000)),
        ("9", [(102, 7)], (False, -102_007)),
        ("3", [(373, 5)], (True, -373_005)),
        ("3", [], (True, -373_000)),
        ("j", [(380, 2)], (True, -380_002)),
        ("j", [(380, 1)], (False, -380_001)),
        ("j", [], (False, -380_000)),
    ],
)
def test_other_refusals_prove_what_their_published_reasons_say(kind: str, fields: list[Field], verdict: tuple[bool, int]) -> None:
    assert VERDICTS.request(message(kind, *fields)) == verdict


def test_a_reason_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ParseError):
        VERDICTS.order(message("8", (103, "x")))


@pytest.mark.parametrize(
    ("text", "reaction"),
    [
        ("Invalid API Key", Reaction.HALT_KEY),
        ("invalid signature", Reaction.HALT_KEY),
        ("Invalid passphrase", Reaction.HALT_KEY),
        ("API key lacks permission to trade", Reaction.HALT_KEY),
        ("There is already a session for this API key", Reaction.NONE),
        ("API key in use", Reaction.NONE),
        ("Signature: SendingTime accuracy problem", Reaction.NONE),
        ("rate limit exceeded", Reaction.PAUSE),
        ("Insufficient funds", Reaction.NONE),
        ("", Reaction.NONE),
    ],
)
def test_a_text_about_the_key_halts_and_one_about_what_passes_does_not(text: str, reaction: Reaction) -> None:
    assert VERDICTS.reaction(0, text) is reaction
    assert VERDICTS.refuses_logon(0, text) == (reaction is Reaction.HALT_KEY)


def test_a_signature_problem_by_its_number_refuses_the_logon_whatever_the_text() -> None:
    assert VERDICTS.refuses_logon(-373_008, "")
    assert not VERDICTS.refuses_logon(-373_010, "")


def test_a_limit_is_waited_for_a_second() -> None:
    assert VERDICTS.pause_ns(-103_000) == NS_PER_S
