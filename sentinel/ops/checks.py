"""A table of checks: what was asked, how it stands, what was found and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from sentinel.errors import FieldError


class Outcome(StrEnum):
    """How a check stands."""

    ok = "ok"
    failed = "failed"
    not_applicable = "not applicable"


class Check(NamedTuple):
    """One row; ``remedy`` says what to do about a failed one, and why one does not apply."""

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""


def asked(questions: Iterable[tuple[str, Callable[[], str]]]) -> list[Check]:
    """A row for each question; one that raises a FieldError has failed."""
    rows = []
    for name, question in questions:
        try:
            rows.append(Check(name, Outcome.ok, question()))
        except FieldError as error:
            rows.append(Check(name, Outcome.failed, f"{error.field} = {error.value}", f"{error.allowed}: {error.remedy}"))
    return rows


def not_applicable(names: Iterable[str], why: str) -> list[Check]:
    """Rows of checks that say nothing here."""
    return [Check(name, Outcome.not_applicable, "", why) for name in names]
