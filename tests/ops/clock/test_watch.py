from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.config_watch import ClockConfig
from sentinel.errors import ClockError
from sentinel.host.clock import UNKNOWN, UNKNOWN_NS, ClockLook
from sentinel.ops.clock.chronyd import Tracking
from sentinel.ops.clock.kernel import KernelClock, read_kernel_clock
from sentinel.ops.clock.looks import ClockLooks
from sentinel.ops.clock.watch import ClockPair, ClockWatch, StepDetector, read_clocks
from sentinel.units import NS_PER_MS, NS_PER_S
from tests.ops.clock.fake_chronyd import fake_chronyd

KEPT = KernelClock(True, maxerror_us=900, esterror_us=3)


class Clocks:
    """A pair of clocks that a test moves."""

    def __init__(self) -> None:
        self.real_ns, self.raw_ns = 1_700_000_000 * NS_PER_S, 5 * NS_PER_S

    def pass_s(self, seconds: float) -> None:
        self.real_ns += round(seconds * NS_PER_S)
        self.raw_ns += round(seconds * NS_PER_S)

    def __call__(self) -> ClockPair:
        return ClockPair(self.real_ns, self.raw_ns)


def _tracking(bound_us: float) -> Tracking:
    return Tracking(2, 0, 0.0, 0.0, bound_us * 1e-6)


def _bound(tracking: Tracking | None, kernel: KernelClock, chronyd: str = "127.0.0.1:323") -> int:
    def ask(address: tuple[str, int], timeout_s: float) -> Tracking:
        if tracking is None:
            raise ClockError("clock.chronyd", address, "an answer", "start it")
        return tracking

    return ClockWatch(ClockConfig(chronyd=chronyd), ask, lambda: kernel, Clocks()).look().bound_ns


def test_the_bound_is_the_worse_of_chronyd_and_kernel() -> None:
    assert _bound(_tracking(40), KEPT) == 40_000
    assert _bound(_tracking(40), KEPT._replace(esterror_us=70)) == 70_000


def test_without_chronyd_the_kernels_largest_error_counts() -> None:
    assert _bound(None, KEPT, chronyd="") == 900_000


@pytest.mark.parametrize(
    ("tracking", "kernel"),
    [
        (None, KEPT),
        (_tracking(40)._replace(leap_status=3), KEPT),
        (_tracking(40), KEPT._replace(synchronised=False)),
    ],
)
def test_what_either_cannot_vouch_for_is_unknown(tracking: Tracking | None, kernel: KernelClock) -> None:
    assert _bound(tracking, kernel) == UNKNOWN_NS


def test_a_chronyd_that_falls_silent_and_speaks_again_is_unknown_in_between() -> None:
    with fake_chronyd() as server:
        server.root_dispersion_s = 50e-6
        host, port = server.address
        watch = ClockWatch(ClockConfig(chronyd=f"{host}:{port}", timeout_ms=1_000), kernel=lambda: KEPT)
        assert watch.look().bound_ns == pytest.approx(50_000, rel=1e-5)
        server.leap_status = 3
        assert watch.look().bound_ns == UNKNOWN_NS
        server.leap_status = 0
        assert watch.look().bound_ns == pytest.approx(50_000, rel=1e-5)


@pytest.mark.parametrize("step_ns", [NS_PER_S, -NS_PER_S, 3 * NS_PER_MS, -3 * NS_PER_MS])
def test_a_step_is_reported_by_the_look_that_sees_it(step_ns: int) -> None:
    clocks = Clocks()
    watch = ClockWatch(ClockConfig(), lambda *_: _tracking(10), lambda: KEPT, clocks)
    assert not watch.look().stepped
    clocks.pass_s(1)
    clocks.real_ns += step_ns
    assert watch.look().stepped
    clocks.pass_s(1)
    assert not watch.look().stepped


def test_slewing_at_the_kernels_limit_is_no_step_however_long_nobody_looked() -> None:
    detector, clocks = StepDetector(1_000), Clocks()
    detector.step_ns(clocks())
    for seconds in (1, 1, 600):
        clocks.pass_s(seconds)
        clocks.real_ns += seconds * 500_000
        assert detector.step_ns(clocks()) == 0


@given(st.integers(1, 60), st.integers(-(10**12), 10**12))
def test_every_jump_beyond_limit_and_drift_is_a_step_of_its_size(seconds: int, jump: int) -> None:
    detector, clocks = StepDetector(1_000), Clocks()
    detector.step_ns(clocks())
    clocks.pass_s(seconds)
    clocks.real_ns += jump
    assert detector.step_ns(clocks()) == (jump if abs(jump) > 1_000_000 + seconds * 500_000 else 0)


def test_a_suspended_machine_shows_as_a_step() -> None:
    detector, clocks = StepDetector(1_000), Clocks()
    detector.step_ns(clocks())
    # CLOCK_MONOTONIC_RAW stands still meanwhile.
    clocks.real_ns += 30 * NS_PER_S
    assert detector.step_ns(clocks()) == 30 * NS_PER_S


def test_the_machines_clocks_and_kernel_can_be_read() -> None:
    first, second = read_clocks(), read_clocks()
    assert second.raw_ns > first.raw_ns
    kernel = read_kernel_clock()
    assert kernel.maxerror_us >= 0
    assert kernel.esterror_us >= 0


class Time:
    """Monotonic time that a test moves."""

    ns = 1

    def __call__(self) -> int:
        return self.ns


def _numbered() -> Iterator[ClockLook]:
    return (ClockLook(n, False) for n in itertools.count(100))


def test_each_look_is_taken_once() -> None:
    time, found = Time(), _numbered()
    looks = ClockLooks(lambda: next(found), 1_000, time)
    assert looks.latest == UNKNOWN
    time.ns += 1
    looks.once()
    assert looks.take() == ClockLook(100, False)
    assert looks.take() is None
    assert looks.latest == ClockLook(100, False)


def test_a_step_that_nobody_took_is_one_of_the_next_look_taken() -> None:
    time, found = Time(), iter([ClockLook(1, False), ClockLook(2, True), ClockLook(3, False), ClockLook(4, False)])
    looks = ClockLooks(lambda: next(found), 1_000, time)
    for _ in range(3):
        time.ns += 1
        looks.once()
    assert looks.take() == ClockLook(3, True)
    time.ns += 1
    looks.once()
    assert looks.take() == ClockLook(4, False)


def test_where_looks_stay_away_an_unknown_one_comes_for_each() -> None:
    time, found = Time(), _numbered()
    looks = ClockLooks(lambda: next(found), 1_000, time)
    time.ns += 1
    looks.once()
    looks.take()
    time.ns += 3 * NS_PER_S
    assert looks.take() is None
    assert looks.error_us(77) == 1
    time.ns += 1
    assert looks.latest == UNKNOWN
    assert looks.error_us(77) == 77
    assert [looks.take(), looks.take()] == [UNKNOWN, None]
    time.ns += NS_PER_S + 1
    assert looks.take() == UNKNOWN
    looks.once()
    assert looks.take() == ClockLook(101, False)


def test_the_thread_looks_until_it_is_stopped() -> None:
    found = _numbered()
    looks = ClockLooks(lambda: next(found), 1)
    looks.start()
    try:
        seen: set[ClockLook] = set()
        while len(seen) < 3:
            look = looks.take()
            if look is not None:
                seen.add(look)
    finally:
        looks.stop()
    assert len(seen) == 3
