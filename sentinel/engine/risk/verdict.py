"""What a control answers."""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from sentinel.native import JIT


class Verdict(NamedTuple):
    """``control``: wire.Control that refuses, 0 to pass; what it saw and what it allows."""

    control: int
    observed: int
    limit: int


@njit(**JIT)
def passes() -> Verdict:
    return Verdict(0, 0, 0)


@njit(**JIT)
def verdict_if(refuse: bool, control: int, observed: int, limit: int) -> Verdict:
    # By a variable: Python 3.12 makes two returns of a conditional one, and numba cannot join an enum's with an int's.
    code = control if refuse else 0
    return Verdict(code, observed, limit)
