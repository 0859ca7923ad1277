"""The levels that stop trading without any order: silence of the host, old equity, drawdown and daily loss."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel.units import BPS
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.multiplier import Multiplier

BPS_BITS = 14


class EquityWatch(wiring.Component):
    """
    Attributes
    ----------
    now : In(64), ticks. limits : In(LimitsLayout).
    beat : In; ``equity`` and ``day_start`` (signed, quote e8) are those of an EQUITY beat that came at ``beat_now``. They are
        held until ``done``.
    heartbeat : In; a HEARTBEAT beat came at ``beat_now``.
    peak_write, peak : In; the peak of equity is to be this.
    heartbeat_stale, equity_stale, drawdown, daily_loss : Out, levels. Stale until the first beat.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "now": In(64),
                "limits": In(LimitsLayout()),
                "beat": In(1),
                "heartbeat": In(1),
                "beat_now": In(64),
                "equity": In(signed(64)),
                "day_start": In(signed(64)),
                "peak_write": In(1),
                "peak": In(64),
                "done": Out(1),
                "heartbeat_stale": Out(1, init=1),
                "equity_stale": Out(1, init=1),
                "drawdown": Out(1),
                "daily_loss": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._age(m, self.heartbeat, self.limits.heartbeat_max_age, self.heartbeat_stale, "heartbeat")
        self._age(m, self.beat, self.limits.equity_max_age, self.equity_stale, "equity")

        peak = Signal(signed(64))
        known = Signal()
        reference = Signal(signed(64))
        fallen, lost = Signal(signed(65)), Signal(signed(65))
        m.submodules.fall_bps = fall_bps = Multiplier(65, BPS_BITS)
        m.submodules.peak_bps = peak_bps = Multiplier(65, BPS_BITS)
        steps = Signal(3 + fall_bps.latency)
        m.d.sync += steps.eq(steps << 1 | self.beat)
        with m.If(self.beat):
            m.d.sync += reference.eq(Mux(known, peak, self.equity))
        with m.If(steps[0]):
            m.d.sync += [fallen.eq(reference - self.equity), lost.eq(self.day_start - self.equity)]
        m.d.comb += [
            fall_bps.a.eq(Mux(fallen < 0, 0, fallen)),
            fall_bps.b.eq(BPS),
            peak_bps.a.eq(Mux(reference < 0, 0, reference)),
            peak_bps.b.eq(self.limits.max_drawdown_bps),
            self.done.eq(steps[-1]),
        ]
        with m.If(steps[1 + fall_bps.latency]):
            m.d.sync += [
                self.drawdown.eq((reference <= 0) | (fall_bps.product >= peak_bps.product)),
                self.daily_loss.eq((lost >= 0) & (lost[:64] >= self.limits.max_daily_loss)),
                known.eq(1),
            ]
            with m.If(~known | (self.equity > peak)):
                m.d.sync += peak.eq(self.equity)
        with m.If(self.peak_write):
            m.d.sync += [peak.eq(self.peak), known.eq(1)]
        return m

    def _age(self, m: Module, renew: Signal, most: Signal, stale: Signal, name: str) -> None:
        time, known, age = Signal(64, name=f"{name}_time"), Signal(name=f"{name}_known"), Signal(64, name=f"{name}_age")
        m.d.sync += [age.eq(Mux(known, self.now - time, ~0)), stale.eq(~known | (age > most))]
        with m.If(renew):
            m.d.sync += [time.eq(self.beat_now), known.eq(1)]
