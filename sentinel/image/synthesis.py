"""From the project to a routed checkpoint, by the HDK's own script in an environment its setup script made.

The script ends with status 0 whether Vivado succeeded or not, and packs a checkpoint that misses its timing like any other. So
success is a checkpoint of this build's tag that can be read, and its name says whether the timing is met.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from sentinel.errors import ImageError
from sentinel.image.checkpoint import Checkpoint, read
from sentinel.image.custom_logic import TOP
from sentinel.image.hdk import Hdk

# The setup script would take this script's arguments for its own, so they are put away first.
_BUILD = """
kit=$0 project=$1 top=$2 tag=$3
set --
case "${HDK_SHELL_DIR:-}" in "$kit"/*) ;; *) source "$kit/hdk_setup.sh" || exit 1 ;; esac
export CL_DIR="$project"
cd "$CL_DIR/build/scripts" && ./link_hdk.sh && exec python3 ./aws_build_dcp_from_cl.py -c "$top" -t "$tag"
"""


def run(hdk: Hdk, root: Path, tag: str, log: Path, lock: int) -> Checkpoint:
    """Build ``root``'s checkpoint under ``tag``, one to three hours. The log is appended to.

    The build has a session of its own: it outlives a lost terminal, holds ``lock`` as long as it runs, and ends with Ctrl-C.
    Raises ImageError where no checkpoint comes out, with the errors of the log.
    """
    try:
        with log.open("ab") as written:
            start = written.tell()
            child = subprocess.Popen(
                ["bash", "-c", _BUILD, str(hdk.root), str(root), TOP, tag],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
    except OSError as error:
        raise ImageError("synthesis", str(log), "a build that can be started", str(error)) from None
    try:
        status = child.wait()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        raise
    found = checkpoint_of(root, tag)
    if found is None:
        remedy = f"read {log} and {root / 'build/scripts' / f'{tag}.vivado.log'}: {_errors(log, start)}"
        raise ImageError("synthesis", f"status {status}", f"a checkpoint {TOP}.{tag}.post_route.dcp", remedy)
    return found


def checkpoint_of(root: Path, tag: str) -> Checkpoint | None:
    """What a build of this tag has left, None where it left nothing. Raises ImageError for a checkpoint cut short."""
    for name in (f"{TOP}.{tag}.post_route.VIOLATED.dcp", f"{TOP}.{tag}.post_route.dcp"):
        path = root / "build/checkpoints" / name
        if path.exists():
            return read(path)
    return None


def _errors(log: Path, start: int) -> str:
    """The last errors a log has from ``start`` on, in one line."""
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError as error:
        return str(error)
    lines = re.findall(r"^.*\b(?:ERROR|err_msg|No such file)\b.*$", text, re.MULTILINE) or text.splitlines()[-3:]
    return " / ".join(line.strip() for line in lines[-3:]) or "the log is empty"
