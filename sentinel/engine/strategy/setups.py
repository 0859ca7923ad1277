"""A setup's state on its symbol: whether it is watched, why it does not trade, and its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, params, symbol
from sentinel.engine.layout import Setup
from sentinel.native import INNER, JIT
from sentinel.wire import SignalCode


@njit(**JIT)
def watch(g: Any, y: Any, on: bool) -> None:
    """Have the strategy called on the symbol's market, or no more."""
    if on != (y.watch != 0):
        y.watch = 1 if on else 0
        g.watched += 1 if on else -1


@njit(**INNER)
def end_setup(f: Any, y: Any) -> None:
    """The setup is over; the symbol rests for the cool-down."""
    g = glob(f)
    y.setup = Setup.NONE
    y.cooldown_until = g.now + params(f).cooldown_ns
    watch(g, y, False)


@njit(**INNER)
def refuse(f: Any, s: int, refusal: int, final: bool) -> None:
    """Say once per setup why the strategy does not trade; a final reason ends the setup, another is tried again later."""
    g, c = glob(f), counters(f)
    y = symbol(f, s)
    bit = np.int64(1) << refusal
    if y.setup_refusals & bit == 0:
        y.setup_refusals |= bit
        c.refusals += 1
        side = y.setup_side
        emit_signal(f, SignalCode.REFUSED, s, side, refusal, 0, 0, y.last_price, y.setup_margin, y.inventory, 0)
    y.retry_t = g.now + params(f).exit_retry_ns
    if final:
        end_setup(f, y)
