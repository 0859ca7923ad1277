"""The forest scorer: up to 128 trees of depth 6 on one vector, a new vector every four cycles, exactly.

Tree t runs in engine t // G as its slot t % G. All engines work in lock-step: the control of a stage and the features a
level selects from exist once. Leaves are integers on the model's grid, so their sum is the margin, whatever the order.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel.model.forest import MAX_DEPTH
from sentinel.wire import MAX_CLASSES, MAX_FEATURES
from sentinel_hdl.float_key import marked_key
from sentinel_hdl.forest_engine import STAGES_PER_LEVEL, StageLayout, TreeEngine, WriteLayout

CLASS_BITS = ceil_log2(MAX_CLASSES)


class ScoreLayout(data.StructLayout):
    """``margins``: int32 on the model's grid. ``fault``: a word read for it failed its parity, so they mean nothing."""

    def __init__(self) -> None:
        super().__init__({"margins": data.ArrayLayout(32, MAX_CLASSES), "fault": 1})


class ClassLayout(data.StructLayout):
    """Which margin a tree adds to, as stored; with ``parity`` the word has an even number of ones."""

    def __init__(self) -> None:
        super().__init__({"number": CLASS_BITS, "parity": 1})


class TreeWriteLayout(data.StructLayout):
    """A word for one tree of the bank that is not in use: a node, a leaf (``level`` = depth) or, with ``is_class``, its class."""

    def __init__(self, depth: int, engines: int, slots: int) -> None:
        super().__init__(
            {
                "valid": 1,
                "engine": ceil_log2(engines),
                "is_class": 1,
                "class_of": ClassLayout(),
                "word": WriteLayout(depth, ceil_log2(slots)),
            }
        )


class ForestScorer(wiring.Component):
    """Scores vectors in the order they come.

    Parameters
    ----------
    engines, trees_per_engine : powers of two; the forest holds ``engines * trees_per_engine`` trees. An engine takes at
        least four: a level keeps the features of a vector for its three stages.
    features : slots of a vector. depth : of a tree.

    Attributes
    ----------
    features : In(stream); raw float32 bits. A vector is taken every ``trees_per_engine`` cycles at most.
    bank : In; the bank a vector uses is the one at the cycle it is taken.
    trees : In; how many trees of that bank count.
    scores : Out(stream); one for each vector, ``latency`` cycles after it was taken where the reader is ready. The pipeline
        can't wait: vectors are only taken while there is room for all the scores.
    write : In; see TreeWriteLayout.
    idle : Out; no vector is in the pipeline, so the bank may change.
    """

    def __init__(
        self, engines: int = 32, trees_per_engine: int = 4, features: int = MAX_FEATURES, depth: int = MAX_DEPTH
    ) -> None:
        if trees_per_engine <= STAGES_PER_LEVEL:
            raise ValueError(f"trees_per_engine = {trees_per_engine}: more than the {STAGES_PER_LEVEL} stages of a level")
        self.engines, self.slots, self.feature_count, self.depth = engines, trees_per_engine, features, depth
        self.tree_capacity = engines * trees_per_engine
        self._engine_latency = STAGES_PER_LEVEL * depth + 1
        self._sum_stages = ceil_log2(engines)
        # Take, engine, mask, sum, accumulate all slots, and through the output's buffer.
        self.latency = 1 + self._engine_latency + 1 + self._sum_stages + 1 + trees_per_engine - 1 + 1
        #: Vectors that may be under way, from the one taken last to the score not yet given: enough for the full rate.
        self.room = 1 << ceil_log2(-(-self.latency // trees_per_engine) + 2)
        super().__init__(
            {
                "features": In(stream.Signature(data.ArrayLayout(32, features))),
                "bank": In(1),
                "trees": In(ceil_log2(self.tree_capacity + 1)),
                "scores": Out(stream.Signature(ScoreLayout())),
                "write": In(TreeWriteLayout(depth, engines, trees_per_engine)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot_bits = ceil_log2(self.slots)
        take = Signal()
        m.d.comb += take.eq(self.features.valid & self.features.ready)

        # The slots of a vector follow each other into the pipeline.
        stages = Signal(data.ArrayLayout(StageLayout(slot_bits), self._engine_latency + 1))
        left = Signal(range(self.slots + 1))
        slot, bank = Signal(slot_bits, reset_less=True), Signal(reset_less=True)
        m.d.comb += [stages[0].valid.eq(left != 0), stages[0].slot.eq(slot), stages[0].bank.eq(bank)]
        with m.If(take):
            m.d.sync += [left.eq(self.slots), slot.eq(0), bank.eq(self.bank)]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), slot.eq(slot + 1)]
        for i in range(1, self._engine_latency + 1):
            before, valid = stages[i - 1], Signal(name=f"valid_{i}")
            slot, bank = (
                Signal(width, name=f"{name}_{i}", reset_less=True) for width, name in ((slot_bits, "slot"), (1, "bank"))
            )
            m.d.sync += valid.eq(before.valid)
            with m.If(before.valid):
                m.d.sync += [slot.eq(before.slot), bank.eq(before.bank)]
            m.d.comb += [stages[i].valid.eq(valid), stages[i].slot.eq(slot), stages[i].bank.eq(bank)]

        taps = self._taps(m, take, stages)
        # A register between the loader and the engines, so that the fan-out has a cycle of its own.
        write, write_valid = Signal(self.write.shape(), reset_less=True), Signal()
        m.d.sync += [write.eq(self.write), write_valid.eq(self.write.valid)]
        leaves, faults = [], []
        for number in range(self.engines):
            m.submodules[f"engine_{number}"] = engine = TreeEngine(self.depth, self.slots, self.feature_count)
            here = write_valid & (write.engine == number)
            m.d.comb += [
                engine.taps.eq(taps),
                engine.stages.eq(stages),
                engine.write.eq(write.word),
                engine.write_en.eq(here & ~write.is_class),
            ]
            last = stages[self._engine_latency]
            counts, stored_class = self._class_of(m, number, here, write, stages[self._engine_latency - 1])
            leaf, fault = Signal(32, name=f"leaf_{number}", reset_less=True), Signal(name=f"fault_{number}", reset_less=True)
            leaf_class = Signal(CLASS_BITS, name=f"leaf_class_{number}", reset_less=True)
            with m.If(last.valid):
                m.d.sync += [
                    leaf.eq(Mux(counts, engine.leaf, 0)),
                    fault.eq(counts & (engine.fault | stored_class.as_value().xor())),
                    leaf_class.eq(stored_class.number),
                ]
            leaves.append((leaf, leaf_class))
            faults.append(fault)
        done, score = self._accumulate(m, stages[self._engine_latency], leaves, faults)
        self._flow(m, take, left, done, score)
        return m

    def _taps(self, m: Module, take: Signal, stages: data.View[data.ArrayLayout]) -> data.View[data.ArrayLayout]:
        """The keys for the select stage of each level; a level's hold still while the slots of a vector pass it."""
        row = data.ArrayLayout(32, self.feature_count)
        entered = Signal(row, reset_less=True)
        taps = Signal(data.ArrayLayout(row, self.depth), reset_less=True)
        with m.If(take):
            for f in range(self.feature_count):
                m.d.sync += entered[f].eq(marked_key(self.features.payload[f]))
        for level in range(self.depth):
            stage = stages[STAGES_PER_LEVEL * level]
            with m.If(stage.valid & (stage.slot == 0)):
                m.d.sync += taps[level].eq(entered if level == 0 else taps[level - 1])
        return taps

    def _class_of(
        self, m: Module, number: int, here: Value, write: data.View[TreeWriteLayout], stage: data.View[StageLayout]
    ) -> tuple[Signal, data.View[ClassLayout]]:
        """Whether the tree whose leaf comes next cycle counts, and for which class."""
        memory = Memory(shape=ClassLayout(), depth=2 * self.slots, init=[])
        m.submodules[f"classes_{number}"] = memory
        write_port, read_port = memory.write_port(), memory.read_port()
        counts = Signal(name=f"counts_{number}", reset_less=True)
        m.d.comb += [
            write_port.en.eq(here & write.is_class),
            write_port.addr.eq(Cat(write.word.slot, write.word.bank)),
            write_port.data.eq(write.class_of),
            read_port.en.eq(stage.valid),
            read_port.addr.eq(Cat(stage.slot, stage.bank)),
        ]
        with m.If(stage.valid):
            m.d.sync += counts.eq(number * self.slots + stage.slot < self.trees)
        return counts, read_port.data

    def _accumulate(
        self, m: Module, last: data.View[StageLayout], leaves: Sequence[tuple[Signal, Signal]], faults: Sequence[Signal]
    ) -> tuple[Signal, data.View[ScoreLayout]]:
        """Sums over the engines, then over the slots of a vector: a pulse with the last, and the score."""
        valid, first, final = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [valid.eq(last.valid), first.eq(last.slot == 0), final.eq(last.slot == self.slots - 1)]
        sums: list[list[Value]] = [
            [Mux(leaf_class == number, leaf, 0) for leaf, leaf_class in leaves] for number in range(MAX_CLASSES)
        ]
        bad: list[Value] = list(faults)
        for stage in range(self._sum_stages):
            sums = [self._add_pairs(m, f"sum_{number}_{stage}", valid, terms) for number, terms in enumerate(sums)]
            bad = self._or_pairs(m, f"bad_{stage}", valid, bad)
            added, flags = Signal(name=f"added_{stage}"), Signal(2, name=f"flags_{stage}", reset_less=True)
            m.d.sync += [added.eq(valid), flags.eq(Cat(first, final))]
            valid, first, final = added, flags[0], flags[1]
        total = Signal(ScoreLayout(), reset_less=True)
        done = Signal()
        m.d.sync += done.eq(valid & final)
        with m.If(valid):
            for number in range(MAX_CLASSES):
                m.d.sync += total.margins[number].eq(Mux(first, 0, total.margins[number]) + sums[number][0])
            m.d.sync += total.fault.eq(Mux(first, 0, total.fault) | bad[0])
        return done, total

    @staticmethod
    def _add_pairs(m: Module, name: str, enable: Value, terms: list[Value]) -> list[Value]:
        result: list[Value] = []
        for i in range(0, len(terms), 2):
            s = Signal(32, name=f"{name}_{i // 2}", reset_less=True)
            with m.If(enable):
                m.d.sync += s.eq(sum(terms[i + 1 : i + 2], terms[i]))
            result.append(s)
        return result

    @staticmethod
    def _or_pairs(m: Module, name: str, enable: Value, terms: list[Value]) -> list[Value]:
        result: list[Value] = []
        for i in range(0, len(terms), 2):
            s = Signal(name=f"{name}_{i // 2}", reset_less=True)
            with m.If(enable):
                m.d.sync += s.eq(Cat(terms[i : i + 2]).any())
            result.append(s)
        return result

    def _flow(self, m: Module, take: Signal, left: Signal, done: Signal, score: data.View[ScoreLayout]) -> None:
        """Scores leave through a buffer as deep as the pipeline; a vector is taken only when its score will find room."""
        depth = self.room
        memory = Memory(shape=ScoreLayout(), depth=depth, init=[])
        m.submodules.scores = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        head, tail = Signal(range(depth)), Signal(range(depth))
        ready_scores, owed = Signal(range(depth + 1)), Signal(range(depth + 1))
        give = Signal()
        m.d.comb += [
            write.en.eq(done),
            write.addr.eq(tail),
            write.data.eq(score),
            read.addr.eq(head),
            self.scores.payload.eq(read.data),
            self.scores.valid.eq(ready_scores != 0),
            give.eq(self.scores.valid & self.scores.ready),
            self.features.ready.eq((left <= 1) & (owed != depth)),
            self.idle.eq(owed == 0),
        ]
        with m.If(done):
            m.d.sync += tail.eq(tail + 1)
        with m.If(give):
            m.d.sync += head.eq(head + 1)
        m.d.sync += [ready_scores.eq(ready_scores + done - give), owed.eq(owed + take - give)]
