"""The forest scorer, eight trees of depth 2 in two engines, against a plain walk of the trees."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from amaranth.lib import data

from sentinel.model.float_key import float_key
from sentinel_hdl.benches.pump_detector import number, random_bits
from sentinel_hdl.forest import ForestScorer, TreeWriteLayout
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation

CYCLES = 40_000
ENGINES, SLOTS, FEATURES, DEPTH, CLASSES = 2, 4, 3, 2, 4
TREES, NODES, LEAVES = ENGINES * SLOTS, (1 << DEPTH) - 1, 1 << DEPTH
_WRITE = TreeWriteLayout(DEPTH, ENGINES, SLOTS)
# Of these sizes, as the page counts them.
LATENCY, ROOM = 15, 8
# From the loader to the memories: a register, and the write.
_SETTLE = 3


def _even(*values: int) -> int:
    return sum(value.bit_count() for value in values) & 1


@dataclass
class Tree:
    """A tree as its memories hold it; the sets name words whose parity is wrong."""

    nodes: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    leaves: dict[int, int] = field(default_factory=dict)
    output: int = 0
    bad: set[tuple[str, int]] = field(default_factory=set)

    def score(self, features: list[int]) -> tuple[int, bool]:
        """Leaf of a vector, and whether a word on the way to it, or the tree's class, is wrong."""
        n, bad = 0, ("class", 0) in self.bad
        while n < NODES:
            threshold, feature, default_left = self.nodes[n]
            bad |= ("node", n) in self.bad
            # Beyond the last feature stands the lowest key there is.
            value = number(features[feature]) if feature < FEATURES else 0.0
            key = float_key(value) if feature < FEATURES and value == value else 0
            left = bool(default_left) if value != value else key < threshold
            n = 2 * n + (1 if left else 2)
        return self.leaves[n - NODES], bad | (("leaf", n - NODES) in self.bad)


def _near(rng: random.Random, pool: list[int]) -> int:
    """Features and thresholds come from one small pool in most cases, so that they are equal or differ in a bit."""
    if rng.random() < 0.3:
        return random_bits(rng)
    return rng.choice(pool) ^ rng.choice([0, 1 << rng.randrange(32)])


def _packed(layout: data.StructLayout, values: dict[str, Any]) -> int:
    return int(layout.const(values).as_value().value)


def _ones(layout: data.StructLayout, values: dict[str, Any]) -> dict[str, Any]:
    """The same fields with every bit set."""
    return {
        name: _ones(layout.members[name], value) if isinstance(value, dict) else (1 << layout[name].width) - 1
        for name, value in values.items()
    }


class _Forest:
    """Both banks, and the words still to be written."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.banks = [[Tree() for _ in range(TREES)] for _ in range(2)]

    def words(self, number_: int, bank: int, pool: list[int]) -> list[int]:
        """A new random tree: what to write, and the tree is known from now on."""
        rng, tree, words = self.rng, Tree(), []
        self.banks[bank][number_] = tree

        # One bad word in a bank shows that it is noticed by itself; now and then there are more.
        places = [("class", 0), *(("node", n) for n in range(NODES)), *(("leaf", i) for i in range(LEAVES))]
        if not any(one.bad for one in self.banks[bank]) and rng.random() < 0.7:
            tree.bad.add(rng.choice(places))

        def upset(kind: str, index: int) -> int:
            if rng.random() < 0.003:
                tree.bad.add((kind, index))
            return int((kind, index) in tree.bad)

        def write(**fields: object) -> None:
            word = {"slot": number_ % SLOTS, "bank": bank, **fields.pop("word", {})}  # type: ignore[dict-item]
            # The parts for other kinds of words are not looked at: random.
            values = {"valid": 1, "engine": number_ // SLOTS, "is_class": 0, "word": word, **fields}
            words.append(_packed(_WRITE, values) | rng.getrandbits(_WRITE.size) & ~_packed(_WRITE, _ones(_WRITE, values)))

        tree.output = rng.randrange(CLASSES)
        write(is_class=1, class_of={"number": tree.output, "parity": _even(tree.output) ^ upset("class", 0)})
        for n in range(NODES):
            near = _near(rng, pool)
            value = number(near)
            key = float_key(value) if value == value else rng.choice([0xFFFFFFFF, rng.getrandbits(32)])
            node = key, rng.randrange(FEATURES) if rng.random() < 0.95 else rng.randrange(32), rng.getrandbits(1)
            tree.nodes[n] = node
            level = (n + 1).bit_length() - 1
            fields = dict(zip(("key", "feature", "default_left"), node, strict=True))
            fields["parity"] = _even(*node) ^ upset("node", n)
            # Bits of the index above the level's are not looked at.
            write(word={"level": level, "index": n + 1 - (1 << level), "node": fields})
        for i in range(LEAVES):
            leaf = rng.choice([rng.getrandbits(32), 1 << rng.randrange(32), rng.getrandbits(4)])
            tree.leaves[i] = leaf
            write(word={"level": DEPTH, "index": i, "leaf": {"value": leaf, "parity": _even(leaf) ^ upset("leaf", i)}})
            # A level that no tree has.
            write(word={"level": rng.randrange(DEPTH + 1, 1 << DEPTH.bit_length()), "index": i})
        rng.shuffle(words)
        return words

    def score(self, features: list[int], bank: int, trees: int) -> int:
        """Margins and fault as ScoreLayout has them."""
        margins, fault = [0] * CLASSES, False
        for tree in self.banks[bank][:trees]:
            leaf, bad = tree.score(features)
            margins[tree.output] += leaf
            fault |= bad
        return sum((margin & 0xFFFFFFFF) << 32 * i for i, margin in enumerate(margins)) | int(fault) << 32 * CLASSES


def run(sim: Simulation) -> None:
    """Vectors under pauses on both sides while the other bank is written; banks swap when the pipeline is empty."""
    rng = random.Random(11)
    forest = _Forest(rng)
    pool = [random_bits(rng) for _ in range(2)]
    features = [0] * FEATURES
    waiting: deque[int] = deque(word for bank in (0, 1) for t in range(TREES) for word in forest.words(t, bank, pool))
    while waiting:
        sim["write"] = waiting.popleft()
        sim.tick()
    sim["write"] = 0
    sim.tick(_SETTLE)
    bank, trees, settled = 0, TREES, 0
    due: deque[tuple[int, int]] = deque()
    offered, since_taken = False, SLOTS
    idle_share = ready_share = 0.5
    for _ in range(CYCLES):
        if rng.random() < 0.02:
            idle_share, ready_share = rng.choice([0.0, 0.0, 0.5, 0.95]), rng.choice([1.0, 1.0, 0.6, 0.05])
        if rng.random() < 0.01:
            pool[rng.randrange(len(pool))] = random_bits(rng)
        # The bank that is not in use takes new trees.
        if not waiting and rng.random() < 0.2:
            waiting.extend(forest.words(rng.randrange(TREES), 1 - bank, pool))
        sim["write"] = waiting.popleft() if waiting and rng.random() < 0.8 else rng.getrandbits(_WRITE.size) & ~1
        settled = 0 if waiting else settled + 1
        if settled > _SETTLE and rng.random() < 0.02:
            # Vectors under way are forgotten, what is written stays.
            sim["rst"] = 1
            sim.tick()
            sim["rst"] = 0
            due.clear()
            since_taken = SLOTS
        if not due and settled > _SETTLE:
            bank = 1 - bank
        # How many trees count belongs to the bank, so it stands still while vectors are under way.
        if not due:
            trees = rng.randrange(TREES + 1)
        sim["bank"], sim["trees"] = bank, trees
        if not offered and rng.random() >= idle_share and not (settled > _SETTLE and rng.random() < 0.1):
            offered, features = True, [_near(rng, pool) for _ in range(FEATURES)]
        shown = features if offered else [random_bits(rng) for _ in range(FEATURES)]
        ready = rng.random() < ready_share
        sim["features__payload"] = sum(bits << 32 * i for i, bits in enumerate(shown))
        sim["features__valid"], sim["scores__ready"] = int(offered), int(ready)
        takes = since_taken >= SLOTS and len(due) < ROOM
        assert sim["features__ready"] == takes, f"ready is {not takes}"
        assert sim["idle"] == (not due), "idle"
        arrived = bool(due) and due[0][0] <= sim.cycle
        assert sim["scores__valid"] == arrived, f"a score {'late' if arrived else 'early'}"
        if arrived:
            assert sim["scores__payload"] == due[0][1], "another score"
            if ready:
                due.popleft()
        since_taken += 1
        if offered and takes:
            due.append((sim.cycle + LATENCY, forest.score(features, bank, trees)))
            offered, since_taken = False, 1
        sim.tick()


BENCH = Bench("forest", run, partial(ForestScorer, ENGINES, SLOTS, FEATURES, DEPTH))
