from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sentinel.errors import AlarmError
from sentinel.ops.alarms.alert import Alert, trial_alert
from sentinel.ops.alarms.delivery import Delivery
from sentinel.ops.alarms.evaluate import Change
from sentinel.ops.alarms.sinks.webhook import WebhookSink
from tests.ops.alarms.receiver import receiver


def alert(number: int) -> Alert:
    return trial_alert("desk-1", number, Change.FIRED)


class Sink:
    """Takes alerts while ``open`` is set; refuses the next ``refusals`` of them."""

    def __init__(self, name: str = "sink", refusals: int = 0) -> None:
        self.name = name
        self.refusals = refusals
        self.open = threading.Event()
        self.open.set()
        #: Has been given an alert.
        self.asked = threading.Event()
        self.taken: list[int] = []

    def send(self, alert: Alert) -> None:
        self.asked.set()
        self.open.wait()
        if self.refusals:
            self.refusals -= 1
            raise AlarmError("sink", "refused", "taken", "wait")
        self.taken.append(alert.t_ns)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_every_sink_takes_every_alert_in_its_order() -> None:
    sinks = [Sink("a"), Sink("b")]
    delivery = Delivery(sinks)
    for number in range(100):
        delivery.put(alert(number))
    delivery.close()
    assert [sink.taken for sink in sinks] == [list(range(100))] * 2
    assert delivery.counts == {"a": {"sent": 100, "dropped": 0}, "b": {"sent": 100, "dropped": 0}}


def test_a_sink_that_hangs_delays_no_other_and_not_the_caller() -> None:
    hanging, quick = Sink("hanging"), Sink("quick")
    hanging.open.clear()
    delivery = Delivery([hanging, quick])
    for number in range(5):
        delivery.put(alert(number))
    _until(lambda: quick.taken == [0, 1, 2, 3, 4])
    assert hanging.taken == []
    hanging.open.set()
    delivery.close()
    assert hanging.taken == [0, 1, 2, 3, 4]


def test_a_refused_alert_is_tried_again_until_it_is_taken_and_counts_as_failing_meanwhile() -> None:
    sink = Sink(refusals=2)
    delivery = Delivery([sink])
    delivery.put(alert(1))
    _until(lambda: delivery.failing == 1)
    delivery.put(alert(2))
    _until(lambda: sink.taken == [1, 2])
    _until(lambda: delivery.failing == 0)
    delivery.close()


def test_a_webhook_that_fails_for_a_while_misses_nothing() -> None:
    with receiver() as server:
        server.answers = [500, 0, 429]
        delivery = Delivery([WebhookSink(server.url, "secret")])
        delivery.put(alert(1))
        delivery.put(alert(2))
        posted = server.wait_for(5)
        delivery.close()
    assert len({one.body for one in posted[:4]}) == 1
    assert posted[4].body != posted[0].body


def test_a_full_queue_drops_the_oldest_alert() -> None:
    sink = Sink()
    sink.open.clear()
    delivery = Delivery([sink])
    delivery.put(alert(0))
    assert sink.asked.wait(60)
    for number in range(1, 1_011):
        delivery.put(alert(number))
    sink.open.set()
    _until(lambda: sink.taken[-1:] == [1_010])
    delivery.close()
    assert sink.taken == [0, *range(11, 1_011)]
    assert delivery.counts["sink"]["dropped"] == 11


def test_closing_does_not_wait_for_a_sink_that_hangs() -> None:
    sink = Sink()
    sink.open.clear()
    delivery = Delivery([sink])
    delivery.put(alert(1))
    assert sink.asked.wait(60)
    delivery.close(0.1)
    assert sink.taken == []
    sink.open.set()


def test_an_error_of_ours_is_logged_by_its_kind_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sink):
        def send(self, alert: Alert) -> None:
            raise ValueError("routing key abc")

    delivery = Delivery([Broken()])
    delivery.put(alert(1))
    _until(lambda: delivery.failing == 1)
    delivery.close(0.1)
    assert "ValueError" in caplog.text
    assert "routing key" not in caplog.text


def test_a_sink_that_neither_takes_nor_refuses_an_alert_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.ops.alarms.delivery.HANGS_S", 0.0)
    sink = Sink()
    sink.open.clear()
    delivery = Delivery([sink])
    assert delivery.failing == 0
    delivery.put(alert(1))
    _until(lambda: delivery.failing == 1)
    sink.open.set()
    _until(lambda: sink.taken == [1] and delivery.failing == 0)
    delivery.close()
