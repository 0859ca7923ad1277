"""What a build machine lacks is found and named. The checkouts here are a few files of the test's own, none of them AWS's."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from sentinel.errors import ImageError
from sentinel.image import build_host, hdk, synthesis
from sentinel.image.build import Build
from sentinel.image.files import digest
from sentinel.image.local_steps import Synthesise
from sentinel.image.request import Request
from sentinel.image.state import State, locked
from sentinel.image.targets import F1, F2
from tests.image.checkpoints import write_checkpoint


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's outer form; nothing in the environment names another."""
    for name in ("AWS_FPGA_REPO_DIR", "HDK_DIR", "HDK_SHELL_DIR"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "aws-fpga"
    shell = root / "hdk/common/shell_stable"
    (shell / "build/checkpoints/from_aws").mkdir(parents=True)
    (root / "hdk/common/ip").mkdir()
    (root / "hdk_setup.sh").write_text("[ $# -eq 0 ] && echo no kit here >&2; return 1\n")
    (root / "release_version.txt").write_text("RELEASE_VERSION=2.3.2\n")
    (root / "supported_vivado_versions.txt").write_text("vivado v2024.1 (64-bit)\nVivado v2025.2 (64-bit)\n")
    (shell / "shell_version.txt").write_text("small_shell=0x10212415\n")
    return root


def test_a_checkout_tells_its_versions(kit: Path) -> None:
    found = hdk.find(kit)
    assert (found.version, found.shell_version, found.vivado_versions) == ("2.3.2", "0x10212415", ("v2024.1", "v2025.2"))
    assert build_host.kit(kit, F2) == f"2.3.2 at {kit}, shell 0x10212415"


@pytest.mark.parametrize("name", ["AWS_FPGA_REPO_DIR", "HDK_DIR"])
def test_a_checkout_is_found_as_its_setup_script_names_it(kit: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, str(kit / "hdk" if name == "HDK_DIR" else kit))
    assert hdk.find(None).root == kit


def test_the_hdk_directory_may_be_given_instead_of_the_checkout(kit: Path) -> None:
    assert hdk.find(kit / "hdk").root == kit


def test_no_checkout_is_an_error_that_says_how_to_get_one(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="git clone"):
        hdk.find(None)
    with pytest.raises(ImageError, match=r"hdk_setup\.sh"):
        hdk.find(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["release_version.txt", "hdk/common/shell_stable/shell_version.txt"])
@pytest.mark.parametrize("content", [None, "", "something=else\n"])
def test_a_damaged_checkout_is_named(kit: Path, name: str, content: str | None) -> None:
    if content is None:
        (kit / name).unlink()
    else:
        (kit / name).write_text(content)
    with pytest.raises(ImageError, match="again"):
        build_host.kit(kit, F2)


def test_a_kit_of_another_shell_is_refused(kit: Path) -> None:
    with pytest.raises(ImageError, match="0x04261818"):
        build_host.kit(kit, F1)


def test_without_vivado_the_remedy_is_told(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"settings64\.sh.*--dcp"):
        build_host.vivado(kit)


def test_without_git_lfs_the_remedy_is_told(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="apt-get install git-lfs"):
        build_host.git_lfs(kit)


def test_a_shell_checkpoint_with_its_checksum_is_taken_and_no_other(kit: Path) -> None:
    path = hdk.find(kit).shell_checkpoint
    with pytest.raises(ImageError, match="which downloads it"):
        build_host.shell_checkpoint(kit)
    path.write_bytes(b"shell")
    with pytest.raises(ImageError, match="a checksum beside it"):
        build_host.shell_checkpoint(kit)
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(b"shell").hexdigest() + "  cl_bb_routed.small_shell.dcp\n")
    assert build_host.shell_checkpoint(kit) == "cl_bb_routed.small_shell.dcp, checksum right"
    path.write_bytes(b"shall")
    with pytest.raises(ImageError, match="it is damaged"):
        build_host.shell_checkpoint(kit)


def test_our_own_names_and_ids_are_those_the_kits_script_reads_rightly() -> None:
    assert build_host.names(F2) == "cl_sentinel, device 1D0F:F051 for f2"


def test_a_disk_that_is_too_small_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_host, "_DISK_GIB", 1 << 30)
    with pytest.raises(ImageError, match="make room"):
        build_host.disk(tmp_path / "not" / "yet")
    assert build_host.disk(tmp_path, synthesis=False).endswith("GiB free")


def test_a_build_whose_environment_cannot_be_made_ends_with_what_its_log_says(kit: Path, tmp_path: Path) -> None:
    root, log = tmp_path / "f2" / "cl_sentinel", tmp_path / "f2" / "synthesise.log"
    (root / "build/scripts").mkdir(parents=True)
    with locked(tmp_path / "f2") as lock, pytest.raises(ImageError, match="no kit here") as caught:
        synthesis.run(hdk.find(kit), root, "2026_11_01-120000", log, lock)
    assert caught.value.value == "status 1"
    assert "no kit here" in log.read_text()


def test_a_build_that_ends_well_without_a_checkpoint_has_failed(kit: Path, tmp_path: Path) -> None:
    root, log = tmp_path / "f2" / "cl_sentinel", tmp_path / "f2" / "synthesise.log"
    (root / "build/scripts").mkdir(parents=True)
    (kit / "hdk_setup.sh").write_text("echo 'ERROR: nothing to route'; exit 0\n")
    log.write_text("ERROR: of an earlier run\n")
    with locked(tmp_path / "f2") as lock, pytest.raises(ImageError, match="ERROR: nothing to route") as caught:
        synthesis.run(hdk.find(kit), root, "2026_11_01-120000", log, lock)
    assert "earlier" not in caught.value.remedy


def test_a_build_that_goes_on_without_us_keeps_the_directory(kit: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "f2") as lock:
        left = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with pytest.raises(ImageError, match="a Vivado it has started goes on"), locked(tmp_path / "f2"):
            pass
    finally:
        left.kill()
        left.wait()
    with locked(tmp_path / "f2"):
        pass


@pytest.fixture
def left(kit: Path, tmp_path: Path) -> Build:
    """A build whose Vivado was begun, and has gone on without it to its checkpoint. No Vivado is here."""
    request = Request(target=F2, directory=tmp_path / "f2", stop_after="synthesise", hdk=kit)
    build = Build(request, State(request.directory), -1, lambda step, text: None)
    build.made["emit"] = {"files": "ab" * 32}
    build.state.begin("synthesise", {"inputs": digest(Synthesise().inputs(build)), "tag": "2026_11_01-120000"})
    write_checkpoint(build.root / "build/checkpoints/cl_sentinel.2026_11_01-120000.post_route.VIOLATED.dcp")
    return build


def test_the_checkpoint_of_a_build_that_went_on_alone_is_taken(left: Build) -> None:
    made = Synthesise().run(left)
    assert made["checkpoint"].endswith("post_route.VIOLATED.dcp")
    assert (made["hdk_version"], made["tool_versions"]) == ("2.3.2", ["v2024.1", "v2025.2"])
    assert Synthesise().intact(left, made)


@pytest.mark.parametrize("why", ["forced", "other sources", "cut short", "none"])
def test_no_other_checkpoint_is_taken_for_it(left: Build, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (path,) = (left.root / "build/checkpoints").iterdir()
    left.forced = why == "forced"
    if why == "other sources":
        left.made["emit"] = {"files": "cd" * 32}
    elif why == "cut short":
        path.write_bytes(path.read_bytes()[:-10])
    elif why == "none":
        path.unlink()
    with pytest.raises(ImageError, match="Vivado on the PATH"):
        Synthesise().run(left)
