"""What the loopback benchmarks share: the machine's name, and a WebSocket server end in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTEXT = multiprocessing.get_context("spawn")
FRAMES_PER_WRITE = 64
WINDOW_NS = 5_000_000
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


def pin_to_last_cpu() -> None:
    """Leave the first CPUs to the client: a sender that spins would otherwise be put on its CPU now and then."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        os.sched_setaffinity(0, cpus[-1:])


class Preemptions:
    """How often this thread was put off its CPU while it had work, counted every 5 ms by whoever calls ``sample`` often."""

    def __init__(self) -> None:
        self._due = 0
        self.samples: list[tuple[int, int]] = []

    def sample(self, now_ns: int) -> None:
        if now_ns >= self._due:
            self._due = now_ns + WINDOW_NS
            self.samples.append((now_ns, resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw))


def disturbed(times_ns: NDArray[np.int64], *samples: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which times lie between two samples of a process that was put off its CPU in between, or up to 10 ms after."""
    result = np.zeros(len(times_ns), np.bool_)
    for series in samples:
        at, count = np.array(series, np.int64).T
        for k in np.flatnonzero(np.diff(count)):
            result[np.searchsorted(times_ns, at[k]) : np.searchsorted(times_ns, at[k + 1] + 2 * WINDOW_NS)] = True
    return result


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
    second, or 64 a write as fast as the client takes them for 0. When the client closes, the monotonic times of the
    writes, int64, go into the pipe, then the samples of its Preemptions.
    """
    pin_to_last_cpu()
    stream, ends = make(*arguments)
    stamps = np.zeros(len(ends), np.int64)
    peer = accept_websocket(port_pipe)
    view, offsets, total = memoryview(stream), [0, *ends.tolist()], len(ends)
    clock = time.monotonic_ns
    peer.sendall(view[: offsets[first]])
    port_pipe.recv()
    sent, begin, waits = first, clock(), Preemptions()
    while sent < total:
        now = clock()
        due = min(total, first + (now - begin) * rate // 1_000_000_000) if rate else total
        count = min(due - sent, FRAMES_PER_WRITE)
        if count <= 0:
            continue
        waits.sample(now)
        stamps[sent : sent + count] = now
        peer.sendall(view[offsets[sent] : offsets[sent + count]])
        sent += count
    wait_for_close(peer)
    port_pipe.send_bytes(stamps.tobytes())
    port_pipe.send(waits.samples)


def wait_for_close(peer: socket.socket) -> None:
    """Read and forget until the other side closes, or says nothing for 30 s."""
    peer.settimeout(30)
    try:
        while peer.recv(1 << 16):
            pass
    except OSError:
        pass
    peer.close()


def take_orders(port_pipe: Any) -> None:
    """A venue's end that reads orders and never answers."""
    pin_to_last_cpu()
    wait_for_close(accept_websocket(port_pipe))
