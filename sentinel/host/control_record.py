"""ControlEvents as the host makes them: commands of the operator, the clock and the host itself, for the engine."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sentinel.wire import CONTROL_EVENT, NO_SYMBOL, Command, Kind, empty_slots


def control_record(command: Command, t: int, **fields: int) -> NDArray[Any]:
    """One ControlEvent as int64[1, 8]; ``fields`` are columns of wire.CONTROL_EVENT."""
    slots = empty_slots(1)
    record = slots.view(CONTROL_EVENT)[0, 0]
    record["kind"], record["command"], record["t"], record["symbol"] = Kind.CONTROL, command, t, NO_SYMBOL
    for name, value in fields.items():
        record[name] = value
    return slots
