"""What every test shares: the recorded data, the --full switch and hypothesis settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two test processes share few CPUs: threads of OpenMP that spin while they wait would take them from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# The first call of a compiled function pays for its compilation, so no single example has a deadline.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", settings.get_profile("default"), max_examples=1000)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the long tests (marker: full)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--full"):
        settings.load_profile("full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    long_run = pytest.mark.skip(reason="long run, asked for with --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(long_run)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The directory that holds pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of recorded market data; skips the test where it is absent.

    ``SENTINEL_SHARED_DATA`` names it; the default is ``../shared/data`` beside the project.
    """
    named = os.environ.get("SENTINEL_SHARED_DATA")
    directory = Path(named) if named else PROJECT_ROOT.parent / "shared" / "data"
    if not (directory / "captures").is_dir():
        pytest.skip(f"recorded market data is not at {directory}; set SENTINEL_SHARED_DATA to its directory")
    return directory
