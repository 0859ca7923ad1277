"""ExecutionReports as ORDER_EVENT records, and what is not taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError, UnitError
from sentinel.host.venues.binance_spot import messages, translate
from sentinel.host.venues.fix import BINANCE, COINBASE
from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.reports import ExecutionReport, UnknownReport, read_report, venue_order_number, write_report
from sentinel.host.venues.order_events import RecordBatch, foreign_key
from sentinel.host.venues.order_names import TextNames
from sentinel.units import E8, format_e8
from sentinel.wire import FeeAsset, OrderEventFlag, OrderEventKind, OrderState, Venue, client_order_id
from tests.host.venues.fix.fix_peer import FEE, FILL, INSTRUMENTS, KEY, report, said
from tests.host.venues.offline_session import Event, Sink

OURS = (11, client_order_id(KEY))
STREAM, FOREIGN, MAKER = OrderEventFlag.FROM_STREAM, OrderEventFlag.FOREIGN, OrderEventFlag.MAKER


def message(*fields: Field, kind: str = "8", drop: tuple[int, ...] = ()) -> FixMessage:
    body = report(*fields, drop=drop) if kind == "8" else list(fields)
    (found,) = Decoder("FIX.4.4").feed(said(kind, 2, *body))
    assert isinstance(found, FixMessage)
    return found


def event(*fields: Field, drop: tuple[int, ...] = (), dialect: Dialect = BINANCE) -> Event:
    batch, sink = RecordBatch(Venue.BINANCE_SPOT), Sink()
    found = read_report(message(*fields, drop=drop), dialect)
    write_report(batch, found, 0, INSTRUMENTS[0], 5)
    sink.deliver(0, batch.take())
    (one,) = sink.events
    return one


def test_fill_carries_every_figure() -> None:
    one = event(OURS, *FILL)
    assert (one.kind, one.key, one.state, one.flags) == (OrderEventKind.TRADE, KEY, OrderState.PARTIAL, STREAM | MAKER)
    assert (one.last_price, one.last_qty, one.cum_qty, one.cum_quote) == (2 * E8, E8, E8, 2 * E8)
    assert (one.qty, one.price, one.commission, one.fee_asset) == (3 * E8, 2 * E8, E8 // 500, FeeAsset.QUOTE)
    assert (one.venue_order_id, one.trade_id, one.t_exchange, one.side) == (76, 9001, 1718096506_228_950_000, 1)


@pytest.mark.parametrize(
    ("exec_type", "status", "kind", "state"),
    [
        ("0", "0", OrderEventKind.ACKED, OrderState.ACKED),
        ("0", "A", OrderEventKind.ACKED, OrderState.ACKED),
        ("4", "4", OrderEventKind.CANCELED, OrderState.CANCELED),
        ("5", "0", OrderEventKind.STATUS, OrderState.ACKED),
        ("5", "5", OrderEventKind.STATUS, OrderState.ACKED),
        ("C", "C", OrderEventKind.EXPIRED, OrderState.EXPIRED),
        ("D", "4", OrderEventKind.CANCELED, OrderState.CANCELED),
        ("D", "0", OrderEventKind.STATUS, OrderState.ACKED),
        ("I", "2", OrderEventKind.STATUS, OrderState.FILLED),
        ("4", "6", OrderEventKind.CANCELED, OrderState.ACKED),
    ],
)
def test_each_execution_type_and_status_has_its_event(
    exec_type: str, status: str, kind: OrderEventKind, state: OrderState
) -> None:
    one = event(OURS, (150, exec_type), (39, status))
    assert (one.kind, one.state, one.trade_id) == (kind, state, -1)
    if state is OrderState.ACKED:
        assert event(OURS, (150, exec_type), (39, status), (14, "1")).state is OrderState.PARTIAL


def test_cancel_is_the_orders_whatever_id_the_cancel_had() -> None:
    cancel = client_order_id(KEY).replace("STL-", "STC-")
    assert event((11, "web_cancel"), (41, client_order_id(KEY)), (150, "4"), (39, "4")).key == KEY
    assert event((11, cancel), (41, client_order_id(KEY)), (150, "4"), (39, "4")).key == KEY
    assert event((11, cancel), (150, "4"), (39, "4")).key == KEY
    uuids = ((11, COINBASE.names.cancel(KEY)), (41, COINBASE.names.order(KEY)), (150, "4"), (39, "4"))
    assert event(*uuids, dialect=COINBASE).key == KEY


def test_fill_of_a_foreign_order_is_marked_as_such() -> None:
    one = event(*FILL)
    assert (one.kind, one.key, one.flags) == (OrderEventKind.TRADE, foreign_key(0, 76), STREAM | FOREIGN | MAKER)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ([(25016, -2010), (58, "Account has insufficient balance for requested action.")], OrderEventKind.REJECTED),
        ([(25016, -1013), (58, "Filter failure: LOT_SIZE")], OrderEventKind.REJECTED),
        ([(25016, -2010), (58, "Duplicate order sent.")], OrderEventKind.AMBIGUOUS),
        ([(25016, -1006)], OrderEventKind.AMBIGUOUS),
        ([(25016, -1007)], OrderEventKind.AMBIGUOUS),
        ([(25016, -9999)], OrderEventKind.AMBIGUOUS),
        ([(103, 3)], OrderEventKind.REJECTED),
        ([(103, 6)], OrderEventKind.AMBIGUOUS),
    ],
)
def test_rejection_counts_only_where_it_proves_that_nothing_happened(fields: list[Field], kind: OrderEventKind) -> None:
    one = event(OURS, (150, "8"), (39, "8"), *fields, drop=(17, 37, 60))
    assert (one.kind, one.venue_order_id, one.t_exchange) == (kind, 0, 0)
    assert one.code == dict(fields).get(25016, 0)


@pytest.mark.parametrize("field", [(150, "A"), (150, "Z"), (39, "9"), (54, "5")])
def test_code_nobody_knows_is_an_error_of_its_own_kind(field: Field) -> None:
    with pytest.raises(UnknownReport, match="ask the venue"):
        read_report(message(OURS, field), BINANCE)


@pytest.mark.parametrize(
    "fields",
    [
        [(14, "-1")],
        [(14, "1e5")],
        [(14, "1.123456789")],
        [(38, "99999999999999")],
        [(60, "yesterday")],
        [(37, "O-1")],
        [*FILL, (32, "0")],
        [*FILL, (32, "2")],
        [*FILL, (1003, "x")],
        [*FILL, (137, "1")],
        [(25016, "x")],
    ],
)
def test_figure_that_cannot_be_is_refused(fields: list[Field]) -> None:
    with pytest.raises((ParseError, UnitError)):
        read_report(message(OURS, *fields), BINANCE)


@pytest.mark.parametrize("tag", [14, 31, 32, 39, 54, 55, 150, 1003])
def test_fill_without_a_required_field_is_refused(tag: int) -> None:
    with pytest.raises(ParseError, match=f"tag {tag}"):
        read_report(message(OURS, *FILL, drop=(tag,)), BINANCE)


def test_fees_of_one_currency_add_up_and_of_two_are_refused() -> None:
    fill = [field for field in FILL if field not in FEE]
    two: list[Field] = [(136, 2), (137, "0.1"), (138, "AAA"), (139, 4), (137, "0.2"), (138, "AAA"), (139, 4)]
    one = event(OURS, *fill, *two)
    assert (one.commission, one.fee_asset) == (3 * E8 // 10, FeeAsset.BASE)
    assert event(OURS, *fill).commission == 0
    with pytest.raises(ParseError, match="NoMiscFees"):
        read_report(message(OURS, *fill, *two[:5], (138, "BNB"), (139, 4)), BINANCE)


@pytest.mark.parametrize(
    ("entry", "commission", "asset"),
    [
        ([(137, "0.0020000000000000"), (138, "USD"), (139, 4), (891, 0)], E8 // 500, FeeAsset.QUOTE),
        ([(137, "0.0020000000000001"), (138, "USD"), (139, 4)], E8 // 500 + 1, FeeAsset.QUOTE),
        ([(137, "0.006"), (138, "USD"), (139, 4), (891, 2)], 2 * E8 * 6 // 1000, FeeAsset.QUOTE),
        ([(137, "0.006"), (138, "BBB"), (139, 4), (891, 2)], E8 * 6 // 1000, FeeAsset.BASE),
    ],
)
def test_coinbases_fees_are_amounts_of_many_decimals_or_shares_of_the_fill(
    entry: list[Field], commission: int, asset: FeeAsset
) -> None:
    fill: list[Field] = [(55, "BBB-USD"), *(field for field in FILL if field not in FEE), (136, 1), *entry]
    found = _with_group(fill)
    assert found.commission == commission
    assert INSTRUMENTS[1].fee_asset(found.fee_currency) == asset


@pytest.mark.parametrize("change", [[(891, 1)], [(891, 2), (138, "EUR")]])
def test_a_share_of_something_else_than_the_fill_is_refused(change: list[Field]) -> None:
    entry = {137: "0.006", 138: "USD", 139: "4"} | dict(change)
    fill: list[Field] = [(55, "BBB-USD"), *(field for field in FILL if field not in FEE), (136, 1), *entry.items()]
    with pytest.raises(ParseError, match="MiscFeeBasis"):
        _with_group(fill)


def test_a_rejected_order_of_coinbase_needs_neither_side_nor_quantity_filled() -> None:
    fields: list[Field] = [(11, COINBASE.names.order(KEY)), (150, "8"), (39, "8"), (103, 0), (58, "Insufficient funds")]
    one = event(*fields, drop=(14, 37, 54, 60), dialect=COINBASE)
    assert (one.kind, one.key, one.side, one.code) == (OrderEventKind.REJECTED, KEY, 0, -103_000)


def _with_group(fields: list[Field]) -> ExecutionReport:
    """A Coinbase report whose fee group keeps all of its fields."""
    at = next(k for k, field in enumerate(fields) if field[0] == 136)
    body = [*report((11, COINBASE.names.order(KEY)), *fields[:at], drop=(25017,)), *fields[at:]]
    (found,) = Decoder("FIX.4.4").feed(said("8", 2, *body))
    assert isinstance(found, FixMessage)
    return read_report(found, COINBASE)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("3", [(45, 2), (373, 1), (25016, -1102), (58, "x")], (True, -1102)),
        ("3", [(45, 2), (25016, -1007)], (False, -1007)),
        ("3", [(45, 2), (373, 5)], (True, 0)),
        ("9", [(25016, -2011)], (True, -2011)),
        ("j", [(45, 2), (380, 2)], (True, 0)),
        ("j", [(45, 2), (380, 4)], (False, 10)),
        ("j", [(45, 2), (380, 0)], (False, 10)),
        ("j", [(45, 2)], (False, 10)),
    ],
)
def test_refusal_proves_only_what_the_rules_say(kind: str, fields: list[Field], expected: tuple[bool, int]) -> None:
    assert BINANCE.verdicts.request(message(*fields, kind=kind)) == expected


def test_order_ids_of_both_venues_become_numbers() -> None:
    assert venue_order_number("18446744073") == 18446744073
    assert venue_order_number("ffffffff-ffff-4fff-bfff-ffffffffffff") == int("ffffffffffff4fff", 16) >> 1
    assert venue_order_number(None) == 0


AMOUNTS = st.integers(1, 10**12)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.booleans(), st.sampled_from(["AAA", "USDT", "BNB"]), st.booleans(), st.booleans())
def test_fill_gives_the_very_event_of_the_websocket_api(
    price: int, last: int, before: int, quote: int, maker: bool, asset: str, own: bool, buy: bool
) -> None:
    name, cum, qty = client_order_id(KEY) if own else "web_1", last + before, last + before + 7
    fields: list[Field] = [(11, name), (54, "1" if buy else "2"), (150, "F"), (39, "1"), (60, "20240611-09:01:46.228")]
    fields += [
        (tag, format_e8(value)) for tag, value in ((14, cum), (38, qty), (44, price), (31, price), (32, last), (25017, quote))
    ]
    fields += [(1003, "77"), (1057, "N" if maker else "Y"), (136, 1), (137, format_e8(9)), (138, asset), (139, 4)]
    fix = event(*fields)
    row = messages.ExecutionReport(
        s="AAAUSDT", c=name, S="BUY" if buy else "SELL", q=format_e8(qty), p=format_e8(price), C="", x="TRADE",
        X="PARTIALLY_FILLED", i=76, l=format_e8(last), z=format_e8(cum), L=format_e8(price), n=format_e8(9), N=asset,
        T=1718096506228, t=77, m=maker, Z=format_e8(quote),
    )  # fmt: skip
    batch, sink = RecordBatch(Venue.BINANCE_SPOT), Sink()
    translate.write_report(batch, 0, INSTRUMENTS[0], row, 5, TextNames())
    sink.deliver(0, batch.take())
    assert sink.events == [fix]
