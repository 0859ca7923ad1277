"""The JSON of Coinbase Exchange as it is read: REST objects and the messages of the user channel.

Fields a message may lack have defaults; anything else missing or of another type raises msgspec.MsgspecError.
"""

from __future__ import annotations

import msgspec


class OrderRow(msgspec.Struct):
    """An order, as an answer to a placement, a query or a listing. Market orders have no price, some no size."""

    id: str
    product_id: str
    side: str
    status: str
    filled_size: str = "0"
    executed_value: str = "0"
    price: str | None = None
    size: str | None = None
    client_oid: str | None = None
    created_at: str | None = None
    done_at: str | None = None
    done_reason: str | None = None
    reject_reason: str | None = None


class FillRow(msgspec.Struct):
    """One of ``/fills``; ``side`` is the order's own."""

    trade_id: int
    product_id: str
    order_id: str
    price: str
    size: str
    fee: str
    liquidity: str
    side: str
    created_at: str


class AccountRow(msgspec.Struct):
    """One of ``/accounts``; ``balance`` is available + hold."""

    currency: str
    balance: str
    available: str = "0"


class Fees(msgspec.Struct):
    """``/fees``: rates of the notional."""

    maker_fee_rate: str
    taker_fee_rate: str


class Book(msgspec.Struct):
    """``/products/<id>/book`` at level 2: rows are price, size and number of orders."""

    bids: list[tuple[str, str, int]]
    asks: list[tuple[str, str, int]]
    auction_mode: bool = False


class Time(msgspec.Struct):
    """``/time``."""

    iso: str


class Product(msgspec.Struct):
    """One of ``/products``."""

    id: str
    base_currency: str
    quote_currency: str
    base_increment: str
    quote_increment: str
    status: str
    min_market_funds: str | None = None
    post_only: bool = False
    cancel_only: bool = False
    auction_mode: bool = False
    trading_disabled: bool = False


class Head(msgspec.Struct):
    """What tells the messages of the feed apart, and whose order one may concern."""

    type: str = ""
    product_id: str = ""
    order_id: str = ""
    maker_order_id: str = ""
    taker_order_id: str = ""


class ChannelRow(msgspec.Struct):
    """One of a ``subscriptions`` message's channels."""

    name: str
    product_ids: list[str] = []


class Subscriptions(msgspec.Struct):
    """All subscriptions of a connection."""

    channels: list[ChannelRow]


class FeedError(msgspec.Struct):
    """The venue refuses a message, or is about to end the connection."""

    message: str
    reason: str = ""


class Received(msgspec.Struct):
    """An order has come to the matching engine."""

    order_id: str
    product_id: str
    side: str
    time: str
    size: str | None = None
    price: str | None = None
    client_oid: str | None = None


class Opened(msgspec.Struct):
    """What is left of an order rests on the book."""

    order_id: str
    remaining_size: str
    time: str


class Matched(msgspec.Struct):
    """A trade of one of our orders. ``side`` is the maker's; only our own side's fee rate is told."""

    trade_id: int
    maker_order_id: str
    taker_order_id: str
    side: str
    size: str
    price: str
    time: str
    maker_fee_rate: str | None = None
    taker_fee_rate: str | None = None


class Done(msgspec.Struct):
    """An order is no longer on the book."""

    order_id: str
    reason: str
    time: str
    remaining_size: str | None = None
    cancel_reason: str | int | None = None


decode_order = msgspec.json.Decoder(OrderRow).decode
decode_orders = msgspec.json.Decoder(list[OrderRow]).decode
decode_fills = msgspec.json.Decoder(list[FillRow]).decode
decode_accounts = msgspec.json.Decoder(list[AccountRow]).decode
decode_fees = msgspec.json.Decoder(Fees).decode
decode_book = msgspec.json.Decoder(Book).decode
decode_time = msgspec.json.Decoder(Time).decode
decode_products = msgspec.json.Decoder(list[Product]).decode
decode_identity = msgspec.json.Decoder(str).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_subscriptions = msgspec.json.Decoder(Subscriptions).decode
decode_feed_error = msgspec.json.Decoder(FeedError).decode
decode_received = msgspec.json.Decoder(Received).decode
decode_opened = msgspec.json.Decoder(Opened).decode
decode_matched = msgspec.json.Decoder(Matched).decode
decode_done = msgspec.json.Decoder(Done).decode
