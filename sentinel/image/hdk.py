"""The user's checkout of AWS's FPGA kit, and the Vivado beside it. Nothing of the kit is kept here; its files are only read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sentinel.errors import ImageError

KIT = "https://github.com/aws/aws-fpga"
_SHELL = Path("hdk/common/shell_stable")


@dataclass(frozen=True)
class Hdk:
    """A checkout: ``root`` has ``hdk_setup.sh`` in it."""

    root: Path

    @property
    def version(self) -> str:
        """For example 2.3.2. Raises ImageError where the checkout does not say."""
        return self._value(self.root / "release_version.txt", "RELEASE_VERSION")

    @property
    def shell_version(self) -> str:
        """Of the small shell, for example 0x10212415. Raises ImageError where the checkout does not say."""
        return self._value(self.root / _SHELL / "shell_version.txt", "small_shell")

    @property
    def vivado_versions(self) -> tuple[str, ...]:
        """Releases this kit takes, each as v2025.2."""
        return tuple(re.findall(r"\bv\d{4}\.\d[\w.]*", self._text(self.root / "supported_vivado_versions.txt")))

    @property
    def shell_checkpoint(self) -> Path:
        """The routed shell, which ``hdk_setup.sh`` downloads; its SHA-256 stands in a file of the same name beside it."""
        return self.root / _SHELL / "build/checkpoints/from_aws/cl_bb_routed.small_shell.dcp"

    @property
    def libraries(self) -> Path:
        """Sources that come by git-lfs on kits from 2.1 on."""
        return self.root / "hdk/common/ip"

    def _value(self, path: Path, key: str) -> str:
        found = re.search(rf"^{key}\s*=\s*(\S+)", self._text(path), re.MULTILINE)
        if found is None:
            raise ImageError("hdk", str(path), f"a line {key}=...", "the checkout is damaged: check it out again")
        return found[1]

    def _text(self, path: Path) -> str:
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ImageError("hdk", str(path), f"a file of {KIT}", f"check the kit out again ({error})") from None


def find(given: Path | None) -> Hdk:
    """The checkout ``given``, or the one the environment names by AWS_FPGA_REPO_DIR or HDK_DIR. Raises ImageError."""
    named = given
    if named is None and os.environ.get("AWS_FPGA_REPO_DIR"):
        named = Path(os.environ["AWS_FPGA_REPO_DIR"])
    if named is None and os.environ.get("HDK_DIR"):
        named = Path(os.environ["HDK_DIR"]).parent
    if named is None:
        remedy = f"git clone --branch f2 {KIT}, then give --hdk DIR or set AWS_FPGA_REPO_DIR"
        raise ImageError("hdk", None, "a checkout of AWS's FPGA kit", remedy)
    for root in (named, named.parent):
        if (root / "hdk_setup.sh").is_file():
            return Hdk(root.resolve())
    raise ImageError("hdk", str(named), "a directory with hdk_setup.sh", f"name the checkout of {KIT}")


def vivado_version() -> str:
    """Of the Vivado on the PATH, as v2025.2. Raises ImageError where there is none or it does not answer."""
    found = shutil.which("vivado")
    remedy = "source Vivado's settings64.sh, or work on AWS's FPGA Developer AMI; --dcp takes a checkpoint made elsewhere"
    if found is None:
        raise ImageError("vivado", None, "Vivado on the PATH", remedy)
    try:
        done = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError("vivado", found, "a Vivado that answers -version", f"{remedy} ({error})") from None
    version = re.search(r"^vivado (v\S+)", done.stdout, re.MULTILINE | re.IGNORECASE)
    if done.returncode != 0 or version is None:
        said = (done.stdout + done.stderr).strip()[-200:]
        raise ImageError("vivado", found, "a Vivado that answers -version", f"{remedy}; it said {said!r}")
    return version[1]
