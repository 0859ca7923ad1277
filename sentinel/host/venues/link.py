"""One WebSocket connection to a venue: whole text messages in, text messages out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from picows import WSError, WSListener, WSMsgType, WSTransport, ws_connect

from sentinel.errors import VenueError
from sentinel.host.venues.tcp import prepare_socket

_log = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 16 << 20
_HANDSHAKE_TIMEOUT_S = 10.0
_PING_IDLE_S = 25.0  # the venue pings every 20 s: silence beyond that is suspicious
_PING_REPLY_S = 10.0


class Link(WSListener):
    """Counts data frames both ways; ``lockstep_id`` is the upgrade response's X-Lockstep-Connection, or None.

    ``logged_on``: the venue knows the connection as ours (a logon), its requests carry no signature.

    ``on_message(link, payload)`` gets whole messages, ``on_lost(link)`` is called once when it ends.
    """

    def __init__(self, on_message: Callable[[Link, bytes], None], on_lost: Callable[[Link], None], url: str = "") -> None:
        self.url = url
        self.lockstep_id: str | None = None
        self.frames_received = 0
        self.frames_sent = 0
        self.writable = True
        self.logged_on = False
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []

    @classmethod
    async def open(cls, url: str, on_message: Callable[[Link, bytes], None], on_lost: Callable[[Link], None]) -> Link:
        """Connect. Raises VenueError when the endpoint cannot be reached or refuses the upgrade."""
        try:
            _, link = await ws_connect(
                lambda: cls(on_message, on_lost, url),
                url,
                websocket_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
                max_frame_size=_MAX_MESSAGE_BYTES,
                # Orders go where the settings say, nowhere else.
                max_redirects=0,
                enable_auto_ping=True,
                auto_ping_idle_timeout=_PING_IDLE_S,
                auto_ping_reply_timeout=_PING_REPLY_S,
                disconnect_on_exception=False,
            )
        except (OSError, WSError, TimeoutError) as error:
            raise VenueError(
                "venue.api_url", url, "a WebSocket API that answers", f"check the address and the network ({error!r})"
            ) from None
        return link  # type: ignore[return-value]

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_disconnected

    def send(self, message: bytes) -> None:
        """Hand one text message to the socket. Raises VenueError when it is gone."""
        if self._transport is None or not self.is_open:
            raise VenueError("order connection", "closed", "an open connection", "wait for the reconnect")
        self._transport.send(WSMsgType.TEXT, message)
        self.frames_sent += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()

    def abort(self) -> None:
        """Close at once, without waiting for bytes the other side does not take."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def wait_closed(self) -> None:
        if self._transport is not None:
            await self._transport.wait_disconnected()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        prepare_socket(transport.underlying_transport)
        self.lockstep_id = transport.response.headers.get("X-Lockstep-Connection")

    def on_ws_frame(self, transport: WSTransport, frame: Any) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        if kind not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            return
        payload = frame.get_payload_as_bytes()
        if not frame.fin or self._parts:
            self._parts.append(payload)
            if sum(map(len, self._parts)) > _MAX_MESSAGE_BYTES:
                transport.disconnect(graceful=False)
                return
            if not frame.fin:
                return
            payload = b"".join(self._parts)
            self._parts.clear()
        self.frames_received += 1
        try:
            self._on_message(self, payload)
        except Exception:
            # The daemon outlives a defect in its own handling; the message is lost, its order is resolved by query.
            _log.exception("a message of %d bytes from the venue could not be handled", len(payload))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._on_lost(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
