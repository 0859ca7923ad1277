"""The session rules of a FIX initiator, without a socket: bytes and time in, events and bytes out.

Every session begins at sequence 1 (ResetSeqNumFlag=Y) and nothing is ever sent twice: neither venue
resends, so whatever was missed - a gap in what came, or a ResendRequest for what left - ends the session,
and the caller reconciles. Source: FIX 4.4 and FIXT 1.1 session protocol; the venues' FIX pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sentinel.errors import ParseError, VenueError
from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage, Garbled, encode
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.timestamps import format_utc
from sentinel.host.venues.fix.verdicts import reason_code
from sentinel.units import NS_PER_S

_LOGON_TIMEOUT_NS = 10 * NS_PER_S
_LOGOUT_TIMEOUT_NS = 5 * NS_PER_S
_COUNTERS = "received sent garbled possible_duplicates faulty rejected_by_us test_requests notices"

_HEARTBEAT, _TEST_REQUEST, _RESEND_REQUEST, _REJECT, _SEQUENCE_RESET = "0", "1", "2", "3", "4"
_LOGOUT, _LOGON, _NEWS = "5", "A", "B"
_REQUIRED_TAG_MISSING, _VALUE_INCORRECT, _INCORRECT_FORMAT = 1, 5, 6


class EndReason(Enum):
    """Why a session is over."""

    LOGON_REFUSED = "the venue refused the logon"
    LOGON_TIMEOUT = "the venue did not answer the logon"
    GAP = "messages of the venue are missing"
    SEQUENCE_TOO_LOW = "the venue's sequence number went back"
    PEER_MISSED = "the venue missed messages of ours"
    SILENCE = "the venue fell silent"
    WRONG_PEER = "the messages name another session"
    MALFORMED = "a message without a sequence number"
    PEER_LOGOUT = "the venue logged us out"
    LOGGED_OUT = "we logged out"
    DISCONNECTED = "the connection ended"


@dataclass(frozen=True, slots=True)
class LoggedOn:
    """The venue took the logon: orders may leave."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message for the application: reports and also Reject, which may concern an order."""

    message: FixMessage


@dataclass(frozen=True, slots=True)
class Unusable:
    """Bytes that are no message, or a message with a field that cannot be read (``message`` is then set)."""

    why: str
    raw: bytes
    message: FixMessage | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The venue announces maintenance: open a new session and close this one."""

    headline: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a session. ``code`` is the venue's error code or 0. What is not answered by now never will be."""

    reason: EndReason
    text: str = ""
    code: int = 0


Event = LoggedOn | Received | Unusable | Notice | Ended


class _State(Enum):
    NEW = 0
    LOGGING_ON = 1
    ACTIVE = 2
    LOGGING_OUT = 3
    ENDED = 4


class FixProtocol:
    """One session from Logon to its end; times are int64 ns of one clock. ``take_outgoing`` is what must leave now.

    Args:
        begin_string: ``FIX.4.4`` or ``FIXT.1.1``.
        logon: both CompIDs, the heartbeat, the signed Logon.
    """

    def __init__(self, begin_string: str, logon: Logon) -> None:
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS.split(), 0)
        self._begin_string = begin_string
        self._logon = logon
        self._decoder = Decoder(begin_string)
        self._state = _State.NEW
        self._heartbeat_ns = logon.heartbeat_s * NS_PER_S
        self._next_out = 1
        self._next_in = 1
        self._out = bytearray()
        self._events: list[Event] = []
        self._sent_ns = self._received_ns = self._began_ns = 0
        self._tested_ns: int | None = None

    @property
    def active(self) -> bool:
        """Whether application messages may leave."""
        return self._state is _State.ACTIVE

    @property
    def ended(self) -> bool:
        return self._state is _State.ENDED

    def take_outgoing(self) -> bytes:
        out, self._out = bytes(self._out), bytearray()
        return out

    # What we do

    def start(self, now_ns: int) -> None:
        """Log on, once."""
        self._state, self._began_ns, self._received_ns = _State.LOGGING_ON, now_ns, now_ns
        self._send(_LOGON, self._logon.fields(self._next_out, format_utc(now_ns)), now_ns)

    def send(self, msg_type: str, fields: Sequence[Field], now_ns: int, header: Sequence[Field] = ()) -> int:
        """An application message; its sequence number. ``header`` follows the standard header.

        Raises VenueError when the session cannot take it, or for a value no message can carry: nothing leaves then.
        """
        if not self.active:
            raise VenueError("FIX session", self._state.name, "a session that is logged on", "wait for the next one")
        return self._send(msg_type, fields, now_ns, header)

    def logout(self, now_ns: int) -> None:
        """Begin a clean end. The session ends with the venue's answer, or 5 s later without it."""
        if self._state is _State.ACTIVE:
            self._send(_LOGOUT, (), now_ns)
            self._state, self._began_ns = _State.LOGGING_OUT, now_ns
        elif self._state is not _State.LOGGING_OUT:
            self._end(EndReason.LOGGED_OUT)

    # What happens to us

    def receive(self, data: bytes, now_ns: int) -> list[Event]:
        """Take bytes of the venue. Never raises for what is in them."""
        for found in self._decoder.feed(data):
            if self.ended:
                break
            if isinstance(found, Garbled):
                self.counters["garbled"] += 1
                self._events.append(Unusable(found.reason, found.raw))
            else:
                self._received_ns, self._tested_ns = now_ns, None
                self._take(found, now_ns)
        return self._take_events()

    def tick(self, now_ns: int) -> list[Event]:
        """What is due at ``now_ns``: heartbeats, a TestRequest after silence, the limits on waiting."""
        if self._state is _State.LOGGING_ON and now_ns >= self._began_ns + _LOGON_TIMEOUT_NS:
            self._end(EndReason.LOGON_TIMEOUT)
        elif self._state is _State.LOGGING_OUT and now_ns >= self._began_ns + _LOGOUT_TIMEOUT_NS:
            self._end(EndReason.LOGGED_OUT, "the venue did not answer our Logout")
        elif self._state is _State.ACTIVE:
            self._watch(now_ns)
        return self._take_events()

    def next_due_ns(self) -> int | None:
        """When ``tick`` is next needed; None before the start and after the end."""
        if self._state is _State.LOGGING_ON:
            return self._began_ns + _LOGON_TIMEOUT_NS
        if self._state is _State.LOGGING_OUT:
            return self._began_ns + _LOGOUT_TIMEOUT_NS
        if self._state is not _State.ACTIVE:
            return None
        return min(self._sent_ns + self._heartbeat_ns, self._silence_due_ns())

    def disconnected(self) -> list[Event]:
        """The connection is gone."""
        clean = self._state is _State.LOGGING_OUT
        self._end(EndReason.LOGGED_OUT if clean else EndReason.DISCONNECTED)
        return self._take_events()

    # Time

    def _silence_due_ns(self) -> int:
        if self._tested_ns is not None:
            return self._tested_ns + self._heartbeat_ns
        # The venue's heartbeat may be on its way: a fifth of the interval on top.
        return self._received_ns + self._heartbeat_ns + self._heartbeat_ns // 5

    def _watch(self, now_ns: int) -> None:
        if now_ns >= self._silence_due_ns():
            if self._tested_ns is not None:
                self._leave(EndReason.SILENCE, now_ns)
                return
            self._tested_ns = now_ns
            self.counters["test_requests"] += 1
            self._send(_TEST_REQUEST, [(112, f"T{self._next_out}")], now_ns)
        if now_ns >= self._sent_ns + self._heartbeat_ns:
            self._send(_HEARTBEAT, (), now_ns)

    # Messages

    def _take(self, message: FixMessage, now_ns: int) -> None:
        self.counters["received"] += 1
        try:
            sequence = message.number(34)
            sender, target = message.text(49), message.text(56)
            duplicate = message.find(43) == "Y"
        except ParseError as error:
            self._events.append(Unusable(str(error), message.raw, message))
            self._leave(EndReason.MALFORMED, now_ns, str(error))
            return
        if (sender, target) != (self._logon.target, self._logon.sender):
            self._leave(EndReason.WRONG_PEER, now_ns)
        elif self._state is _State.LOGGING_ON and message.msg_type != _LOGON:
            self._end(EndReason.LOGON_REFUSED, *_said(message))
        elif message.msg_type == _SEQUENCE_RESET and not _is(message, 123, "Y"):
            self._on_reset(message, sequence, now_ns)
        elif sequence == self._next_in:
            self._next_in += 1
            self._dispatch(message, sequence, now_ns)
        elif message.msg_type == _LOGOUT and not duplicate:
            self._on_logout(message, now_ns)
        elif sequence > self._next_in:
            self._leave(EndReason.GAP, now_ns, f"expected {self._next_in}, received {sequence}")
        elif duplicate:
            self.counters["possible_duplicates"] += 1
        else:
            text = f"MsgSeqNum too low, expecting {self._next_in} but received {sequence}"
            self._leave(EndReason.SEQUENCE_TOO_LOW, now_ns, text)

    def _dispatch(self, message: FixMessage, sequence: int, now_ns: int) -> None:
        kind = message.msg_type
        if message.fault:
            self._unusable(message, sequence, _INCORRECT_FORMAT, message.fault, now_ns)
            return
        try:
            if kind == _LOGON:
                self._on_logon(message, now_ns)
            elif kind == _TEST_REQUEST:
                self._send(_HEARTBEAT, [(112, message.text(112))], now_ns)
            elif kind == _LOGOUT:
                self._on_logout(message, now_ns)
            elif kind == _RESEND_REQUEST:
                self._leave(EndReason.PEER_MISSED, now_ns, "nothing is sent twice here")
            elif kind == _SEQUENCE_RESET:
                self._on_reset(message, sequence, now_ns)
            elif kind == _NEWS:
                self.counters["notices"] += 1
                self._events.append(Notice(message.text(148)))
            elif kind != _HEARTBEAT:
                self._events.append(Received(message))
        except ParseError as error:
            self._unusable(message, sequence, _REQUIRED_TAG_MISSING, str(error), now_ns)

    def _on_logon(self, message: FixMessage, now_ns: int) -> None:
        if self._state is not _State.LOGGING_ON:
            self._leave(EndReason.WRONG_PEER, now_ns, "a second Logon")
            return
        seconds = message.find_number(108)
        if seconds is not None and seconds > 0:
            # Never longer than what we asked for: the venue's silence would go unnoticed.
            self._heartbeat_ns = min(self._heartbeat_ns, seconds * NS_PER_S)
        self._state = _State.ACTIVE
        self._events.append(LoggedOn())

    def _on_logout(self, message: FixMessage, now_ns: int) -> None:
        if self._state is _State.LOGGING_OUT:
            self._end(EndReason.LOGGED_OUT)
        else:
            self._send(_LOGOUT, (), now_ns)
            self._end(EndReason.PEER_LOGOUT, *_said(message))

    def _on_reset(self, message: FixMessage, sequence: int, now_ns: int) -> None:
        """A reset may announce the number that is due anyhow. A higher one passes over messages nobody will send again."""
        try:
            new = message.number(36)
        except ParseError as error:
            self._unusable(message, sequence, _REQUIRED_TAG_MISSING, str(error), now_ns)
            return
        if new > self._next_in:
            self._leave(EndReason.GAP, now_ns, f"expected {self._next_in}, reset to {new}")
        elif new < self._next_in:
            self._unusable(message, sequence, _VALUE_INCORRECT, "NewSeqNo would go back", now_ns)

    def _unusable(self, message: FixMessage, sequence: int, reason: int, why: str, now_ns: int) -> None:
        self.counters["faulty"] += 1
        self._events.append(Unusable(why, message.raw, message))
        if message.msg_type == _REJECT or self.ended:
            return  # a Reject of a Reject would go on for ever
        self.counters["rejected_by_us"] += 1
        self._send(_REJECT, [(45, sequence), (372, _plain(message.msg_type)), (373, reason), (58, _plain(why))], now_ns)

    # Ends

    def _leave(self, reason: EndReason, now_ns: int, text: str = "") -> None:
        """Say Logout, so that the venue frees our name, and end without waiting for its answer."""
        self._send(_LOGOUT, [(58, _plain(text or reason.value))], now_ns)
        self._end(reason, text)

    def _end(self, reason: EndReason, text: str = "", code: int = 0) -> None:
        if not self.ended:
            self._state = _State.ENDED
            self._events.append(Ended(reason, text, code))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _send(self, msg_type: str, fields: Sequence[Field], now_ns: int, header: Sequence[Field] = ()) -> int:
        sequence = self._next_out
        standard: list[Field] = [
            (34, sequence),
            (49, self._logon.sender),
            (52, format_utc(now_ns)),
            (56, self._logon.target),
        ]
        self._out += encode(self._begin_string, msg_type, [*standard, *header, *fields])
        self._next_out += 1
        self._sent_ns = now_ns
        self.counters["sent"] += 1
        return sequence


def _is(message: FixMessage, tag: int, value: str) -> bool:
    return (tag, value.encode()) in message.fields


def _plain(text: str) -> str:
    """Text as a field can carry it."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text[:200]) or "?"


def _said(message: FixMessage) -> tuple[str, int]:
    """What the venue says with a Logout or Reject: text and error code."""
    try:
        text, code = message.find(58) or "", message.find_number(25016)
        if code is None and message.find(373) is not None:
            code = reason_code(message, 373)
        return text, code or 0
    except ParseError as error:
        return str(error), 0
