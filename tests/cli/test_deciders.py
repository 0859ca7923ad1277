"""Deciders on a card: what is refused before anything is opened, and where the image's file is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from sentinel.cli.deciders import AFI_VARIABLE, DeciderChoice, image_file
from sentinel.config import CardConfig
from sentinel.errors import CardError
from sentinel.host.cards.slots import ROOT_VARIABLE
from tests.host.cards.machine.user_card import UserCard


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCard:
    """A machine with one F2 slot, cleared, whose files and tools this process sees."""
    card = UserCard(tmp_path, loaded=False)
    for name in ("PATH", ROOT_VARIABLE):
        monkeypatch.setenv(name, card.environment[name])
    monkeypatch.setenv(AFI_VARIABLE, str(card.afi()))
    return card


def _refused(name: str, settings: CardConfig | None = None) -> CardError:
    with pytest.raises(CardError) as caught, DeciderChoice(name, Console(quiet=True), card=settings):
        pass
    return caught.value


def test_decider_of_the_other_generation_is_refused(card: UserCard) -> None:
    error = _refused("f1")
    assert (error.field, error.value, error.allowed) == ("decider", "f1", "f2")


def test_decider_on_a_cleared_slot_is_refused(card: UserCard) -> None:
    assert _refused("f2").remedy == "sentinel card load --slot 0"


def test_decider_on_a_slot_that_does_not_exist_is_refused(card: UserCard) -> None:
    assert _refused("f2", CardConfig(slot=3)).field == "slot"


def test_decider_without_an_image_file_is_refused(card: UserCard) -> None:
    error = _refused("f2", CardConfig(afi=str(card.root / "none.json")))
    assert (error.field, "sentinel build-afi" in error.remedy) == ("afi.json", True)


def test_decider_without_a_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert "start an f2 instance" in _refused("f2").remedy


def test_image_file_is_the_named_one_then_the_environments_then_the_checkouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AFI_VARIABLE, "/elsewhere/afi.json")
    assert image_file("mine.json", "f2") == Path("mine.json")
    assert image_file("", "f2") == Path("/elsewhere/afi.json")
    monkeypatch.delenv(AFI_VARIABLE)
    assert image_file("", "f2").parts[-4:] == ("afi", "build", "f2", "afi.json")
