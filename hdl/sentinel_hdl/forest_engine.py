"""One engine of the forest: a pipeline over the levels of a tree, shared in turn by a few trees.

A tree is a perfect heap. Level k has a memory of its nodes, 2^k a tree; a node says which feature it reads, the key it
compares with and where NaN goes. Three stages a level: read the node, select the feature, compare. The path taken so far
is the address of the next level, and in the end of the leaf.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel_hdl.float_key import is_nan
from sentinel_hdl.mux import above, select_in_groups

STAGES_PER_LEVEL = 3
FEATURE_BITS = 5
LEAF_BITS = 32


class NodeLayout(data.StructLayout):
    """A stored node; with ``parity`` the word has an even number of ones."""

    def __init__(self) -> None:
        super().__init__({"key": 32, "feature": FEATURE_BITS, "default_left": 1, "parity": 1})


class LeafLayout(data.StructLayout):
    """A stored leaf, signed, in units of the model's grid; with ``parity`` the word has an even number of ones."""

    def __init__(self) -> None:
        super().__init__({"value": LEAF_BITS, "parity": 1})


class WriteLayout(data.StructLayout):
    """A word on its way into one engine's memory. ``level`` is the depth of the tree for a leaf."""

    def __init__(self, depth: int, slot_bits: int) -> None:
        super().__init__(
            {
                "level": ceil_log2(depth + 1),
                "index": depth,
                "slot": slot_bits,
                "bank": 1,
                "node": NodeLayout(),
                "leaf": LeafLayout(),
            }
        )


class StageLayout(data.StructLayout):
    """What accompanies a vector through the stages; the same for every engine."""

    def __init__(self, slot_bits: int) -> None:
        super().__init__({"valid": 1, "slot": slot_bits, "bank": 1})


class TreeEngine(wiring.Component):
    """Gives the leaf of one tree a cycle, ``latency`` cycles after its stage 0.

    Attributes
    ----------
    taps : In, per level the marked keys of the vector that is in its select stage.
    stages : In, ``depth * 3 + 2`` stages of control; ``stages[i]`` is what ``stages[i-1]`` was a cycle ago.
    write : In; ``write_en``: the word goes into this engine's memory, in the bank that no vector reads.
    leaf : Out, valid with the last of ``stages``. ``fault``: a word on the path failed its parity.
    """

    def __init__(self, depth: int, slots: int, features: int) -> None:
        self.depth, self.features = depth, features
        self.slot_bits = ceil_log2(slots)
        self.latency = STAGES_PER_LEVEL * depth + 1
        super().__init__(
            {
                "taps": In(data.ArrayLayout(data.ArrayLayout(32, features), depth)),
                "stages": In(data.ArrayLayout(StageLayout(self.slot_bits), self.latency + 1)),
                "write": In(WriteLayout(depth, self.slot_bits)),
                "write_en": In(1),
                "leaf": Out(LEAF_BITS),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        path = Signal(0, name="path_0")
        bad = Signal(name="bad")
        for level in range(self.depth):
            path, bad = self._level(m, level, path, bad)
        self._leaf(m, path, bad)
        return m

    def _memory(self, m: Module, name: str, shape: data.StructLayout, level: int, path: Signal) -> Signal:
        """The word of this stage's tree and bank at ``path``, a cycle later."""
        # Block RAM for the larger levels: in LUTs the fifth alone would take 4,000 more, over all engines.
        words = 1 << (level + self.slot_bits + 1)
        attributes = {"ram_style": "block"} if words >= 128 else {}
        memory = Memory(shape=unsigned(shape.size), depth=words, init=[], attrs=attributes)
        m.submodules[name] = memory
        write, read = memory.write_port(), memory.read_port()
        stage = self.stages[STAGES_PER_LEVEL * level]
        word = self.write.node if isinstance(shape, NodeLayout) else self.write.leaf
        m.d.comb += [
            write.en.eq(self.write_en & (self.write.level == level)),
            write.addr.eq(Cat(self.write.index[:level], self.write.slot, self.write.bank)),
            write.data.eq(word),
            read.en.eq(stage.valid),
            read.addr.eq(Cat(path, stage.slot, stage.bank)),
        ]
        return read.data

    def _level(self, m: Module, level: int, path: Signal, bad: Signal) -> tuple[Signal, Signal]:
        base = STAGES_PER_LEVEL * level
        node = NodeLayout()(self._memory(m, f"nodes_{level}", NodeLayout(), level, path))
        selecting, comparing = self.stages[base + 1].valid, self.stages[base + 2].valid
        # Each signal that goes along with the vector, as it is after the read, after the select and after the compare.
        path_read, path_selected, path_next = (
            Signal(level + (i == 2), name=f"path_{level}_{i}", reset_less=True) for i in range(3)
        )
        bad_read, bad_selected, bad_next = (Signal(name=f"bad_{level}_{i}", reset_less=True) for i in range(3))
        threshold = Signal(32, name=f"threshold_{level}", reset_less=True)
        default_left = Signal(name=f"default_left_{level}", reset_less=True)
        tap = self.taps[level]
        with m.If(self.stages[base].valid):
            m.d.sync += [path_read.eq(path), bad_read.eq(bad)]
        with m.If(selecting):
            chosen = select_in_groups(m, f"chosen_{level}", [tap[f] for f in range(self.features)], node.feature)
            m.d.sync += [
                threshold.eq(node.key),
                default_left.eq(node.default_left),
                path_selected.eq(path_read),
                bad_selected.eq(bad_read | node.as_value().xor()),
            ]
        with m.If(comparing):
            # The key of a NaN is above every threshold, so it goes right unless it is told not to.
            missing = Cat(is_nan(part) for part in chosen).any()
            right = ~above(threshold, chosen) & ~(missing & default_left)
            m.d.sync += [path_next.eq(Cat(right, path_selected)), bad_next.eq(bad_selected)]
        return path_next, bad_next

    def _leaf(self, m: Module, path: Signal, bad: Signal) -> None:
        leaf = LeafLayout()(self._memory(m, "leaves", LeafLayout(), self.depth, path))
        bad_read = Signal(reset_less=True)
        with m.If(self.stages[STAGES_PER_LEVEL * self.depth].valid):
            m.d.sync += bad_read.eq(bad)
        m.d.comb += [self.leaf.eq(leaf.value), self.fault.eq(bad_read | leaf.as_value().xor())]
