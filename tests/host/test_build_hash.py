"""One hash for one program: every byte and every name counts, what running it leaves behind does not."""

from __future__ import annotations

from pathlib import Path

import pytest

import sentinel
from sentinel.host.build_hash import build_hash, build_on_disk, tree_hash


def _tree(directory: Path) -> Path:
    (directory / "host").mkdir(parents=True)
    (directory / "a.py").write_text("one")
    (directory / "host" / "b.py").write_text("two")
    return directory


def test_the_same_files_give_the_same_hash_and_any_change_another(tmp_path: Path) -> None:
    first = tree_hash(_tree(tmp_path / "first"))
    assert tree_hash(_tree(tmp_path / "second")) == first
    changed = _tree(tmp_path / "changed")
    seen = {first}
    for change in (
        lambda: (changed / "a.py").write_text("onE"),
        lambda: (changed / "a.py").rename(changed / "c.py"),
        lambda: (changed / "host" / "empty").touch(),
        lambda: (changed / "host" / "b.py").unlink(),
    ):
        change()
        now = tree_hash(changed)
        assert now not in seen
        seen.add(now)


def test_content_does_not_pass_for_a_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
    (one / "ab").write_text("c")
    (other / "a").write_text("bc")
    assert tree_hash(one) != tree_hash(other)


def test_compiled_files_do_not_count(tmp_path: Path) -> None:
    directory = _tree(tmp_path / "tree")
    before = tree_hash(directory)
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__" / "a.cpython-312.pyc").write_bytes(b"x")
    (directory / "host" / "a.nbi").write_bytes(b"x")
    assert tree_hash(directory) == before


@pytest.mark.control("E12")
def test_the_program_on_the_disk_is_the_one_that_runs_until_somebody_replaces_it() -> None:
    assert build_on_disk() == build_hash()


def test_the_hash_is_that_of_the_package_that_runs() -> None:
    assert build_hash() == tree_hash(Path(sentinel.__file__ or "").parent)
