"""Session rules, without sockets: what the venue says and how much time passes, against what leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import VenueError
from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage
from sentinel.host.venues.fix.protocol import Ended, EndReason, Event, FixProtocol, LoggedOn, Notice, Received, Unusable
from sentinel.units import NS_PER_S
from tests.host.venues.fix.fix_peer import PlainLogon, said
from tests.host.venues.offline_session import START_NS

BEAT = 10 * NS_PER_S


class Peer:
    """A protocol, its clock, and what it says, decoded."""

    def __init__(self) -> None:
        self.protocol = FixProtocol("FIX.4.4", PlainLogon())
        self.now = START_NS
        self._decoder = Decoder("FIX.4.4")
        self.protocol.start(self.now)

    def out(self) -> list[FixMessage]:
        found = self._decoder.feed(self.protocol.take_outgoing())
        assert all(isinstance(one, FixMessage) for one in found)
        return [one for one in found if isinstance(one, FixMessage)]

    def types(self) -> list[str]:
        return [message.msg_type for message in self.out()]

    def hear(self, *raw: bytes) -> list[Event]:
        return self.protocol.receive(b"".join(raw), self.now)

    def wait(self, ns: int) -> list[Event]:
        self.now += ns
        return self.protocol.tick(self.now)


@pytest.fixture
def peer() -> Peer:
    """A peer that is logged on, its Logon read."""
    one = Peer()
    assert one.hear(said("A", 1, (98, 0), (108, 10))) == [LoggedOn()]
    assert one.types() == ["A"]
    return one


def ended(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


def test_logon_comes_first_resets_the_sequence_and_opens_the_session() -> None:
    peer = Peer()
    (logon,) = peer.out()
    assert (logon.msg_type, logon.text(34), logon.text(141), logon.text(49), logon.text(56)) == ("A", "1", "Y", "US", "SPOT")
    assert logon.text(52) == "20240808-23:54:15.000"
    with pytest.raises(VenueError, match="LOGGING_ON"):
        peer.protocol.send("D", [(11, "x")], peer.now)
    peer.hear(said("A", 1, (98, 0), (108, 10)))
    assert peer.protocol.send("D", [(11, "x")], peer.now, [(25000, 500)]) == 2
    (order,) = peer.out()
    assert [tag for tag, _ in order.fields] == [34, 49, 52, 56, 25000, 11]


@pytest.mark.parametrize("kind", ["3", "5", "8"])
def test_anything_but_a_logon_in_answer_is_a_refusal_with_the_venues_words(kind: str) -> None:
    events = Peer().hear(said(kind, 1, (58, "Invalid API-key."), (25016, -2015)))
    assert events == [Ended(EndReason.LOGON_REFUSED, "Invalid API-key.", -2015)]


def test_unanswered_logon_ends_after_ten_seconds() -> None:
    peer = Peer()
    assert peer.wait(BEAT - 1) == []
    assert peer.wait(1) == [Ended(EndReason.LOGON_TIMEOUT)]
    assert peer.protocol.next_due_ns() is None


def test_heartbeats_leave_only_when_nothing_else_has(peer: Peer) -> None:
    peer.hear(said("0", 2))
    peer.now += BEAT // 2
    peer.protocol.send("D", [(11, "x")], peer.now)
    assert peer.wait(BEAT // 2) == []
    assert peer.types() == ["D"]
    peer.hear(said("0", 3))
    assert peer.wait(BEAT // 2) == []
    (beat,) = peer.out()
    assert (beat.msg_type, beat.find(112)) == ("0", None)


def test_silence_is_questioned_and_then_ends_the_session_with_a_logout(peer: Peer) -> None:
    assert peer.wait(BEAT * 6 // 5 - 1) == []
    assert peer.types() == ["0"]
    assert peer.wait(1) == []
    (test,) = peer.out()
    assert (test.msg_type, test.text(112)) == ("1", "T3")
    assert peer.wait(BEAT - 1) == []
    peer.out()
    assert ended(peer.wait(1)).reason is EndReason.SILENCE
    assert peer.types() == ["5"]


def test_any_whole_message_answers_the_question_but_garbage_does_not(peer: Peer) -> None:
    peer.wait(BEAT * 6 // 5)
    peer.hear(said("0", 2))
    assert peer.wait(BEAT) == []
    peer.wait(BEAT // 5)
    assert peer.protocol.counters["test_requests"] == 2
    assert isinstance(peer.hear(b"noise", said("0", 3)[:-1] + b"\x02" + said("0", 4)[:9])[0], Unusable)
    assert ended(peer.wait(BEAT)).reason is EndReason.SILENCE


def test_test_request_is_answered_with_its_own_id(peer: Peer) -> None:
    assert peer.hear(said("1", 2, (112, "are you there"))) == []
    (answer,) = peer.out()
    assert (answer.msg_type, answer.text(112)) == ("0", "are you there")


@pytest.mark.parametrize(("answer_s", "interval_s"), [(4, 4), (30, 10), (10**9, 10)])
def test_a_shorter_heartbeat_interval_of_the_venue_counts_and_a_longer_one_hides_no_silence(
    answer_s: int, interval_s: int
) -> None:
    peer = Peer()
    peer.out()
    peer.hear(said("A", 1, (98, 0), (108, answer_s)))
    assert peer.wait(interval_s * NS_PER_S - 1) == []
    assert peer.types() == []
    peer.wait(1)
    assert peer.types() == ["0"]
    peer.wait(interval_s * NS_PER_S // 5)
    assert peer.types() == ["1"]


def test_gap_ends_the_session_and_nothing_behind_it_is_delivered(peer: Peer) -> None:
    events = peer.hear(said("8", 3, (11, "a")), said("8", 4, (11, "b")))
    assert events == [Ended(EndReason.GAP, "expected 2, received 3")]
    (logout,) = peer.out()
    assert (logout.msg_type, logout.text(58)) == ("5", "expected 2, received 3")


def test_garbled_message_does_not_advance_the_sequence_so_the_next_one_shows_the_gap(peer: Peer) -> None:
    damaged = said("8", 2, (11, "a")).replace(b"11=a", b"11=b")
    events = peer.hear(damaged, said("8", 3, (11, "c")))
    assert isinstance(events[0], Unusable)
    assert (events[0].raw, events[0].message) == (damaged, None)
    assert ended(events).reason is EndReason.GAP


def test_garbled_message_that_is_sent_whole_afterwards_costs_nothing(peer: Peer) -> None:
    good = said("8", 2, (11, "a"))
    events = peer.hear(good.replace(b"11=a", b"11=b"), good)
    assert [type(event) for event in events] == [Unusable, Received]
    assert peer.protocol.active


def test_sequence_that_went_back_ends_the_session(peer: Peer) -> None:
    peer.hear(said("0", 2))
    end = ended(peer.hear(said("8", 2, (11, "a"))))
    assert (end.reason, end.text) == (EndReason.SEQUENCE_TOO_LOW, "MsgSeqNum too low, expecting 3 but received 2")


def test_possible_duplicate_below_the_expected_number_is_ignored_and_counted(peer: Peer) -> None:
    peer.hear(said("0", 2))
    assert peer.hear(said("8", 2, (43, "Y"), (11, "a"))) == []
    assert peer.protocol.counters["possible_duplicates"] == 1
    assert [type(one) for one in peer.hear(said("8", 3, (43, "Y"), (11, "a")))] == [Received]


def test_a_logout_said_once_more_ends_nothing_new(peer: Peer) -> None:
    peer.hear(said("0", 2))
    assert peer.hear(said("5", 2, (43, "Y"), (58, "of an earlier session"))) == []
    assert peer.protocol.active
    assert ended(peer.hear(said("5", 2))).reason is EndReason.PEER_LOGOUT


def test_resend_request_ends_the_session_and_nothing_is_sent_twice(peer: Peer) -> None:
    peer.protocol.send("D", [(11, "x")], peer.now)
    peer.out()
    assert ended(peer.hear(said("2", 2, (7, 2), (16, 0)))).reason is EndReason.PEER_MISSED
    assert peer.types() == ["5"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(123, "Y"), (36, 3)], None),
        ([(123, "Y"), (36, 9)], EndReason.GAP),
        ([(36, 2)], None),
        ([(123, "N"), (36, 9)], EndReason.GAP),
    ],
)
def test_sequence_reset_may_skip_nothing(peer: Peer, fields: list[Field], reason: EndReason | None) -> None:
    events = peer.hear(said("4", 2, *fields))
    assert [event.reason for event in events if isinstance(event, Ended)] == ([] if reason is None else [reason])


@pytest.mark.parametrize("fields", [[(123, "Y"), (36, 2)], [(36, 1)], [(123, "Y")], [(123, "Y"), (36, "x")]])
def test_sequence_reset_that_makes_no_sense_is_rejected_and_changes_nothing(peer: Peer, fields: list[Field]) -> None:
    events = peer.hear(said("4", 2, *fields))
    assert [type(event) for event in events] == [Unusable]
    assert peer.types() == ["3"]
    gap_fill = (123, "Y") in fields
    assert [type(event) for event in peer.hear(said("8", 3 if gap_fill else 2, (11, "a")))] == [Received]


def test_field_that_cannot_be_read_is_rejected_and_handed_on_with_its_message(peer: Peer) -> None:
    raw = said("8", 2, (11, "a"), (58, "b")).replace(b"58=b", b"x8=b")
    body_sum = (sum(raw[:-7])) & 0xFF
    (event,) = peer.hear(raw[:-7] + b"10=%03d\x01" % body_sum)
    assert isinstance(event, Unusable)
    assert event.message is not None
    assert event.message.text(11) == "a"
    (reject,) = peer.out()
    assert (reject.msg_type, reject.text(45), reject.text(372), reject.text(373)) == ("3", "2", "8", "6")
    assert peer.protocol.active


def test_reject_that_cannot_be_read_is_not_rejected_in_turn(peer: Peer) -> None:
    raw = said("3", 2, (58, "b")).replace(b"58=b", b"x8=b")
    peer.hear(raw[:-7] + b"10=%03d\x01" % (sum(raw[:-7]) & 0xFF))
    assert peer.types() == []


@pytest.mark.parametrize("raw", [said("8", 2, to="THEM"), said("8", 2, by="COIN"), said("A", 2, (98, 0), (108, 10))])
def test_messages_of_another_session_end_this_one(peer: Peer, raw: bytes) -> None:
    assert ended(peer.hear(raw)).reason is EndReason.WRONG_PEER


def test_message_without_a_sequence_number_ends_the_session(peer: Peer) -> None:
    raw = said("8", 2).replace(b"34=2\x01", b"99=2\x01")
    events = peer.hear(raw[:-7] + b"10=%03d\x01" % (sum(raw[:-7]) & 0xFF))
    assert [type(event) for event in events] == [Unusable, Ended]
    assert ended(events).reason is EndReason.MALFORMED


@pytest.mark.parametrize("sequence", [2, 7])
def test_logout_of_the_venue_is_answered_and_its_words_are_handed_on(peer: Peer, sequence: int) -> None:
    events = peer.hear(said("5", sequence, (58, "Message limit exceeded.")))
    assert events == [Ended(EndReason.PEER_LOGOUT, "Message limit exceeded.")]
    assert peer.types() == ["5"]


def test_own_logout_ends_with_the_answer_and_what_comes_before_it_is_still_delivered(peer: Peer) -> None:
    peer.protocol.logout(peer.now)
    assert not peer.protocol.active
    assert peer.types() == ["5"]
    events = peer.hear(said("8", 2, (11, "a")), said("5", 3))
    assert [type(event) for event in events] == [Received, Ended]
    assert ended(events).reason is EndReason.LOGGED_OUT


def test_own_logout_ends_after_five_seconds_without_an_answer(peer: Peer) -> None:
    peer.protocol.logout(peer.now)
    assert peer.wait(5 * NS_PER_S - 1) == []
    assert ended(peer.wait(1)).reason is EndReason.LOGGED_OUT


def test_news_is_a_notice(peer: Peer) -> None:
    assert peer.hear(said("B", 2, (148, "You'll be disconnected in 600 seconds."))) == [
        Notice("You'll be disconnected in 600 seconds.")
    ]


def test_lost_connection_is_reported_once_and_last(peer: Peer) -> None:
    assert peer.protocol.disconnected() == [Ended(EndReason.DISCONNECTED)]
    assert peer.protocol.disconnected() == []
    assert peer.hear(said("8", 2, (11, "a"))) == []
    assert peer.wait(100 * BEAT) == []
    assert peer.types() == []


def test_value_no_message_can_carry_uses_no_sequence_number(peer: Peer) -> None:
    with pytest.raises(VenueError, match="FIX tag 55"):
        peer.protocol.send("D", [(55, "币安")], peer.now)
    assert peer.out() == []
    assert peer.protocol.send("D", [(55, "AAAUSDT")], peer.now) == 2


SAYINGS = st.tuples(
    st.sampled_from(["0", "1", "2", "3", "4", "5", "8", "9", "A", "B", "j", "zz"]),
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from([7, 11, 36, 43, 45, 58, 108, 112, 123, 148]), st.sampled_from(["Y", "N", "1", "3", "x"]))),
)


@given(st.lists(SAYINGS | st.binary(max_size=40) | st.integers(0, 2 * BEAT), max_size=30))
def test_whatever_the_venue_says_our_sequence_has_no_hole_and_the_end_is_last(
    script: list[tuple[str, int, list[Field]] | bytes | int],
) -> None:
    peer = Peer()
    events: list[Event] = []
    for step in script:
        if isinstance(step, int):
            events += peer.wait(step)
        else:
            events += peer.hear(step if isinstance(step, bytes) else said(step[0], step[1], *step[2]))
    events += peer.protocol.disconnected()
    assert [isinstance(event, Ended) for event in events] == [False] * (len(events) - 1) + [True]
    out = peer.out()
    assert [message.number(34) for message in out] == list(range(1, len(out) + 1))
    assert not any(message.find(43) for message in out)
    delivered = [event.message.number(34) for event in events if isinstance(event, Received)]
    assert delivered == sorted(set(delivered))
