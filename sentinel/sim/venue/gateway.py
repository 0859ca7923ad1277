"""Between the wire and the exchange: who asks, may he, is it in time, and what does it cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.auth import ApiKey, KeyRing, RequestTime
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.limits import LimitConfig, OrderCounter, WeightLimiter
from sentinel.sim.venue.operations import ORDER_COUNTS, ExchangePort, Operation, Params, own_params
from sentinel.units import NS_PER_MS


class Gateway:
    """Runs operations on the exchange under its limits; shared by REST and the WebSocket API."""

    def __init__(self, exchange: ExchangePort, keys: Iterable[ApiKey], limits: LimitConfig) -> None:
        self.exchange = exchange
        self.keys = KeyRing(keys)
        self.limits = limits
        self._weights: dict[str, WeightLimiter] = {}
        self._orders: dict[str, OrderCounter] = {}

    @property
    def now_ns(self) -> int:
        return self.exchange.now_ns

    def weights(self, ip: str) -> WeightLimiter:
        limiter = self._weights.get(ip)
        if limiter is None:
            limiter = self._weights[ip] = WeightLimiter(self.limits.weight_per_minute)
        return limiter

    def receive(self, faults: FaultPlan, method: str, ip: str) -> int:
        """A request has arrived: what befalls it before it is looked at. Returns the time its timestamp is held against."""
        for kind in (FaultKind.RATE_LIMIT, FaultKind.BAN):
            refused = faults.take(kind, method)
            if refused is not None:
                self.weights(ip).refuse_until(self.now_ns + refused.delay_ns, kind is FaultKind.BAN)
        skew = faults.take(FaultKind.CLOCK_SKEW, method)
        return self.now_ns + (0 if skew is None else skew.delay_ns)

    def orders(self, account: str) -> OrderCounter:
        counter = self._orders.get(account)
        if counter is None:
            counter = self._orders[account] = OrderCounter(self.limits.orders_per_10s, self.limits.orders_per_day)
        return counter

    def run(self, operation: Operation, account: str, params: Params, time: RequestTime | None, ip: str) -> Any:
        """Perform ``operation`` now. The weight has been charged on arrival; ``free`` ones get it back on success."""
        if time is not None:
            time.check(self.now_ns)
        own = own_params(operation, params)
        if operation.method == ORDER_COUNTS:
            return self.order_status(account)
        run = self._place if operation.places_order else self._run
        result = run(operation, account, own)
        if operation.method == "exchangeInfo":
            result = {**result, "serverTime": self.now_ns // NS_PER_MS, "rateLimits": self._rules()}
        if operation.free:
            self.weights(ip).refund(operation.weight(params))
        return result

    def report(self, account: str, event: dict[str, Any]) -> None:
        """Follow user data to credit fills against the order count."""
        if event.get("e") == "executionReport":
            self.orders(account).report(event, self.now_ns)

    def order_status(self, account: str) -> list[dict[str, Any]]:
        windows = self.orders(account).windows
        for window in windows:
            window.roll(self.now_ns)
        return [window.status() for window in windows]

    def rate_limits(self, ip: str, account: str | None) -> list[dict[str, Any]]:
        """The ``rateLimits`` of a response; order counts only where an ``account`` placed or cancelled."""
        weight = self.weights(ip).window
        weight.roll(self.now_ns)
        return [*(self.order_status(account) if account is not None else []), weight.status()]

    def _run(self, operation: Operation, account: str, params: Params) -> Any:
        return operation.run(self.exchange, account, params)

    def _place(self, operation: Operation, account: str, params: Params) -> Any:
        counter = self.orders(account)
        try:
            counter.check(self.now_ns, operation.orders)
        except ApiError as refusal:
            if params.get("orderRateLimitExceededMode") == "CANCEL_ONLY":
                raise self._cancel_only(account, params, refusal) from None
            raise
        counter.placed(self.now_ns, operation.orders)
        try:
            return operation.run(self.exchange, account, params)
        except ApiError:
            # A cancel-replace counts even when its new order is not attempted.
            if operation.method != "order.cancelReplace":
                counter.withdraw(operation.orders)
            raise

    def _cancel_only(self, account: str, params: Params, refusal: ApiError) -> ApiError:
        names = {
            "cancelOrderId": "orderId",
            "cancelOrigClientOrderId": "origClientOrderId",
            "cancelNewClientOrderId": "newClientOrderId",
            "cancelRestrictions": "cancelRestrictions",
            "symbol": "symbol",
        }
        cancel = {target: params[source] for source, target in names.items() if source in params}
        failed = {"code": refusal.code, "msg": refusal.msg}
        try:
            response: Any = self.exchange.cancel(account, cancel)
        except ApiError as error:
            data = {
                "cancelResult": "FAILURE",
                "newOrderResult": "FAILURE",
                "cancelResponse": {"code": error.code, "msg": error.msg},
                "newOrderResponse": failed,
            }
            return ApiError(400, -2022, "Order cancel-replace failed.", data)
        data = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "cancelResponse": response, "newOrderResponse": failed}
        return ApiError(409, -2021, "Order cancel-replace partially failed.", data)

    def _rules(self) -> list[dict[str, Any]]:
        limits = self.limits
        return [
            WeightLimiter(limits.weight_per_minute).window.rule(),
            *(window.rule() for window in OrderCounter(limits.orders_per_10s, limits.orders_per_day).windows),
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
        ]
