"""The CPU decider: rule and forest of one vector, exact, behind the same C interface as the card.

``int decide(void* context, const void* beats, void* decision, int64 deadline_ns)`` reads one or two
CARD_BEATs and writes a DECISION. The forest is looked up by rank (see ``rank_table``), never walked;
leaves are integers on the model's grid, so the sum equals XGBoost's float32 margin of the snapped
model exactly: margin = integer * 2^-grid_bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numpy.typing import NDArray

from sentinel.engine.rank_table import FANOUT, LANES, RankTable, build_rank_table
from sentinel.errors import ModelError
from sentinel.model.artifact import ModelArtifact
from sentinel.model.float_key import NAN_HIGH, bits_key, bits_nan
from sentinel.model.forest import LEAVES
from sentinel.model.rule import RULES, RuleTable, key_interval
from sentinel.native import JIT, borrow, count_trailing_zeros, intrinsic
from sentinel.wire import BEAT_FEATURES, CARD_BEAT, DECISION, MAX_CLASSES, MAX_FEATURES, SLOT_BYTES, BeatKind, DecisionFlag, Kind

#: Return values of the decider.
DECIDED = 0
BAD_BEAT = 1

_BEAT_WORDS = SLOT_BYTES // 4
_FIRST_FEATURE_WORD = 2
# Plain integers: compiled code takes no IntFlag.
_FIRST_BEAT, _SECOND_BEAT = int(BeatKind.VECTOR), int(BeatKind.VECTOR) | 1 << 8  # kind and part, as in the upper half of word 1
_DECISION_KIND, _FOREST_SKIPPED = int(Kind.DECISION), int(DecisionFlag.FOREST_SKIPPED)
_I64, _I32 = ir.IntType(64), ir.IntType(32)

# The context is one block of int64 words: this header, then tables at the offsets the header names.
_FEATURES, _COLUMNS, _LEAVES, _OUTPUTS, _MODEL_CRC = 0, 1, 2, 3, 4
_CONDITION_COUNT, _RULES_PRESENT, _ON_RULE, _BEATS = 5, 6, 7, 8
_COLUMN_END = 12  # 4 words: where the columns of output i end
_OFFSETS = 16  # scratch, 26 words: the row chosen for each feature
_FEATURE_TABLE = 48  # per feature 5 words: beat word, first row, NaN row, cuts (in u32), levels
_RULE_TABLE = _FEATURE_TABLE + 5 * MAX_FEATURES  # per condition 5 words: row bit, beat word, low key, high key, key of NaN
_REACHABLE = 272  # scratch: the reachable leaves of each column, on a 64-byte line
_TABLES = 432


@intrinsic
def _count_not_above(typingctx: Any, cuts: Any, start: Any, key: Any) -> Any:
    """How many of the 16 keys ``cuts[start:start+16]`` are <= ``key``: one vector compare and a bit count."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.VectorType(_I32, FANOUT)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.PointerType(wide))
        keys = builder.load(pointer, align=SLOT_BYTES)
        lane = builder.insert_element(ir.Constant(wide, ir.Undefined), args[2], _I32(0))
        spread = builder.shuffle_vector(lane, ir.Constant(wide, ir.Undefined), ir.Constant(wide, [0] * FANOUT))
        mask = builder.bitcast(builder.icmp_unsigned("<=", keys, spread), ir.IntType(FANOUT))
        return builder.zext(builder.ctpop(mask), _I64)

    return types.int64(cuts, types.int64, types.uint32), codegen


def _and_rows(lines: int) -> Any:
    """Intrinsic: AND ``lines`` x 8 columns over ``count`` rows, held in registers; offsets are in words."""

    @intrinsic
    def and_rows(typingctx: Any, words: Any, offsets: Any, count: Any, column: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            line = ir.VectorType(_I64, LANES)

            def at(offset: Any, k: int) -> Any:
                place = builder.add(offset, builder.add(args[3], _I64(LANES * k)))
                return builder.bitcast(builder.gep(data, [place]), ir.PointerType(line))

            ones = ir.Constant(line, [-1] * LANES)
            entry, body, done = builder.block, builder.append_basic_block("row"), builder.append_basic_block("done")
            builder.branch(body)
            builder.position_at_end(body)
            index = builder.phi(_I64)
            running = [builder.phi(line) for _ in range(lines)]
            offset = builder.load(builder.gep(data, [builder.add(args[1], index)]))
            combined = [builder.and_(value, builder.load(at(offset, k), align=SLOT_BYTES)) for k, value in enumerate(running)]
            following = builder.add(index, _I64(1))
            for phi, start, value in zip([index, *running], [_I64(0)] + [ones] * lines, [following, *combined], strict=True):
                phi.add_incoming(start, entry)
                phi.add_incoming(value, body)
            builder.cbranch(builder.icmp_signed("<", following, args[2]), body, done)
            builder.position_at_end(done)
            for k, value in enumerate(combined):
                builder.store(value, at(args[4], k), align=SLOT_BYTES)
            return context.get_dummy_value()

        return types.void(words, types.int64, types.int64, types.int64, types.int64), codegen

    return and_rows


_and_rows_4 = _and_rows(4)
_and_rows_1 = _and_rows(1)


@njit(inline="always", **JIT)
def _rule_bits(context: NDArray[np.int64], beats: NDArray[np.uint32]) -> np.int64:
    failed = np.int64(0)
    for i in range(context[_CONDITION_COUNT]):
        entry = _RULE_TABLE + 5 * i
        bits = beats[context[entry + 1]]
        key = context[entry + 4] if bits_nan(bits) else np.int64(bits_key(bits))
        if key < context[entry + 2] or key > context[entry + 3]:
            failed |= context[entry]
    return context[_RULES_PRESENT] & ~failed


@njit(**JIT)
def _find_exits(context: NDArray[np.int64], narrow: NDArray[np.uint32], beats: NDArray[np.uint32]) -> None:
    features, columns = context[_FEATURES], context[_COLUMNS]
    for f in range(features):
        entry = _FEATURE_TABLE + 5 * f
        bits = beats[context[entry]]
        if bits_nan(bits):
            context[_OFFSETS + f] = context[entry + 2]
        else:
            key = bits_key(bits)
            level, width, rank = context[entry + 3], np.int64(FANOUT), np.int64(0)
            for _ in range(context[entry + 4]):
                rank = FANOUT * rank + _count_not_above(narrow, level + FANOUT * rank, key)
                level += width
                width *= FANOUT
            context[_OFFSETS + f] = context[entry + 1] + rank * columns
    column = np.int64(0)
    while column + 4 * LANES <= columns:
        _and_rows_4(context, _OFFSETS, features, column, _REACHABLE)
        column += 4 * LANES
    while column < columns:
        _and_rows_1(context, _OFFSETS, features, column, _REACHABLE)
        column += LANES


@njit(**JIT)
def decide(
    context: NDArray[np.int64], narrow: NDArray[np.uint32], beats: NDArray[np.uint32], decision: NDArray[np.uint32]
) -> np.int64:
    """Decide one vector. ``narrow`` is the context seen as u32; ``beats`` u32[16 or 32]; ``decision`` u32[16].

    Returns DECIDED, or BAD_BEAT (decision untouched) where a beat is torn, stale or no vector.
    """
    seq = beats[0]
    if beats[15] != ~seq or (beats[1] >> np.uint32(16)) != np.uint32(_FIRST_BEAT):
        return np.int64(BAD_BEAT)
    if context[_BEATS] == 2 and (
        beats[16] != seq or beats[31] != ~seq or (beats[17] >> np.uint32(16)) != np.uint32(_SECOND_BEAT)
    ):
        return np.int64(BAD_BEAT)
    rules = _rule_bits(context, beats)
    skipped = context[_ON_RULE] != 0 and rules == 0
    for i in range(MAX_CLASSES):
        decision[8 + i] = np.uint32(0)
    if not skipped:
        _find_exits(context, narrow, beats)
        column = np.int64(0)
        leaf = context[_LEAVES]
        for output in range(context[_OUTPUTS]):
            margin = np.uint32(0)
            while column < context[_COLUMN_END + output]:
                exit_leaf = np.int64(count_trailing_zeros(np.uint64(context[_REACHABLE + column])))
                margin += narrow[leaf + LEAVES * column + exit_leaf]
                column += 1
            decision[8 + output] = margin
    decision[0] = seq
    decision[1] = np.uint32(context[_MODEL_CRC])
    decision[2] = decision[3] = decision[4] = decision[5] = np.uint32(0)
    flags = np.uint32(_FOREST_SKIPPED) if skipped else np.uint32(0)
    decision[6] = np.uint32(_DECISION_KIND) | np.uint32(rules) << np.uint32(8) | flags << np.uint32(16)
    decision[7] = np.uint32(context[_OUTPUTS]) | beats[1] << np.uint32(16)
    decision[12] = decision[13] = decision[14] = decision[15] = np.uint32(0)
    return np.int64(DECIDED)


@cfunc(types.int32(types.voidptr, types.voidptr, types.voidptr, types.int64), cache=True, error_model="numpy")
def _decide_c(context: Any, beats: Any, decision: Any, deadline_ns: Any) -> Any:
    return np.int32(
        decide(
            carray(context, (_TABLES,), np.int64),
            carray(context, (_TABLES,), np.uint32),
            carray(beats, (2 * _BEAT_WORDS,), np.uint32),
            carray(decision, (_BEAT_WORDS,), np.uint32),
        )
    )


@njit(**JIT)
def _decide_many(
    context: NDArray[np.int64], narrow: NDArray[np.uint32], beats: NDArray[np.uint32], decisions: NDArray[np.uint32]
) -> np.int64:
    context, narrow, beats, decisions = borrow(context), borrow(narrow), borrow(beats), borrow(decisions)
    refused = np.int64(0)
    for i in range(len(decisions)):
        refused += decide(context, narrow, beats[i], decisions[i])
    return refused


class CpuDecider:
    """Rule and forest on the CPU, callable from compiled code through ``address`` and ``context``.

    Attributes: ``address`` of the C function, ``context`` to pass as its first argument (valid while this
    object lives), ``beats`` a vector needs (1 or 2). The context holds scratch memory: use one decider a
    thread. Fields that a CPU cannot know or does not need are 0: ``now``, cycle stamps, ``arm_epoch``, and
    ``crc32``, which guards a link there is none of here. With ``forest_on_rule`` the forest runs only
    where a rule fires; elsewhere the margins are 0 and the decision carries FOREST_SKIPPED.
    Time-outs do not occur, ``deadline_ns`` is not read.
    """

    def __init__(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> None:
        self.artifact = artifact
        self.beats = 2 if max(artifact.heap.highest_feature, rules.highest_feature) >= BEAT_FEATURES else 1
        self._words = _pack(build_rank_table(artifact.heap), artifact, rules, forest_on_rule, self.beats)
        self.address = int(_decide_c.address or 0)
        self.context = int(self._words.ctypes.data)

    @property
    def table_bytes(self) -> int:
        """Size of the context: what a decision may touch in the caches."""
        return int(self._words.nbytes)

    def score(self, vectors: NDArray[np.float32]) -> NDArray[np.void]:
        """Decide float32[n, 26 or fewer] vectors (missing slots: NaN); gives DECISION[n]. Raises ModelError."""
        if vectors.ndim != 2 or vectors.shape[1] > MAX_FEATURES:
            raise ModelError("vectors", vectors.shape, f"(n, at most {MAX_FEATURES})", "pass one row a vector")
        beats = pack_beats(vectors)
        decisions = np.zeros(len(vectors), DECISION)
        flat = beats.view(np.uint32).reshape(len(vectors), 2 * _BEAT_WORDS)
        _decide_many(self._words, self._words.view(np.uint32), flat, decisions.view(np.uint32).reshape(-1, _BEAT_WORDS))
        return decisions


def pack_beats(vectors: NDArray[np.float32], symbol: int = 0) -> NDArray[np.void]:
    """CARD_BEAT[n, 2] of float32[n, k <= 26] vectors; seq counts from 0, slots beyond k are NaN."""
    full = np.full((len(vectors), MAX_FEATURES), np.nan, np.float32)
    full[:, : vectors.shape[1]] = vectors
    beats = np.zeros((len(vectors), 2), CARD_BEAT)
    beats["seq"] = np.arange(len(vectors), dtype=np.uint32)[:, None]
    beats["symbol"], beats["kind"], beats["part"] = symbol, BeatKind.VECTOR, [0, 1]
    beats["words"] = full.view(np.uint32).reshape(-1, 2, BEAT_FEATURES)
    beats["check"] = ~beats["seq"]
    return beats


def _beat_word(feature: int) -> int:
    part, slot = divmod(feature, BEAT_FEATURES)
    return part * _BEAT_WORDS + _FIRST_FEATURE_WORD + slot


def _pack(table: RankTable, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool, beats: int) -> NDArray[np.int64]:
    columns = table.columns
    row_words = sum(feature.rows.size for feature in table.features)
    cut_words = sum(feature.cuts.size for feature in table.features) // 2
    rows_at, cuts_at = _TABLES, _TABLES + row_words
    leaves_at = cuts_at + cut_words
    total = leaves_at + columns * LEAVES // 2
    block = np.zeros(total + LANES, np.int64)
    words = block[-(block.ctypes.data // 8) % LANES :][:total]
    narrow = words.view(np.uint32)
    words[_FEATURES], words[_COLUMNS], words[_LEAVES] = len(table.features), columns, 2 * leaves_at
    words[_OUTPUTS], words[_MODEL_CRC] = artifact.classes, artifact.crc
    words[_ON_RULE], words[_BEATS] = int(forest_on_rule), beats
    words[_COLUMN_END : _COLUMN_END + len(table.column_end)] = table.column_end
    narrow[2 * leaves_at :] = table.leaves.reshape(-1).view(np.uint32)
    for index, feature in enumerate(table.features):
        nan_row = rows_at + feature.rows.size - columns
        words[_FEATURE_TABLE + 5 * index :][:5] = _beat_word(feature.feature), rows_at, nan_row, 2 * cuts_at, feature.levels
        words[rows_at : rows_at + feature.rows.size] = feature.rows.reshape(-1).view(np.int64)
        narrow[2 * cuts_at : 2 * cuts_at + feature.cuts.size] = feature.cuts
        rows_at += feature.rows.size
        cuts_at += feature.cuts.size // 2
    entry = _RULE_TABLE
    for row in range(RULES):
        for condition in rules.conditions[row][rules.conditions["used"][row] != 0]:
            low, high, nan_highest = key_interval(condition)
            nan_key = NAN_HIGH if nan_highest else 0
            words[entry : entry + 5] = 1 << row, _beat_word(int(condition["feature"])), low, high, nan_key
            entry += 5
            words[_RULES_PRESENT] |= 1 << row
    words[_CONDITION_COUNT] = (entry - _RULE_TABLE) // 5
    if entry > _REACHABLE:
        raise AssertionError(f"rule table ends at {entry}, scratch starts at {_REACHABLE}")
    return words
