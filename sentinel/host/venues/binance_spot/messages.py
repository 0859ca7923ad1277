"""The venue's JSON messages as strict types; a missing or mistyped field is a decoding error.

Prices and quantities stay strings here: ``units.parse_e8`` makes them integers.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

#: Ids, and -1 for none.
Id = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 63) - 1)]
#: Milliseconds since 1970 whose nanoseconds fit int64.
Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]
Code = Annotated[int, msgspec.Meta(ge=-(1 << 31), le=(1 << 31) - 1)]


class RateLimitRow(msgspec.Struct, rename="camel"):
    """How much of one limit is used."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int
    count: int | None = None


class ErrorData(msgspec.Struct, rename="camel"):
    """What some errors add: when to try again, or the halves of a cancel-replace."""

    retry_after: Millis | None = None
    server_time: Millis | None = None
    cancel_result: str = ""
    new_order_result: str = ""
    cancel_response: msgspec.Raw = msgspec.Raw()
    new_order_response: msgspec.Raw = msgspec.Raw()


class ErrorBody(msgspec.Struct):
    """An error of the venue."""

    code: Code
    msg: str = ""
    data: ErrorData | None = None


class Frame(msgspec.Struct, rename="camel"):
    """Any frame of the WebSocket API: a reply (``status``) or an event. ``result`` and ``event`` are empty where absent."""

    id: int | str | None = None
    status: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None
    rate_limits: list[RateLimitRow] = []
    event: msgspec.Raw = msgspec.Raw()


class FrameId(msgspec.Struct):
    """What is looked for in a frame that is not a Frame: whose reply is it, or which order's event."""

    id: int | str | None = None
    event: EventId | None = None


class EventId(msgspec.Struct):
    """Symbol, client order id and the id it replaced."""

    s: str = ""
    c: str = ""
    C: str = ""


class EventType(msgspec.Struct):
    e: str


class FillRow(msgspec.Struct, rename="camel"):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: Id


class OrderResult(msgspec.Struct, rename="camel"):
    """A placement (FULL), a cancel, a query or one open order."""

    symbol: str
    order_id: Id
    client_order_id: str
    status: str
    side: str
    price: str
    orig_qty: str
    executed_qty: str
    cummulative_quote_qty: str
    stop_price: str = "0"
    orig_client_order_id: str = ""
    transact_time: Millis = 0
    update_time: Millis = 0
    #: Negative of an order that belongs to none.
    order_list_id: int = -1
    fills: list[FillRow] = []


class Replaced(msgspec.Struct, rename="camel"):
    """Both halves of a cancel-replace; a half that failed answers with an ErrorBody."""

    cancel_result: str
    new_order_result: str
    cancel_response: msgspec.Raw = msgspec.Raw()
    new_order_response: msgspec.Raw = msgspec.Raw()


class ListedOrder(msgspec.Struct, rename="camel"):
    """An order of a list, under the client id it was placed with."""

    order_id: Id
    client_order_id: str


class ListResult(msgspec.Struct, rename="camel"):
    """An order list; ``order_reports`` in answers to its placement and its cancel."""

    order_list_id: Id
    contingency_type: str
    list_order_status: str
    list_client_order_id: str
    symbol: str
    orders: list[ListedOrder]
    order_reports: list[OrderResult] = []


class AmendedOrder(msgspec.Struct, rename="camel"):
    """An order after its amend."""

    symbol: str
    order_id: Id
    client_order_id: str
    status: str
    side: str
    price: str
    qty: str
    executed_qty: str
    cumulative_quote_qty: str


class Amended(msgspec.Struct, rename="camel"):
    """The answer to order.amend.keepPriority."""

    amended_order: AmendedOrder
    transact_time: Millis = 0


class TradeRow(msgspec.Struct, rename="camel"):
    """One row of myTrades."""

    id: Id
    order_id: Id
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: Millis
    is_buyer: bool
    is_maker: bool


class ExecutionReport(msgspec.Struct):
    """The fields of an executionReport that are used, under the venue's letters."""

    s: str
    c: str
    S: str
    q: str
    p: str
    C: str
    x: str
    X: str
    i: Id
    l: str  # noqa: E741
    z: str
    L: str
    n: str
    T: Millis
    t: Id
    m: bool
    Z: str
    P: str = "0"
    N: str | None = None


class BalanceRow(msgspec.Struct):
    asset: str
    free: str
    locked: str


class Account(msgspec.Struct):
    balances: list[BalanceRow]


class Rates(msgspec.Struct, frozen=True):
    """Parts of one commission, fractions of what is received; ``buyer`` or ``seller`` comes on top of the other two."""

    maker: str = "0"
    taker: str = "0"
    buyer: str = "0"
    seller: str = "0"


class Commission(msgspec.Struct, rename="camel"):
    """account/commission of a symbol: the parts add up."""

    symbol: str
    standard_commission: Rates
    special_commission: Rates = Rates()
    tax_commission: Rates = Rates()


class Depth(msgspec.Struct):
    """A book; rows are price and quantity, best first."""

    bids: list[list[str]]
    asks: list[list[str]]


class AveragePrice(msgspec.Struct):
    price: str


class PositionRow(msgspec.Struct):
    a: str
    f: str
    l: str  # noqa: E741


class AccountPosition(msgspec.Struct):
    """outboundAccountPosition: absolute balances of the assets that changed."""

    B: list[PositionRow]


class ServerTime(msgspec.Struct, rename="camel"):
    server_time: Millis


class SessionStatus(msgspec.Struct, rename="camel"):
    """Whose connection this is, by its session.logon: no key and no time where it is nobody's."""

    api_key: str | None
    authorized_since: Millis | None
    user_data_stream: bool


class SymbolFilter(msgspec.Struct, rename="camel"):
    """One filter of exchangeInfo, the fields of all types together."""

    filter_type: str
    min_price: str | None = None
    max_price: str | None = None
    tick_size: str | None = None
    min_qty: str | None = None
    max_qty: str | None = None
    step_size: str | None = None
    min_notional: str | None = None
    max_notional: str | None = None
    multiplier_up: str | None = None
    multiplier_down: str | None = None
    bid_multiplier_up: str | None = None
    bid_multiplier_down: str | None = None
    ask_multiplier_up: str | None = None
    ask_multiplier_down: str | None = None


class SymbolInfo(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[SymbolFilter]


class ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[SymbolInfo]
    rate_limits: list[RateLimitRow] = []


decode_frame = msgspec.json.Decoder(Frame).decode
decode_frame_id = msgspec.json.Decoder(FrameId).decode
decode_event_type = msgspec.json.Decoder(EventType).decode
decode_order = msgspec.json.Decoder(OrderResult).decode
decode_replaced = msgspec.json.Decoder(Replaced).decode
decode_amended = msgspec.json.Decoder(Amended).decode
decode_orders = msgspec.json.Decoder(list[OrderResult]).decode
decode_list = msgspec.json.Decoder(ListResult).decode
decode_lists = msgspec.json.Decoder(list[ListResult]).decode
decode_trades = msgspec.json.Decoder(list[TradeRow]).decode
decode_report = msgspec.json.Decoder(ExecutionReport).decode
decode_account = msgspec.json.Decoder(Account).decode
decode_commission = msgspec.json.Decoder(Commission).decode
decode_order_counts = msgspec.json.Decoder(list[RateLimitRow]).decode
decode_depth = msgspec.json.Decoder(Depth).decode
decode_average_price = msgspec.json.Decoder(AveragePrice).decode
decode_position = msgspec.json.Decoder(AccountPosition).decode
decode_server_time = msgspec.json.Decoder(ServerTime).decode
decode_session_status = msgspec.json.Decoder(SessionStatus).decode
decode_exchange_info = msgspec.json.Decoder(ExchangeInfo).decode
decode_error = msgspec.json.Decoder(ErrorBody).decode
