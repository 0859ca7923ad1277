"""Orders that wait for a person: from the engine's signal to the person's answer. The signals are made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sentinel.errors import ControlError
from sentinel.host.control.approvals import Approvals
from sentinel.units import E8, NS_PER_S
from sentinel.wire import ORDER_INTENT_1, SIGNAL, Command, Kind, Side, SignalCode, empty_slots
from tests.host.venues.offline_session import ManualClock

WAIT_S = 60


class Desk:
    """Approvals over a host that keeps what it is told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.ns = 1_000 * NS_PER_S
        self.told: list[tuple[Command, int, dict[str, int]]] = []
        self.approvals = Approvals(self, self.clock, ["AAAUSDT", "BBBUSDT"], WAIT_S)

    def control(self, command: Command, t: int, **fields: int) -> None:
        self.told.append((command, t, fields))

    def signal(self, number: int, code: int = SignalCode.APPROVAL_NEEDED, symbol: int = 1) -> Any:
        slots = empty_slots(1)
        row = slots.view(SIGNAL)[0, 0]
        row["kind"], row["code"], row["t"], row["symbol"], row["side"] = Kind.SIGNAL, code, self.clock.ns, symbol, Side.SELL
        row["value"], row["limit"] = 60_000 * E8, number
        return slots

    def ids(self) -> list[int]:
        return [one["id"] for one in self.approvals.listed()["waiting"]]


def test_a_signal_is_listed_with_what_the_person_must_know() -> None:
    desk = Desk()
    desk.approvals.take(desk.signal(7))
    desk.clock.ns += 15 * NS_PER_S
    assert desk.approvals.listed()["waiting"] == [
        {
            "id": 7,
            "symbol": "BBBUSDT",
            "side": "SELL",
            "notional": "60000.00000000",
            "since_ns": 1_000 * NS_PER_S,
            "until_ns": 1_060 * NS_PER_S,
            "left_ms": 45_000,
        }
    ]


@pytest.mark.parametrize(("granted", "within_s"), [(True, 5.0), (False, 60.0)])
def test_the_answer_goes_to_the_engine_once_with_who_and_until_when(granted: bool, within_s: float) -> None:
    desk = Desk()
    desk.approvals.take(desk.signal(7))
    desk.clock.ns += NS_PER_S
    decision = desk.approvals.decide(7, granted, within_s, 61_000, "alice")
    assert (decision["decision"], decision["by"]) == ("granted" if granted else "refused", "alice")
    until_ns = desk.clock.ns + round(within_s * NS_PER_S)
    assert desk.told == [(Command.APPROVE, desk.clock.ns, {"id": 7, "value": int(granted), "t2": until_ns, "actor": 61_000})]
    with pytest.raises(ControlError, match="approval"):
        desk.approvals.decide(7, granted, within_s, 61_000, "alice")
    assert len(desk.told) == 1
    assert desk.approvals.listed()["decided"] == [decision]


def test_what_nobody_answered_in_time_is_given_up_and_cannot_be_granted_any_more() -> None:
    desk = Desk()
    desk.approvals.take(desk.signal(7))
    desk.clock.ns += WAIT_S * NS_PER_S - 1
    assert desk.ids() == [7]
    desk.clock.ns += 1
    with pytest.raises(ControlError, match="given up"):
        desk.approvals.decide(7, True, 60.0, 61_000, "alice")
    assert (desk.ids(), desk.told) == ([], [])
    assert [one["decision"] for one in desk.approvals.listed()["decided"]] == ["expired"]


def test_what_was_never_asked_for_cannot_be_granted() -> None:
    desk = Desk()
    with pytest.raises(ControlError):
        desk.approvals.decide(8, True, 60.0, 61_000, "alice")
    assert desk.told == []


def test_signals_are_found_among_orders_and_other_signals() -> None:
    desk = Desk()
    order = empty_slots(2)
    order.view(ORDER_INTENT_1)["kind"] = Kind.PLACE
    # An order whose bytes look like the signal's code.
    order.view(np.uint8)[:, 40] = SignalCode.APPROVAL_NEEDED
    others = [desk.signal(n, code) for n, code in enumerate(SignalCode) if code != SignalCode.APPROVAL_NEEDED]
    desk.approvals.take(np.concatenate([order, *others, desk.signal(3), order, desk.signal(4)]))
    assert desk.ids() == [3, 4]


def test_a_flood_of_requests_is_not_kept_without_end() -> None:
    desk = Desk()
    desk.approvals.take(np.concatenate([desk.signal(n) for n in range(1_000)]))
    assert desk.ids() == list(range(256))
    desk.clock.ns += WAIT_S * NS_PER_S
    desk.approvals.take(desk.signal(2_000))
    assert desk.ids() == [2_000]
