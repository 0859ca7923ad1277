"""How long a card takes, as the host sees it, step by step: compiled loops that stamp around each access."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.bus import call_relax
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.link import claim_seq, give_up, link_at, send, take
from sentinel.host.cards.registers import Ocl
from sentinel.host.cards.selftest import hard_vectors
from sentinel.host.latency import BUCKETS, bucket_floor, count_latency, record_latency, summarize
from sentinel.host.monotonic import monotonic_ns
from sentinel.native import JIT, call_decider
from sentinel.wire import DECISION, Kind

_DECISION = int(Kind.DECISION)
_PATIENCE_NS = 100_000_000
_REGISTER_ACCESSES = 1_000


class Step(IntEnum):
    """Rows of the table."""

    STORE = 0  # the beat's stores and the fence behind them
    ANSWER = 1  # from there until the record is in hand, its CRC checked
    ROUND_TRIP = 2  # both
    DECIDE = 3  # the engine's whole call: numbered, sent, awaited, compared with what was asked for
    REGISTER_READ = 4  # this and the next from Python, the interpreter's part included
    REGISTER_WRITE = 5  # a posted write: handed to the bus, not yet at the card


@njit(**JIT)
def _split(link: int, beats: int, stride: int, count: int, table: NDArray[np.int64]) -> int:
    """Time store and answer of each vector. Returns how many were answered in time."""
    k = link_at(link)
    answered = 0
    for i in range(count):
        seq = claim_seq(k)
        begin = monotonic_ns()
        send(k, beats + i * stride, k.beats, seq)
        sent = monotonic_ns()
        kind = take(k)
        while kind != _DECISION and monotonic_ns() - sent < _PATIENCE_NS:
            call_relax(k.relax, k.bus)
            kind = take(k)
        seen = monotonic_ns()
        if kind != _DECISION:
            give_up(k)
            continue
        answered += 1
        record_latency(table, 0, sent - begin)
        record_latency(table, 1, seen - sent)
        record_latency(table, 2, seen - begin)
    return answered


@njit(**JIT)
def _whole(decide: int, context: int, beats: int, stride: int, count: int, decision: int, table: NDArray[np.int64]) -> int:
    """Time the engine's call for each vector. Returns how many the card decided."""
    decided = 0
    for i in range(count):
        begin = monotonic_ns()
        if call_decider(decide, context, beats + i * stride, decision, 0) == 0:
            decided += 1
            record_latency(table, 3, monotonic_ns() - begin)
    return decided


def measure(driver: CardDriver, decider: CardDecider, vectors: int, seed: int = 2) -> NDArray[np.int64]:
    """Histograms int64[len(Step), BUCKETS] over so many vectors, after a tenth as many to warm up.

    Raises CardError for a card that leaves vectors unanswered: its figures would be those of the answered ones.
    """
    beats = pack_beats(hard_vectors(vectors, seed))
    address, stride = beats.ctypes.data, beats.strides[0]
    decision = np.zeros(1, DECISION)
    table = np.zeros((len(Step), BUCKETS), np.int64)
    for count in (max(vectors // 10, 1), vectors):
        table[:] = 0
        decider.forget_counts()
        answered = _split(decider.context, address, stride, count, table)
        decided = _whole(decider.address, decider.context, address, stride, count, decision.ctypes.data, table)
        if answered != count or decided != count:
            raise CardError("answers", (answered, decided), f"{count} each", "the card drops vectors: run sentinel card selftest")
    _time_registers(driver, table)
    return table


def _time_registers(driver: CardDriver, table: NDArray[np.int64]) -> None:
    bus = driver.bus
    for value in range(_REGISTER_ACCESSES):
        begin = time.monotonic_ns()
        bus.ocl_read(Ocl.SCRATCH)
        middle = time.monotonic_ns()
        bus.ocl_write(Ocl.SCRATCH, value)
        count_latency(table, Step.REGISTER_READ, middle - begin)
        count_latency(table, Step.REGISTER_WRITE, time.monotonic_ns() - middle)


def figures(table: NDArray[np.int64]) -> dict[str, Any]:
    """By step: count, percentiles and maximum in ns, and the bins as [lowest ns, count]."""
    return {
        step.name.lower(): {
            **summarize(table[step]),
            "bins": [[bucket_floor(int(i)), int(table[step, i])] for i in np.flatnonzero(table[step])],
        }
        for step in Step
    }
