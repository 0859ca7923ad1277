"""What the catalogue says of one control."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sentinel.wire import Control


class Action(StrEnum):
    """What a control does when it fires."""

    REJECT = "reject"
    PAUSE = "pause strategy"
    HALT = "halt symbol"
    REDUCE_ONLY = "reduce-only"
    KILL = "kill"
    NONE = "none"


class Where(StrEnum):
    """Who enforces it."""

    ENGINE = "engine"
    HOST = "host"
    PROCESS = "own process"
    CARD = "card"
    DEPLOY = "deploy"
    FIRM = "left to the firm"
    NOWHERE = "not applicable"


@dataclass(frozen=True)
class Parameter:
    """A setting by its path, such as ``risk.max_order_qty``; default and bounds are the setting's. ``unit``: of its value."""

    path: str
    unit: str


@dataclass(frozen=True)
class ControlEntry:
    """One control. ``codes``: what a refusal or trip by it carries on the wire; ``module``: the code that enforces it."""

    id: str
    name: str
    about: str
    where: Where
    module: str
    anchor: str
    codes: tuple[Control, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    actions: tuple[Action, ...] = (Action.REJECT,)


def limits_of(*named: tuple[str, str]) -> tuple[Parameter, ...]:
    """Settings of ``[risk]`` with their units."""
    return tuple(Parameter(f"risk.{name}", unit) for name, unit in named)
