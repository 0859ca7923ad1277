"""Symbol filters and request validation, in the order and with the texts of the venue's API."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sentinel.errors import UnitError
from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.refusals import filter_failure
from sentinel.units import E8, parse_e8
from sentinel.wire import Side

_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}", re.ASCII)


def decimal_param(params: Mapping[str, str], name: str) -> int | None:
    """A decimal parameter in units of 1e-8, None when absent.

    Raises ApiError -1105 (empty), -1100 (not a plain positive decimal), -1111 (more than 8 decimals), -1108 (overflow).
    """
    if name not in params:
        return None
    text = str(params[name])
    if not text:
        raise ApiError(400, -1105, f"Parameter '{name}' was empty.")
    if _NUMBER.fullmatch(text) is None:
        raise ApiError(
            400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'."
        )
    if len(text.partition(".")[2].rstrip("0")) > 8:
        raise ApiError(400, -1111, f"Parameter '{name}' has too much precision.")
    try:
        return parse_e8(text, name)
    except UnitError:
        raise ApiError(400, -1108, f"Parameter '{name}' overflowed.") from None


def required_decimal(params: Mapping[str, str], name: str) -> int:
    """As decimal_param; raises ApiError -1102 when absent or zero."""
    value = decimal_param(params, name)
    if value is None or value == 0:
        raise mandatory(name)
    return value


def integer_param(params: Mapping[str, str], name: str) -> int | None:
    """A non-negative integer parameter, None when absent. Raises ApiError -1100 or -1105."""
    if name not in params:
        return None
    text = str(params[name])
    if not text:
        raise ApiError(400, -1105, f"Parameter '{name}' was empty.")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def client_id_param(params: Mapping[str, str], name: str) -> str | None:
    """A client order id, None when absent. Raises ApiError -1100 outside ``[a-zA-Z0-9-_]{1,36}``, -1105 when empty."""
    if name not in params:
        return None
    text = str(params[name])
    if not text:
        raise ApiError(400, -1105, f"Parameter '{name}' was empty.")
    if _CLIENT_ID.fullmatch(text) is None:
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'.")
    return text


def enum_param(params: Mapping[str, str], name: str, allowed: tuple[str, ...], code: int, text: str) -> str | None:
    """One of ``allowed`` or None when absent. Raises ApiError ``code`` with ``text`` otherwise."""
    if name not in params:
        return None
    value = str(params[name])
    if value not in allowed:
        raise ApiError(400, code, text)
    return value


def check_price(instrument: Instrument, side: int, price: int, average: int) -> None:
    """PRICE_FILTER and PERCENT_PRICE_BY_SIDE; ``average`` is the weighted average price, 0 when the symbol never traded."""
    if (
        (instrument.min_price and price < instrument.min_price)
        or (instrument.max_price and price > instrument.max_price)
        or (instrument.tick and price % instrument.tick)
    ):
        raise filter_failure("PRICE_FILTER")
    up, down = (instrument.bid_up, instrument.bid_down) if side == Side.BUY else (instrument.ask_up, instrument.ask_down)
    if average and ((up and price * E8 > average * up) or (down and price * E8 < average * down)):
        raise filter_failure("PERCENT_PRICE_BY_SIDE")


def check_quantity(instrument: Instrument, qty: int, market: bool) -> None:
    """LOT_SIZE and, for MARKET orders, MARKET_LOT_SIZE."""
    if (
        qty < instrument.min_qty
        or (instrument.max_qty and qty > instrument.max_qty)
        or (instrument.step and qty % instrument.step)
    ):
        raise filter_failure("LOT_SIZE")
    if market and instrument.market_max_qty and qty > instrument.market_max_qty:
        raise filter_failure("MARKET_LOT_SIZE")


def check_notional(instrument: Instrument, price: int, qty: int, market: bool) -> None:
    """NOTIONAL; MARKET orders are valued at the weighted average price and only its minimum applies to them."""
    value = price * qty // E8
    if price and value < instrument.min_notional:
        raise filter_failure("NOTIONAL")
    if not market and instrument.max_notional and value > instrument.max_notional:
        raise filter_failure("NOTIONAL")


def check_open_orders(instrument: Instrument, open_orders: int, more: int = 1) -> None:
    """MAX_NUM_ORDERS for one account on one symbol."""
    if instrument.max_orders and open_orders + more > instrument.max_orders:
        raise filter_failure("MAX_NUM_ORDERS")


def check_algo_orders(instrument: Instrument, open_orders: int, more: int = 1) -> None:
    """MAX_NUM_ALGO_ORDERS: orders with a stop price of one account on one symbol."""
    if instrument.max_algo_orders and open_orders + more > instrument.max_algo_orders:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")


def check_order_lists(instrument: Instrument, open_lists: int) -> None:
    """MAX_NUM_ORDER_LISTS for one account on one symbol."""
    if instrument.max_order_lists and open_lists >= instrument.max_order_lists:
        raise filter_failure("MAX_NUM_ORDER_LISTS")


def check_position(instrument: Instrument, held: int, open_buys: int, qty: int) -> None:
    """MAX_POSITION: free + locked base + open BUY quantity, with this BUY, stays within the maximum."""
    if instrument.max_position and held + open_buys + qty > instrument.max_position:
        raise filter_failure("MAX_POSITION")


def check_amends(instrument: Instrument, amends: int) -> None:
    """MAX_NUM_ORDER_AMENDS."""
    if instrument.max_amends and amends >= instrument.max_amends:
        raise filter_failure("MAX_NUM_ORDER_AMENDS")
