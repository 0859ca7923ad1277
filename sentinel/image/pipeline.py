"""``sentinel build-afi`` from core to image: the steps in order, each run unless what it made is still there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sentinel.image.build import Build
from sentinel.image.cloud_steps import Register, Share, Upload, Wait
from sentinel.image.files import digest
from sentinel.image.local_steps import Doctor, Emit, Lint, Package, Synthesise
from sentinel.image.request import Request
from sentinel.image.state import State, locked

_STEPS = (Doctor, Emit, Lint, Synthesise, Package, Upload, Register, Wait, Share)
#: (step, text) as it happens.
Tell = Callable[[str, str], None]


def run(request: Request, tell: Tell) -> dict[str, Any]:
    """Carry out ``request``. Returns what each step made, by step, and under ``unchanged`` the steps that had nothing to do.

    Raises ImageError and what the steps raise; what was finished before stays finished.
    """
    wanted = request.steps()
    with locked(request.directory) as lock:
        build = Build(request, State(request.directory), lock, tell)
        unchanged = []
        for step in _chosen(wanted):
            build.forced = build.forced or step.name == request.start_from
            inputs = digest(step.inputs(build))
            made = None if build.forced else build.state.made(step.name, inputs)
            if made is not None and step.intact(build, made):
                tell(step.name, "done before")
                unchanged.append(step.name)
            else:
                build.state.forget(step.name)
                made = step.run(build)
                build.state.finish(step.name, inputs, made)
            build.made[step.name] = made
        return {**build.made, "unchanged": unchanged}


def plan(request: Request, tell: Tell) -> None:
    """Say what :func:`run` would do, and ask EC2 whether it may; nothing is written anywhere. Raises as ``run`` would."""
    build = Build(request, State(request.directory), -1, tell)
    for step in _chosen(request.steps()):
        tell(step.name, step.plan(build))


def _chosen(wanted: tuple[str, ...]) -> Iterator[Any]:
    yield from (step for step in (kind() for kind in _STEPS) if step.name in wanted)
