"""What is said to be constant never changes, and what is said to be unseen is seen by no output in any cycle."""

from __future__ import annotations

from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from sentinel_hdl.tools.aiger import Aig
from sentinel_hdl.tools.unseen import constants, differ_unseen

from tests.hdl.test_tools_aiger import CYCLES, FIRST, SECOND, circuits, step

MOST_LEAVES = 10


def never_set(miter: Aig) -> Aig | None:
    """The miter with the outputs false that no input sets; None where there are too many to try."""
    leaves = len(miter.inputs)
    if leaves > MOST_LEAVES:
        return None
    tried = [step(miter, list(values), [])[0] for values in product((0, 1), repeat=leaves)]
    ever = [any(column) for column in zip(*tried, strict=True)]
    outputs = tuple(literal if some else 0 for literal, some in zip(miter.outputs, ever, strict=True))
    return Aig(miter.inputs, miter.latches, outputs, miter.gates)


@given(circuits(), st.integers(0, 2**32))
def test_a_constant_register_keeps_its_value_from_reset_on(circuit: Aig, seed: int) -> None:
    known, random = constants(circuit, FIRST), Random(seed)
    state = [0] * len(circuit.latches)
    for _ in range(CYCLES):
        assert all(value in (None, kept) for value, kept in zip(known, state, strict=True))
        _, state = step(circuit, [0, 0, *(random.getrandbits(1) for _ in circuit.inputs[2:])], state)


@given(circuits(), st.integers(0, 2**32))
def test_no_output_ever_differs_where_registers_are_said_to_differ_unseen(circuit: Aig, seed: int) -> None:
    unseen = differ_unseen(circuit, FIRST, SECOND, constants(circuit, FIRST), never_set)
    random = Random(seed)
    one = other = [0] * len(circuit.latches)
    for _ in range(CYCLES):
        values = [random.getrandbits(1) for _ in circuit.inputs[2:]]
        first, one = step(circuit, [0, 0, *values], one)
        second, other = step(circuit, [1, 0, *values], other)
        assert unseen is None or first == second
        assert unseen is None or sum(a != b for a, b in zip(one, other, strict=True)) <= unseen


def test_a_bit_below_a_multiple_is_unseen() -> None:
    # A register that the choice inverts (latch 0) is seen only together with one that stays clear (latch 1).
    circuit = Aig(("in[0]", "in[1]", "data"), (2, 0), (12,), ((8, 10),))
    assert constants(circuit, FIRST) == (0, 0)
    assert differ_unseen(circuit, FIRST, SECOND, constants(circuit, FIRST), never_set) == 1


def test_a_register_that_reaches_an_output_is_seen() -> None:
    circuit = Aig(("in[0]", "in[1]", "data"), (2, 6), (8,), ())
    assert differ_unseen(circuit, FIRST, SECOND, constants(circuit, FIRST), never_set) is None


def test_what_cannot_be_reduced_is_not_told() -> None:
    circuit = Aig(("in[0]", "in[1]", "data"), (2, 6), (12,), ((8, 10),))
    assert differ_unseen(circuit, FIRST, SECOND, constants(circuit, FIRST), lambda miter: None) is None
