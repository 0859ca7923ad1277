"""The custom-logic project of a target, as the HDK expects it: ``cl_sentinel/{design,build}``.

Everything in it is written here; of the HDK it needs nothing until Vivado starts (``build/scripts/link_hdk.sh``).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sentinel.errors import ConfigError
from sentinel.image.custom_logic import TOP, shell_ports, top_text
from sentinel.image.targets import AFI, Target

#: PCIe ids, in the only form the HDK's script cuts apart rightly: the device begins with F, one underscore.
ID_VENDOR, ID_DEVICE, ID_SUBSYSTEM_VENDOR, ID_SUBSYSTEM = 0x1D0F, 0xF051, 0x1D0F, 0xF052
_CONSTRAINTS = ("cl_synth_user.xdc", "cl_timing_user.xdc", "small_shell_cl_pnr_user.xdc")


def default_directory(target: Target) -> Path:
    """``afi/build/<target>`` of the checkout."""
    return AFI / "build" / target.name


def id_defines() -> str:
    """``cl_id_defines.vh``; the build script greps it for the manifest."""
    return (
        "// Device and vendor, subsystem and its vendor.\n"
        f"`define CL_SH_ID0 32'h{ID_DEVICE:04X}_{ID_VENDOR:04X}\n"
        f"`define CL_SH_ID1 32'h{ID_SUBSYSTEM:04X}_{ID_SUBSYSTEM_VENDOR:04X}\n"
    )


def written(root: Path) -> list[Path]:
    """The files of the project in ``root`` that a checkpoint is made of; what Vivado adds is not among them."""
    names = [
        f"build/scripts/synth_{TOP}.tcl",
        "build/scripts/link_hdk.sh",
        *(f"build/constraints/{name}" for name in _CONSTRAINTS),
    ]
    return [*sorted((root / "design").glob("*")), *(root / name for name in names)]


def emit(target: Target, directory: Path) -> Path:
    """Write ``directory/cl_sentinel`` anew and return it. Checkpoints of an earlier build are kept.

    Raises ConfigError outside a checkout or where the directory cannot be written, CoreError or ToolError where the core
    cannot be emitted.
    """
    from sentinel_hdl.tools import emit as cores

    shell = cores.emitted("shell").read_text()
    files = {
        f"design/{TOP}.sv": top_text(target, shell_ports(shell)),
        "design/sentinel_shell.v": shell,
        "design/cl_id_defines.vh": id_defines(),
        f"design/{TOP}_defines.vh": f"// The name by which the HDK's simulations take the custom logic.\n`define CL_NAME {TOP}\n",
        f"build/scripts/synth_{TOP}.tcl": (AFI / "project" / "synth.tcl").read_text(),
        "build/scripts/link_hdk.sh": (AFI / "project" / "link_hdk.sh").read_text(),
        **{f"build/constraints/{name}": (AFI / "project" / name).read_text() for name in _CONSTRAINTS},
    }
    if target.unused_window:
        files["design/sentinel_refuse.v"] = cores.emitted("refuse").read_text()
    root = directory / TOP
    try:
        # A file of an earlier version must not be synthesised with the new ones.
        shutil.rmtree(root / "design", ignore_errors=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in ("build/checkpoints", "build/reports", "build/src_post_encryption"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "build/scripts/link_hdk.sh").chmod(0o755)
    except OSError as error:
        raise ConfigError("out", str(root), "a directory that can be written", str(error)) from None
    return root
