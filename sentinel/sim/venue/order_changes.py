"""Changing orders that rest: cancel, cancel all, cancel-replace and amend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.sim.venue import filters
from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.order_desk import OrderDesk
from sentinel.sim.venue.order_request import CANCEL_REPLACE_PARAMS, symbol_param
from sentinel.sim.venue.orders import OPEN, Order
from sentinel.sim.venue.refusals import amend_rejected, cancel_rejected
from sentinel.units import NS_PER_MS, format_e8


def cancel(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """order.cancel. Raises ApiError -2011 where nothing open fits."""
    index = desk.symbol_index(symbol_param(params))
    order = desk.find(account, index, params, "orderId", "origClientOrderId")
    return _cancel(desk, index, order, params, filters.client_id_param(params, "newClientOrderId"))


def _cancel(desk: OrderDesk, index: int, order: Order | None, params: Mapping[str, str], cancel_id: str | None) -> dict[str, Any]:
    restriction = filters.enum_param(
        params, "cancelRestrictions", ("ONLY_NEW", "ONLY_PARTIALLY_FILLED"), -1145, "Invalid cancelRestrictions"
    )
    if order is None or order.status not in OPEN:
        raise cancel_rejected()
    if restriction is not None and restriction != f"ONLY_{order.status}":
        raise cancel_rejected("Order was not canceled due to cancel restrictions.")
    if order.list_id >= 0:
        return desk.cancel_list(order.list_id, cancel_id)
    desk.remove(order)
    order.status = "CANCELED"
    order.updated_ns = desk.now_ns
    order.cancel_id = cancel_id or f"cancel-{index}-{order.order_id}"
    desk.by_client[order.account, index, order.cancel_id] = order
    desk.release(order)
    desk.report(order, "CANCELED")
    desk.flush_positions()
    return order.cancelled()


def cancel_all(desk: OrderDesk, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """openOrders.cancelAll. Raises ApiError -2011 when none is open."""
    index = desk.symbol_index(symbol_param(params))
    orders = desk.open_of(account, index)
    if not orders:
        raise cancel_rejected()
    # A list is cancelled with the first of its orders.
    return [_cancel(desk, index, order, {}, None) for order in orders if order.status in OPEN]


def cancel_replace(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """order.cancelReplace; not atomic, but filters come first.

    Raises ApiError -2021 (409, half done) or -2022 (400, nothing done) with both halves as data.
    """
    mode = filters.enum_param(
        params,
        "cancelReplaceMode",
        ("STOP_ON_FAILURE", "ALLOW_FAILURE"),
        -1130,
        "Data sent for parameter 'cancelReplaceMode' is not valid.",
    )
    if mode is None:
        raise mandatory("cancelReplaceMode")
    index = desk.symbol_index(symbol_param(params))
    placement = {name: value for name, value in params.items() if name not in CANCEL_REPLACE_PARAMS}
    desk.validate(placement)
    old = desk.find(account, index, params, "cancelOrderId", "cancelOrigClientOrderId")
    outcome: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
    try:
        outcome["cancelResponse"] = _cancel(desk, index, old, params, filters.client_id_param(params, "cancelNewClientOrderId"))
    except ApiError as error:
        outcome["cancelResult"] = "FAILURE"
        outcome["cancelResponse"] = {"code": error.code, "msg": error.msg}
    outcome["newOrderResponse"] = None
    if outcome["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
        try:
            outcome["newOrderResponse"] = desk.place(account, placement)
            outcome["newOrderResult"] = "SUCCESS"
        except ApiError as error:
            outcome["newOrderResult"] = "FAILURE"
            outcome["newOrderResponse"] = {"code": error.code, "msg": error.msg}
    succeeded = (outcome["cancelResult"] == "SUCCESS") + (outcome["newOrderResult"] == "SUCCESS")
    if succeeded == 1:
        raise ApiError(409, -2021, "Order cancel-replace partially failed.", outcome)
    if succeeded == 0:
        raise ApiError(400, -2022, "Order cancel-replace failed.", outcome)
    return outcome


def amend(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """order.amend.keepPriority: a smaller quantity in the same place of the queue. Raises ApiError -2038 and -1013."""
    index = desk.symbol_index(symbol_param(params))
    new_qty = filters.required_decimal(params, "newQty")
    order = desk.find(account, index, params, "orderId", "origClientOrderId")
    if order is None or order.status not in OPEN or order.resting is None:
        raise amend_rejected("Unknown order sent.")
    filters.check_quantity(order.instrument, new_qty, market=False)
    filters.check_notional(order.instrument, order.price, new_qty, market=False)
    filters.check_amends(order.instrument, order.amends)
    if new_qty == order.qty:
        raise amend_rejected("The requested action would change no state; rejecting.")
    if new_qty > order.qty:
        raise amend_rejected("Order amend (quantity increase) is not supported.")
    done = order.executed + order.prevented
    if new_qty <= done:
        raise amend_rejected("Order amend (quantity below the executed quantity) is not supported.")
    desk.books[index].resize(order.resting, new_qty - done)
    previous_id = order.client_id
    renamed = filters.client_id_param(params, "newClientOrderId")
    if renamed is not None:
        order.client_id = renamed
        desk.by_client[account, index, renamed] = order
    order.qty = new_qty
    order.amends += 1
    order.updated_ns = desk.now_ns
    desk.shrink_lock(order)
    desk.report(order, "REPLACED")
    desk.flush_positions()
    amended = {
        "symbol": order.instrument.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "origClientOrderId": previous_id,
        "clientOrderId": order.client_id,
        "price": format_e8(order.price),
        "qty": format_e8(order.qty),
        "executedQty": format_e8(order.executed),
        "preventedQty": format_e8(order.prevented),
        "quoteOrderQty": format_e8(order.quote_qty),
        "cumulativeQuoteQty": format_e8(order.quote_executed),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.kind,
        "side": order.side_text,
        "workingTime": order.created_ns // NS_PER_MS,
        "selfTradePreventionMode": order.stp,
    }
    return {"transactTime": desk.now_ns // NS_PER_MS, "executionId": desk.execution_id, "amendedOrder": amended}
