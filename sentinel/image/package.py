"""The package AWS makes an image from: an uncompressed tar with the checkpoint and its manifest in ``to_aws/``.

The same checkpoint gives the same bytes: names and times come from the checkpoint's tag, owners are nobody.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import os
import re
import tarfile
import time
from pathlib import Path

from sentinel.errors import ImageError
from sentinel.image import manifest, project
from sentinel.image.checkpoint import Checkpoint, contents
from sentinel.image.manifest import Finding
from sentinel.image.targets import Target

_FOLDER = "to_aws"
#: Far above any manifest.
_MANIFEST_BYTES = 1 << 16


def manifest_of(checkpoint: Checkpoint, target: Target, hdk_version: str) -> dict[str, str]:
    """Values of the manifest for a checkpoint of our project."""
    return {
        "manifest_format_version": manifest.FORMAT,
        "pci_vendor_id": f"0x{project.ID_VENDOR:04X}",
        "pci_device_id": f"0x{project.ID_DEVICE:04X}",
        "pci_subsystem_id": f"0x{project.ID_SUBSYSTEM:04X}",
        "pci_subsystem_vendor_id": f"0x{project.ID_SUBSYSTEM_VENDOR:04X}",
        "dcp_hash": checkpoint.sha256,
        "shell_version": target.shell_version,
        "dcp_file_name": f"{checkpoint.tag}.SH_CL_routed.dcp",
        "hdk_version": hdk_version,
        "tool_version": checkpoint.tool_version,
        "date": checkpoint.tag,
        **manifest.DEFAULT_RECIPES,
    }


def write(checkpoint: Checkpoint, target: Target, hdk_version: str, directory: Path) -> Path:
    """``<tag>.Developer_CL.tar`` in ``directory``, there whole or not at all. Raises ImageError where it cannot be written."""
    path = directory / f"{checkpoint.tag}.Developer_CL.tar"
    partial = path.with_name(path.name + ".partial")
    seconds = _seconds(checkpoint.tag)
    note = manifest.text(manifest_of(checkpoint, target, hdk_version)).encode()

    def entry(name: str, size: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(f"{_FOLDER}/{checkpoint.tag}.{name}")
        info.size, info.mtime, info.mode = size, seconds, 0o644
        return info

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file, checkpoint.path.open("rb") as source:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                archive.addfile(entry("manifest.txt", len(note)), io.BytesIO(note))
                archive.addfile(entry("SH_CL_routed.dcp", checkpoint.path.stat().st_size), source)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ImageError("package", str(path), "a file that can be written", str(error)) from None
    return path


def _seconds(tag: str) -> int:
    """The tag's time, 0 for digits that are none."""
    try:
        return calendar.timegm(time.strptime(tag, "%Y_%m_%d-%H%M%S"))
    except ValueError:
        return 0


def manifest_in(path: Path) -> dict[str, str]:
    """The manifest's values in a package that :func:`check` has found nothing against."""
    with tarfile.open(path, mode="r:") as archive:
        name = next(name for name in archive.getnames() if name.endswith("manifest.txt"))
        return manifest.parse(_open(archive, archive.getmember(name)).read())[0]


def check(path: Path, target: Target, tool_versions: tuple[str, ...] = ()) -> list[Finding]:
    """Everything AWS would refuse in a package that can be seen from outside, an empty list where it would take it.

    ``tool_versions`` are taken besides those of the target. Raises ImageError where the file cannot be read.
    """
    try:
        if path.stat().st_size == 0:
            return [Finding("INPUT_SIZE_ILLEGAL", "package", "0 bytes", "package the checkpoint again")]
        with tarfile.open(path, mode="r:") as archive:
            return _check_members(archive, path, target, tool_versions + target.tool_versions)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        remedy = "an uncompressed tar, whole: package the checkpoint again, or copy the file again"
        return [Finding("CORRUPT_ARCHIVE", "package", str(error), remedy)]
    except OSError as error:
        raise ImageError("package", str(path), "a file that can be read", str(error)) from None


def _check_members(archive: tarfile.TarFile, path: Path, target: Target, tools: tuple[str, ...]) -> list[Finding]:
    members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
    odd = [name for name, member in members.items() if not (member.isfile() or (member.isdir() and name in (".", _FOLDER)))]
    odd += [name for name in members if name not in (".", _FOLDER) and not re.fullmatch(rf"{_FOLDER}/[^/]+", name)]
    if odd:
        return [Finding("CORRUPT_ARCHIVE", "member", odd[0], f"only plain files, in {_FOLDER}/")]
    last = max((member.offset_data + member.size for member in members.values()), default=0)
    if last > path.stat().st_size:
        return [Finding("CORRUPT_ARCHIVE", "package", f"{path.stat().st_size} bytes of {last}", "it is cut off: copy it again")]
    notes = [name for name in members if name.endswith("manifest.txt")]
    checkpoints = [name for name in members if name.endswith(".dcp")]
    if len(notes) != 1:
        return [Finding("MANIFEST_NOT_FOUND", "package", f"{len(notes)} manifests", f"one {_FOLDER}/<tag>.manifest.txt")]
    if members[notes[0]].size > _MANIFEST_BYTES:
        return [
            Finding("MANIFEST_PARSE_FAILED", "manifest", f"{members[notes[0]].size} bytes", "a manifest is a few hundred bytes")
        ]
    values, findings = manifest.parse(_open(archive, members[notes[0]]).read())
    findings += manifest.check(values, target, tools)
    name = f"{_FOLDER}/{values.get('dcp_file_name', '')}"
    if "dcp_file_name" not in values:
        return findings
    if name not in members:
        held = ", ".join(checkpoints) or "none"
        return [*findings, Finding("DCP_NOT_FOUND", "dcp_file_name", name, f"name the checkpoint that is there ({held})")]
    return findings + _check_checkpoint(_open(archive, members[name]), name, values.get("dcp_hash", ""), target, values)


def _open(archive: tarfile.TarFile, member: tarfile.TarInfo) -> io.BufferedReader:
    file = archive.extractfile(member)
    assert isinstance(file, io.BufferedReader), member.name
    return file


def _check_checkpoint(file: io.BufferedReader, name: str, stated: str, target: Target, values: dict[str, str]) -> list[Finding]:
    found: list[Finding] = []
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stated and stated.lower() != digest:
        remedy = "the checkpoint is not the one the manifest was written for: package it again"
        found.append(Finding("DCP_INTEGRITY_UNVERIFIED", "dcp_hash", stated, remedy))
    file.seek(0)
    try:
        said = contents(file, name)
    except ImageError as error:
        return [*found, Finding("DCP_CORRUPT", "checkpoint", name, f"{error.allowed}; {error.remedy}")]
    if said.part != target.part:
        found.append(Finding("WRONG_PART", "checkpoint", said.part, f"route it for {target.part}, the part of {target.name}"))
    tool = values.get("tool_version", said.tool_version)
    if tool != said.tool_version:
        found.append(Finding("TOOL_VERSION_INVALID", "tool_version", tool, f"the checkpoint was written by {said.tool_version}"))
    return found
