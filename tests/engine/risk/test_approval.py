"""Human approval: who is asked, what a grant lets through, and that everything else goes on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.engine.layout import APPROVAL_SLOTS
from sentinel.units import E8
from sentinel.wire import Command, Control, Side, SignalCode
from tests.engine.risk.offers import Offers
from tests.engine.world import SECOND

OVER = pytest.mark.parametrize("over", [-1, 0, 1])


def _asked(offers: Offers, **fields: Any) -> dict[str, Any]:
    """The order waits for a person; the request."""
    before = len(offers.signals(SignalCode.APPROVAL_NEEDED))
    assert offers.refused(**fields) == Control.APPROVAL
    requests = offers.signals(SignalCode.APPROVAL_NEEDED)
    assert len(requests) == before + 1
    return requests[-1]


def _small(**changes: int) -> Offers:
    return Offers(approval_notional_per_minute=1_000 * E8, stale_after_ns=1_000 * SECOND, **changes)


@pytest.mark.control("H1")
@OVER
def test_entries_of_a_minute_up_to_the_threshold_need_nobody(over: int) -> None:
    offers = _small()
    offers.ends(offers.passes(qty=600)).wait(SECOND)
    answer = offers.offer(qty=400 + 0.001 * over)
    assert answer.control == (Control.APPROVAL if over > 0 else 0)
    if over > 0:
        assert (answer.observed, answer.limit) == (1_000 * E8 + E8 // 1_000, 1_000 * E8)
        offers.wait(59 * SECOND).passes(qty=401)


@pytest.mark.control("H1")
def test_a_grant_lets_one_order_of_that_symbol_and_side_through() -> None:
    offers = _small(symbols=2)
    request = _asked(offers, qty=2_000)
    assert request["value"] == 2_020 * E8
    assert not offers.signals(SignalCode.APPROVAL_NEEDED, offers.tick().run())
    assert offers.refused(qty=2_000) == Control.APPROVAL
    assert len(offers.signals(SignalCode.APPROVAL_NEEDED)) == 1, "asked once"
    # Everything else goes on meanwhile.
    offers.ends(offers.passes(symbol=1, qty=900))
    offers.wait(61 * SECOND).command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + 60 * SECOND)
    other = offers.offer(side=Side.SELL, qty=2_000)
    assert other.control == Control.APPROVAL
    placed = offers.passes(qty=2_000)
    offers.ends(placed)
    (used,) = offers.signals(SignalCode.APPROVAL_USED)
    assert (used["client_key"], used["limit"], used["value"]) == (placed["client_key"], request["limit"], 2_000 * E8)
    assert offers.refused(qty=2_001) == Control.APPROVAL
    # What was granted does not use up the threshold of the others.
    offers.passes(symbol=1, qty=1_000)


@pytest.mark.control("H1")
@pytest.mark.parametrize(("qty", "passes"), [(2_020, True), (2_020.001, False)])
def test_a_grant_covers_the_ceiling_that_was_shown(qty: float, passes: bool) -> None:
    offers = _small()
    request = _asked(offers, qty=2_000)
    offers.command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + SECOND)
    assert (offers.offer(qty=qty).control == 0) == passes


@pytest.mark.control("H1")
@pytest.mark.parametrize(("wait", "passes"), [(SECOND - 1, True), (SECOND, False)])
def test_a_grant_expires(wait: int, passes: bool) -> None:
    offers = _small()
    request = _asked(offers, qty=2_000)
    offers.command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + SECOND)
    assert (offers.wait(wait).offer(qty=2_000).control == 0) == passes


@pytest.mark.control("H1")
def test_a_refusal_is_not_asked_about_again_and_takes_a_grant_back() -> None:
    offers = _small()
    request = _asked(offers, qty=2_000)
    offers.command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + 60 * SECOND)
    offers.command(Command.APPROVE, id=request["limit"], value=0)
    for qty in (2_000, 5_000):
        assert offers.refused(qty=qty) == Control.APPROVAL
    assert len(offers.signals(SignalCode.APPROVAL_NEEDED)) == 1
    offers.passes(qty=500)


@pytest.mark.control("H1")
def test_what_reduces_never_waits() -> None:
    offers = _small()
    request = _asked(offers, qty=2_000)
    offers.command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + SECOND)
    offers.complete(offers.passes(qty=2_000))
    offers.passes(side=Side.SELL, qty=2_000, reduce_only=1)
    assert len(offers.signals(SignalCode.APPROVAL_USED)) == 1, "an order that needs nobody used no grant"


@pytest.mark.control("H1")
def test_answers_to_nothing_or_for_the_past_are_counted_and_change_nothing() -> None:
    offers = _small()
    request = _asked(offers, qty=2_000)
    number, soon = request["limit"], offers.now + SECOND
    nonsense = (
        (0, 1, soon),
        (number + 1, 1, soon),
        (number, 2, soon),
        (number, -1, soon),
        (number, 1, offers.now),
        (number, 1, 0),
    )
    before = int(offers.c["bad_input"])
    for request_id, value, until in nonsense:
        offers.command(Command.APPROVE, id=request_id, value=value, t2=until)
    assert int(offers.c["bad_input"]) == before + len(nonsense)
    assert offers.refused(qty=2_000) == Control.APPROVAL
    offers.command(Command.APPROVE, id=number, value=1, t2=soon)
    offers.ends(offers.passes(qty=2_000))
    # Used up, it cannot be granted again.
    offers.command(Command.APPROVE, id=number, value=1, t2=soon)
    assert int(offers.c["bad_input"]) == before + len(nonsense) + 1


@pytest.mark.control("H1")
def test_a_larger_order_replaces_the_request_that_would_not_cover_it() -> None:
    offers = _small()
    first = _asked(offers, qty=2_000)
    second = _asked(offers, qty=3_000)
    assert second["limit"] == first["limit"] + 1
    before = int(offers.c["bad_input"])
    offers.command(Command.APPROVE, id=first["limit"], value=1, t2=offers.now + SECOND)
    assert int(offers.c["bad_input"]) == before + 1


@pytest.mark.control("H1")
def test_more_requests_than_slots_drop_the_oldest_and_nothing_else() -> None:
    offers = _small(symbols=APPROVAL_SLOTS + 1)
    requests = [_asked(offers.wait(1), symbol=s, qty=2_000) for s in range(APPROVAL_SLOTS + 1)]
    until = offers.now + SECOND
    before = int(offers.c["bad_input"])
    for request in requests:
        offers.command(Command.APPROVE, id=request["limit"], value=1, t2=until)
    assert int(offers.c["bad_input"]) == before + 1
    assert offers.refused(symbol=0, qty=2_000) == Control.APPROVAL
    for s in range(1, APPROVAL_SLOTS + 1):
        offers.passes(symbol=s, qty=2_000)


@pytest.mark.control("H1")
def test_the_strategy_proposes_again_and_enters_once_granted() -> None:
    offers = Offers(approval_notional_per_minute=1_000 * E8, size_bps=1_000, retrace_bps=2_000)
    offers.quiet()
    offers.pump()
    offers.retrace()
    assert not offers.places()
    (request,) = offers.signals(SignalCode.APPROVAL_NEEDED)
    offers.command(Command.APPROVE, id=request["limit"], value=1, t2=offers.now + 60 * SECOND)
    offers.retrace(1.129)
    (place,) = offers.places()
    assert place["price"] * place["qty"] // E8 <= request["value"]


@pytest.mark.control("H1")
def test_a_kill_takes_back_every_grant_and_question() -> None:
    offers = _small()
    granted = _asked(offers, qty=2_000)
    offers.command(Command.APPROVE, id=granted["limit"], value=1, t2=offers.now + 600 * SECOND)
    open_still = _asked(offers, side=Side.SELL, qty=2_000)
    offers.command(Command.KILL, value=int(Control.OPERATOR))
    before = int(offers.c["bad_input"])
    offers.command(Command.APPROVE, id=open_still["limit"], value=1, t2=offers.now + 600 * SECOND)
    assert int(offers.c["bad_input"]) == before + 1
    offers.arm()
    assert offers.refused(qty=2_000) == Control.APPROVAL
