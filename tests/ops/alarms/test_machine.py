from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.ops.alarms.machine import Machine
from sentinel.units import NS_PER_S


class Time:
    ns = 0

    def __call__(self) -> int:
        return self.ns


def test_steal_is_its_share_of_the_last_five_seconds() -> None:
    time, ticks = Time(), [0, 0]
    machine = Machine([], lambda: (ticks[0], ticks[1]), time)
    assert machine.read()["cpu_steal_pct"] is None
    found = []
    for second in range(1, 13):
        time.ns = second * NS_PER_S
        ticks[1] += 200
        ticks[0] += 20 if second <= 6 else 0
        found.append(machine.read()["cpu_steal_pct"])
    assert found == pytest.approx([10, 10, 10, 10, 10, 10, 8, 6, 4, 2, 0, 0])


def test_the_machines_own_figures_can_be_read(tmp_path: Path) -> None:
    machine = Machine([tmp_path])
    while (steal := machine.read()["cpu_steal_pct"]) is None:
        pass
    assert 0 <= steal <= 100
    free = machine.read()["disk_free_pct"]
    assert free is not None
    assert 0 <= free <= 100


def test_a_directory_that_is_not_there_yet_stands_for_its_parent(tmp_path: Path) -> None:
    assert Machine([tmp_path / "store" / "audit"]).read()["disk_free_pct"] is not None


def test_what_cannot_be_read_is_missing_and_not_zero() -> None:
    def broken() -> tuple[int, int]:
        raise OSError("no /proc")

    assert Machine([], broken).read() == {"cpu_steal_pct": None, "disk_free_pct": None}
