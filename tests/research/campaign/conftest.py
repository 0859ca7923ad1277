"""A bench for the runs of a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from sentinel.research.campaign.seed import Bench


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    """A seed is full of what is worth a warning anywhere else, and capturing it costs more than the run."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
