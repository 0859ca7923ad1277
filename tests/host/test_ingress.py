import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.ingress import LockstepIngress
from sentinel.wire import ORDER_EVENT_1, ORDER_EVENT_2, Kind, empty_slots, record_views


def _trade(seq: int) -> np.ndarray:
    slots = empty_slots(1)
    record = record_views(slots).market
    record["kind"], record["seq"] = Kind.TRADE, seq
    return slots


def _order_event(key: int, venue_order_id: int) -> np.ndarray:
    slots = empty_slots(2)
    first, second = slots[:1].view(ORDER_EVENT_1), slots[1:].view(ORDER_EVENT_2)
    for part, record in enumerate((first, second)):
        record["kind"], record["part"], record["client_key"] = Kind.ORDER_EVENT, part, key
    second["venue_order_id"] = venue_order_id
    return slots


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1 << 30)), max_size=40), st.randoms())
def test_a_step_comes_out_in_source_order_whatever_order_the_sockets_had(arrivals: list[tuple[int, int]], random: object) -> None:
    expected = [seq for source in range(1, 5) for s, seq in arrivals if s == source]
    out: list[np.ndarray] = []
    ingress = LockstepIngress(out.append)
    ingress.hold()
    remaining = {s: [seq for source, seq in arrivals if source == s] for s in range(1, 5)}
    while any(remaining.values()):  # any interleaving that keeps each source's own order
        source = random.choice([s for s, rest in remaining.items() if rest])  # type: ignore[attr-defined]
        ingress.deliver(source, _trade(remaining[source].pop(0)))
    ingress.release(77)
    market = record_views(np.concatenate([empty_slots(0), *out])).market
    assert [int(r["seq"]) for r in market] == expected
    assert all(int(r["t_recv"]) == 77 for r in market)


def test_release_stamps_order_events_but_keeps_the_venue_order_id() -> None:
    out: list[np.ndarray] = []
    ingress = LockstepIngress(out.append)
    ingress.hold()
    ingress.deliver(5, _order_event(9, 123_456))
    ingress.release(88)
    views = record_views(out[0])
    assert views.order1["t_recv"][0] == 88
    assert views.order2["venue_order_id"][1] == 123_456


def test_records_pass_straight_through_between_release_and_hold() -> None:
    out: list[np.ndarray] = []
    ingress = LockstepIngress(out.append)
    ingress.hold()
    ingress.release(1)
    ingress.deliver(3, _trade(4))
    assert len(out) == 1
    ingress.hold()
    ingress.deliver(3, _trade(5))
    assert len(out) == 1
