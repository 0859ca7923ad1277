"""A simulated exchange in a process of its own, gone when this process is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from types import TracebackType
from typing import Any

from sentinel.errors import VenueError

_START_TIMEOUT_S = 60.0


class VenueProcess:
    """``async with VenueProcess(args) as urls``: runs ``python -m sentinel.sim.venue`` and yields its announced endpoints.

    Its stdin is a pipe of ours: when this process ends, however it ends, the venue sees the end of file and exits.
    Raises VenueError when it does not start.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        self._arguments = arguments
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> dict[str, Any]:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sentinel.sim.venue",
            *self._arguments,
            "--exit-with-stdin",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            # Ctrl-C is for this process alone, which ends the venue once it has no more use for it.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _START_TIMEOUT_S)
            ready: dict[str, Any] = json.loads(line)
        except (TimeoutError, ValueError) as error:
            await self.__aexit__(None, None, None)
            what = "no answer" if isinstance(error, TimeoutError) else f"ended with status {self._process.returncode}"
            raise VenueError("simulated exchange", what, "a start within a minute", "read its message above") from None
        if "error" in ready:
            await self.__aexit__(None, None, None)
            raise VenueError(**ready["error"])
        return ready

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5.0)
        if process.returncode is None:
            process.kill()
            await process.wait()
