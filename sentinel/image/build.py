"""A build under way: what its steps share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel.image.custom_logic import TOP
from sentinel.image.request import Request
from sentinel.image.state import State, Values

if TYPE_CHECKING:
    from sentinel.image.aws import Account


class Build:
    """``made`` is what each finished step has made; ``lock`` the descriptor that says this directory is in use."""

    def __init__(self, request: Request, state: State, lock: int, tell: Callable[[str, str], None]) -> None:
        self.request, self.state, self.lock, self.tell = request, state, lock, tell
        self.made: dict[str, Values] = {}
        #: Whether the step under way is to run again whatever is done already.
        self.forced = False

    @property
    def root(self) -> Path:
        """The project."""
        return self.request.directory / TOP

    @cached_property
    def account(self) -> Account:
        """At AWS, opened when it is first needed. Raises ImageError without credentials or region."""
        from sentinel.image.aws import Account

        return Account(self.request.region)

    @cached_property
    def account_number(self) -> str:
        """The account's twelve digits."""
        return self.account.number()


class Step(ABC):
    """One step. What it made is a JSON-able dict, and counts as long as :meth:`inputs` is the same and :meth:`intact` holds."""

    name = ""

    @abstractmethod
    def inputs(self, build: Build) -> Any:
        """What the step's outcome depends on, JSON-able."""

    def intact(self, build: Build, made: Values) -> bool:
        """Whether what it made is still there."""
        return True

    @abstractmethod
    def run(self, build: Build) -> Values:
        """Do it. Raises ImageError."""

    @abstractmethod
    def plan(self, build: Build) -> str:
        """What it would do."""
