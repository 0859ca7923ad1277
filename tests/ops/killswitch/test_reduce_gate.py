"""A slice only ever brings the holding nearer to its baseline, within bound, value and the venue's filters."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.reduce_gate import FlattenLimits, Slice, Stop, next_slice
from sentinel.ops.killswitch.session import Quote
from sentinel.units import BPS, E8, notional
from sentinel.wire import InstrumentField

PLAIN = Instrument(
    "AAAUSDT",
    "AAA",
    "USDT",
    {
        InstrumentField.TICK_SIZE: E8 // 100,
        InstrumentField.STEP_SIZE: E8 // 1000,
        InstrumentField.MIN_QTY: E8 // 1000,
        InstrumentField.MAX_QTY: 1_000 * E8,
        InstrumentField.MIN_NOTIONAL: 5 * E8,
    },
)
LIMITS = FlattenLimits(200, 2_500, 1_000 * E8)
BOOK = Quote(100 * E8, E8, 101 * E8, E8)

grids = st.sampled_from([1, 100, 10**4, 10**6, 10**8])


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    step = draw(grids)
    fields = {
        InstrumentField.TICK_SIZE: draw(grids),
        InstrumentField.STEP_SIZE: step,
        InstrumentField.MIN_QTY: step * draw(st.integers(0, 50)),
        InstrumentField.MAX_QTY: step * draw(st.integers(1, 10**9)),
        InstrumentField.MIN_NOTIONAL: draw(st.integers(0, 20 * E8)),
    }
    return Instrument("AAAUSDT", "AAA", "USDT", fields)


@settings(max_examples=2000, deadline=None)
@given(
    excess=st.integers(-(10**15), 10**15),
    more=st.integers(0, 10**15),
    bid=st.integers(10**6, 10**13),
    moved_bps=st.integers(-3_000, 3_000),
    spread_bps=st.integers(0, 300),
    instrument=instruments(),
    limits=st.builds(FlattenLimits, st.integers(1, 5_000), st.integers(100, 10_000), st.integers(10**9, 10**14)),
)
def test_no_slice_overshoots_or_breaks_a_bound(
    excess: int, more: int, bid: int, moved_bps: int, spread_bps: int, instrument: Instrument, limits: FlattenLimits
) -> None:
    anchor = bid * (BPS + moved_bps) // BPS
    quote = Quote(bid, E8, bid * (BPS + spread_bps) // BPS, E8)
    chosen = next_slice(excess, abs(excess) + more, anchor, quote, instrument, limits)
    event(type(chosen).__name__)
    if isinstance(chosen, Stop):
        return
    fields = instrument.fields
    assert 0 < chosen.qty <= abs(excess)
    assert chosen.side == ("SELL" if excess > 0 else "BUY")
    assert chosen.qty % fields[InstrumentField.STEP_SIZE] == 0
    assert chosen.price % fields[InstrumentField.TICK_SIZE] == 0
    assert fields[InstrumentField.MIN_QTY] <= chosen.qty <= fields[InstrumentField.MAX_QTY]
    assert notional(chosen.price, chosen.qty) >= fields[InstrumentField.MIN_NOTIONAL]
    assert notional(chosen.price, chosen.qty) <= limits.slice_notional
    if chosen.side == "SELL":
        assert chosen.price * BPS >= anchor * (BPS - limits.bound_bps)
        assert chosen.price <= quote.bid
    else:
        assert chosen.price * BPS <= anchor * (BPS + limits.bound_bps)
        assert chosen.price >= quote.ask


def test_slices_are_a_share_of_the_whole_and_end_flat() -> None:
    left, sizes = 8 * E8, []
    while not isinstance(chosen := next_slice(left, 8 * E8, 100 * E8, BOOK, PLAIN, LIMITS), Stop):
        assert chosen.side == "SELL"
        sizes.append(chosen.qty)
        left -= chosen.qty
    assert (left, chosen) == (0, Stop(True, "flat"))
    assert sizes == [2 * E8] * 4


def test_a_slice_is_no_larger_than_its_value_allows() -> None:
    chosen = next_slice(100 * E8, 100 * E8, 100 * E8, BOOK, PLAIN, LIMITS)
    assert isinstance(chosen, Slice)
    assert 990 * E8 < notional(chosen.price, chosen.qty) <= 1_000 * E8


def test_a_rest_nobody_could_sell_goes_with_the_last_slice() -> None:
    chosen = next_slice(205 * E8 // 100, 8 * E8, 100 * E8, BOOK, PLAIN, LIMITS)
    assert isinstance(chosen, Slice)
    # A quarter of eight would leave 0.05, worth exactly what may still be sold; a little less goes along.
    chosen = next_slice(204 * E8 // 100, 8 * E8, 100 * E8, BOOK, PLAIN, LIMITS)
    assert isinstance(chosen, Slice)
    assert chosen.qty == 204 * E8 // 100


def test_what_is_lacking_is_bought_at_most_so_far_above_the_price_at_the_begin() -> None:
    chosen = next_slice(-4 * E8, 4 * E8, 100 * E8, BOOK, PLAIN, LIMITS)
    assert isinstance(chosen, Slice)
    assert chosen.side == "BUY"
    assert 101 * E8 <= chosen.price <= 102 * E8


def test_beyond_the_bound_nothing_leaves() -> None:
    fallen = Quote(97 * E8, E8, 98 * E8, E8)
    assert next_slice(E8, E8, 100 * E8, fallen, PLAIN, LIMITS) == Stop(False, "bound of 200 bps hit")
    risen = Quote(102 * E8, E8, 103 * E8, E8)
    assert next_slice(-E8, E8, 100 * E8, risen, PLAIN, LIMITS) == Stop(False, "bound of 200 bps hit")


def test_without_a_price_nothing_leaves() -> None:
    empty = Quote(0, 0, 101 * E8, E8)
    stopped = next_slice(E8, E8, 100 * E8, empty, PLAIN, LIMITS)
    assert isinstance(stopped, Stop)
    assert not stopped.done


def test_dust_is_flat_and_an_impossible_slice_is_not() -> None:
    dust = next_slice(E8 // 100, E8, 100 * E8, BOOK, PLAIN, LIMITS)
    assert isinstance(dust, Stop)
    assert dust.done
    tiny = next_slice(E8, E8, 100 * E8, BOOK, PLAIN, LIMITS._replace(slice_notional=E8))
    assert isinstance(tiny, Stop)
    assert not tiny.done
