"""SECDED code (72, 64): corrects a flipped bit of a stored word, detects two.

An extended Hamming code: check bit i covers the data bits whose position has bit i set, positions counting from 3 and leaving
out the powers of two; the last check bit makes the whole word even. A word of zeros is its own code.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value

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
    """Exclusive or of all, six to a LUT."""
    while len(bits) > 1:
        bits = [Cat(bits[i : i + 6]).xor() for i in range(0, len(bits), 6)]
    return bits[0]


def encode(m: Module, word: Value) -> Value:
    """The 72 bits to store for 64, combinational; the check bits are zeros where the condition it stands under does not hold."""
    checks = [_parity([word[i] for i, p in enumerate(POSITIONS) if p >> bit & 1]) for bit in range(CHECK_BITS - 1)]
    # The even bit covers each data bit as often as it is not in the checks: where it is in an even number of them.
    even = _parity([word[i] for i, p in enumerate(POSITIONS) if p.bit_count() % 2 == 0])
    check = Signal(CHECK_BITS, name="check")
    m.d.comb += check.eq(Cat(*checks, even))
    return Cat(word, check)


def decode(m: Module, code: Value) -> Decoded:
    """The 64 bits stored in 72, combinational, under a condition as ``encode``. Five LUT levels to data and flags."""
    word, checks = code[:DATA_BITS], code[DATA_BITS : CODE_BITS - 1]
    syndrome, odd = Signal(CHECK_BITS - 1, name="syndrome"), Signal(name="odd")
    m.d.comb += [
        syndrome.eq(
            Cat(
                _parity([checks[bit], *(word[i] for i, p in enumerate(POSITIONS) if p >> bit & 1)])
                for bit in range(CHECK_BITS - 1)
            )
        ),
        odd.eq(_parity(list(code))),
    ]
    # An even error changes a bit too, of a word that is uncorrectable.
    flips = Cat(syndrome == p for p in POSITIONS)
    # Positions without a gap: data, checks, and 0 for the even bit. An odd error beyond them is of more than two bits.
    strange = Signal(name="strange")
    m.d.comb += strange.eq(syndrome > max(POSITIONS))
    return Decoded(word ^ flips, odd & ~strange, Mux(odd, strange, syndrome != 0))
