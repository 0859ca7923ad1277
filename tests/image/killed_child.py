"""The real command in a process of its own that kills itself where it is told.

    python killed_child.py POINT DIRECTORY ARGUMENT...

POINT counts what the command does to files in DIRECTORY: every opening for writing and every renaming. At the POINT-th it is
killed with SIGKILL before that happens; with POINT 0 it lives, and says on its last line of stderr how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main() -> None:
    """Run the command with the arguments."""
    point, directory = int(sys.argv[1]), os.path.realpath(sys.argv[2])
    del sys.argv[1:3]
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set("wax+") & set(mode)) if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))
        else:
            path, writes = arguments[0] if arguments else "", event == "os.rename"
        if writes and isinstance(path, (str, os.PathLike)) and os.path.realpath(path).startswith(directory):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    from sentinel.cli.main import main as command

    try:
        command()
    finally:
        print(f"points {seen}", file=sys.stderr)


if __name__ == "__main__":
    main()
