"""Orders that wait for a person: from the engine's request to the person's answer. The requests are made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sentinel.engine.layout import APPROVAL, APPROVAL_SLOTS, Approval
from sentinel.errors import ControlError
from sentinel.host.control.approvals import Approvals
from sentinel.units import E8, NS_PER_S
from sentinel.wire import ORDER_INTENT_1, SIGNAL, Command, Kind, Side, SignalCode, empty_slots
from tests.host.venues.offline_session import ManualClock

WAIT_S, SETUP_S = 60, 180


class Desk:
    """Approvals over an engine whose requests are written by hand, and that keeps what it is told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.ns = 1_000 * NS_PER_S
        self.told: list[tuple[Command, int, dict[str, int]]] = []
        params = np.zeros(1, [("setup_expiry_ns", np.int64)])
        params["setup_expiry_ns"] = SETUP_S * NS_PER_S
        self.state: Any = SimpleNamespace(approvals=np.zeros(APPROVAL_SLOTS, APPROVAL), params=params)
        self.start()

    def start(self) -> None:
        self.approvals = Approvals(self, self.clock, ["AAAUSDT", "BBBUSDT"], WAIT_S)

    def control(self, command: Command, t: int, **fields: int) -> None:
        self.told.append((command, t, fields))
        for row in self.state.approvals[self.state.approvals["id"] == fields["id"]]:
            self.put(int(row["id"]), Approval.GRANTED if fields["value"] else Approval.REFUSED)

    def put(self, number: int, state: Approval, symbol: int = 1) -> None:
        until_ns = self.clock.ns + SETUP_S * NS_PER_S
        self.state.approvals[number % APPROVAL_SLOTS] = (number, symbol, Side.SELL, 60_000 * E8, state, until_ns)

    def asks(self, number: int) -> None:
        self.put(number, Approval.PENDING)
        self.approvals.take(signal())

    def ids(self) -> list[int]:
        return [one["id"] for one in self.approvals.listed()["waiting"]]


def signal(code: int = SignalCode.APPROVAL_NEEDED) -> Any:
    slots = empty_slots(1)
    slots.view(SIGNAL)["kind"], slots.view(SIGNAL)["code"] = Kind.SIGNAL, code
    return slots


def test_a_request_is_listed_with_what_the_person_must_know() -> None:
    desk = Desk()
    desk.asks(7)
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
    desk.asks(7)
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
    desk.asks(7)
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


def test_the_signal_is_found_among_orders_and_other_signals(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    order = empty_slots(2)
    order.view(ORDER_INTENT_1)["kind"] = Kind.PLACE
    # An order whose bytes look like the signal's code.
    order.view(np.uint8)[:, 40] = SignalCode.APPROVAL_NEEDED
    others = [signal(code) for code in SignalCode if code != SignalCode.APPROVAL_NEEDED]
    desk.put(3, Approval.PENDING)
    desk.approvals.take(np.concatenate([order, *others]))
    assert caplog.messages == []
    desk.approvals.take(np.concatenate([order, *others, signal(), order]))
    assert [message for message in caplog.messages if "sentinel approve 3 within 60 s" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_request_that_a_larger_order_replaced_cannot_be_granted_any_more() -> None:
    desk = Desk()
    desk.asks(7)
    assert desk.ids() == [7]
    desk.put(7 + APPROVAL_SLOTS, Approval.PENDING)
    with pytest.raises(ControlError, match="approval"):
        desk.approvals.decide(7, True, 60.0, 61_000, "alice")
    assert (desk.ids(), desk.told) == ([7 + APPROVAL_SLOTS], [])
    assert [one["decision"] for one in desk.approvals.listed()["decided"]] == ["replaced"]


def test_what_waited_before_a_restart_waits_for_the_rest_of_its_time_after_it() -> None:
    desk = Desk()
    desk.asks(7)
    desk.clock.ns += 20 * NS_PER_S
    desk.start()
    assert [(one["id"], one["left_ms"]) for one in desk.approvals.listed()["waiting"]] == [(7, 40_000)]
    desk.clock.ns += 40 * NS_PER_S
    desk.start()
    assert desk.ids() == []
