"""What one run of ``build-afi`` is asked to do, and whether it can be done at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sentinel.errors import ImageError
from sentinel.image.targets import Target

#: In the order they run.
STEPS = ("doctor", "emit", "lint", "synthesise", "package", "upload", "register", "wait", "share")
#: Of which a retired shell has these.
_WITHOUT_INSTANCE = ("doctor", "emit", "lint")
#: What a checkpoint or a package that is given makes needless.
_BEFORE_CHECKPOINT = ("emit", "lint", "synthesise")


@dataclass(frozen=True)
class Request:
    """``directory`` holds the project, the packages, the state and ``afi.json``; None elsewhere means: not given."""

    target: Target
    directory: Path
    stop_after: str = "share"
    start_from: str | None = None
    dcp: Path | None = None
    tar: Path | None = None
    hdk: Path | None = None
    hdk_version: str | None = None
    region: str | None = None
    bucket: str | None = None
    prefix: str = "sentinel"
    name: str | None = None
    copy_to: tuple[str, ...] = ()
    share_with: tuple[str, ...] = ()
    allow_timing_violation: bool = False
    pause: float = 60.0

    def steps(self) -> tuple[str, ...]:
        """Those to run. Raises ImageError for a request that cannot be carried out."""
        self._check()
        left_out = () if self.dcp is None and self.tar is None else _BEFORE_CHECKPOINT
        wanted = [step for step in STEPS[: STEPS.index(self.stop_after) + 1] if step not in left_out]
        if not (self.copy_to or self.share_with) and "share" in wanted:
            wanted.remove("share")
        if self.start_from is not None and self.start_from not in wanted:
            raise ImageError("from", self.start_from, f"one of {', '.join(wanted)}", "name a step of this run")
        late = [step for step in wanted if step not in _WITHOUT_INSTANCE]
        if self.target.retired and late:
            raise ImageError(
                "target",
                self.target.name,
                "f2, or --stop-after lint",
                f"AWS retired {self.target.name.upper()} on {self.target.retired}: no image of it can be built or loaded",
            )
        if "upload" in wanted and not self.bucket:
            raise ImageError("bucket", None, "an S3 bucket in the image's region", "give --bucket, or --stop-after package")
        return tuple(wanted)

    def _check(self) -> None:
        if self.dcp is not None and self.tar is not None:
            raise ImageError("tar", str(self.tar), "a checkpoint or a package, not both", "leave out --dcp or --tar")
        for field, path in (("dcp", self.dcp), ("tar", self.tar)):
            if path is not None and not path.is_file():
                raise ImageError(field, str(path), "a file that exists", "name the file that was built")
        for region in filter(None, (self.region, *self.copy_to)):
            if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d", region):
                raise ImageError("region", region, "a region of AWS", "for example us-east-1")
        for number in self.share_with:
            if not re.fullmatch(r"\d{12}", number):
                raise ImageError(
                    "share_with", number, "the twelve digits of an account", "ask its owner: aws sts get-caller-identity"
                )
        if self.name is not None and not re.fullmatch(r"[\w.() /-]{3,128}", self.name, re.ASCII):
            raise ImageError("name", self.name, "3 to 128 letters, digits, blanks and ._-()/", "choose another --name")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.prefix, re.ASCII):
            raise ImageError("prefix", self.prefix, "names of letters, digits and ._- with / between", "choose another --prefix")
        if self.hdk_version is not None and not re.fullmatch(r"\d+\.\d+\.\d+", self.hdk_version):
            raise ImageError("hdk_version", self.hdk_version, "as in release_version.txt, for example 2.3.2", "look it up there")
