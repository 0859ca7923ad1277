"""One accepted WebSocket: frames counted and batched, pings, and the ways a venue ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

_MAX_UNSENT_BYTES = 64 << 20  # a consumer this far behind is cut off


class Session(Protocol):
    """What speaks on a connection. ``receive`` is called by the driver, in its order and at its time."""

    def receive(self, text: bytes) -> None: ...

    def closed(self) -> None: ...


class VenueConnection(ServerConnection):
    """A server connection whose data frames are counted for lock-step.

    Attributes:
        number: identity in lock-step, from 1.
        frames_sent, frames_received: whole text or binary messages; control frames are not counted.
        frames_taken: received messages already handed to the session.
        inbox: messages received and not yet handed to the session.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = 0
        self.frames_sent = 0
        self.frames_received = 0
        self.frames_taken = 0
        self.inbox: list[bytes] = []
        self.outbox: list[bytes] = []
        self.session: Session | None = None
        self.on_message: Callable[[VenueConnection, bytes], None] | None = None
        self.on_control: Callable[[VenueConnection], None] | None = None
        self.unflushed: list[VenueConnection] = []
        self.last_due_ns = 0
        self.next_ping_ns = 0
        self.expires_ns = 0
        self.pong_deadline_ns: int | None = None
        self._broken = False
        self._muted = False
        self._ping_payload = b""
        self._fragments: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN and not self._broken

    def process_event(self, event: Any) -> None:
        if self.on_message is None or not isinstance(event, Frame):
            super().process_event(event)
            return
        if event.opcode in (Opcode.PING, Opcode.PONG):
            if event.opcode is Opcode.PONG and bytes(event.data) == self._ping_payload:
                self.pong_deadline_ns = None
        elif event.opcode is Opcode.CLOSE:
            return
        else:
            self._fragments.append(bytes(event.data))
            if not event.fin:
                return
            message, self._fragments = b"".join(self._fragments), []
            self.frames_received += 1
            self.on_message(self, message)
        if self.on_control is not None:
            self.on_control(self)

    def queue(self, payload: bytes) -> None:
        """Send a text message at the next flush."""
        self.queue_frame(text_frame(payload))

    def queue_frame(self, frame: bytes, at: int | None = None) -> None:
        """Send a whole frame at the next flush, before the ``at``-th unsent one if given."""
        if self._muted or not self.is_open:
            return
        if not self.outbox:
            self.unflushed.append(self)
        self.outbox.insert(len(self.outbox) if at is None else at, frame)
        self.frames_sent += 1

    def flush(self) -> None:
        """Write what is queued, in one piece."""
        data = b"".join(self.outbox)
        self.outbox.clear()
        if self.protocol.state is not State.OPEN:
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self.transport.abort()

    def demand_pong(self, payload: bytes, pong_deadline_ns: int) -> None:
        """Send a ping; a pong with the same payload is due by ``pong_deadline_ns``, or by an earlier ping's deadline."""
        if self._muted:
            return
        self._ping_payload = payload
        if self.pong_deadline_ns is None:
            self.pong_deadline_ns = pong_deadline_ns
        self.protocol.send_ping(payload)
        self.send_data()

    def mute(self) -> None:
        """Send nothing more, and stay open: a half-open connection as its peer sees it."""
        self._muted = True

    def cut(self, code: int, reason: str) -> None:
        """Close with a close frame, without waiting for the peer's."""
        self.flush()
        if self.protocol.state is State.OPEN:
            self.protocol.fail(code, reason)
            self.send_data()
            self.transport.close()

    def break_off(self, partial: bytes = b"") -> None:
        """Die without a close frame, after ``partial`` bytes of a frame."""
        self.flush()
        self._broken = True
        if partial:
            self.transport.write(partial)
        self.transport.close()


def text_frame(payload: bytes) -> bytes:
    """A whole, unmasked text frame."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)
