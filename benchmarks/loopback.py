"""What the loopback benchmarks share: the machine's name, and a WebSocket server end in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTEXT = multiprocessing.get_context("spawn")
FRAMES_PER_WRITE = 64
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"


def machine() -> str:
    """One line: processor, cores, load, Python, command."""
    models = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}: {' '.join(sys.argv)}"


def frame(payload: bytes) -> bytes:
    """An unmasked text frame, as a server sends it."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def accept_websocket(port_pipe: Any) -> socket.socket:
    """Listen on a free port, send it through the pipe, and return the first client, upgraded."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port_pipe.send(server.getsockname()[1])
        peer, _ = server.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(4096)
    key = next(line.split(b":")[1].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(_UPGRADE % base64.b64encode(hashlib.sha1(key + _GUID).digest()))
    return peer


def send_frames(
    port_pipe: Any, make: Callable[..., tuple[bytes, NDArray[np.int64]]], arguments: tuple[Any, ...], first: int, rate: int
) -> None:
    """Send what ``make(*arguments)`` gives, a stream of frames and the offset where each ends, to one client.

    The first ``first`` frames leave at once. After "go" from the pipe the others leave as they become due at ``rate`` a
    second, or 64 a write as fast as the client takes them for 0. The monotonic time of each write goes into the shared
    memory whose name the pipe gives first. The client's closing ends the process.
    """
    stream, ends = make(*arguments)
    stamps_memory = SharedMemory(port_pipe.recv())
    stamps = np.ndarray(len(ends), np.int64, stamps_memory.buf)
    peer = accept_websocket(port_pipe)
    view, offsets, total = memoryview(stream), [0, *ends.tolist()], len(ends)
    clock = time.monotonic_ns
    peer.sendall(view[: offsets[first]])
    port_pipe.recv()
    sent, begin = first, clock()
    while sent < total:
        now = clock()
        due = min(total, first + (now - begin) * rate // 1_000_000_000) if rate else total
        count = min(due - sent, FRAMES_PER_WRITE)
        if count <= 0:
            continue
        stamps[sent : sent + count] = now
        peer.sendall(view[offsets[sent] : offsets[sent + count]])
        sent += count
    peer.settimeout(30)
    try:
        while peer.recv(4096):
            pass
    except OSError:
        pass
    peer.close()
    del stamps
    stamps_memory.close()
