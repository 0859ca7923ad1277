"""The vector a decision is taken on, as it travels inside the card."""

from __future__ import annotations

from amaranth.lib import data

from sentinel.wire import MAX_FEATURES


class VectorLayout(data.StructLayout):
    """``features``: raw float32 bits, slot 0 first (absent slots hold a NaN). ``cycle_in``: when its last beat came."""

    def __init__(self, features: int = MAX_FEATURES) -> None:
        super().__init__({"features": data.ArrayLayout(32, features), "seq": 32, "symbol": 16, "cycle_in": 32})


#: What an absent feature holds: the quiet NaN of IEEE-754 binary32.
ABSENT = 0x7FC00000
