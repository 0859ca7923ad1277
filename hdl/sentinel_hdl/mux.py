"""Wide multiplexers."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal, Value


def select_into(m: Module, target: Signal, choices: Sequence[Value], index: Value, domain: str = "sync") -> None:
    """``target`` takes ``choices[index]`` at the next edge, zero beyond the last.

    As a full case statement, which synthesis folds into MUXF7/F8 and a simulator into a jump; to be used inside a
    clock enable, so that nothing is computed for an idle stage.
    """
    with m.Switch(index):
        for number, choice in enumerate(choices):
            with m.Case(number):
                m.d[domain] += target.eq(choice)
        with m.Default():
            m.d[domain] += target.eq(Const(0, len(target)))
