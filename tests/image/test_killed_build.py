"""The real command, killed with SIGKILL wherever it writes or asks, and run again: one image, as if nothing had happened.

The checkpoint is a zip of the test's own; what is at AWS is the double.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.image.aws_double import client
from tests.image.checkpoints import write_checkpoint
from tests.image.conftest import Aws

_CHILD = Path(__file__).with_name("killed_child.py")
#: More than boto3 sends in one piece, so that the upload has parts.
_LARGE = 20 << 20


class Command:
    """``sentinel build-afi`` from one checkpoint, in processes of its own."""

    def __init__(self, aws: Aws, dcp: Path, directory: Path) -> None:
        self.aws, self.directory = aws, directory
        given = ("--dcp", dcp, "--hdk-version", "2.3.2", "--bucket", aws.bucket, "--copy-to", "eu-west-2")
        self.arguments = [*map(str, given), "--out", str(directory), "--poll", "0.01", "--json"]
        aws.double.looks_until_ready = 1

    def start(self, point: int = 0) -> subprocess.Popen[str]:
        """Killed at the ``point``-th write, see killed_child.py."""
        words = [sys.executable, str(_CHILD), str(point), str(self.directory), "build-afi", *self.arguments]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, point: int = 0) -> int:
        """The command's status."""
        child = self.start(point)
        self.output = child.communicate(timeout=120)
        return child.returncode

    def run_killed_when(self, told: Callable[[str], bool]) -> int:
        """Killed when the double is at a moment that ``told`` says."""
        child, unwatched = None, self.aws.double.watch

        def watch(moment: str) -> None:
            if told(moment):
                assert child is not None
                os.kill(child.pid, signal.SIGKILL)
                child.wait()

        self.aws.double.watch = watch
        child = self.start()
        child.communicate(timeout=120)
        self.aws.double.watch = unwatched
        return child.returncode

    def ends_with_one_image(self) -> None:
        """Run to the end, and look at everything that is left."""
        assert self.run() == 0, self.output
        body = json.loads(self.output[0].splitlines()[-1])
        record = json.loads((self.directory / "afi.json").read_text())
        images = {image["region"]: afi for afi, image in self.aws.double.images.items()}
        assert len(self.aws.double.images) == len(images) == 2
        assert record["regions"] == images
        assert record["afi"] == body["afi"] == images["us-east-1"]
        assert record["agfi"] == body["agfi"] == self.aws.double.images[record["afi"]]["agfi"]
        package = Path(body["package"]).read_bytes()
        assert record["package_sha256"] == hashlib.sha256(package).hexdigest()
        s3 = client(self.aws.url, "s3")
        (stored,) = s3.list_objects_v2(Bucket=self.aws.bucket)["Contents"]
        assert s3.get_object(Bucket=self.aws.bucket, Key=stored["Key"])["Body"].read() == package
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=self.aws.bucket)
        assert not list(self.directory.rglob("*.partial"))


@pytest.fixture
def command(aws: Aws, dcp: Path, tmp_path: Path) -> Command:
    """One build, not begun."""
    (tmp_path / "f2").mkdir()
    return Command(aws, dcp, tmp_path / "f2")


def _nth(moment: str, number: int) -> Callable[[str], bool]:
    seen = count(1)
    return lambda told: told == moment and next(seen) == number


def _nth_of_any(when: str, number: int) -> Callable[[str], bool]:
    seen = count(1)
    return lambda told: told.startswith("after") == bool(when) and next(seen) == number


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        pytest.param("after PutObject", 1, marks=pytest.mark.full),
        # The first is a dry run.
        pytest.param("CreateFpgaImage", 2, marks=pytest.mark.full),
        ("after CreateFpgaImage", 2),
        pytest.param("after CopyFpgaImage", 1, marks=pytest.mark.full),
    ],
)
def test_a_build_killed_in_the_middle_of_a_call_ends_with_one_image(command: Command, moment: str, number: int) -> None:
    assert command.run_killed_when(_nth(moment, number)) == -signal.SIGKILL
    command.ends_with_one_image()


@pytest.mark.parametrize("point", [3, 11, 19])
def test_a_build_killed_while_it_writes_ends_with_one_image(command: Command, point: int) -> None:
    assert command.run(point) == -signal.SIGKILL
    command.ends_with_one_image()


def test_a_build_killed_in_the_middle_of_an_upload_leaves_no_parts(aws: Aws, tmp_path: Path) -> None:
    dcp = write_checkpoint(tmp_path / "cl_sentinel.2026_11_01-120000.post_route.dcp", payload=os.urandom(_LARGE))
    (tmp_path / "f2").mkdir()
    command = Command(aws, dcp, tmp_path / "f2")
    assert command.run_killed_when(_nth("after UploadPart", 2)) == -signal.SIGKILL
    assert client(aws.url, "s3").list_multipart_uploads(Bucket=aws.bucket)["Uploads"]
    command.ends_with_one_image()


@pytest.mark.full
def test_a_build_killed_at_any_write_ends_with_one_image(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    for point in count(1):
        directory = tmp_path / f"{point}"
        directory.mkdir()
        write_checkpoint(dcp, payload=f"netlist {point}".encode())
        command = Command(aws, dcp, directory)
        _forget(aws)
        if command.run(point) == 0:
            break
        command.ends_with_one_image()
    assert point > 20


@pytest.mark.full
@pytest.mark.parametrize("when", ["", "after "])
def test_a_build_killed_at_any_call_ends_with_one_image(aws: Aws, dcp: Path, tmp_path: Path, when: str) -> None:
    for number in count(1):
        directory = tmp_path / f"{number}"
        directory.mkdir()
        write_checkpoint(dcp, payload=f"netlist {number}".encode())
        command = Command(aws, dcp, directory)
        _forget(aws)
        status = command.run_killed_when(_nth_of_any(when, number))
        if status == 0:
            break
        command.ends_with_one_image()
    assert number > 15


def _forget(aws: Aws) -> None:
    """An empty account again."""
    aws.double.images.clear()
    aws.double.looks.clear()
    aws.double.tokens.clear()
    s3 = client(aws.url, "s3")
    for entry in s3.list_objects_v2(Bucket=aws.bucket).get("Contents", []):
        s3.delete_object(Bucket=aws.bucket, Key=entry["Key"])
