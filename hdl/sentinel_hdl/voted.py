"""State that an upset of a single flip-flop can't make less safe."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value

COPIES = 3


class VotedFlag:
    """A flag in three flip-flops that counts as set while any of them is.

    One upset can only set it; to clear it takes all three at once. ``keep`` stops synthesis from merging the copies.
    """

    def __init__(self, name: str, init: int) -> None:
        self.copies = [Signal(name=f"{name}_{i}", init=init, attrs={"keep": "true"}) for i in range(COPIES)]
        self.value: Value = Cat(self.copies).any()
        #: No copy was upset: all are set.
        self.whole: Value = Cat(self.copies).all()
        #: The copies differ: one of them was upset.
        self.torn: Value = self.value & ~self.whole

    def set(self, m: Module, value: int) -> None:
        """All copies take ``value`` at the next edge, where the surrounding conditions hold."""
        m.d.sync += [copy.eq(value) for copy in self.copies]
