"""SECDED code (72, 64): corrects a flipped bit of a stored word, detects two.

An extended Hamming code: check bit i covers the data bits whose position has bit i set, positions counting from 3 and leaving
out the powers of two; the last check bit makes the whole word even. A word of zeros is its own code.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value

DATA_BITS = 64
CHECK_BITS = 8
CODE_BITS = DATA_BITS + CHECK_BITS


def _positions() -> list[int]:
    """The Hamming position of each data bit."""
    positions = (p for p in range(3, 256) if p & (p - 1))
    return [next(positions) for _ in range(DATA_BITS)]


POSITIONS = _positions()


class Decoded(NamedTuple):
    """``data`` is right unless ``uncorrectable``."""

    data: Value
    corrected: Value
    uncorrectable: Value


def _parity(bits: list[Value]) -> Value:
    return Cat(bits).xor()


def encode(word: Value) -> Value:
    """The 72 bits to store for 64."""
    checks = [_parity([word[i] for i, p in enumerate(POSITIONS) if p >> bit & 1]) for bit in range(CHECK_BITS - 1)]
    return Cat(word, *checks, Cat(word, *checks).xor())


def decode(m: Module, code: Value) -> Decoded:
    """The 64 bits stored in 72, combinational. Five LUT levels."""
    word, checks = code[:DATA_BITS], code[DATA_BITS : CODE_BITS - 1]
    syndrome, odd = Signal(CHECK_BITS - 1, name="syndrome"), Signal(name="odd")
    m.d.comb += [
        syndrome.eq(
            Cat(
                _parity([checks[bit], *(word[i] for i, p in enumerate(POSITIONS) if p >> bit & 1)])
                for bit in range(CHECK_BITS - 1)
            )
        ),
        odd.eq(code.xor()),
    ]
    flips = Cat(odd & (syndrome == p) for p in POSITIONS)
    # An odd error whose syndrome is no position: more than two bits, three say.
    known = [*POSITIONS, 0, *(1 << bit for bit in range(CHECK_BITS - 1))]
    strange = Signal(name="strange")
    m.d.comb += strange.eq(odd & ~Cat(syndrome == p for p in known).any())
    return Decoded(word ^ flips, odd & ~strange, (~odd & (syndrome != 0)) | strange)
