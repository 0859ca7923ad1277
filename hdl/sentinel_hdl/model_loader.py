"""Takes a model as a stream of words into the bank that is not in use, checks it, and swaps the banks between two vectors.

The words, in the order of the artifact: for each tree its class, its 63 nodes in level order (key, then feature and default
direction), its 64 leaves; then the 16 conditions of the rule table (feature and flags, low key, high key).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel.model.artifact import ABI_VERSION
from sentinel.model.forest import MAX_DEPTH
from sentinel.model.rule import CONDITIONS, RULES
from sentinel.wire import MAX_CLASSES
from sentinel_hdl.forest import TreeWriteLayout
from sentinel_hdl.pump_detector import ConditionLayout


def words_per_tree(depth: int = MAX_DEPTH) -> int:
    """Class, two words a node, one a leaf."""
    return 1 + 2 * ((1 << depth) - 1) + (1 << depth)


def rule_words(rules: int = RULES, conditions: int = CONDITIONS) -> int:
    """Three words a condition."""
    return 3 * rules * conditions


class HeaderLayout(data.StructLayout):
    """What is said of a model beside its words. ``id``: CRC-32 of the artifact, carried by every decision."""

    def __init__(self) -> None:
        super().__init__({"abi": 32, "trees": 8, "classes": 3, "id": 32, "forest_on_rule": 1, "two_beats": 1})


class ErrorLayout(data.StructLayout):
    """Why a swap was refused."""

    def __init__(self) -> None:
        super().__init__({"crc": 1, "count": 1, "abi": 1, "trees": 1, "classes": 1})


class ModelLoader(wiring.Component):
    """Write side of the model memory.

    Attributes
    ----------
    header : In, as staged by software; taken at ``begin``.
    begin, word, swap : In, strobes with ``value``: start a load; its next word; swap if ``value`` is the CRC-32 of all words.
        Of two at once ``begin`` counts before ``swap``, and that before ``word``.
    idle : In, no vector is under way. ``hold`` : Out, none may start: the banks are about to be swapped.
    write : Out, words for the trees. bank : Out, the bank in use.
    active : Out, the header in use. table : Out, the conditions in use. loaded : Out, there is a model in use.
    busy : Out, a load or a swap is under way; a ``begin`` while a swap waits for ``idle`` does nothing.
    errors : Out, of the last swap, until the next ``begin``.
    fault : Out, the header in use, or which bank that is, failed its parity.
    """

    def __init__(
        self,
        engines: int = 32,
        trees_per_engine: int = 4,
        depth: int = MAX_DEPTH,
        rules: int = RULES,
        conditions: int = CONDITIONS,
    ) -> None:
        self.engines, self.slots, self.depth = engines, trees_per_engine, depth
        self.rules, self.conditions = rules, conditions
        table = data.ArrayLayout(data.ArrayLayout(ConditionLayout(), conditions), rules)
        super().__init__(
            {
                "header": In(HeaderLayout()),
                "begin": In(1),
                "word": In(1),
                "swap": In(1),
                "value": In(32),
                "idle": In(1),
                "hold": Out(1),
                "write": Out(TreeWriteLayout(depth, engines, trees_per_engine)),
                "bank": Out(1),
                "active": Out(HeaderLayout()),
                "table": Out(table),
                "loaded": Out(1),
                "busy": Out(1),
                "errors": Out(ErrorLayout()),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        capacity = self.engines * self.slots
        of_tree, of_rules = words_per_tree(self.depth), rule_words(self.rules, self.conditions)
        expected_max = capacity * of_tree + of_rules
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=32).create()
        loading, swapping = Signal(), Signal()
        begin = Signal()
        header, parity = Signal(HeaderLayout()), Signal()
        count = Signal(range(expected_max + 2))
        tree = Signal(range(capacity + 1))
        take = Signal()
        m.d.comb += [
            begin.eq(self.begin & ~swapping),
            take.eq(self.word & loading & ~swapping & ~begin & ~self.swap),
            crc.start.eq(begin),
            crc.valid.eq(take),
            crc.data.eq(self.value),
            self.hold.eq(swapping),
            self.busy.eq(loading | swapping),
        ]
        in_trees = Signal()
        m.d.comb += in_trees.eq(tree < header.trees)
        staged = Signal.like(self.table)
        with m.If(take & (count != expected_max + 1)):
            m.d.sync += count.eq(count + 1)
        self._tree_words(m, begin, take & in_trees & (tree != capacity), tree)
        self._rule_words(m, begin, take & ~in_trees, staged)

        expected = Signal(range(256 * of_tree + of_rules))
        m.d.sync += expected.eq(header.trees * of_tree + of_rules)
        with m.If(begin):
            m.d.sync += [header.eq(self.header), loading.eq(1), count.eq(0), tree.eq(0), self.errors.eq(0)]
        with m.Elif(self.swap & ~swapping):
            errors = Cat(
                crc.crc != self.value,
                ~loading | (count != expected),
                header.abi != ABI_VERSION,
                (header.trees == 0) | (header.trees > capacity),
                (header.classes == 0) | (header.classes > MAX_CLASSES),
            )
            m.d.sync += [self.errors.eq(errors), swapping.eq(~errors.any()), loading.eq(0)]
        with m.If(swapping & self.idle):
            m.d.sync += [
                swapping.eq(0),
                self.bank.eq(~self.bank),
                self.loaded.eq(1),
                self.active.eq(header),
                self.table.eq(staged),
                # Of the header with ``loaded`` and ``bank`` as they will be.
                parity.eq(Cat(header, 1, ~self.bank).xor()),
            ]
        m.d.sync += self.fault.eq(Cat(self.active, self.loaded, self.bank).xor() ^ parity)
        return m

    def _tree_words(self, m: Module, begin: Signal, take: Value, tree: Signal) -> None:
        level, index = Signal(ceil_log2(self.depth + 1)), Signal(self.depth)
        is_class, is_meta = Signal(init=1), Signal()
        key = Signal(32)
        slot_bits = ceil_log2(self.slots)
        write = self.write
        word = write.word
        node, leaf = word.node, word.leaf
        with m.If(begin):
            m.d.sync += [is_class.eq(1), is_meta.eq(0)]
        m.d.sync += write.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                write.engine.eq(tree[slot_bits:]),
                word.slot.eq(tree[:slot_bits]),
                word.bank.eq(~self.bank),
                word.level.eq(level),
                word.index.eq(index),
                write.is_class.eq(is_class),
                write.class_of.number.eq(self.value),
                write.class_of.parity.eq(self.value[: len(write.class_of.number)].xor()),
                node.key.eq(key),
                node.feature.eq(self.value[:5]),
                node.default_left.eq(self.value[8]),
                node.parity.eq(Cat(key, self.value[:5], self.value[8]).xor()),
                leaf.value.eq(self.value),
                leaf.parity.eq(self.value.xor()),
            ]
            with m.If(is_class):
                m.d.sync += [write.valid.eq(1), is_class.eq(0), is_meta.eq(0), level.eq(0), index.eq(0)]
            with m.Elif((level != self.depth) & ~is_meta):
                m.d.sync += [key.eq(self.value), is_meta.eq(1)]
            with m.Else():
                m.d.sync += [write.valid.eq(1), is_meta.eq(0), index.eq(index + 1)]
                # The last of a level: its index is all ones over the bits the level has.
                with m.If(Cat(index[i] | (level <= i) for i in range(self.depth)).all()):
                    m.d.sync += [index.eq(0), level.eq(level + 1)]
                    with m.If(level == self.depth):
                        m.d.sync += [is_class.eq(1), tree.eq(tree + 1)]

    def _rule_words(self, m: Module, begin: Signal, take: Value, staged: data.View[data.ArrayLayout]) -> None:
        count = self.rules * self.conditions
        condition, part = Signal(range(count)), Signal(range(3))
        with m.If(begin):
            m.d.sync += [condition.eq(0), part.eq(0)]
        with m.Elif(take):
            m.d.sync += part.eq(part + 1)
            with m.If(part == 2):
                m.d.sync += [part.eq(0), condition.eq(condition + 1)]
            with m.Switch(Cat(part, condition)):
                for number in range(count):
                    entry = staged[number // self.conditions][number % self.conditions]
                    with m.Case(number << 2):
                        m.d.sync += [
                            entry.feature.eq(self.value[:5]),
                            entry.used.eq(self.value[8]),
                            entry.nan_result.eq(self.value[9]),
                            entry.parity.eq(Cat(self.value[:5], self.value[8:10]).xor()),
                        ]
                    with m.Case(number << 2 | 1):
                        m.d.sync += [entry.low.eq(self.value), entry.parity.eq(entry.parity ^ self.value.xor())]
                    with m.Case(number << 2 | 2):
                        m.d.sync += [entry.high.eq(self.value), entry.parity.eq(entry.parity ^ self.value.xor())]
