"""The word to a person who waits while a first start compiles."""

from __future__ import annotations

from io import StringIO

import pytest
from numba import njit
from rich.console import Console

from sentinel.cli import compiling


@pytest.mark.parametrize(("patience_s", "lines"), [(-1.0, 1), (1e9, 0)])
def test_compiling_is_told_once_and_only_where_it_takes_long(
    patience_s: float, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_PATIENCE_S", patience_s)
    printed = StringIO()
    with compiling.told_of_compiling(Console(file=printed)):
        first, second = (njit(lambda x, k=k: x + k) for k in (1, 2))
        assert (first(1), second(1)) == (2, 3)
    assert printed.getvalue().count("compiling the engine") == lines


def test_nothing_is_told_of_what_is_compiled_already_or_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_PATIENCE_S", -1.0)
    printed = StringIO()
    known, later = njit(lambda x: x + 1), njit(lambda x: x + 2)
    assert known(1) == 2
    with compiling.told_of_compiling(Console(file=printed)):
        assert known(2) == 3
    assert later(1) == 3
    assert printed.getvalue() == ""
