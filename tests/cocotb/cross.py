"""Functional coverage: which cause met which verdict under which pressure, and which of these can't be."""

from __future__ import annotations

from collections import Counter

from sentinel.host.cards.registers import TripCause
from sentinel.wire import Control
from tests.cocotb.pressure import Pressure

#: Verdicts besides the controls': COUNTED is a permit that was stopped on its way out.
PERMIT, COUNTED, NONE = "PERMIT", "COUNTED", "no cause"
#: What the hardware refuses by; KILLED apart, the order of precedence.
CONTROLS = (
    *("BAD_INPUT", "ARM_EPOCH", "LIMITS_VERSION", "MEMORY_FAULT", "SYMBOL_HALTED", "DUPLICATE", "MAX_QTY", "MAX_NOTIONAL"),
    *("STALE_REFERENCE", "PRICE_COLLAR", "POSITION_LIMIT", "GROSS_EXPOSURE", "TRADES_PER_MINUTE"),
)
CAUSES = tuple(str(cause.name) for cause in TripCause)
VERDICTS = (PERMIT, "KILLED", COUNTED, *CONTROLS)
#: Refusals that are a cause themselves.
TRIPPING = {"MEMORY_FAULT": "MEMORY_FAULT", "GROSS_EXPOSURE": "GROSS_EXPOSURE", "TRADES_PER_MINUTE": "PERMIT_RATE"}
#: Causes that are raised at any moment from outside the stream of beats, so that a permit can be on its way.
SUDDEN = ("SOFTWARE_OCL", "SOFTWARE_SDA", "VDIP", "CLOCK", "WRONG_KEY")


def impossible(cause: str, verdict: str) -> str | None:
    """Why a cause, raised before or by an order, can't be together with its verdict; None where it can."""
    if verdict == PERMIT:
        return None if cause == NONE else "a closed gate gives no permit"
    if verdict == "KILLED":
        return "the gate is closed by some cause" if cause == NONE else None
    if verdict == COUNTED:
        if cause in SUDDEN:
            return None
        return "only a sudden cause is timed against a permit on its way; the stop depends on `closed` alone, not on the cause"
    if cause == "REJECTS":
        return None
    if cause == NONE:
        return f"{verdict} is a cause itself" if verdict in TRIPPING else None
    return None if TRIPPING.get(verdict) == cause else "a gate closed by another cause says KILLED before any other control"


LEGAL = frozenset(
    (cause, verdict, pressure.name)
    for cause in (NONE, *CAUSES)
    for verdict in VERDICTS
    for pressure in Pressure
    if impossible(cause, verdict) is None
)
_SEEN: Counter[tuple[str, str, str]] = Counter()


def hit(cause: TripCause | None, verdict: str, pressure: Pressure) -> None:
    """Note a cell; one that is impossible fails at once. A ``cause`` of several bits hits one cell each."""
    names = [NONE] if cause is None else [str(one.name) for one in cause]
    for name in names:
        assert impossible(name, verdict) is None, f"{name} with {verdict}: {impossible(name, verdict)}"
        _SEEN[(name, verdict, pressure.name)] += 1


def control_name(control: int) -> str:
    """The verdict of a refused order."""
    return Control(control).name


def report() -> str:
    """How much of the cross was met, and the cells that were not."""
    met = LEGAL & _SEEN.keys()
    missing = sorted(LEGAL - met)
    every = (len(CAUSES) + 1) * len(VERDICTS) * len(Pressure)
    lines = [f"cause x verdict x pressure: {len(met)} of {len(LEGAL)} legal cells, {every - len(LEGAL)} of {every} impossible"]
    return "\n".join([*lines, *(f"never: {' x '.join(cell)}" for cell in missing)])


def complete() -> bool:
    return _SEEN.keys() >= LEGAL
