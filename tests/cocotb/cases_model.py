"""Model loads and Decisions against the integer reference: any shape, swaps under load, refused loads, upsets."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle, pairwise
from typing import Any

import cocotb
import numpy as np

from sentinel.host.cards.registers import ModelFlags, ModelStatus, Ocl, RuleSelect, TripCause
from sentinel.model.rule import CONDITIONS, RULES
from sentinel.wire import BEAT_FEATURES, CARD_BEAT, BeatKind, DecisionFlag, Kind
from tests.cocotb.card import SYMBOL, Card, core_of, random_of
from tests.cocotb.forests import Model, Vector, compare, random_model, random_vectors, with_load
from tests.cocotb.pressure import Pressure

#: What the simulated core holds; the card's own is 128.
TREES = int(os.environ.get("CARD_TREES", "8"))
BINS = 16
RULE_WORDS = 3 * RULES * CONDITIONS


async def stage(card: Card, model: Model, crc: int | None = None) -> None:
    """Write a load and ask for the swap, without a look at what comes of it."""
    load = model.load
    flags = (ModelFlags.FOREST_ON_RULE if load.forest_on_rule else 0) | (ModelFlags.TWO_BEATS if load.beats == 2 else 0)
    header = {
        Ocl.MODEL_ABI: load.abi,
        Ocl.MODEL_TREES: load.trees,
        Ocl.MODEL_CLASSES: load.classes,
        Ocl.MODEL_ID: load.model_id,
        Ocl.MODEL_FLAGS: flags,
        Ocl.MODEL_BEGIN: 1,
    }
    for register, value in header.items():
        await card.write(register, int(value))
    for word in load.words.tolist():
        await card.write(Ocl.MODEL_DATA, word)
    await card.write(Ocl.MODEL_SWAP, load.crc if crc is None else crc)


async def swapped(card: Card) -> int:
    """MODEL_STATUS when the load has ended."""
    for _ in range(1000):
        status = await card.read(Ocl.MODEL_STATUS)
        if not status & ModelStatus.BUSY:
            return status
    raise AssertionError("the swap never ends")


async def load(card: Card, model: Model) -> None:
    await stage(card, model)
    status = await swapped(card)
    assert status & ~ModelStatus.BANK == ModelStatus.LOADED | (ModelStatus.TWO_BEATS if model.beats == 2 else 0), f"{status:#x}"
    assert await card.read(Ocl.MODEL_ACTIVE_ID) == model.id


def send(card: Card, model: Model, vector: Vector, symbol: int = SYMBOL) -> int:
    """A vector in the one or two beats the model wants; its number."""
    for part in range(model.beats - 1):
        card.vector(vector[:BEAT_FEATURES], symbol, part, last=False)
    return card.vector(vector[BEAT_FEATURES * (model.beats - 1) :][:BEAT_FEATURES], symbol, model.beats - 1)


async def check_decisions(card: Card, model: Model, vectors: Vector, arm_epoch: int = 1) -> list[Any]:
    """Send vectors at the speed of the bus and compare every field; the records."""
    random = random_of("symbols")
    expected = []
    for vector in vectors:
        symbol = random.randrange(1024)
        expected.append(model.decision(vector, send(card, model, vector, symbol), symbol, arm_epoch))
    records = await card.take(Kind.DECISION, len(expected), 200_000)
    for number, (record, wanted) in enumerate(zip(records, expected, strict=True)):
        compare(record, wanted, f"vector {number} {vectors[number]}")
    return records


@cocotb.test()
@cocotb.parametrize(
    classes=[1, 2, 3, 4],
    wide=[False, True],
    on_rule=[False, True],
)
async def decisions_equal_the_reference(dut: Any, classes: int, wide: bool, on_rule: bool) -> None:
    card, random = await Card.started(dut), random_of(f"decisions {classes} {wide} {on_rule}")
    # Trees beyond the count contribute nothing, whatever an earlier load has left in their memory.
    for trees in (4, classes):
        model = random_model(random, trees, classes, wide, on_rule)
        await load(card, model)
        records = await check_decisions(card, model, random_vectors(random, model, 60))
    assert {int(record["flags"]) for record in records} <= {0, DecisionFlag.FOREST_SKIPPED}
    assert len({int(record["rule_bits"]) for record in records}) > 1


@cocotb.test()
@cocotb.parametrize(pressure=[Pressure.RANDOM, Pressure.HEAVY])
async def decisions_equal_the_reference_under_back_pressure(dut: Any, pressure: Pressure) -> None:
    card, random = await Card.started(dut, pressure), random_of(f"pressure {pressure.name}")
    for wide in (False, True):
        model = random_model(random, 4, 3, wide)
        await load(card, model)
        await check_decisions(card, model, random_vectors(random, model, 60))


@cocotb.test()
async def largest_model_decides_as_the_reference(dut: Any) -> None:
    card, random = await Card.started(dut), random_of("largest")
    model = random_model(random, TREES, 1, wide=True)
    await load(card, model)
    await check_decisions(card, model, random_vectors(random, model, 50))


@cocotb.test()
async def a_decision_takes_the_same_time_whatever_the_model(dut: Any) -> None:
    card, random = await Card.started(dut), random_of("time")
    await card.write(Ocl.CONTROL, 1)
    took = set()
    for wide, trees in ((False, 1), (True, 4)):
        model = random_model(random, trees, 1, wide)
        await load(card, model)
        for vector in random_vectors(random, model, 20):
            send(card, model, vector)
            record = (await card.take(Kind.DECISION))[0]
            took.add(int(record["cycle_out"]) - int(record["cycle_in"]))
    assert len(took) == 1, took
    assert took.pop() <= 40
    bins = [await card.read(Ocl[f"LATENCY_BIN_{i}"]) for i in range(BINS)]
    assert sorted(bins) == [0] * (BINS - 1) + [40]
    await card.write(Ocl.CONTROL, 1)
    assert not any([await card.read(Ocl[f"LATENCY_BIN_{i}"]) for i in range(BINS)])
    assert await card.read(Ocl.DECISIONS) == await card.read(Ocl.VECTORS) == 40


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure))
async def banks_swap_under_load_between_two_vectors(dut: Any, pressure: Pressure) -> None:
    """Vectors never stop while models come and go: each Decision is wholly of the model it names, and models do not return."""
    card, random = await Card.started(dut, pressure), random_of(f"swap {pressure.name}")
    models = [random_model(random, random.randint(1, 4), random.randint(1, 4), on_rule=bool(i % 2)) for i in range(4)]
    await load(card, models[0])
    sent: list[tuple[int, Vector]] = []
    done = False

    async def keep_sending() -> None:
        source = cycle(np.concatenate([random_vectors(random, model, 300) for model in models]))
        while not done:
            for vector in [next(source) for _ in range(random.randint(1, 6))]:
                sent.append((send(card, models[0], vector), vector))
            await card.cycles(random.choice([1, 10, 60]) * (8 if pressure is Pressure.HEAVY else 1))
            while len(sent) - len(card.ring.records[Kind.DECISION]) > 40:
                await card.cycles(50)

    sending = cocotb.start_soon(keep_sending())
    for model in models[1:]:
        await stage(card, model)
        assert not await swapped(card) & ~(ModelStatus.BANK | ModelStatus.LOADED)
    await card.cycles(200)
    done = True
    await sending
    records = await card.take(Kind.DECISION, len(sent), 200_000)
    by_id = {model.id: model for model in models}
    ids = [int(record["model_crc"]) for record in records]
    for record, (seq, vector) in zip(records, sent, strict=True):
        compare(record, by_id[int(record["model_crc"])].decision(vector, seq, SYMBOL, 1), f"vector {seq}")
    changes = [ids[0], *(after for before, after in pairwise(ids) if before != after)]
    assert changes == [model.id for model in models], changes


def _with_words(change: Callable[[Any], Any], keeps_crc: bool = False) -> Spoil:
    return lambda model: (with_load(model, words=change(model.load.words)), model.load.crc if keeps_crc else None)


def _with_header(**fields: int) -> Spoil:
    return lambda model: (with_load(model, **fields), None)


#: A load, and the CRC to swap under where it is not the load's own.
Spoil = Callable[[Model], tuple[Model, int | None]]
REFUSED: dict[str, tuple[ModelStatus, Spoil]] = {
    "crc": (ModelStatus.ERROR_CRC, lambda model: (model, model.load.crc ^ 1 << 17)),
    "bit of a word": (ModelStatus.ERROR_CRC, _with_words(lambda words: words ^ (np.arange(len(words)) == 99), keeps_crc=True)),
    "one word less": (ModelStatus.ERROR_COUNT, _with_words(lambda words: words[:-1])),
    "one word more": (ModelStatus.ERROR_COUNT, _with_words(lambda words: np.append(words, np.uint32(0)))),
    "no words": (ModelStatus.ERROR_COUNT, _with_words(lambda words: words[:0])),
    "abi 0": (ModelStatus.ERROR_ABI, _with_header(abi=0)),
    "abi 2": (ModelStatus.ERROR_ABI, _with_header(abi=2)),
    "no trees": (ModelStatus.ERROR_TREES, _with_header(trees=0)),
    "a tree too many": (ModelStatus.ERROR_TREES, _with_header(trees=TREES + 1)),
    "255 trees": (ModelStatus.ERROR_TREES, _with_header(trees=255)),
    "no classes": (ModelStatus.ERROR_CLASSES, _with_header(classes=0)),
    "5 classes": (ModelStatus.ERROR_CLASSES, _with_header(classes=5)),
    "7 classes": (ModelStatus.ERROR_CLASSES, _with_header(classes=7)),
}


@cocotb.test()
@cocotb.parametrize(what=list(REFUSED))
async def damaged_load_is_refused_and_the_model_in_use_stays(dut: Any, what: str) -> None:
    card, random = await Card.started(dut), random_of(what)
    first = random_model(random, 3, 2)
    await load(card, first)
    before = await card.read(Ocl.MODEL_STATUS)
    error, spoil = REFUSED[what]
    model, crc = spoil(random_model(random, 2, 3))
    await stage(card, model, crc)
    status = await swapped(card)
    # A count follows from the trees, so it may be wrong besides.
    assert status & ~int(ModelStatus.ERROR_COUNT) | error == before | error, f"{status:#x}"
    assert status & error
    assert await card.read(Ocl.MODEL_ACTIVE_ID) == first.id
    await check_decisions(card, first, random_vectors(random, first, 20))
    # Another word or swap changes nothing without MODEL_BEGIN.
    await card.write(Ocl.MODEL_DATA, 1)
    await card.write(Ocl.MODEL_SWAP, 0)
    assert await swapped(card) & ModelStatus.ERROR_COUNT
    assert await card.read(Ocl.MODEL_ACTIVE_ID) == first.id
    good = random_model(random, 4, 4)
    await load(card, good)
    await check_decisions(card, good, random_vectors(random, good, 20))


@cocotb.test()
async def load_begun_anew_starts_from_nothing(dut: Any) -> None:
    card, random = await Card.started(dut), random_of("anew")
    first, second = random_model(random, 2), random_model(random, 3, 2)
    await card.write(Ocl.MODEL_BEGIN, 1)
    for word in first.load.words.tolist()[:300]:
        await card.write(Ocl.MODEL_DATA, word)
    assert await card.read(Ocl.MODEL_STATUS) == ModelStatus.BUSY
    await load(card, second)
    await check_decisions(card, second, random_vectors(random, second, 20))


@cocotb.test()
async def rules_in_use_can_be_read_back(dut: Any) -> None:
    card, random = await Card.started(dut), random_of("rules")
    for _ in range(2):
        model = random_model(random, 1)
        await load(card, model)
        words = model.load.words[-RULE_WORDS:].reshape(-1, 3).tolist()
        for index, (select, low, high) in enumerate(words):
            await card.write(Ocl.RULE_INDEX, index)
            await card.cycles(2)
            found = await card.read(Ocl.RULE_SELECT)
            assert found & 0x1F == select & 0x1F
            assert bool(found & RuleSelect.USED) == bool(select >> 8 & 1)
            assert bool(found & RuleSelect.NAN_RESULT) == bool(select >> 9 & 1)
            assert (await card.read(Ocl.RULE_LOW), await card.read(Ocl.RULE_HIGH)) == (low, high)


@cocotb.test()
async def upset_word_of_the_model_marks_the_decision_and_trips(dut: Any) -> None:
    card, random = await Card.armed(dut), random_of("upset")
    model = random_model(random, 1)
    await load(card, model)
    vector = random_vectors(random, model, 1)[0]
    # Every leaf there is: whichever the vector reads was upset.
    leaves = core_of(dut).decider.forest.engine_0.leaves
    for i in range(len(leaves)):
        leaves[i].value = int(leaves[i].value) ^ 1
    seq = send(card, model, vector)
    record = (await card.take(Kind.DECISION))[0]
    assert (record["seq"], record["flags"]) == (seq, DecisionFlag.MEMORY_FAULT)
    await card.cycles(8)
    assert card.tripped
    assert await card.read(Ocl.FIRST_CAUSE) == TripCause.MODEL_FAULT
    assert await card.read(Ocl.MODEL_STATUS) & ModelStatus.ERROR_PARITY
    await load(card, model)
    assert not await card.read(Ocl.MODEL_STATUS) & ModelStatus.ERROR_PARITY
    await check_decisions(card, model, random_vectors(random, model, 5), arm_epoch=2)
    await card.arm()


@cocotb.test()
async def halves_of_a_long_vector_belong_together(dut: Any) -> None:
    """Number and symbol tie them; whatever comes between ends the vector, and no half is scored with a stranger."""
    card, random = await Card.started(dut), random_of("halves")
    model = random_model(random, 2, wide=True)
    await load(card, model)
    vectors = random_vectors(random, model, 4)
    first, second = vectors[0][:BEAT_FEATURES], vectors[0][BEAT_FEATURES:]

    async def faults() -> tuple[int, int]:
        await card.settled()
        return await card.read(Ocl.FAULTS_PART), await card.read(Ocl.FAULTS_REPLAY)

    card.vector(first, part=0)
    card.vector(second, part=1)  # under the next number
    assert await faults() == (1, 0)
    card.vector(first, part=0, last=False)
    card.vector(second, SYMBOL + 1, part=1)  # of another symbol: the number alone was seen before
    assert await faults() == (1, 1)
    seq = card.vector(first, part=0)
    card.heartbeat()
    card.store(card.beat(CARD_BEAT, BeatKind.VECTOR, symbol=SYMBOL, part=1, seq=seq))  # too late
    assert await faults() == (1, 2)
    assert await card.read(Ocl.DECISIONS) == 0
    await check_decisions(card, model, vectors)
