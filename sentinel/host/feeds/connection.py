"""WebSocket connections to the venue's market streams: receive, answer pings, watch, reconnect, replace.

A ``StreamLink`` is one socket. A ``StreamConnection`` is one group of streams with the link that
serves it now and, while it is being replaced, the next one too: the venue cuts every socket after
24 hours, so the next is opened before (make before break) and both deliver for a moment.

Nothing here sleeps on its own: ``StreamConnection.tick(now_ns)`` moves time forward, on whatever
clock the caller has, so the same code runs on real and on virtual time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from sentinel.config import FeedConfig
from sentinel.host.ports import Clock
from sentinel.units import NS_PER_MS, NS_PER_S

_log = logging.getLogger(__name__)

LOCKSTEP_HEADER = "X-Lockstep-Connection"

_CONTROL_MAX = 125  # a longer frame is never a control frame (RFC 6455, 5.5)
_MAX_FRAME = 8 << 20
_READ_BUFFER = 256 << 10
#: Stream names beyond this length of URL are subscribed by messages instead.
_MAX_URL = 4000
_MAX_SUBSCRIBE = 4000
#: The venue allows 5 client frames a second, pongs included.
_SUBSCRIBE_INTERVAL_S = 0.35
_CONNECT_TIMEOUT_S = 10.0
_OVERLAP_NS = NS_PER_S
_LONGEST_OVERLAP_NS = 15 * NS_PER_S
#: A link that lived this long clears the back-off.
_SETTLED_NS = 30 * NS_PER_S
_CONNECT_WINDOW_NS = 300 * NS_PER_S


class StreamLink(WSListener):
    """One socket; a ports.LockstepLink. ``frames_received`` counts data messages already handed on."""

    def __init__(
        self,
        clock: Clock,
        on_open: Callable[[StreamLink], None],
        on_payloads: Callable[[list[bytes], int], None],
        on_closed: Callable[[StreamLink], None],
    ) -> None:
        self.lockstep_id: str | None = None
        self.frames_received = 0
        self.frames_sent = 0
        #: Grows with every frame of any kind.
        self.activity = 0
        #: Given up before it opened: if it still does, it is dropped.
        self.abandoned = False
        self.opened_ns = clock.now_ns()
        self._now_ns = clock.now_ns
        self._on_open = on_open
        self._on_payloads = on_payloads
        self._on_closed = on_closed
        self._transport: WSTransport | None = None
        self._payloads: list[bytes] = []
        self._partial: list[bytes] | None = None
        self._t_recv = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.lockstep_id = transport.response.headers.get(LOCKSTEP_HEADER)
        self._on_open(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._payloads:
            self._t_recv = self._now_ns()
        self.activity += 1
        # Asking for the type costs more than all the rest, and a long frame is data.
        if frame.fin and self._partial is None and (frame.payload_size > _CONTROL_MAX or frame.msg_type is WSMsgType.TEXT):
            self._payloads.append(frame.get_payload_as_bytes())
        else:
            self._on_other_frame(transport, frame)
        if frame.last_in_buffer:
            self._hand_on()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        # A protocol error further on in the same read leaves good frames without a last one.
        self._hand_on()
        self._on_closed(self)

    def send_text(self, message: bytes) -> None:
        """Send one data frame; nothing when the socket is gone."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send(WSMsgType.TEXT, message)
            self.frames_sent += 1

    def close(self) -> None:
        """Say goodbye and close."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def abort(self) -> None:
        """Drop the socket at once, as is right for one that may be dead."""
        if self._transport is not None:
            self._transport.underlying_transport.abort()

    def _hand_on(self) -> None:
        payloads, self._payloads = self._payloads, []
        if payloads:
            self._on_payloads(payloads, self._t_recv)
            self.frames_received += len(payloads)

    def _on_other_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind is not WSMsgType.PONG:
            partial = self._partial or []
            partial.append(frame.get_payload_as_bytes())
            self._partial = None if frame.fin else partial
            if frame.fin:
                self._payloads.append(b"".join(partial))


class ConnectBudget:
    """Connection attempts of a whole feed within the venue's 5-minute window."""

    def __init__(self, attempts: int) -> None:
        self._limit = attempts
        self._times: deque[int] = deque()

    def take(self, now_ns: int) -> bool:
        """Count an attempt if the window still has room."""
        while self._times and self._times[0] <= now_ns - _CONNECT_WINDOW_NS:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return False
        self._times.append(now_ns)
        return True


class ConnectionOwner(Protocol):
    """What a connection tells its feed. ``busy`` counts work in progress up (+1) and down (-1)."""

    def on_payloads(self, connection: StreamConnection, payloads: list[bytes], t_recv: int) -> None: ...

    def on_up(self, connection: StreamConnection) -> None: ...

    def on_stale(self, connection: StreamConnection) -> None: ...

    def on_down(self, connection: StreamConnection) -> None: ...

    def busy(self, change: int) -> None: ...


class StreamConnection:
    """One group of streams, kept connected. ``source`` is its id, from 1 upward in a fixed order.

    ``hello`` makes the messages sent on each new socket. A venue that does not cut its sockets needs no successor:
    then ``replaces`` is False.
    """

    def __init__(
        self,
        source: int,
        url: str,
        hello: Callable[[], Sequence[bytes]],
        symbols: Sequence[int],
        settings: FeedConfig,
        clock: Clock,
        budget: ConnectBudget,
        owner: ConnectionOwner,
        jitter: Callable[[], float],
        replaces: bool = True,
    ) -> None:
        self.source = source
        self.symbols = tuple(symbols)
        self.reconnects = 0
        self.link: StreamLink | None = None
        self.successor: StreamLink | None = None
        self._url = url
        self._hello = hello
        self._replaces = replaces
        self._settings = settings
        self._clock = clock
        self._budget = budget
        self._owner = owner
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._attempts = 0
        self._next_attempt_ns = 0
        self._replace = False
        self._life_ns = 0
        self._silence_ns = 0
        self._seen_activity = 0
        self._last_tick_ns = 0

    @property
    def links(self) -> list[StreamLink]:
        """The sockets that may deliver now: none, one, or two during a replacement."""
        return [link for link in (self.link, self.successor) if link is not None]

    def replace_soon(self) -> None:
        """Open a successor at the next tick: the venue announced that it will close the socket."""
        self._replace = True

    def tick(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``: connect, replace, finish a replacement, give up a silent socket."""
        if self._stopped:
            return
        self._watch_silence(now_ns)
        if self.successor is not None:
            self._finish_replacement(now_ns)
            return
        if self._replaces and self.link is not None and now_ns - self.link.opened_ns >= self._life_ns:
            self._replace = True
        if (self.link is None or self._replace) and self._task is None and now_ns >= self._next_attempt_ns:
            if self._budget.take(now_ns):
                self._owner.busy(1)
                self._task = asyncio.get_running_loop().create_task(self._connect())
            else:
                self._next_attempt_ns = now_ns + NS_PER_S

    async def settled(self) -> None:
        """Return when no connection attempt is under way."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Close everything; nothing is reported any more."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for link in self.links:
            link.close()
        self.link = self.successor = None

    async def _connect(self) -> None:
        link = StreamLink(self._clock, self._adopt, self._payloads_came, self._link_closed)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await ws_connect(
                    lambda: link,
                    self._url,
                    enable_auto_pong=False,  # an auto-answered ping would swallow the mark of a read's last frame
                    max_frame_size=_MAX_FRAME,
                    read_buffer_init_size=_READ_BUFFER,
                    websocket_handshake_timeout=_CONNECT_TIMEOUT_S,
                    max_redirects=0,
                )
        except (OSError, WSError, TimeoutError, UnicodeError) as error:
            self._back_off()
            _log.warning("connection %d: cannot connect: %s", self.source, str(error) or type(error).__name__)
        finally:
            if link not in self.links:
                link.abandoned = True
                link.abort()
            self._task = None
            self._owner.busy(-1)

    def _adopt(self, link: StreamLink) -> None:
        # Called before the link's first frame is looked at.
        if self._stopped or link.abandoned:
            link.abort()
            return
        for k, message in enumerate(self._hello()):
            asyncio.get_running_loop().call_later(_SUBSCRIBE_INTERVAL_S * k, link.send_text, message)
        # Not all at once when many were opened together.
        self._life_ns = int(self._settings.reconnect_before_h * 3600 * NS_PER_S * (1.0 - 0.02 * self._jitter()))
        self._replace = False
        if self.link is None:
            self.link = link
            self._silence_ns = self._seen_activity = 0
            self._owner.on_up(self)
        else:
            self.successor = link

    def _back_off(self) -> None:
        wait_ms = min(self._settings.backoff_min_ms << min(self._attempts, 16), self._settings.backoff_max_ms)
        self._attempts += 1
        self._next_attempt_ns = self._clock.now_ns() + int(wait_ms * NS_PER_MS * (0.5 + 0.5 * self._jitter()))

    def _watch_silence(self, now_ns: int) -> None:
        # A venue in lock-step states what it sent at each step, and its virtual time outruns its pings.
        link = self.link
        step = now_ns - self._last_tick_ns
        self._last_tick_ns = now_ns
        if link is None or link.lockstep_id is not None:
            return
        if link.activity != self._seen_activity:
            self._seen_activity = link.activity
            self._silence_ns = 0
            return
        timeout = self._settings.stall_timeout_ms * NS_PER_MS
        # A clock that jumps, or a process that was stopped, is not a silent peer.
        self._silence_ns += min(max(step, 0), timeout // 8)
        if self._silence_ns >= timeout:
            _log.warning("connection %d: silent for %d ms, dropped", self.source, self._silence_ns // NS_PER_MS)
            self._silence_ns = 0
            self._owner.on_stale(self)
            link.abort()

    def _finish_replacement(self, now_ns: int) -> None:
        successor = self.successor
        assert successor is not None
        age = now_ns - successor.opened_ns
        if age >= _LONGEST_OVERLAP_NS or (age >= _OVERLAP_NS and successor.frames_received > 0):
            old, self.link, self.successor = self.link, successor, None
            self._seen_activity = successor.activity
            self._replace = False
            self.reconnects += 1
            if old is not None:
                old.close()

    def _payloads_came(self, payloads: list[bytes], t_recv: int) -> None:
        if not self._stopped:
            self._owner.on_payloads(self, payloads, t_recv)

    def _link_closed(self, link: StreamLink) -> None:
        if self._stopped:
            return
        if link is self.successor:
            self.successor = None
            self._replace = True
            self._back_off()
        elif link is self.link:
            now = self._clock.now_ns()
            if now - link.opened_ns >= _SETTLED_NS:
                self._attempts = 0
            self.reconnects += 1
            self.link, self.successor = self.successor, None
            self._replace = False
            if self.link is None:
                self._back_off()
                self._owner.on_down(self)


def stream_name(symbol: str, stream: str) -> str:
    """``("BTCUSDT", "trade")`` -> ``"btcusdt@trade"``."""
    return f"{symbol.lower()}@{stream}"


def subscriptions(base_url: str, streams: Sequence[str]) -> tuple[str, list[bytes]]:
    """The URL that names Binance's streams, and the messages that subscribe those it has no room for."""
    url = base_url.rstrip("/") + "/stream?streams="
    fitting = 0
    names: list[str] = []
    length = len(url)
    for name in streams:
        encoded = quote(name, safe="@_")
        length += len(encoded) + 1
        if length > _MAX_URL and names:
            break
        names.append(encoded)
        fitting += 1
    later: list[bytes] = []
    rest = list(streams[fitting:])
    while rest:
        size = count = 0
        while count < len(rest) and size < _MAX_SUBSCRIBE:
            size += len(rest[count].encode()) + 3
            count += 1
        later.append(msgspec.json.encode({"method": "SUBSCRIBE", "params": rest[:count], "id": len(later) + 1}))
        rest = rest[count:]
    return url + "/".join(names), later
