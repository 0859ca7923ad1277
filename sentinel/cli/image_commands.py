"""``sentinel build-afi`` and ``sentinel doctor``: what they take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import Json, Result, execute, group

doctor_app = group("What stands in the way, and what to do about it.", "sentinel doctor fpga --bucket my-images")


class Shell(StrEnum):
    """The AWS shell the core is put behind."""

    f2 = "f2"
    f1 = "f1"


class Step(StrEnum):
    """Steps of ``build-afi``."""

    doctor = "doctor"
    emit = "emit"
    lint = "lint"
    synthesise = "synthesise"
    package = "package"
    upload = "upload"
    register = "register"
    wait = "wait"
    share = "share"


def build_afi(
    target: Annotated[
        Shell, typer.Option(help="The AWS shell; F1 is retired, its project can be written and linted.")
    ] = Shell.f2,
    stop_after: Annotated[Step, typer.Option("--stop-after", help="The last step.")] = Step.share,
    start_from: Annotated[
        Step | None, typer.Option("--from", help="Run again from this step on, whatever is done already.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Project, packages, state and afi.json; afi/build/<target> if absent.")
    ] = None,
    hdk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="AWS's FPGA kit; AWS_FPGA_REPO_DIR or HDK_DIR names it otherwise.")
    ] = None,
    dcp: Annotated[Path | None, typer.Option(metavar="FILE", help="Start from this routed checkpoint.")] = None,
    hdk_version: Annotated[
        str | None, typer.Option("--hdk-version", metavar="N.N.N", help="Of the kit --dcp was built with, where it is not here.")
    ] = None,
    tar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this package, for example of the HDK's script.")
    ] = None,
    allow_timing_violation: Annotated[
        bool, typer.Option("--allow-timing-violation", help="Take a checkpoint that misses its timing; afi.json is marked.")
    ] = False,
    bucket: Annotated[str | None, typer.Option(metavar="NAME", help="S3 bucket for the package, in the image's region.")] = None,
    prefix: Annotated[str, typer.Option(metavar="PATH", help="Where in the bucket.")] = "sentinel",
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The image's region; boto3's if absent.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The image's name; made from the package's hash if absent.")
    ] = None,
    copy_to: Annotated[
        list[str] | None, typer.Option("--copy-to", metavar="REGION", help="Also there; repeat for several.")
    ] = None,
    share_with: Annotated[
        list[str] | None, typer.Option("--share-with", metavar="ACCOUNT", help="Who else may load it; repeat for several.")
    ] = None,
    poll: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Between the first looks at an image in the making.")
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, ask EC2 whether it may be, write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an AWS FPGA image of the core: project, lint, synthesis, package, upload, registration. Resumes where it stopped."""

    def job(console: Console) -> Result:
        from sentinel.cli import image as implementation
        from sentinel.image import project
        from sentinel.image.request import Request
        from sentinel.image.targets import TARGETS

        shell = TARGETS[target.value]
        request = Request(
            target=shell,
            directory=out or project.default_directory(shell),
            stop_after=stop_after.value,
            start_from=start_from.value if start_from else None,
            dcp=dcp,
            tar=tar,
            hdk=hdk,
            hdk_version=hdk_version,
            region=region,
            bucket=bucket,
            prefix=prefix,
            name=name,
            copy_to=tuple(copy_to or ()),
            share_with=tuple(share_with or ()),
            allow_timing_violation=allow_timing_violation,
            pause=poll,
        )
        return implementation.build_afi(console, request, dry_run=dry_run)

    execute(as_json, job)


@doctor_app.command("fpga", epilog="Example: sentinel doctor fpga --bucket my-images --region us-east-1")
def doctor_fpga(
    target: Annotated[Shell, typer.Option(help="The AWS shell.")] = Shell.f2,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where build-afi writes; afi/build/<target> if absent.")] = None,
    hdk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="AWS's FPGA kit; AWS_FPGA_REPO_DIR or HDK_DIR names it otherwise.")
    ] = None,
    bucket: Annotated[str | None, typer.Option(metavar="NAME", help="The S3 bucket for packages.")] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The image's region; boto3's if absent.")] = None,
    slot: Annotated[int, typer.Option(metavar="N", min=0, max=7, help="The card's slot.")] = 0,
    as_json: Json = False,
) -> None:
    """Check build host, AWS account and card before a build or a load. Ends with 1 where a check has failed."""
    passed = True

    def job(console: Console) -> Result:
        nonlocal passed
        from sentinel.cli import doctor as implementation
        from sentinel.image import project
        from sentinel.image.targets import TARGETS

        shell = TARGETS[target.value]
        directory = out or project.default_directory(shell)
        result = implementation.fpga(console, shell, directory, hdk=hdk, region=region, bucket=bucket, slot=slot)
        passed = result["ok"]
        return result

    execute(as_json, job)
    if not passed:
        raise typer.Exit(1)
