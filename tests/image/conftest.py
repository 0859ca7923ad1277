"""The double of AWS, and checkpoints that are none of Vivado's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.image.aws_double import AwsDouble, client, environment
from tests.image.checkpoints import write_checkpoint

BUCKET = "sentinel-test"


class Aws(NamedTuple):
    """A running double with one bucket."""

    double: AwsDouble
    url: str
    bucket: str
    environment: dict[str, str]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An account to use by boto3's own means, from this process and its children."""
    double = AwsDouble()
    url = double.start()
    client(url, "s3").create_bucket(Bucket=BUCKET)
    double.calls.clear()
    given = environment(url)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    yield Aws(double, url, BUCKET, given)
    double.stop()


@pytest.fixture
def dcp(tmp_path: Path) -> Path:
    """A small zip of a checkpoint's outer form; no Vivado has written it."""
    return write_checkpoint(tmp_path / "cl_sentinel.2026_11_01-120000.post_route.dcp")
