"""Circuits read, written and compared: two instances differ in the miter exactly where they differ when simulated."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentinel_hdl.tools.aiger import Aig, combinational_miter, read_aiger, sequential_miter, write_aiger
from sentinel_hdl.tools.errors import CoreError

CYCLES = 12


@st.composite
def circuits(draw: st.DrawFn) -> Aig:
    """Any small circuit; its first two inputs choose what it is."""
    inputs, latches, gates = draw(st.integers(2, 5)), draw(st.integers(0, 6)), draw(st.integers(0, 30))

    def literal(variables: int) -> int:
        return draw(st.integers(0, 2 * variables + 1))

    pairs = tuple((literal(inputs + latches + number), literal(inputs + latches + number)) for number in range(gates))
    total = inputs + latches + gates
    nexts = tuple(literal(total) for _ in range(latches))
    outputs = tuple(literal(total) for _ in range(draw(st.integers(1, 3))))
    return Aig(tuple(f"in[{number}]" for number in range(inputs)), nexts, outputs, pairs)


def step(circuit: Aig, inputs: list[int], state: list[int]) -> tuple[list[int], list[int]]:
    """Outputs and next state."""
    values = [0, *inputs, *state]
    for one, other in circuit.gates:
        values.append((values[one >> 1] ^ one & 1) & (values[other >> 1] ^ other & 1))
    return (
        [values[literal >> 1] ^ literal & 1 for literal in circuit.outputs],
        [values[literal >> 1] ^ literal & 1 for literal in circuit.latches],
    )


FIRST, SECOND = {"in[0]": 0, "in[1]": 0}, {"in[0]": 1, "in[1]": 0}


@given(circuits())
def test_what_is_written_is_read_again_without_names(tmp_path_factory: pytest.TempPathFactory, circuit: Aig) -> None:
    path = tmp_path_factory.mktemp("aiger") / "circuit.aig"
    write_aiger(path, circuit)
    found = read_aiger(path)
    assert found.inputs == tuple(str(number) for number in range(len(circuit.inputs)))
    assert (found.latches, found.outputs) == (circuit.latches, circuit.outputs)
    assert [sorted(gate) for gate in found.gates] == [sorted(gate) for gate in circuit.gates]


def test_names_of_inputs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "named.aig"
    # One gate of two inputs, which a latch takes.
    path.write_bytes(b"aig 4 2 1 1 1\n8\n6\n" + bytes([4, 2]) + b"i0 clock[3]\nl0 kept\nc\ncomment\n")
    assert read_aiger(path) == Aig(("clock[3]", "1"), (8,), (6,), ((4, 2),))


def test_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.aag"
    path.write_bytes(b"aag 1 1 0 0 0\n2\n")
    with pytest.raises(CoreError, match="aag"):
        read_aiger(path)


@given(circuits(), st.integers(0, 2**32))
def test_instances_differ_in_one_cycle_where_the_miter_says_so(circuit: Aig, seed: int) -> None:
    miter = combinational_miter(circuit, FIRST, SECOND)
    assert not miter.latches
    random = Random(seed)
    for _ in range(CYCLES):
        values = {name: random.getrandbits(1) for name in circuit.inputs[2:]}
        state = [random.getrandbits(1) for _ in circuit.latches]
        one, other = (step(circuit, [chosen, 0, *values.values()], state) for chosen in (0, 1))
        values |= {f"latch {position}": value for position, value in enumerate(state)}
        assert step(miter, [values[name] for name in miter.inputs], [])[0] == [one != other]


@given(circuits(), st.integers(0, 2**32))
def test_instances_from_reset_differ_in_a_cycle_where_the_miter_says_so(circuit: Aig, seed: int) -> None:
    miter = sequential_miter(circuit, FIRST, SECOND)
    one = other = [0] * len(circuit.latches)
    kept = [0] * len(miter.latches)
    random = Random(seed)
    for _ in range(CYCLES):
        values = {name: random.getrandbits(1) for name in circuit.inputs[2:]}
        first, one = step(circuit, [0, 0, *values.values()], one)
        second, other = step(circuit, [1, 0, *values.values()], other)
        told, kept = step(miter, [values[name] for name in miter.inputs], kept)
        assert told == [first != second]


def test_latches_that_both_share_are_kept_once() -> None:
    # A shift register that nothing chooses, and an output the choice inverts once it has come through.
    circuit = Aig(("in[0]", "in[1]", "data"), (6, 8, 10), (14,), ((2, 12),))
    miter = sequential_miter(circuit, FIRST, SECOND)
    assert (miter.inputs, len(miter.latches), len(miter.gates)) == (("data",), 3, 0)
