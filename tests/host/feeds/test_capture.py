"""Capture files: what is written is read, damage is counted, too much of it is an error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import CaptureError
from sentinel.host.feeds.capture import CaptureReader, CaptureWriter, read_capture, snapshot_payload


@settings(max_examples=40)
@given(lines=st.lists(st.tuples(st.integers(0, 2**63 - 1), st.text(min_size=1).map(lambda t: f'{{"x":"{t}"}}'.encode()))))
@pytest.mark.parametrize("suffix", [".ndjsonl", ".ndjsonl.zst"])
def test_what_was_written_is_read_back(tmp_path_factory: Any, suffix: str, lines: list[tuple[int, bytes]]) -> None:
    path = tmp_path_factory.mktemp("capture") / f"c{suffix}"
    with CaptureWriter(path) as writer:
        for t, payload in lines:
            writer.write(t, payload)
    assert writer.lines == len(lines)
    expected = [(t, payload.replace(b"\n", b" ").replace(b"\r", b" ")) for t, payload in lines]
    assert list(read_capture(path)) == expected


def test_line_breaks_between_tokens_become_spaces(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "c") as writer:
        writer.write(1, b'{\r\n "a": 1\n}\n')
    assert list(read_capture(tmp_path / "c")) == [(1, b'{   "a": 1 }')]


@pytest.mark.parametrize("name", ["c.ndjsonl", "c.ndjsonl.zst"])
def test_flushed_lines_survive_an_end_without_close(tmp_path: Path, name: str) -> None:
    child = os.fork()
    if child == 0:
        writer = CaptureWriter(tmp_path / name)
        for k in range(1000):
            writer.write(k, b'{"k":%d}' % k)
        writer.flush()
        writer.write(1000, b"{}")
        os._exit(0)
    os.waitpid(child, 0)
    read = list(read_capture(tmp_path / name))
    assert [t for t, _ in read][:1000] == list(range(1000))


BAD_LINES = [b"nonsense", b"12", b"12 ", b"-5 {}", b"1.5 {}", b"9" * 20 + b" {}", b"%d {}" % 2**63, b"", b" {}", b"\xff\xfe"]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_bad_line_is_counted_and_skipped(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"1 {}\n" + bad + b"\n2 {}\n")
    reader = CaptureReader(path)
    assert list(reader) == [(1, b"{}"), (2, b"{}")]
    assert (reader.lines, reader.bad_lines) == (3, 1)


def test_cut_off_last_line_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b'1 {}\n2 {"a":"unfin')
    reader = CaptureReader(path)
    assert list(reader) == [(1, b"{}")]
    assert reader.bad_lines == 1


def test_too_many_bad_lines_are_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"junk\n" * 11)
    with pytest.raises(CaptureError, match=":11"):
        list(read_capture(path))
    assert list(read_capture(path, max_bad_lines=11)) == []


def test_missing_file_directory_and_damaged_compression_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        list(read_capture(tmp_path / "none"))
    with pytest.raises(CaptureError):
        list(read_capture(tmp_path))
    packed = bytearray(zstandard.ZstdCompressor().compress(b"1 {}\n" * 1000))
    packed[8:12] = b"\xff\xff\xff\xff"
    (tmp_path / "d.zst").write_bytes(packed)
    with pytest.raises(CaptureError):
        list(read_capture(tmp_path / "d.zst"))


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"keep")
    with pytest.raises(CaptureError, match="new file"):
        CaptureWriter(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"keep"


def test_full_disk_is_a_capture_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    writer = CaptureWriter(tmp_path / "c")
    with open("/dev/full", "wb", buffering=0) as full:
        writer._file = full  # type: ignore[assignment]
        with pytest.raises(CaptureError, match="No space left"):
            writer.write(1, b"{}")


def test_recorded_days_are_read_whole(capture_lines: Any) -> None:
    for symbol, count in (("BTCUSDT", 41_249), ("ETHUSDT", 33_618)):
        lines = capture_lines(symbol)
        assert len(lines) == count
        assert [t for t, _ in lines] == sorted(t for t, _ in lines)


def test_snapshot_names_its_symbol_only_among_several() -> None:
    assert snapshot_payload("BTCUSDT", b'{"lastUpdateId":1}', 1) == b'{"lastUpdateId":1}'
    assert snapshot_payload("BTCUSDT", b'{"lastUpdateId":1}', 2) == b'{"s":"BTCUSDT","lastUpdateId":1}'
