"""What a run of ``build-afi`` needs, asked before it begins; ``sentinel doctor fpga`` asks the same questions and more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.image import build_host
from sentinel.image.build import Build
from sentinel.image.request import STEPS
from sentinel.image.targets import Target

if TYPE_CHECKING:
    from sentinel.image.aws import Account

#: A name, and a call that says what was found or raises ImageError with the remedy.
Question = tuple[str, Callable[[], str]]


def of_host(given: Path | None, target: Target) -> Iterator[Question]:
    """Of a machine that is to build a checkpoint; ``given`` is where the HDK is said to be."""
    yield "hdk", lambda: build_host.kit(given, target)
    yield "vivado", lambda: build_host.vivado(given)
    yield "git-lfs", lambda: build_host.git_lfs(given)
    yield "shell checkpoint", lambda: build_host.shell_checkpoint(given)
    yield "names", lambda: build_host.names(target)
    yield "memory", build_host.memory


def of_account(account: Callable[[], Account], target: Target, bucket: str) -> Iterator[Question]:
    """Of an account that is to register an image."""
    from sentinel.image import aws_account

    yield "account", lambda: aws_account.identity(account())
    yield "bucket", lambda: aws_account.bucket(account(), bucket)
    yield "permissions", lambda: aws_account.permissions(account(), target, bucket)


def of_build(build: Build) -> Iterator[Question]:
    """Of the steps that ``build`` is to run, those of them that are done left out."""
    request, wanted = build.request, build.request.steps()
    first = STEPS.index(request.start_from) if request.start_from else len(STEPS)

    def ahead(step: str) -> bool:
        return step in wanted and (STEPS.index(step) >= first or not build.state.finished(step))

    yield "disk", lambda: build_host.disk(request.directory, ahead("synthesise"))
    if ahead("synthesise"):
        yield from of_host(request.hdk, request.target)
    if ahead("package") and request.dcp is not None and request.hdk_version is None:
        yield "hdk version", lambda: build_host.hdk_version_of_checkpoint(request.hdk)
    if "upload" in wanted:
        questions = of_account(lambda: build.account, request.target, str(request.bucket))
        yield from (question for question in questions if question[0] != "permissions" or ahead("register"))
