"""Packages: the same bytes each time, and every reason AWS has to refuse one is found before it is uploaded."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ImageError
from sentinel.image import checkpoint, package
from sentinel.image.failures import FAILURES, explain
from sentinel.image.targets import F1, F2
from tests.image.checkpoints import write_checkpoint

TAG = "2026_11_01-120000"
NAME = f"cl_sentinel.{TAG}.post_route.dcp"
Values = dict[str, str]


def _packed(tmp_path: Path) -> Path:
    found = checkpoint.read(write_checkpoint(tmp_path / NAME))
    return package.write(found, F2, "2.3.2", tmp_path / "packages")


def _tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _members(tmp_path: Path) -> tuple[Values, bytes]:
    """The manifest and checkpoint of a good package."""
    tar = _packed(tmp_path)
    with tarfile.open(tar) as archive:
        file = archive.extractfile(f"to_aws/{TAG}.SH_CL_routed.dcp")
        assert file is not None
        return package.manifest_in(tar), file.read()


def _with(tmp_path: Path, change: Callable[[Values], object]) -> set[str]:
    """Codes found in a package whose manifest was changed."""
    values, dcp = _members(tmp_path)
    change(values)
    note = "".join(f"{key}={value}\n" for key, value in values.items()).encode()
    tar = _tar(tmp_path / "changed.tar", {f"to_aws/{TAG}.manifest.txt": note, f"to_aws/{TAG}.SH_CL_routed.dcp": dcp})
    return {finding.code for finding in package.check(tar, F2)}


def test_nothing_is_found_in_our_own_package(tmp_path: Path) -> None:
    assert package.check(_packed(tmp_path), F2) == []


def test_a_package_has_the_layout_and_manifest_of_the_kits_script(tmp_path: Path) -> None:
    tar = _packed(tmp_path)
    assert tar.name == f"{TAG}.Developer_CL.tar"
    with tarfile.open(tar, "r:") as archive:
        assert set(archive.getnames()) == {f"to_aws/{TAG}.manifest.txt", f"to_aws/{TAG}.SH_CL_routed.dcp"}
    assert package.manifest_in(tar) == {
        "manifest_format_version": "2",
        "pci_vendor_id": "0x1D0F",
        "pci_device_id": "0xF051",
        "pci_subsystem_id": "0xF052",
        "pci_subsystem_vendor_id": "0x1D0F",
        "dcp_hash": hashlib.sha256((tmp_path / NAME).read_bytes()).hexdigest(),
        "shell_version": "0x10212415",
        "dcp_file_name": f"{TAG}.SH_CL_routed.dcp",
        "hdk_version": "2.3.2",
        "tool_version": "v2025.2",
        "date": TAG,
        "clock_recipe_a": "A1",
        "clock_recipe_b": "B2",
        "clock_recipe_c": "C0",
        "clock_recipe_hbm": "H2",
    }


def test_a_tag_that_is_no_time_is_packed_all_the_same(tmp_path: Path) -> None:
    found = checkpoint.read(write_checkpoint(tmp_path / "cl_sentinel.2026_99_99-999999.post_route.dcp"))
    assert package.check(package.write(found, F2, "2.3.2", tmp_path), F2) == []


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    assert _packed(tmp_path / "a").read_bytes() == _packed(tmp_path / "b").read_bytes()


def test_a_package_as_the_kits_script_tars_it_is_taken(tmp_path: Path) -> None:
    values, dcp = _members(tmp_path)
    folder = tmp_path / "to_aws"
    folder.mkdir()
    (folder / f"{TAG}.manifest.txt").write_text("".join(f"{key}={value}\n\n" for key, value in values.items()))
    (folder / f"{TAG}.SH_CL_routed.dcp").write_bytes(dcp)
    (folder / f"{TAG}.debug_probes.ltx").write_bytes(b"probes")
    with tarfile.open(tmp_path / "kit.tar", "w") as archive:
        archive.add(folder, "./to_aws")
    assert package.check(tmp_path / "kit.tar", F2) == []


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("manifest_format_version", "1", "MANIFEST_PARSE_FAILED"),
        ("hdk_version", "newest", "MANIFEST_PARSE_FAILED"),
        ("pci_device_id", "F051", "PCIID_SYNTAX_INVALID"),
        ("pci_device_id", "0xF0511", "PCIID_SYNTAX_INVALID"),
        ("pci_subsystem_id", "0x", "PCIID_SYNTAX_INVALID"),
        ("pci_vendor_id", "0x8086", "PCIID_FORBIDDEN"),
        ("pci_subsystem_vendor_id", "0x8086", "PCIID_FORBIDDEN"),
        ("pci_subsystem_id", "0x0000", "PCIID_FORBIDDEN"),
        ("pci_device_id", "0x1042", "PCIID_FORBIDDEN"),
        ("shell_version", "0x04261818", "SHELL_VERSION_DEPRECATED"),
        ("shell_version", "0x12345678", "SHELL_VERSION_INVALID"),
        ("shell_version", "small_shell", "SHELL_VERSION_INVALID"),
        ("clock_recipe_a", "A9", "CLK_ILLEGAL"),
        ("clock_recipe_hbm", "H5", "CLK_ILLEGAL"),
        ("tool_version", "v2019.1", "TOOL_VERSION_INVALID"),
        ("tool_version", "2025.2", "TOOL_VERSION_INVALID"),
        ("tool_version", "v2025.1", "TOOL_VERSION_INVALID"),
        ("dcp_hash", "0" * 64, "DCP_INTEGRITY_UNVERIFIED"),
        ("dcp_hash", "beef", "DCP_INTEGRITY_UNVERIFIED"),
        ("dcp_file_name", "other.SH_CL_routed.dcp", "DCP_NOT_FOUND"),
        ("dcp_file_name", "../elsewhere.dcp", "DCP_NOT_FOUND"),
    ],
)
def test_a_wrong_value_of_the_manifest_has_aws_failure_code(tmp_path: Path, key: str, value: str, code: str) -> None:
    assert _with(tmp_path, lambda values: values.update({key: value})) == {code}


@pytest.mark.parametrize("key", ["dcp_hash", "dcp_file_name", "tool_version", "shell_version", "pci_vendor_id", "date"])
def test_a_missing_key_is_a_manifest_that_cannot_be_parsed(tmp_path: Path, key: str) -> None:
    assert "MANIFEST_PARSE_FAILED" in _with(tmp_path, lambda values: values.pop(key))


def test_a_release_that_the_users_kit_lists_is_taken(tmp_path: Path) -> None:
    found = checkpoint.read(write_checkpoint(tmp_path / NAME, tool="v2026.1"))
    tar = package.write(found, F2, "2.4.0", tmp_path)
    assert {finding.code for finding in package.check(tar, F2)} == {"TOOL_VERSION_INVALID"}
    assert package.check(tar, F2, ("v2026.1",)) == []


@pytest.mark.parametrize("note", [b"no equals sign\n", b"a=1\na=2\n", b"key=\n", b"=value\n", b"\xff\xfe=1\n"])
def test_a_manifest_of_other_lines_cannot_be_parsed(tmp_path: Path, note: bytes) -> None:
    tar = _tar(tmp_path / "x.tar", {f"to_aws/{TAG}.manifest.txt": note})
    findings = package.check(tar, F2)
    assert {finding.code for finding in findings} == {"MANIFEST_PARSE_FAILED"}
    assert all(finding.remedy for finding in findings)


def test_f1_must_name_the_recipe_of_its_clock(tmp_path: Path) -> None:
    values, dcp = _members(tmp_path)
    values["shell_version"] = F1.shell_version
    del values["clock_recipe_a"]
    note = "".join(f"{key}={value}\n" for key, value in values.items()).encode()
    tar = _tar(tmp_path / "x.tar", {f"to_aws/{TAG}.manifest.txt": note, f"to_aws/{TAG}.SH_CL_routed.dcp": dcp})
    assert "CLK_ILLEGAL" in {finding.code for finding in package.check(tar, F1)}


def test_no_manifest_or_two_are_found(tmp_path: Path) -> None:
    values, dcp = _members(tmp_path)
    note = "".join(f"{key}={value}\n" for key, value in values.items()).encode()
    alone = _tar(tmp_path / "none.tar", {f"to_aws/{TAG}.SH_CL_routed.dcp": dcp})
    two = _tar(tmp_path / "two.tar", {"to_aws/a.manifest.txt": note, "to_aws/b.manifest.txt": note})
    for tar in (alone, two):
        assert [finding.code for finding in package.check(tar, F2)] == ["MANIFEST_NOT_FOUND"]


@pytest.mark.parametrize("name", ["manifest.txt", "to_aws/../../etc/passwd", "/to_aws/a.dcp", "to_aws/deep/a.dcp"])
def test_files_outside_the_folder_are_found(tmp_path: Path, name: str) -> None:
    tar = _tar(tmp_path / "x.tar", {name: b""})
    assert [finding.code for finding in package.check(tar, F2)] == ["CORRUPT_ARCHIVE"]


def test_a_size_beyond_any_disk_is_found(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("to_aws/a.manifest.txt")
    entry.size = 1 << 70
    (tmp_path / "x.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert [finding.code for finding in package.check(tmp_path / "x.tar", F2)] == ["CORRUPT_ARCHIVE"]


def test_a_manifest_of_megabytes_is_not_read(tmp_path: Path) -> None:
    tar = _tar(tmp_path / "x.tar", {"to_aws/a.manifest.txt": bytes(1 << 17)})
    assert [finding.code for finding in package.check(tar, F2)] == ["MANIFEST_PARSE_FAILED"]


def test_a_link_is_no_checkpoint(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        entry = tarfile.TarInfo("to_aws/a.dcp")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    assert [finding.code for finding in package.check(tmp_path / "x.tar", F2)] == ["CORRUPT_ARCHIVE"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "INPUT_SIZE_ILLEGAL"), (b"PK\x03\x04", "CORRUPT_ARCHIVE"), (b"x" * 4096, "CORRUPT_ARCHIVE")]
)
def test_a_file_that_is_no_tar_is_found(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    assert [finding.code for finding in package.check(tmp_path / "x.tar", F2)] == [code]


def test_a_compressed_tar_is_found(tmp_path: Path) -> None:
    tar = _tar(tmp_path / "x.tar", {"to_aws/a.manifest.txt": b"a=1\n"}, "w:gz")
    assert [finding.code for finding in package.check(tar, F2)] == ["CORRUPT_ARCHIVE"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="can be read"):
        package.check(tmp_path / "nowhere.tar", F2)


def test_a_checkpoint_for_another_part_is_found(tmp_path: Path) -> None:
    found = checkpoint.read(write_checkpoint(tmp_path / NAME, part=F1.part))
    tar = package.write(found, F2, "2.3.2", tmp_path)
    assert [finding.code for finding in package.check(tar, F2)] == ["WRONG_PART"]


def test_a_damaged_checkpoint_under_a_true_hash_is_found(tmp_path: Path) -> None:
    values, dcp = _members(tmp_path)
    damaged = dcp.replace(b"netlist", b"nutlist")
    values["dcp_hash"] = hashlib.sha256(damaged).hexdigest()
    note = "".join(f"{key}={value}\n" for key, value in values.items()).encode()
    tar = _tar(tmp_path / "x.tar", {f"to_aws/{TAG}.manifest.txt": note, f"to_aws/{TAG}.SH_CL_routed.dcp": damaged})
    assert [finding.code for finding in package.check(tar, F2)] == ["DCP_CORRUPT"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package nothing is wrong with."""
    return _packed(tmp_path_factory.mktemp("good"))


@given(st.data())
def test_a_package_cut_anywhere_within_its_files_is_found(good: Path, data: st.DataObject) -> None:
    whole = good.read_bytes()
    with tarfile.open(good) as archive:
        end = max(member.offset_data + member.size for member in archive.getmembers())
    cut = good.with_name("cut.tar")
    cut.write_bytes(whole[: data.draw(st.integers(0, end - 1))])
    assert package.check(cut, F2)


@given(st.data())
def test_a_byte_changed_anywhere_in_the_files_is_found(good: Path, data: st.DataObject) -> None:
    whole = bytearray(good.read_bytes())
    with tarfile.open(good) as archive:
        member = archive.getmember(f"to_aws/{TAG}.SH_CL_routed.dcp")
    at = data.draw(st.integers(member.offset_data, member.offset_data + member.size - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    changed = good.with_name("changed.tar")
    changed.write_bytes(whole)
    assert package.check(changed, F2)


@given(st.binary(max_size=3000))
def test_no_bytes_make_the_validator_fail(good: Path, noise: bytes) -> None:
    odd = good.with_name("odd.tar")
    odd.write_bytes(noise)
    assert package.check(odd, F2)


@given(st.data())
def test_no_change_of_the_tars_headers_makes_the_validator_fail(good: Path, data: st.DataObject) -> None:
    whole = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    changed = good.with_name("header.tar")
    changed.write_bytes(whole)
    assert isinstance(package.check(changed, F2), list)


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_code_is_explained_with_a_remedy(code: str) -> None:
    assert explain(f"{code}: something") == (code, *FAILURES[code])
    assert all(FAILURES[code])


def test_an_unknown_failure_shows_what_aws_said() -> None:
    assert explain("the moon was full")[:2] == ("unknown", "the moon was full")
