"""Market streams: subscriptions, their control messages, and publication to every subscriber."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from sentinel.sim.venue.connection import VenueConnection, text_frame
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.spoilt import spoilt
from sentinel.sim.venue.time_unit import in_microseconds
from sentinel.units import NS_PER_MS

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_MAX_ID_CHARS = 36
_encode = msgspec.json.Encoder().encode


class StreamHub:
    """Who listens to which stream (``listeners``). ``publish`` encodes a payload once per form that is asked for."""

    def __init__(self, faults: FaultPlan) -> None:
        self._faults = faults
        self._held: dict[VenueConnection, list[bytes]] = {}
        self.listeners: dict[str, dict[StreamSession, None]] = {}

    def subscribe(self, session: StreamSession, stream: str) -> None:
        self.listeners.setdefault(stream, {})[session] = None

    def unsubscribe(self, session: StreamSession, stream: str) -> None:
        listeners = self.listeners.get(stream)
        if listeners is None or session not in listeners:
            return
        del listeners[session]
        if not listeners:
            del self.listeners[stream]

    def publish(self, stream: str, payload: Any) -> None:
        """Queue ``payload`` (a dict of the venue's field names) to the stream's listeners."""
        listeners = self.listeners.get(stream)
        if listeners is None:
            return
        if self._faults.active:
            payload = spoilt(self._faults, stream, payload)
        forms: dict[tuple[bool, bool], tuple[bytes, bytes]] = {}
        for session in tuple(listeners):
            form = (session.combined, session.microseconds)
            made = forms.get(form)
            if made is None:
                body = _encode(in_microseconds(payload) if session.microseconds else payload)
                text = wrap(stream, body) if session.combined else body
                made = forms[form] = (text, text_frame(text))
            if self._faults.active or self._held:
                self._send_faultily(session.connection, stream, *made)
            else:
                session.connection.queue_frame(made[1])

    def _send_faultily(self, connection: VenueConnection, stream: str, text: bytes, frame: bytes) -> None:
        take = self._faults.take
        if take(FaultKind.DROP_MESSAGE, stream):
            return
        if take(FaultKind.STALL, stream):
            connection.mute()
            return
        if take(FaultKind.CLOSE_MID_FRAME, stream):
            connection.break_off(frame[: len(frame) // 2])
            return
        if take(FaultKind.MALFORMED_MESSAGE, stream):
            frame = text_frame(text[: len(text) // 2])
        if take(FaultKind.REORDER_MESSAGE, stream):
            self._held.setdefault(connection, []).append(frame)
            return
        connection.queue_frame(frame)
        for held in self._held.pop(connection, ()):
            connection.queue_frame(held)
        if take(FaultKind.DUPLICATE_MESSAGE, stream):
            connection.queue_frame(frame)


def wrap(stream: str, body: bytes) -> bytes:
    """The combined form of a raw payload."""
    return b'{"stream":' + _encode(stream) + b',"data":' + body + b"}"


class StreamSession:
    """One market-stream connection: its subscriptions and its ``combined`` property."""

    def __init__(
        self,
        connection: VenueConnection,
        hub: StreamHub,
        streams: Iterable[str],
        combined: bool,
        microseconds: bool,
        max_streams: int,
    ) -> None:
        self.connection = connection
        self.combined = combined
        self.microseconds = microseconds
        self._hub = hub
        self._max_streams = max_streams
        self._streams: dict[str, None] = {}
        for stream in streams:
            self._add(stream)

    def receive(self, text: bytes) -> None:
        """Answer one control message."""
        reply = self._answer(text)
        if reply is not None:
            self.connection.queue(_encode(reply))

    def closed(self) -> None:
        for stream in self._streams:
            self._hub.unsubscribe(self, stream)

    def announce_shutdown(self, now_ns: int) -> None:
        """The ``serverShutdown`` event that precedes a cut."""
        body = _encode({"e": "serverShutdown", "E": now_ns // (1000 if self.microseconds else NS_PER_MS)})
        self.connection.queue(wrap("!serverShutdown", body) if self.combined else body)

    def _add(self, stream: str) -> None:
        self._streams[stream] = None
        self._hub.subscribe(self, stream)

    def _answer(self, text: bytes) -> dict[str, Any] | None:
        try:
            request = json.loads(text)
        except json.JSONDecodeError as error:
            return {"code": 3, "msg": f"Invalid JSON: expected value at line {error.lineno} column {error.colno}"}
        except (UnicodeDecodeError, RecursionError):
            return {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}
        if not isinstance(request, dict) or "method" not in request:
            return _invalid(f"missing field `method` at line 1 column {len(text)}")
        method, identity = request["method"], request.get("id")
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            return _invalid(f"unknown variant `{method}`, expected one of {expected} at line 1 column 28")
        if "id" not in request or not _is_identity(identity):
            return _invalid("request ID must be an unsigned integer")
        params = request.get("params", [])
        if not isinstance(params, list):
            return _invalid("params must be an array")
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params, identity)
        if method == "LIST_SUBSCRIPTIONS":
            return _invalid("too many parameters") if params else {"result": list(self._streams), "id": identity}
        if not params or not all(isinstance(name, str) and name for name in params):
            return _invalid("params must be an array of stream names")
        return self._change(method, params, identity)

    def _change(self, method: str, params: list[str], identity: Any) -> dict[str, Any] | None:
        if method == "UNSUBSCRIBE":
            for stream in params:
                if self._streams.pop(stream, 0) is None:
                    self._hub.unsubscribe(self, stream)
            return {"result": None, "id": identity}
        added = [stream for stream in dict.fromkeys(params) if stream not in self._streams]
        if len(self._streams) + len(added) > self._max_streams:
            self.connection.cut(1008, f"more than {self._max_streams} streams")
            return None
        for stream in added:
            self._add(stream)
        return {"result": None, "id": identity}

    def _property(self, method: str, params: list[Any], identity: Any) -> dict[str, Any]:
        wanted = 2 if method == "SET_PROPERTY" else 1
        if len(params) > wanted:
            return _invalid("too many parameters")
        if not params or not isinstance(params[0], str):
            return _invalid("property name must be a string")
        if params[0] != "combined":
            return {"code": 0, "msg": "Unknown property", "id": identity}
        if method == "GET_PROPERTY":
            return {"result": self.combined, "id": identity}
        if len(params) < wanted or not isinstance(params[1], bool):
            return {"code": 1, "msg": "Invalid value type: expected Boolean"}
        self.combined = params[1]
        return {"result": None, "id": identity}


def _invalid(detail: str) -> dict[str, Any]:
    return {"code": 2, "msg": f"Invalid request: {detail}"}


def _is_identity(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return value.isascii() and value.isalnum() and len(value) <= _MAX_ID_CHARS
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
