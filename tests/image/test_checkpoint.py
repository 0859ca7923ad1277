"""What a checkpoint says of itself, and the checkpoints that are none."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ImageError
from sentinel.image import checkpoint
from tests.image.checkpoints import PART, TOOL, write_checkpoint

TAG = "2026_11_01-120000"


def test_a_checkpoint_tells_its_tool_part_and_build(tmp_path: Path) -> None:
    found = checkpoint.read(write_checkpoint(tmp_path / f"cl_sentinel.{TAG}.post_route.dcp"))
    assert (found.tool_version, found.part, found.tag, found.timing_violated) == (TOOL, PART, TAG, False)


def test_a_name_without_a_tag_takes_the_time_the_checkpoint_was_written(tmp_path: Path) -> None:
    found = checkpoint.read(write_checkpoint(tmp_path / "mine.dcp"))
    assert (found.tag, found.timing_violated) == (TAG, None)


@pytest.mark.parametrize(("beside", "violated"), [("post_route", False), ("post_route.VIOLATED", True), (None, None)])
def test_the_kits_second_name_tells_its_timing_by_the_file_it_was_copied_from(
    tmp_path: Path, beside: str | None, violated: bool | None
) -> None:
    path = write_checkpoint(tmp_path / f"{TAG}.SH_CL_routed.dcp")
    if beside:
        shutil.copy(path, tmp_path / f"cl_sentinel.{TAG}.{beside}.dcp")
    # Of another build, with the same tag.
    write_checkpoint(tmp_path / f"cl_other.{TAG}.post_route.VIOLATED.dcp", payload=b"another")
    assert checkpoint.read(path).timing_violated is violated


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="can be read"):
        checkpoint.read(tmp_path / "nowhere.dcp")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcp").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        checkpoint.read(tmp_path / "x.dcp")
    assert caught.value.field == "checkpoint"


@pytest.mark.parametrize(
    "about", [b"<Checkpoint/>", b'<PRODUCT Name="ISE v14.7"/>', b'<PRODUCT Name="Vivado v2025.2 (64-bit)"/>']
)
def test_a_checkpoint_that_does_not_say_what_made_it_is_refused(tmp_path: Path, about: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.dcp", "w") as archive:
        archive.writestr("dcp.xml", about)
    with pytest.raises(ImageError, match="Vivado's version and the part"):
        checkpoint.read(tmp_path / "x.dcp")


@given(st.data())
def test_a_checkpoint_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = write_checkpoint(tmp_path_factory.mktemp("cut") / "x.dcp")
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ImageError):
        checkpoint.read(path)


@given(st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_checkpoint(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "x.dcp"
    path.write_bytes(noise)
    with pytest.raises(ImageError):
        checkpoint.read(path)
