"""The decider on a card: the C interface of the engine, answered by hardware on any bus.

A vector goes out as one message, its decision is awaited in the ring. Whatever is not certainly the answer to this
vector under the expected model is refused with a code, and the engine asks its fallback, the numba decider; a result
that comes after its time-out is recognised by its number and dropped. What proves the card or its model wrong, or
``fail_after`` doubts in a row, marks the card failed: it is asked no more until ``revive``. With a shadow every answer is
compared with the numba decider's; one bit of difference is such a proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cfunc, njit, types
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import BAD_BEAT, DECIDED, CpuDecider
from sentinel.errors import CardError
from sentinel.host.cards.bus import call_relax
from sentinel.host.cards.link import (
    CYCLE_BINS,
    LINK_COUNTED,
    NOTHING,
    CardLink,
    ahead,
    claim_seq,
    give_up,
    link_at,
    send,
    take,
    words32,
)
from sentinel.host.monotonic import monotonic_ns
from sentinel.model.artifact import ModelArtifact
from sentinel.native import INNER, JIT, array_at, call_decider
from sentinel.wire import DECISION, SLOT_BYTES, BeatKind, DecisionFlag, Kind

#: Return values besides DECIDED and BAD_BEAT.
TIMED_OUT, CONTRADICTED, UNSENT, FAILED = 2, 3, 4, 5

#: Doubts in a row after which the card is asked no more.
FAIL_AFTER = 8
#: Vectors on their way at a time in ``score``; the card's PCIS takes 32 writes, the ring far more records.
WINDOW = 12

_FIRST_BEAT, _SECOND_BEAT = int(BeatKind.VECTOR), int(BeatKind.VECTOR) | 1 << 8  # kind and part, the upper half of word 1
_DECISION, _SKIPPED = int(Kind.DECISION), int(DecisionFlag.FOREST_SKIPPED)
_LOOKS_PER_CLOCK = 16
_COUNTED = ("decisions", "timeouts", "late", "contradictions", "mismatches", "bypassed")
_counts_at = array_at(np.dtype(np.int64))


@njit(**INNER)
def _usable(k: Any, beats: int) -> bool:
    words = words32(beats, 32)
    seq = words[0]
    if words[15] != ~seq or (words[1] >> np.uint32(16)) != np.uint32(_FIRST_BEAT):
        return False
    second = words[31] == ~seq and words[16] == seq and (words[17] >> np.uint32(16)) == np.uint32(_SECOND_BEAT)
    return k.beats == 1 or second


@njit(**INNER)
def _contradicts(k: Any, symbol: np.uint32) -> bool:
    """The record in hand is of another model, symbol or shape, or says itself that it means nothing."""
    record = words32(k.record, 16)
    rules, flags = (record[6] >> np.uint32(8)) & np.uint32(0xFF), record[6] >> np.uint32(16)
    skipped = np.uint32(_SKIPPED) if k.forest_on_rule != 0 and rules == 0 else np.uint32(0)
    return (
        np.int64(record[1]) != k.model_crc
        or flags != skipped
        or np.int64(record[7] & np.uint32(0xFFFF)) != k.classes
        or record[7] >> np.uint32(16) != symbol
    )


@njit(**INNER)
def _answer(k: Any, engine_seq: np.uint32, decision: int) -> None:
    """Hand the record over as the engine knows it: its own number, nothing that only the card can know."""
    record, out = words32(k.record, 16), words32(decision, 16)
    cycles = np.int64(record[5] - record[4])
    counts = _counts_at(k.cycles, CYCLE_BINS)
    counts[min(cycles, CYCLE_BINS - 1)] += 1
    for word in range(16):
        out[word] = record[word]
    out[0] = engine_seq
    out[2] = out[3] = out[4] = out[5] = np.uint32(0)
    out[12] = out[13] = out[14] = out[15] = np.uint32(0)
    k.decisions += 1


@njit(**INNER)
def _differs(k: Any, beats: int, decision: int) -> bool:
    """The shadow decides otherwise."""
    if k.shadow == 0:
        return False
    failed = call_decider(k.shadow, k.shadow_context, beats, k.shadow_decision, 0) != 0
    given, expected = words32(decision, 16), words32(k.shadow_decision, 16)
    for word in range(16):
        if given[word] != expected[word]:
            failed = True
    k.mismatches += int(failed)
    return failed


@njit(**INNER)
def _doubt(k: Any, code: int) -> int:
    k.misses += 1
    if code == CONTRADICTED:
        k.contradictions += 1
        k.failed = 1
    elif code == TIMED_OUT:
        k.timeouts += 1
        give_up(k)
    if k.misses >= k.fail_after:
        k.failed = 1
    return code


@njit(**INNER)
def _await(k: Any, seq: int, symbol: np.uint32, deadline: int) -> int:
    """Poll until the decision of message ``seq`` lies in ``k.record``. Returns DECIDED, TIMED_OUT or CONTRADICTED."""
    looks = 0
    while True:
        kind = take(k)
        if kind == _DECISION:
            distance = ahead(np.int64(words32(k.record, 16)[0]), seq)
            if distance == 0:
                return CONTRADICTED if _contradicts(k, symbol) else DECIDED
            if distance > 0:
                return CONTRADICTED
            k.late += 1
        elif kind <= NOTHING:
            looks += 1
            if k.poll_limit > 0 and looks > k.poll_limit:
                return TIMED_OUT
            if deadline > 0 and looks % _LOOKS_PER_CLOCK == 0 and monotonic_ns() > deadline:
                return TIMED_OUT
            call_relax(k.relax, k.bus)


@njit(**INNER)
def _decide(k: Any, beats: int, decision: int, deadline_ns: int) -> int:
    if not _usable(k, beats):
        return BAD_BEAT
    if k.failed != 0:
        k.bypassed += 1
        return FAILED
    seq = claim_seq(k)
    if send(k, beats, k.beats, seq) != 0:
        return _doubt(k, UNSENT)
    # Counted from here: a store cannot be taken back, however long the bus holds it.
    deadline = deadline_ns
    if deadline == 0 and k.timeout_ns > 0:
        deadline = monotonic_ns() + k.timeout_ns
    given = words32(beats, 16)
    code = _await(k, seq, given[1] & np.uint32(0xFFFF), deadline)
    if code != DECIDED:
        return _doubt(k, code)
    _answer(k, given[0], decision)
    if _differs(k, beats, decision):
        return _doubt(k, CONTRADICTED)
    k.misses = 0
    return DECIDED


@cfunc(types.int32(types.int64, types.int64, types.int64, types.int64), cache=True, error_model="numpy")
def _decide_c(context: Any, beats: Any, decision: Any, deadline_ns: Any) -> Any:
    # Pointers and int64 are passed alike on every platform we run on.
    return np.int32(_decide(link_at(context), beats, decision, deadline_ns))


@njit(**JIT)
def _score(link: int, beats: int, stride: int, decisions: int, count: int, window: int) -> int:
    """Stream ``count`` vectors with up to ``window`` on their way. Returns how many were decided, in order."""
    k = link_at(link)
    first = k.next_seq
    sent = done = 0
    while done < count:
        while sent < count and sent - done < window:
            if send(k, beats + sent * stride, k.beats, claim_seq(k)) != 0:
                return done
            sent += 1
        given = words32(beats + done * stride, 16)
        if _await(k, (first + done) & 0xFFFFFFFF, given[1] & np.uint32(0xFFFF), 0) != DECIDED:
            return done
        _answer(k, given[0], decisions + done * SLOT_BYTES)
        done += 1
    return done


class CardDecider:
    """Decides on the card behind a link; ``address`` and ``context`` are what the engine calls.

    Args:
        link: to a card that holds ``artifact`` with these settings (CardDriver.load_model).
        beats: of a vector, 1 or 2.
        fail_after: doubts in a row that mark the card failed.
        shadow: decides every vector too, and must agree; kept alive here.

    Give the engine a CpuDecider as the fallback. Of a decision's record ``now``, the cycle stamps, ``arm_epoch``,
    ``slot`` and ``crc32`` are zeroed as the CPU decider leaves them; the cycles are counted in ``link.cycles``.
    """

    def __init__(
        self,
        link: CardLink,
        artifact: ModelArtifact,
        beats: int,
        forest_on_rule: bool,
        fail_after: int = FAIL_AFTER,
        shadow: CpuDecider | None = None,
    ) -> None:
        self.link = link
        self._shadow = shadow
        k = link.state
        k["model_crc"], k["classes"], k["beats"] = artifact.crc, artifact.classes, beats
        k["forest_on_rule"], k["fail_after"] = int(forest_on_rule), fail_after
        k["shadow"], k["shadow_context"] = (0, 0) if shadow is None else (shadow.address, shadow.context)
        self.address = int(_decide_c.address or 0)
        self.context = link.address

    @property
    def failed(self) -> bool:
        """The card is asked no more."""
        return bool(self.link.state["failed"])

    def revive(self) -> None:
        """Ask the card again: an operator's decision, never the host's own."""
        self.link.state["failed"] = self.link.state["misses"] = 0

    def forget_counts(self) -> None:
        """Start the counts of ``report`` anew; a failed card stays failed."""
        for name in (*_COUNTED, *LINK_COUNTED):
            self.link.state[name] = 0
        self.link.cycles[:] = 0

    def score(self, beats: NDArray[np.void], window: int = WINDOW) -> NDArray[np.void]:
        """Decide CARD_BEAT[n, 2] vectors as a stream; DECISION[n]. Raises CardError for one that was not answered."""
        beats = np.ascontiguousarray(beats)
        decisions = np.zeros(len(beats), DECISION)
        done = int(_score(self.context, beats.ctypes.data, beats.strides[0], decisions.ctypes.data, len(beats), window))
        if done != len(beats):
            raise CardError("card decisions", done, f"{len(beats)}", "the card hangs or holds another model: load both again")
        return decisions

    def report(self) -> dict[str, int | float | bool]:
        """What the card did, for reports: decisions, doubts by kind, cycles from vector complete to decision (4 ns each)."""
        k, cycles = self.link.state, self.link.cycles
        seen = np.flatnonzero(cycles)
        total = int(cycles.sum())
        return {
            **{name: int(k[name]) for name in _COUNTED},
            **self.link.counters(),
            "failed": self.failed,
            "cycles_min": int(seen[0]) if total else 0,
            "cycles_mean": float(cycles @ np.arange(CYCLE_BINS) / total) if total else 0.0,
            "cycles_max": int(seen[-1]) if total else 0,
        }
