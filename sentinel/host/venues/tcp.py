"""Options of a socket that carries orders: nothing waits to be sent, and a silent peer is noticed."""

from __future__ import annotations

import asyncio
import socket

_KEEP_IDLE_S, _KEEP_INTERVAL_S, _KEEP_PROBES = 10, 5, 3
#: How long sent bytes may stay unacknowledged before the kernel ends the connection.
_UNACKNOWLEDGED_MS = 15_000

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_INTERVAL_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS),
)


def prepare_socket(transport: asyncio.BaseTransport) -> None:
    """Set TCP_NODELAY, keep-alive after 10 s of silence, and an end after 15 s without acknowledgement."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        for level, option, value in _OPTIONS:
            raw.setsockopt(level, option, value)
