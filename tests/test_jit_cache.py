"""The stamp of cached machine code follows every module compiled into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel import native


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "sentinel"
    (root / "engine").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "engine" / "__init__.py").write_text("")
    (root / "engine" / "step.py").write_text("from sentinel.engine.risk import (\n    gate,\n)\n")
    (root / "engine" / "risk.py").write_text("from sentinel import units\n")
    (root / "units.py").write_text("E8 = 1\n")
    (root / "other.py").write_text("")
    monkeypatch.setattr(native, "_PACKAGE", root)
    return root


def _stamp(package: Path) -> str:
    native.source_stamp.cache_clear()
    native._imported_files.cache_clear()
    return native.source_stamp(package / "engine" / "step.py")


@pytest.mark.parametrize("changed", ["engine/step.py", "engine/risk.py", "units.py"])
def test_change_in_any_imported_module_discards_the_cached_code(package: Path, changed: str) -> None:
    before = _stamp(package)
    with (package / changed).open("a") as file:
        file.write("# changed\n")
    assert _stamp(package) != before


def test_change_in_an_unrelated_module_keeps_the_cached_code(package: Path) -> None:
    before = _stamp(package)
    (package / "other.py").write_text("changed = 1\n")
    assert _stamp(package) == before
