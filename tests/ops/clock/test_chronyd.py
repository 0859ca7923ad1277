from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ClockError
from sentinel.ops.clock.chronyd import Tracking, ask_tracking, decode_tracking, from_float
from tests.ops.clock.fake_chronyd import chrony_float, fake_chronyd

TIMEOUT_S = 5.0


@given(st.floats(min_value=1e-9, max_value=1e6), st.sampled_from([1, -1]))
def test_a_float_of_chrony_is_read_to_its_last_digit(value: float, sign: int) -> None:
    assert from_float(chrony_float(sign * value)) == pytest.approx(sign * value, rel=2**-23)


def test_the_bound_is_correction_plus_dispersion_plus_half_the_delay() -> None:
    with fake_chronyd() as server:
        server.correction_s, server.root_delay_s, server.root_dispersion_s = -12e-6, 40e-6, 15e-6
        tracking = ask_tracking(server.address, TIMEOUT_S)
    assert tracking.bound_s == pytest.approx(47e-6, rel=1e-5)


@pytest.mark.parametrize(("stratum", "leap"), [(2, 3), (0, 0)])
def test_a_chronyd_without_a_trusted_source_gives_no_bound(stratum: int, leap: int) -> None:
    with fake_chronyd() as server:
        server.stratum, server.leap_status = stratum, leap
        assert ask_tracking(server.address, TIMEOUT_S).bound_s is None


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), -1.0])
def test_a_figure_that_is_none_gives_no_bound(delay: float) -> None:
    assert Tracking(2, 0, 0.0, delay, 0.0).bound_s is None


def test_a_silent_chronyd_is_an_error_after_the_time_out() -> None:
    with fake_chronyd() as server:
        server.silent = True
        with pytest.raises(ClockError, match=r"clock\.chronyd"):
            ask_tracking(server.address, 0.05)


def test_a_port_nobody_listens_at_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    with pytest.raises(ClockError):
        ask_tracking(address, TIMEOUT_S)


def test_an_answer_of_another_version_or_with_an_error_status_is_refused() -> None:
    with fake_chronyd() as server:
        server.version = 5
        with pytest.raises(ClockError, match="version 5"):
            ask_tracking(server.address, TIMEOUT_S)
        server.version, server.status = 6, 2
        with pytest.raises(ClockError, match="status 2"):
            ask_tracking(server.address, TIMEOUT_S)


def test_the_answer_to_another_request_is_refused() -> None:
    with fake_chronyd() as server:
        ask_tracking(server.address, TIMEOUT_S)
        reply = server.answer(server.requests[0])
    number = int.from_bytes(server.requests[0][8:12], "big")
    assert decode_tracking(reply, number).stratum == 2
    with pytest.raises(ClockError):
        decode_tracking(reply, number ^ 1)


@given(st.binary(max_size=200))
def test_garbage_is_refused(reply: bytes) -> None:
    with pytest.raises(ClockError):
        decode_tracking(reply, 1)


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
CHRONYD = shutil.which("chronyd", path=PATH)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(directory: Path, name: str, *lines: str) -> subprocess.Popen[bytes]:
    path = directory / f"{name}.conf"
    path.write_text("\n".join(["bindcmdaddress 127.0.0.1", f"pidfile {directory / name}.pid", "user root", *lines]) + "\n")
    assert CHRONYD is not None
    return subprocess.Popen([CHRONYD, "-x", "-d", "-f", str(path)], stderr=subprocess.DEVNULL)


@pytest.fixture
def chronyds(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    """A real server and a real client that follows it; neither touches the machine's clock."""
    served, command, own = _free_port(), _free_port(), _free_port()
    server = _start(tmp_path, "server", "local stratum 8", f"port {served}", "allow 127.0.0.1", f"cmdport {own}")
    line = f"server 127.0.0.1 port {served} minpoll -4 maxpoll -4"
    client = _start(tmp_path, "client", line, "port 0", f"cmdport {command}")
    try:
        yield server, ("127.0.0.1", command)
    finally:
        for process in (client, server):
            process.kill()
            process.wait()


def _found(address: tuple[str, int]) -> Tracking | None:
    try:
        found = ask_tracking(address, 1.0)
    except ClockError:
        return None
    return found if found.bound_s is not None else None


def _bound_of_chronyc(port: int) -> float:
    """The same from chrony's own client."""
    client = shutil.which("chronyc", path=PATH)
    assert client is not None
    command = [client, "-h", "127.0.0.1", "-p", str(port), "-c", "tracking"]
    fields = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip().split(",")
    return abs(float(fields[4])) + float(fields[11]) + float(fields[10]) / 2


@pytest.mark.skipif(CHRONYD is None, reason="chrony is not installed")
def test_a_real_chronyd_says_what_its_own_client_shows_and_doubts_more_and_more_once_its_server_is_dead(
    chronyds: tuple[subprocess.Popen[bytes], tuple[str, int]],
) -> None:
    server, address = chronyds
    deadline = time.monotonic() + 60.0
    while (first := _found(address)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # No further measurement changes anything between two questions.
    server.kill()
    server.wait()
    first = _found(address)
    shown = _bound_of_chronyc(address[1])
    assert first is not None
    assert first.bound_s == pytest.approx(shown, abs=1e-4)
    while (now := _found(address)) is not None and now.root_dispersion_s <= first.root_dispersion_s:
        assert time.monotonic() < deadline
        time.sleep(0.1)
