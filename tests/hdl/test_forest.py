"""The forest scorer and the model loader at small sizes: parity, the bank a vector keeps, words and strobes out of turn."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="the hdl extra is not installed")

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib.wiring import In
from amaranth.sim import SimulatorContext
from sentinel_hdl import decider as decider_module
from sentinel_hdl.beats import layout
from sentinel_hdl.decider import Decider
from sentinel_hdl.forest import ForestScorer
from sentinel_hdl.model_loader import ModelLoader, rule_words, words_per_tree

from sentinel.model.artifact import ABI_VERSION
from sentinel.model.float_key import float_key
from sentinel.wire import DECISION, DecisionFlag
from tests.hdl.axi_lite_master import simulate

DEPTH, FEATURES, ENGINES, SLOTS = 2, 3, 2, 4
TREES, NODES, LEAVES = ENGINES * SLOTS, 3, 4
VECTOR = [0.25, -1.0, float("nan")]
PATIENCE = 200
HEADER = {"abi": ABI_VERSION, "trees": TREES, "classes": 2, "id": 0xC0DE, "forest_on_rule": 0, "two_beats": 0}


def even(*values: int) -> int:
    return sum(value.bit_count() for value in values) & 1


def bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


class Tree:
    """Random nodes over VECTOR's features; ``path`` is where VECTOR goes."""

    def __init__(self, random: np.random.Generator) -> None:
        self.key = [float_key(float(random.choice([-1.0, 0.25, 0.3, -2.0]))) for _ in range(NODES)]
        self.feature = [int(f) for f in random.integers(0, FEATURES, NODES)]
        self.default_left = [int(d) for d in random.integers(0, 2, NODES)]
        self.leaf = [int(v) for v in random.integers(-1000, 1000, LEAVES)]
        self.number = int(random.integers(0, 4))

    @property
    def path(self) -> list[int]:
        """Node numbers down to the leaf, which is counted on from the nodes."""
        nodes = [0]
        while nodes[-1] < NODES:
            n = nodes[-1]
            x = VECTOR[self.feature[n]]
            left = self.default_left[n] if x != x else float_key(x) < self.key[n]
            nodes.append(2 * n + (1 if left else 2))
        return nodes


class Scorer:
    """Writes trees into a scorer and asks it for scores."""

    def __init__(self, ctx: SimulatorContext, dut: ForestScorer) -> None:
        self.ctx, self.dut = ctx, dut

    async def write(self, tree: int, bank: int, **fields: Any) -> None:
        word = {"slot": tree % SLOTS, "bank": bank, **fields.pop("word", {})}
        self.ctx.set(self.dut.write, {"valid": 1, "engine": tree // SLOTS, "word": word, **fields})
        await self.ctx.tick()
        self.ctx.set(self.dut.write, {"valid": 0})

    async def write_tree(self, number: int, bank: int, tree: Tree, upset: tuple[str, int] | None = None) -> None:
        """All words of a tree; ``upset``: the kind and index of the one whose parity is wrong."""

        def parity(kind: str, index: int, *values: int) -> int:
            return even(*values) ^ ((kind, index) == upset)

        word = {"number": tree.number, "parity": parity("class", 0, tree.number)}
        await self.write(number, bank, is_class=1, class_of=word)
        for n in range(NODES):
            level = (n + 1).bit_length() - 1
            node = {"key": tree.key[n], "feature": tree.feature[n], "default_left": tree.default_left[n]}
            node["parity"] = parity("node", n, *node.values())
            await self.write(number, bank, word={"level": level, "index": n + 1 - (1 << level), "node": node})
        for i in range(LEAVES):
            leaf = {"value": tree.leaf[i] & 0xFFFFFFFF, "parity": parity("leaf", i, tree.leaf[i] & 0xFFFFFFFF)}
            await self.write(number, bank, word={"level": DEPTH, "index": i, "leaf": leaf})
        await self.ctx.tick().repeat(3)

    async def score(self, trees: int = TREES, bank: int = 0) -> tuple[list[int], int, int]:
        """Margins, fault, and the cycles they took."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.features.payload, [bits(x) for x in VECTOR])
        ctx.set(dut.bank, bank)
        ctx.set(dut.trees, trees)
        ctx.set(dut.features.valid, 1)
        assert ctx.get(dut.features.ready)
        await ctx.tick()
        ctx.set(dut.features.valid, 0)
        assert not ctx.get(dut.idle)
        cycles = 1
        while not ctx.get(dut.scores.valid):
            await ctx.tick()
            cycles += 1
            assert cycles < PATIENCE
        score = ctx.get(dut.scores.payload)
        ctx.set(dut.scores.ready, 1)
        await ctx.tick()
        ctx.set(dut.scores.ready, 0)
        assert ctx.get(dut.idle)
        margins = [value - (value >> 31 << 32) for value in score.margins]
        return margins, int(score.fault), cycles


def expected(trees: list[Tree]) -> list[int]:
    margins = [0] * 4
    for tree in trees:
        margins[tree.number] += tree.leaf[tree.path[-1] - NODES]
    return margins


def run(test: Callable[[Scorer], Awaitable[None]]) -> None:
    dut = ForestScorer(ENGINES, SLOTS, FEATURES, DEPTH)

    async def bench(ctx: SimulatorContext) -> None:
        await test(Scorer(ctx, dut))

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(5))
def test_margins_are_those_of_the_walk_for_every_number_of_trees_and_in_both_banks(seed: int) -> None:
    random = np.random.default_rng(seed)
    banks = [[Tree(random) for _ in range(TREES)] for _ in range(2)]

    async def test(scorer: Scorer) -> None:
        for bank, trees in enumerate(banks):
            for number, tree in enumerate(trees):
                await scorer.write_tree(number, bank, tree)
        for bank, trees in enumerate(banks):
            for count in range(TREES + 1):
                assert await scorer.score(count, bank) == (expected(trees[:count]), 0, scorer.dut.latency)

    run(test)


@pytest.mark.parametrize("number", range(TREES))
def test_wrong_parity_is_a_fault_where_the_path_meets_it_and_the_tree_counts(number: int) -> None:
    random = np.random.default_rng(number)
    trees = [Tree(random) for _ in range(TREES)]

    async def test(scorer: Scorer) -> None:
        for i, tree in enumerate(trees):
            await scorer.write_tree(i, 0, tree)
        words = [("class", 0)] + [("node", n) for n in range(NODES)] + [("leaf", i) for i in range(LEAVES)]
        for kind, index in words:
            await scorer.write_tree(number, 0, trees[number], upset=(kind, index))
            met = kind == "class" or index + NODES * (kind == "leaf") in trees[number].path
            for count in range(TREES + 1):
                assert (await scorer.score(count))[1] == (met and count > number), (kind, index, count)

    run(test)


def test_scores_wait_for_their_reader_and_none_is_lost() -> None:
    random = np.random.default_rng(9)
    trees = [Tree(random) for _ in range(TREES)]
    dut = ForestScorer(ENGINES, SLOTS, FEATURES, DEPTH)
    values = [0.25, -1.0, 0.3, -2.0, 7.0]

    async def bench(ctx: SimulatorContext) -> None:
        scorer = Scorer(ctx, dut)
        for i, tree in enumerate(trees):
            await scorer.write_tree(i, 0, tree)
        ctx.set(dut.trees, TREES)
        ctx.set(dut.features.valid, 1)
        taken = 0
        for _ in range(PATIENCE):
            ctx.set(dut.features.payload, [bits(values[taken % 5]), bits(-1.0), bits(float("nan"))])
            taken += ctx.get(dut.features.ready)
            await ctx.tick()
        assert taken == dut.room
        ctx.set(dut.features.valid, 0)
        for i in range(taken):
            assert ctx.get(dut.scores.valid)
            VECTOR[0] = values[i % 5]
            assert list(ctx.get(dut.scores.payload).margins) == [m & 0xFFFFFFFF for m in expected(trees)]
            ctx.set(dut.scores.ready, 1)
            await ctx.tick()
        VECTOR[0] = 0.25
        assert not ctx.get(dut.scores.valid)
        assert ctx.get(dut.idle)

    simulate(dut, bench)


class _Upset(ModelLoader):
    """A loader that stores or says something with one bit wrong; ``where`` names it."""

    where = ""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sound = sound = ModelLoader(self.engines, self.slots, self.depth, self.rules, self.conditions)
        for name, member in self.signature.members.items():
            inside, outside = getattr(sound, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        word = self.write.word
        wrong: dict[str, tuple[Any, Any]] = {
            "node": (word.node.key[3], ~sound.write.word.node.key[3]),
            "leaf": (word.leaf.value[30], ~sound.write.word.leaf.value[30]),
            "class": (self.write.class_of.number[0], ~sound.write.class_of.number[0]),
            "rule": (self.table[0][0].used, ~sound.table[0][0].used),
        }
        if self.where in wrong:
            bit, value = wrong[self.where]
            m.d.comb += bit.eq(value)
        return m


class Loader:
    """Strobes of a model load into a decider or a loader."""

    def __init__(self, ctx: SimulatorContext, dut: Any) -> None:
        self.ctx, self.dut = ctx, dut

    async def strobe(self, name: str, value: int = 0) -> None:
        self.ctx.set(getattr(self.dut, name), 1)
        self.ctx.set(self.dut.value, value)
        await self.ctx.tick()
        self.ctx.set(getattr(self.dut, name), 0)

    async def load(self, words: list[int], header: dict[str, int] = HEADER) -> None:
        self.ctx.set(self.dut.header, header)
        await self.strobe("begin")
        # What software stages from now on is of the next load.
        self.ctx.set(self.dut.header, dict.fromkeys(header, 0))
        for word in words:
            await self.strobe("word", word)
        await self.strobe("swap", crc_of(words))


def crc_of(words: list[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(words)}I", *words))


def model_words(seed: int, trees: int = TREES) -> list[int]:
    """A model whose first rule always fires."""
    random = np.random.default_rng(seed)
    words: list[int] = []
    for _ in range(trees):
        tree = Tree(random)
        words.append(tree.number % 2)
        for n in range(NODES):
            words += [tree.key[n], tree.feature[n] | tree.default_left[n] << 8]
        words += [leaf & 0xFFFFFFFF for leaf in tree.leaf]
    words += [1 << 8 | 1 << 9, 0, 0xFFFFFFFF] + [0] * (rule_words() - 3)
    assert len(words) == trees * words_per_tree(DEPTH) + rule_words()
    return words


@pytest.mark.parametrize("where", ["", "node", "leaf", "class", "rule"])
def test_an_upset_anywhere_marks_the_decision_and_pulses_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider_module, "ModelLoader", _Upset)
    monkeypatch.setattr(_Upset, "where", where)
    dut = Decider(ENGINES, SLOTS, FEATURES, DEPTH)

    async def bench(ctx: SimulatorContext) -> None:
        await Loader(ctx, dut).load(model_words(1))
        await ctx.tick().repeat(4)
        assert ctx.get(dut.active_id) == HEADER["id"]
        ctx.set(dut.decisions.ready, 1)
        ctx.set(dut.vectors.payload, {"features": [bits(x) for x in VECTOR], "seq": 9, "symbol": 3, "cycle_in": 77})
        ctx.set(dut.vectors.valid, 1)
        await ctx.tick()
        ctx.set(dut.vectors.valid, 0)
        pulses, flags = 0, []
        for _ in range(PATIENCE):
            pulses += ctx.get(dut.model_fault)
            if ctx.get(dut.decisions.valid):
                record = layout(DECISION).from_bits(ctx.get(dut.decisions.payload))
                flags.append(record.flags)
                assert (record.seq, record.symbol, record.cycle_in, record.rule_bits & 1) == (9, 3, 77, int(where != "rule"))
            await ctx.tick()
        assert flags == [DecisionFlag.MEMORY_FAULT if where else 0]
        assert pulses == int(bool(where))

    simulate(dut, bench)


class _Beside(Elaboratable):
    """A loader, and outside it whether anything in use changes, and when."""

    def __init__(self) -> None:
        self.loader = ModelLoader(ENGINES, SLOTS, DEPTH)
        self.changed = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = self.loader
        in_use = [loader.bank, loader.loaded, loader.active.as_value(), loader.table.as_value()]
        for value in in_use:
            before = Signal.like(value)
            m.d.sync += before.eq(value)
            with m.If(before != value):
                m.d.comb += self.changed.eq(1)
        return m


def test_swap_waits_until_no_vector_is_under_way_and_holds_new_ones_back() -> None:
    top = _Beside()
    dut = top.loader

    async def bench(ctx: SimulatorContext) -> None:
        loader = Loader(ctx, dut)
        await loader.load(model_words(2))
        for _ in range(20):
            assert ctx.get(dut.hold)
            assert ctx.get(dut.busy)
            assert not ctx.get(top.changed)
            # A load that begins now is not taken, and spoils nothing.
            await loader.strobe("begin")
            await loader.strobe("word", 0xFFFFFFFF)
        ctx.set(dut.idle, 1)
        await ctx.tick()
        assert ctx.get(top.changed)
        assert not ctx.get(dut.hold)
        assert not ctx.get(dut.busy)
        assert ctx.get(dut.bank) == 1
        assert {name: ctx.get(dut.active[name]) for name in HEADER} == HEADER
        assert ctx.get(dut.table[0][0].high) == 0xFFFFFFFF
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.fault)
        # The words that came while the swap waited belong to no load.
        await loader.strobe("swap", crc_of([]))
        assert ctx.get(dut.errors.count)

    simulate(top, bench)


def test_words_before_begin_and_a_swap_given_twice_change_nothing() -> None:
    top = _Beside()
    dut = top.loader
    words = model_words(3)

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.idle, 1)
        ctx.set(dut.header, HEADER)
        loader = Loader(ctx, dut)
        for word in words:
            await loader.strobe("word", word)
            assert not ctx.get(dut.write.valid)
        await loader.strobe("swap", crc_of(words))
        assert ctx.get(dut.errors.count)
        assert not ctx.get(dut.loaded)
        await loader.load(words)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.loaded)
        bank = ctx.get(dut.bank)
        await loader.strobe("swap", crc_of(words))
        assert ctx.get(dut.errors.count)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.bank) == bank
        await loader.strobe("begin")
        assert not ctx.get(dut.errors.as_value().any())

    simulate(top, bench)


def test_a_word_that_comes_with_its_swap_is_not_taken() -> None:
    dut = ModelLoader(ENGINES, SLOTS, DEPTH)
    words = model_words(4)

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.idle, 1)
        ctx.set(dut.header, HEADER)
        loader = Loader(ctx, dut)
        await loader.strobe("begin")
        for word in words:
            await loader.strobe("word", word)
        ctx.set(dut.word, 1)
        await loader.strobe("swap", crc_of(words))
        ctx.set(dut.word, 0)
        assert not ctx.get(dut.write.valid)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.loaded)
        assert ctx.get(dut.table[0][0].feature) == 0
        assert ctx.get(dut.table[0][0].used)

    simulate(dut, bench)
