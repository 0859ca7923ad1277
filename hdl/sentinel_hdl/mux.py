"""Wide multiplexers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal, Value


def select_into(m: Module, target: Signal, choices: Sequence[Value], index: Value, domain: str = "sync") -> None:
    """``target`` takes ``choices[index]`` at the next edge, zero beyond the last.

    As a full case statement, which synthesis folds into MUXF7/F8 and a simulator into a jump; to be used inside a
    clock enable, so that nothing is computed for an idle stage.
    """
    full = len(choices) == 1 << len(index)
    with m.Switch(index):
        for number, choice in enumerate(choices[:-1] if full else choices):
            with m.Case(number):
                m.d[domain] += target.eq(choice)
        with m.Default():
            m.d[domain] += target.eq(choices[-1] if full else Const(0, len(target)))


def select_in_groups(m: Module, name: str, choices: Sequence[Value], index: Value) -> list[Signal]:
    """Registers of which one takes ``choices[index]`` at the next edge and the others zero: together, by OR, the choice.

    To be used inside a clock enable. A register is for 16 choices (four LUTs, MUXF7 and F8) or for four (one LUT); the OR goes
    with what is next (see ``above``), so 26 words take 8 LUTs a bit with their compare, where a case and a compare take 10.
    """
    registers: list[Signal] = []
    first = 0
    while first < len(choices):
        bits = 4 if len(choices) - first > 12 else 2
        register = Signal(len(choices[0]), name=f"{name}_{len(registers)}", reset_less=True)
        with m.If(index[bits:] == first >> bits):
            select_into(m, register, choices[first : first + (1 << bits)], index[:bits])
        with m.Else():
            m.d.sync += register.eq(0)
        registers.append(register)
        first += 1 << bits
    return registers


def above(threshold: Value, parts: Sequence[Value]) -> Value:
    """Whether the threshold is above the OR of all parts, with one LUT a bit for up to four of them.

    A subtraction, since only its first operand goes past the LUTs into the carry chain; the bit below the others makes it
    strict.
    """
    difference = Cat(0, threshold) - Cat(1, reduce(or_, parts))
    return ~difference[len(threshold) + 1]
