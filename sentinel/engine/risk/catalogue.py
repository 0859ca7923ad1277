"""Every control there is: what it checks, by which setting, what it does, where, and which rule asks for it.

Plain data. docs/controls.md is written from it and from the tests marked ``control("ID")``; a control without one fails CI.
The ids are those of the checklist that the design follows: A state and authority, B the order itself, C rates, D exposure
and capital, E monitoring and governance, H people, M conduct.
"""

from __future__ import annotations

from sentinel.engine.risk.entries_account import ACCOUNT_CONTROLS
from sentinel.engine.risk.entries_order import ORDER_CONTROLS
from sentinel.engine.risk.entries_watch import WATCH_CONTROLS
from sentinel.engine.risk.entry import Action, ControlEntry, Parameter, Where
from sentinel.wire import Control

__all__ = ["CONTROLS", "NOT_CONTROLS", "Action", "ControlEntry", "Parameter", "Where", "control_of"]

CONTROLS: tuple[ControlEntry, ...] = tuple(
    sorted(ORDER_CONTROLS + ACCOUNT_CONTROLS + WATCH_CONTROLS, key=lambda entry: entry.id[0])
)
#: Faults of the card's own memory refuse too; they are no control of orders.
NOT_CONTROLS = (Control.NONE, Control.MEMORY_FAULT)


def control_of(code: int) -> ControlEntry | None:
    """The control whose refusals or trips carry this wire code, the first where several do; None where none does."""
    return next((entry for entry in CONTROLS if code in entry.codes), None)
