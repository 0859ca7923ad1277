"""Tells the person who waits that a first start compiles the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener
from rich.console import Console

#: A function or two compiled anew are not worth a word.
_PATIENCE_S = 1.0


class _Teller(Listener):  # type: ignore[misc]
    """Prints one line as soon as compiling takes longer than that."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._since: float | None = None
        self._told = False

    def on_start(self, event: Event) -> None:
        if self._since is None:
            self._since = time.monotonic()

    def on_end(self, event: Event) -> None:
        if not self._told and self._since is not None and time.monotonic() - self._since > _PATIENCE_S:
            self._told = True
            self._console.print("compiling the engine, once on a machine: a minute or more", highlight=False, soft_wrap=True)


@contextmanager
def told_of_compiling(console: Console) -> Iterator[None]:
    """Within it, a line on ``console`` says that numba compiles, if it does."""
    with install_listener("numba:compile", _Teller(console)):
        yield
