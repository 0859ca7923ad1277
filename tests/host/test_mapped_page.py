"""A page is whole or it is none; who writes it goes on where the process before it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.mapped_page import PageWriter, read_page

MAGIC = b"STLTEST1"


@given(bodies=st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=4))
def test_the_last_body_is_read_also_after_a_restart(bodies: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("page") / "page"
    for body in bodies:
        writer = PageWriter(path, MAGIC, 24)
        writer.publish(body)
        assert read_page(path, MAGIC, 24) == body
        writer.close()
    PageWriter(path, MAGIC, 24).close()
    assert read_page(path, MAGIC, 24) == bodies[-1]


@given(place=st.integers(0, 39), flip=st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, flip: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("page") / "page"
    PageWriter(path, MAGIC, 24).publish(bytes(range(24)))
    raw = bytearray(path.read_bytes())
    raw[place] ^= flip
    path.write_bytes(raw)
    assert read_page(path, MAGIC, 24) is None


def test_a_page_nobody_has_written_is_empty_and_another_layout_or_a_cut_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "page"
    with pytest.raises(FileNotFoundError):
        read_page(path, MAGIC, 24)
    writer = PageWriter(path, MAGIC, 24)
    assert read_page(path, MAGIC, 24) == b""
    writer.publish(bytes(range(24)))
    assert read_page(path, b"STLTEST2", 24) is None
    assert read_page(path, MAGIC, 16) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert read_page(path, MAGIC, 24) is None
