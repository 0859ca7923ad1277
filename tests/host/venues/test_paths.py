"""The choice of a path: the fastest healthy one, left at once when it fails, kept against noise."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import VenueError
from sentinel.host.venues import paths
from sentinel.host.venues.paths import SAMPLES, PathChooser, watch_path
from sentinel.units import NS_PER_MS
from tests.host.waiting import until

MS = NS_PER_MS


def chooser(*rtts_ms: float) -> PathChooser:
    """Open paths, each measured often."""
    made = PathChooser(len(rtts_ms))
    for path in range(len(rtts_ms)):
        made.opened(path)
    for path, rtt in enumerate(rtts_ms):
        for _ in range(SAMPLES):
            made.measured(path, int(rtt * MS))
    return made


def test_the_first_path_that_opens_is_used_until_another_is_known_to_be_faster() -> None:
    made = PathChooser(2)
    assert made.chosen is None
    made.opened(1)
    made.opened(0)
    assert made.chosen == 1
    for _ in range(3):
        made.measured(0, 2 * MS)
    assert made.chosen == 1
    for _ in range(3):
        made.measured(1, 5 * MS)
    assert (made.chosen, made.changes) == (0, 1)


@pytest.mark.parametrize(("rival_ms", "chosen"), [(8.1, 0), (8.0, 1), (3.0, 1)])
def test_a_healthy_path_is_left_only_for_one_that_saves_a_fifth(rival_ms: float, chosen: int) -> None:
    assert chooser(10.0, rival_ms).chosen == chosen


@pytest.mark.parametrize(("rival_ms", "chosen"), [(0.06, 0), (0.05, 1)])
def test_and_fifty_microseconds_at_least(rival_ms: float, chosen: int) -> None:
    assert chooser(0.1, rival_ms).chosen == chosen


def test_a_lost_path_is_left_at_once_and_its_round_trips_are_forgotten() -> None:
    made = chooser(1.0, 5.0)
    made.lost(0)
    assert made.chosen == 1
    assert made.report(0, "a") == ("a", False, False, False, None)
    made.opened(0)
    assert made.chosen == 1
    made.lost(1)
    assert made.chosen == 0
    made.lost(0)
    assert made.chosen is None
    assert made.changes == 2


@pytest.mark.parametrize("rtt_ms", [6.1, 500.0])
def test_a_round_trip_far_beyond_the_usual_leaves_the_path_at_once_and_a_usual_one_restores_it(rtt_ms: float) -> None:
    made = chooser(1.0, 9.0)
    made.measured(0, int(rtt_ms * MS))
    assert made.chosen == 1
    assert not made.report(0, "a").is_healthy
    made.measured(0, MS)
    assert made.chosen == 0


def test_an_overdue_answer_leaves_the_path_before_it_comes() -> None:
    made = chooser(1.0, 9.0)
    assert made.far_off_ns(0) == 6 * MS
    assert made.far_off_ns(1) == 36 * MS
    made.overdue(0)
    assert made.chosen == 1


def test_a_path_that_has_become_slow_for_good_is_healthy_again_and_compared_by_its_new_round_trip() -> None:
    made = chooser(1.0, 9.0)
    for _ in range(SAMPLES):
        made.measured(0, 40 * MS)
    assert made.report(0, "a") == ("a", True, True, False, 40 * MS)


def test_the_only_path_stays_chosen_however_it_is() -> None:
    made = chooser(1.0)
    made.measured(0, 900 * MS)
    made.overdue(0)
    assert (made.chosen, made.changes) == (0, 0)


def test_what_comes_after_the_loss_of_a_path_says_nothing_of_the_next_connection() -> None:
    made = chooser(1.0, 2.0)
    made.lost(1)
    made.measured(1, 1)
    made.overdue(1)
    made.opened(1)
    assert made.report(1, "b") == ("b", True, True, False, None)


ACTIONS = st.tuples(st.sampled_from(["opened", "lost", "measured", "overdue"]), st.integers(0, 2), st.integers(1, 50 * MS))


@given(st.lists(ACTIONS, max_size=60))
def test_an_open_path_is_always_used_and_a_healthy_one_if_there_is_any(
    actions: list[tuple[str, int, int]],
) -> None:
    made = PathChooser(3)
    for action, path, rtt_ns in actions:
        getattr(made, action)(*(path, rtt_ns) if action == "measured" else (path,))
        reports = [made.report(path, "") for path in range(3)]
        usable = {path for path, report in enumerate(reports) if report.is_open}
        healthy = {path for path in usable if reports[path].is_healthy}
        assert (made.chosen is None) == (not usable)
        assert made.chosen is None or made.chosen in (healthy or usable)


@given(st.lists(st.tuples(st.integers(9_100_000, 10_000_000), st.integers(9_100_000, 10_000_000)), max_size=60))
def test_noise_within_the_hysteresis_never_changes_the_path(noise: list[tuple[int, int]]) -> None:
    made = chooser(9.5, 9.5)
    for first, second in noise:
        made.measured(0, first)
        made.measured(1, second)
    assert made.changes == 0


class Line:
    """A ping whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []
        self.changes = 0
        self.given_up = 0

    async def ping(self) -> None:
        self.asked.append(asyncio.get_running_loop().create_future())
        await self.asked[-1]

    def changed(self) -> None:
        self.changes += 1

    def give_up(self) -> None:
        self.given_up += 1

    def watch(self, made: PathChooser) -> asyncio.Task[None]:
        return asyncio.ensure_future(watch_path(made, 0, self.ping, self.changed, self.give_up))


def test_a_path_is_measured_again_and_again_and_a_refused_ping_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PING_EVERY_S", 0.001)

    async def run() -> None:
        line, made = Line(), PathChooser(1)
        made.opened(0)
        watching = line.watch(made)
        await until(lambda: len(line.asked) == 1)
        line.asked[0].set_result(None)
        await until(lambda: len(line.asked) == 2)
        assert line.changes == 1
        assert (made.report(0, "").rtt_ns or 0) > 0
        line.asked[1].set_exception(VenueError("ping", 429, "status 200", "wait"))
        await until(lambda: len(line.asked) == 3)
        assert line.changes == 1
        watching.cancel()
        await asyncio.wait({watching})
        assert line.asked[2].cancelled()

    asyncio.run(run())


def test_an_answer_that_does_not_come_strains_the_path_and_then_gives_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PING_EVERY_S", 0.001)
    monkeypatch.setattr(paths, "DEAD_S", 0.05)

    async def run() -> None:
        line, made = Line(), chooser(0.5, 20.0)
        healthy: list[bool] = []
        line.changed = lambda: healthy.append(made.report(0, "").is_healthy)  # type: ignore[method-assign]
        await asyncio.wait_for(line.watch(made), 60)
        assert (healthy, made.chosen, line.given_up) == ([False], 1, 1)
        assert line.asked[0].cancelled()

    asyncio.run(run())
