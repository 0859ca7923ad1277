"""What a machine must have to build a checkpoint. Each question is answered, or ImageError raised with the remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from sentinel.errors import ImageError
from sentinel.image import hdk, manifest, project
from sentinel.image.files import sha256
from sentinel.image.targets import Target

#: AWS asks for 4 vCPU and 32 GiB, of which the kernel keeps some. The disk is our figure: checkpoints, reports and logs.
_CPUS, _MEMORY_GIB, _DISK_GIB, _DISK_GIB_WITHOUT_BUILD = 4, 30, 20, 2
_POINTER = b"version https://git-lfs.github.com/spec/"


def kit(given: Path | None, target: Target) -> str:
    """The checkout ``given`` or named by the environment, and its shell."""
    found = hdk.find(given)
    if found.shell_version.lower() != target.shell_version:
        remedy = "check out the branch f2 of the kit, or a Sentinel made for that shell"
        raise ImageError("hdk shell", found.shell_version, target.shell_version, remedy)
    return f"{found.version} at {found.root}, shell {found.shell_version}"


def vivado(given: Path | None) -> str:
    """The Vivado on the PATH, which the kit must list."""
    version = hdk.vivado_version()
    found = hdk.find(given)
    allowed = found.vivado_versions
    if version not in allowed:
        remedy = f"source settings64.sh of one of them: kit {found.version} takes no other"
        raise ImageError("vivado", version, f"one of {', '.join(allowed)}", remedy)
    return version


def git_lfs(given: Path | None) -> str:
    """git-lfs, and no pointer left where it should have brought a file."""
    done = _said(["git", "lfs", "version"])
    if done is None:
        remedy = "install it (Debian: apt-get install git-lfs), run git lfs install, source hdk_setup.sh again"
        raise ImageError("git-lfs", None, "git-lfs", remedy)
    found = hdk.find(given)
    for path in found.libraries.rglob("*"):
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(_POINTER):
            raise ImageError("git-lfs", str(path), "the file, not a pointer to it", f"git -C {found.root} lfs pull")
    return done.split(" ")[0]


def shell_checkpoint(given: Path | None) -> str:
    """The routed shell, with the checksum that came with it."""
    found = hdk.find(given)
    path = found.shell_checkpoint
    remedy = f"source {found.root}/hdk_setup.sh, which downloads it"
    if not path.is_file():
        raise ImageError("shell checkpoint", str(path), "a file", remedy)
    try:
        stated = path.with_name(path.name + ".sha256").read_text().split()[0].lower()
    except (OSError, IndexError) as error:
        raise ImageError("shell checkpoint", str(path), "a checksum beside it", f"{remedy} ({error})") from None
    if sha256(path) != stated:
        raise ImageError("shell checkpoint", str(path), f"SHA-256 {stated[:16]}...", f"it is damaged: delete it and {remedy}")
    return f"{path.name}, checksum right"


def names(target: Target) -> str:
    """The project's name and ids, in the form the HDK's script cuts apart rightly."""
    ids = re.findall(r"32'h(\w{4})_(\w{4})\b", project.id_defines())
    (device, vendor), (subsystem, subsystem_vendor) = ids
    values = {
        "pci_vendor_id": vendor,
        "pci_device_id": device,
        "pci_subsystem_id": subsystem,
        "pci_subsystem_vendor_id": subsystem_vendor,
    }
    found = manifest.check_ids({key: f"0x{value}" for key, value in values.items()})
    odd = [device for device in (device, subsystem) if not device.startswith("F")]
    if found or odd:
        raise ImageError("ids", values, "ids AWS takes, devices that begin with F", "change sentinel/image/project.py")
    return f"{project.TOP}, device {vendor}:{device} for {target.name}"


def disk(directory: Path, synthesis: bool = True) -> str:
    """Room where the build writes."""
    while not directory.exists():
        directory = directory.parent
    free, needed = shutil.disk_usage(directory).free / 2**30, _DISK_GIB if synthesis else _DISK_GIB_WITHOUT_BUILD
    if free < needed:
        raise ImageError("disk", f"{free:.1f} GiB", f"{needed} GiB free at {directory}", "make room, or give --out elsewhere")
    return f"{free:.0f} GiB free"


def memory() -> str:
    """RAM and processors."""
    gib, cpus = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, os.cpu_count() or 1
    if gib < _MEMORY_GIB or cpus < _CPUS:
        remedy = "build on a larger machine, for example c5.9xlarge, and bring the checkpoint here with --dcp"
        raise ImageError("memory", f"{gib:.0f} GiB, {cpus} CPUs", f"32 GiB and {_CPUS} CPUs", remedy)
    return f"{gib:.0f} GiB, {cpus} CPUs"


def hdk_version_of_checkpoint(given: Path | None) -> str:
    """Of the kit that a checkpoint from elsewhere was built with, which the checkpoint does not say."""
    try:
        return hdk.find(given).version
    except ImageError as error:
        remedy = "give --hdk-version as in that checkout's release_version.txt, or --hdk DIR"
        raise ImageError(
            "hdk_version", None, "the version of the HDK the checkpoint was built with", f"{remedy} ({error})"
        ) from None


def _said(words: list[str]) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
