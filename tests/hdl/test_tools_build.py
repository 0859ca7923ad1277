"""Builds are kept by what they are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from sentinel_hdl.tools.build import build_root, cached, digest


@pytest.fixture(autouse=True)
def _own_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_BUILD", str(tmp_path / "builds"))


def _builder(runs: list[Path], text: str = "made") -> Callable[[Path], None]:
    def build(directory: Path) -> None:
        runs.append(directory)
        (directory / "result").write_text(text + (directory / "input").read_text())

    return build


def test_same_sources_and_flags_are_built_once() -> None:
    runs: list[Path] = []
    first = cached("thing", {"input": "x"}, ["-O"], _builder(runs))
    second = cached("thing", {"input": "x"}, ["-O"], _builder(runs))
    assert first == second
    assert (first / "result").read_text() == "madex"
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("sources", "flags"), [({"input": "y"}, ["-O"]), ({"input": "x"}, ["-g"]), ({"input": "x", "b": ""}, ["-O"])]
)
def test_another_source_or_flag_is_another_build(sources: dict[str, str], flags: list[str]) -> None:
    runs: list[Path] = []
    first = cached("thing", {"input": "x"}, ["-O"], _builder(runs))
    assert cached("thing", sources, flags, _builder(runs)) != first
    assert len(runs) == 2


def test_failed_build_leaves_nothing() -> None:
    def build(directory: Path) -> None:
        (directory / "half").write_text("")
        raise RuntimeError("compiler")

    with pytest.raises(RuntimeError, match="compiler"):
        cached("thing", {"input": "x"}, [], build)
    assert list((build_root() / "hdl").iterdir()) == []


def test_who_comes_while_another_builds_waits_for_the_result() -> None:
    runs: list[Path] = []
    building, done = threading.Event(), threading.Event()

    def build(directory: Path) -> None:
        building.set()
        assert done.wait(60)
        _builder(runs)(directory)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached, "thing", {"input": "x"}, [], build)
        assert building.wait(60)
        second = pool.submit(cached, "thing", {"input": "x"}, [], _builder(runs, "second"))
        assert not wait([second], timeout=0.2).done
        done.set()
        assert (second.result(60) / "result").read_text() == (first.result(60) / "result").read_text() == "madex"
    assert len(runs) == 1


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_builds_lie_in_the_checkout_by_default(monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    monkeypatch.delenv("SENTINEL_BUILD")
    assert build_root() == project_root / "build"
