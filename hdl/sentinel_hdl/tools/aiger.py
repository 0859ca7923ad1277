"""And-inverter graphs in the binary AIGER form, and two instances of one compared.

Format 1.0 of Biere, "The AIGER And-Inverter Graph (AIG) Format" (2007): a literal is twice the number of its variable, plus
one where inverted; 0 is false. Variables are numbered inputs first, then latches, then gates. Every latch starts at 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sentinel_hdl.tools.errors import CoreError

FALSE, TRUE = 0, 1


@dataclass(frozen=True)
class Aig:
    """A circuit. ``inputs``: their names. ``latches``: the literal each takes next. ``gates``: their two literals, in order."""

    inputs: tuple[str, ...]
    latches: tuple[int, ...]
    outputs: tuple[int, ...]
    gates: tuple[tuple[int, int], ...]


def read_aiger(path: Path) -> Aig:
    """The circuit of a file; an input without a name is called by its number. Raises CoreError for another form."""
    data = path.read_bytes()
    header = re.match(rb"aig (\d+) (\d+) (\d+) (\d+) (\d+)\n", data)
    if header is None:
        raise CoreError("aiger", data[:40].decode(errors="replace"), "aig M I L O A", "write it with write_aiger")
    _, inputs, latches, outputs, gates = (int(number) for number in header.groups())
    lines = data[header.end() :].split(b"\n", latches + outputs)
    nexts = tuple(int(line) for line in lines[:latches])
    driven = tuple(int(line) for line in lines[latches : latches + outputs])
    rest, at, pairs = lines[-1], 0, []

    def delta() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = rest[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    for number in range(gates):
        left = 2 * (inputs + latches + 1 + number) - delta()
        pairs.append((left, left - delta()))
    names = {int(number): name.decode() for number, name in re.findall(rb"^i(\d+) (.*)$", rest[at:], re.MULTILINE)}
    return Aig(tuple(names.get(number, str(number)) for number in range(inputs)), nexts, driven, tuple(pairs))


def write_aiger(path: Path, circuit: Aig) -> None:
    """Write the circuit, without its names."""
    inputs, latches, gates = len(circuit.inputs), len(circuit.latches), len(circuit.gates)
    text = f"aig {inputs + latches + gates} {inputs} {latches} {len(circuit.outputs)} {gates}\n"
    text += "".join(f"{literal}\n" for literal in (*circuit.latches, *circuit.outputs))
    coded = bytearray()
    for number, (one, other) in enumerate(circuit.gates):
        left, right = max(one, other), min(one, other)
        for delta in (2 * (inputs + latches + 1 + number) - left, left - right):
            while delta >= 0x80:
                coded.append(delta & 0x7F | 0x80)
                delta >>= 7
            coded.append(delta)
    path.write_bytes(text.encode() + coded)


class Graph:
    """Gates, none of them twice. A literal below ``2 * (leaves + 1)`` is a constant or a leaf: an input or a latch."""

    def __init__(self, leaves: int) -> None:
        self._base = leaves + 1
        self._gates: dict[tuple[int, int], int] = {}

    def both(self, one: int, other: int) -> int:
        """The literal of their conjunction."""
        if one > other:
            one, other = other, one
        if one == FALSE or one == other ^ 1:
            return FALSE
        if one in (TRUE, other):
            return other
        return self._gates.setdefault((one, other), 2 * (self._base + len(self._gates)))

    def differ(self, one: int, other: int) -> int:
        """The literal of their exclusive or."""
        return self.both(self.both(one, other) ^ 1, self.both(one ^ 1, other ^ 1) ^ 1)

    def any_of(self, literals: Iterable[int]) -> int:
        """The literal of their disjunction."""
        none = TRUE
        for literal in literals:
            none = self.both(none, literal ^ 1)
        return none ^ 1

    def instance(self, circuit: Aig, leaves: Sequence[int]) -> Callable[[int], int]:
        """The gates of a circuit with these literals for its inputs and latches; what a literal of the circuit became."""
        found = [FALSE, *leaves]
        both, add = self.both, found.append
        for left, right in circuit.gates:
            add(both(found[left >> 1] ^ left & 1, found[right >> 1] ^ right & 1))
        return lambda literal: found[literal >> 1] ^ literal & 1

    def circuit(self, names: Sequence[str], nexts: Sequence[int], outputs: Sequence[int]) -> Aig:
        """What these outputs depend on, as a circuit of its own; leaves after those named are latches that take ``nexts``."""
        inputs = len(names)
        gates = list(self._gates)
        needed, latches = set[int](), set[int]()
        todo = [output >> 1 for output in outputs]
        while todo:
            variable = todo.pop()
            if variable in needed:
                continue
            needed.add(variable)
            if variable >= self._base:
                todo += (literal >> 1 for literal in gates[variable - self._base])
            elif variable > inputs:
                latches.add(variable)
                todo.append(nexts[variable - inputs - 1] >> 1)
        kept = [v for v in sorted(needed) if 0 < v < self._base and v not in latches] + sorted(latches)
        kept += [v for v in sorted(needed) if v >= self._base]
        number = {0: 0, **{variable: position for position, variable in enumerate(kept, 1)}}

        def renamed(literal: int) -> int:
            return 2 * number[literal >> 1] + (literal & 1)

        return Aig(
            tuple(names[variable - 1] for variable in kept if variable <= inputs),
            tuple(renamed(nexts[variable - inputs - 1]) for variable in sorted(latches)),
            tuple(renamed(output) for output in outputs),
            tuple((renamed(one), renamed(other)) for one, other in (gates[v - self._base] for v in kept if v >= self._base)),
        )


def combinational_miter(circuit: Aig, first: Mapping[str, int], second: Mapping[str, int]) -> Aig:
    """One output: two instances with these inputs differ in an output or in a next state, from the same state and inputs."""
    state = [f"latch {position}" for position in range(len(circuit.latches))]
    graph, free, instances = _two(circuit, first, second, [False] * len(state))
    return graph.circuit([*free, *state], (), [graph.any_of(_differences(graph, circuit, *instances))])


def sequential_miter(circuit: Aig, first: Mapping[str, int], second: Mapping[str, int]) -> Aig:
    """One output: two instances with these inputs, from reset, differ in an output.

    They share each latch that by form alone takes the same next value in both while all shared ones are equal.
    """
    apart = [False] * len(circuit.latches)
    while True:
        graph, free, (one, other) = _two(circuit, first, second, apart)
        differ = [one(literal) != other(literal) for literal in circuit.latches]
        if not any(new and not known for new, known in zip(differ, apart, strict=True)):
            break
        apart = [new or known for new, known in zip(differ, apart, strict=True)]
    output = graph.any_of(graph.differ(one(literal), other(literal)) for literal in circuit.outputs)
    nexts = [one(literal) for literal in circuit.latches]
    nexts += [other(literal) for literal, own in zip(circuit.latches, apart, strict=True) if own]
    return graph.circuit(free, nexts, [output])


class Apart(NamedTuple):
    """Where two instances may differ after a cycle. ``miter`` has an output for each of ``outputs`` and then of ``latches``."""

    miter: Aig
    outputs: tuple[int, ...]
    latches: tuple[int, ...]


def apart_after(
    circuit: Aig, first: Mapping[str, int], second: Mapping[str, int], apart: Sequence[bool], constants: Sequence[int | None]
) -> Apart:
    """Outputs, and latches not ``apart`` already, which by form two instances with these inputs do not share after a cycle.

    Before it the second has a state of its own where ``apart``, any at all; elsewhere, and in the first, ``constants`` hold.
    """
    graph, free, (one, other) = _two(circuit, first, second, apart, constants)
    outputs = tuple(number for number, literal in enumerate(circuit.outputs) if one(literal) != other(literal))
    latches = tuple(
        number
        for number, (literal, own) in enumerate(zip(circuit.latches, apart, strict=True))
        if not own and one(literal) != other(literal)
    )
    literals = [*(circuit.outputs[number] for number in outputs), *(circuit.latches[number] for number in latches)]
    state = [f"latch {position}" for position in range(len(apart) + sum(apart))]
    differ = [graph.differ(one(literal), other(literal)) for literal in literals]
    return Apart(graph.circuit([*free, *state], (), differ), outputs, latches)


def _differences(graph: Graph, circuit: Aig, one: Callable[[int], int], other: Callable[[int], int]) -> Iterable[int]:
    for literal in (*circuit.outputs, *circuit.latches):
        if one(literal) != other(literal):
            yield graph.differ(one(literal), other(literal))


def _two(
    circuit: Aig,
    first: Mapping[str, int],
    second: Mapping[str, int],
    apart: Sequence[bool],
    constants: Sequence[int | None] | None = None,
) -> tuple[Graph, list[str], tuple[Callable[[int], int], Callable[[int], int]]]:
    """Two instances with some inputs given, the others shared, and a latch of its own in the second where ``apart``.

    Leaves of the graph: the free inputs, whose names come back, the latches of the first, the second's own. ``constants``:
    the latches' values where they are known; a latch of the second's own takes any.
    """
    free = [name for name in circuit.inputs if name not in first]
    leaves = len(free) + len(circuit.latches) + sum(apart)
    graph, leaf = Graph(leaves), iter(range(2, 2 * (leaves + 1), 2))
    shared = {name: next(leaf) for name in free}
    latches = [next(leaf) for _ in circuit.latches]
    if constants is not None:
        latches = [latch if value is None else value for latch, value in zip(latches, constants, strict=True)]
    second_latches = [next(leaf) if alone else latch for latch, alone in zip(latches, apart, strict=True)]

    def given(values: Mapping[str, int]) -> list[int]:
        return [values[name] if name in values else shared[name] for name in circuit.inputs]

    return (
        graph,
        free,
        (
            graph.instance(circuit, [*given(first), *latches]),
            graph.instance(circuit, [*given(second), *second_latches]),
        ),
    )
