"""Rolling 64-bit hashes: what happened, in order, in one word each. The state hash covers their heads."""

from __future__ import annotations

import numpy as np
from numba import njit

from sentinel.native import JIT


@njit(inline="always", **JIT)
def mix(chain: np.uint64, word: np.int64) -> np.uint64:
    """Fold one 64-bit word into a chain (multiply by 2^64 / golden ratio, xor-shift). Not cryptographic."""
    h = (chain ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    return h ^ (h >> np.uint64(29))
