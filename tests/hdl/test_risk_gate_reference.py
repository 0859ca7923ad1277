"""The emitted gate equals the integer reference on random streams of beats that live on the edges of the controls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from sentinel_hdl.tools.gate_stream import Stream, make_limits, make_rows, make_scale

from sentinel.wire import (
    Control,
)
from tests.hdl.gate_harness import Pair, gate_library

#: Every control the hardware has but MEMORY_FAULT, which random beats can't cause.
CONTROLS = frozenset(
    {
        0,
        *(Control.KILLED, Control.BAD_INPUT, Control.ARM_EPOCH, Control.LIMITS_VERSION, Control.SYMBOL_HALTED),
        *(Control.DUPLICATE, Control.MAX_QTY, Control.MAX_NOTIONAL, Control.STALE_REFERENCE, Control.PRICE_COLLAR),
        *(Control.POSITION_LIMIT, Control.GROSS_EXPOSURE, Control.TRADES_PER_MINUTE),
    }
)


@pytest.fixture(scope="module")
def library() -> Any:
    from sentinel_hdl.tools.errors import ToolError

    try:
        return gate_library()
    except ToolError as error:
        pytest.skip(f"no Verilated gate: {error}")


def run_stream(library: Any, seed: int, beats: int) -> tuple[Counter[int], int]:
    rng = np.random.default_rng(seed)
    scale = make_scale(rng)
    limits = make_limits(rng, scale)
    pair = Pair(library, limits, make_rows(rng, scale))
    try:
        controls, outcomes = pair.compare(list(Stream(rng, limits, scale).take(beats)))
    finally:
        pair.rtl.close()
    cycles = outcomes["cycles"][outcomes["given"] != 0]
    assert len(set(cycles.tolist())) <= 1, "a verdict takes the same time whatever it says"
    return Counter(controls), int(cycles.max(initial=0))


def check(library: Any, streams: int, beats: int) -> None:
    seen: Counter[int] = Counter()
    for seed in range(streams):
        controls, cycles = run_stream(library, seed, beats)
        seen += controls
        assert cycles <= 8
    assert set(seen) == CONTROLS, f"never refused by {CONTROLS - set(seen)}"


def test_emitted_gate_equals_the_reference_on_random_streams(library: Any) -> None:
    check(library, streams=200, beats=500)


@pytest.mark.full
def test_emitted_gate_equals_the_reference_on_a_million_beats(library: Any) -> None:
    check(library, streams=2_000, beats=500)
