"""Registers of a mutant that differ from the original's unseen: bits a comparison cannot tell, a word that is not used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sentinel_hdl.tools.aiger import FALSE, Aig, apart_after

_UNKNOWN = 2


def constants(circuit: Aig, given: Mapping[str, int]) -> tuple[int | None, ...]:
    """Per latch the value it never leaves, None where it may: three values simulated from reset until no latch changes.

    ``given`` are the inputs with a value; all others are unknown in every cycle.
    """
    inputs = [0, *(given.get(name, _UNKNOWN) for name in circuit.inputs)]
    state = [0] * len(circuit.latches)
    while True:
        after = _after(circuit, [*inputs, *state])
        joined = [old if old == new else _UNKNOWN for old, new in zip(state, after, strict=True)]
        if joined == state:
            return tuple(None if value == _UNKNOWN else value for value in state)
        state = joined


def _after(circuit: Aig, values: list[int]) -> list[int]:
    """The state one cycle later; ``values``: of false, the inputs and the latches."""
    add = values.append
    for left, right in circuit.gates:
        one, other = values[left >> 1], values[right >> 1]
        if one != _UNKNOWN:
            one ^= left & 1
        if other != _UNKNOWN:
            other ^= right & 1
        add(0 if one == 0 or other == 0 else _UNKNOWN if _UNKNOWN in (one, other) else 1)
    found = ((values[literal >> 1], literal & 1) for literal in circuit.latches)
    return [value if value == _UNKNOWN else value ^ inverted for value, inverted in found]


def differ_unseen(
    circuit: Aig,
    first: Mapping[str, int],
    second: Mapping[str, int],
    known: tuple[int | None, ...],
    reduced: Callable[[Aig], Aig | None],
) -> int | None:
    """How many registers of the second instance may hold anything while all else is as in the first; None if that is not told.

    It starts with none. What may then differ after a cycle, from any state that agrees with ``known``, the constants of the
    first, joins them, until nothing more does, or an output differs. ``reduced`` gives a miter whose outputs that are never
    set are false, as far as it finds them; None if it fails.
    """
    apart = [False] * len(circuit.latches)
    while True:
        found = apart_after(circuit, first, second, apart, known)
        miter = reduced(found.miter) if any(found.miter.outputs) else found.miter
        if miter is None:
            return None
        outputs, latches = miter.outputs[: len(found.outputs)], miter.outputs[len(found.outputs) :]
        if any(literal != FALSE for literal in outputs):
            return None
        new = [number for number, literal in zip(found.latches, latches, strict=True) if literal != FALSE]
        if not new:
            return sum(apart)
        for number in new:
            apart[number] = True
