"""The WebSocket API: one session per connection, requests in, responses and user data out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.auth import (
    ApiKey,
    RequestTime,
    as_text,
    check_signature,
    parse_request_time,
    require_permission,
    websocket_payload,
)
from sentinel.sim.venue.connection import VenueConnection, text_frame
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.gateway import Gateway
from sentinel.sim.venue.operations import BY_METHOD, Operation, Params
from sentinel.sim.venue.time_unit import in_microseconds
from sentinel.units import NS_PER_MS

_MAX_SUBSCRIPTIONS = 1000
_MAX_SUBSCRIPTION_IDS = 65_535
CONNECT_WEIGHT = 2
_SESSION_WEIGHT = 2
_HELD_NS = 500 * NS_PER_MS  # longest that an event waits for one to come after
_OF_THE_LOGON = ("session.status", "userDataStream.subscribe")  # what speaks for the key that has logged on

_UNPUBLISHED_CODE = -4321

_encode = msgspec.json.Encoder().encode
# The signature covers numbers exactly as written, so a decimal number keeps its text.
_decode = msgspec.json.Decoder(float_hook=str).decode
_log = logging.getLogger(__name__)


class Timing(Protocol):
    """When things happen: the driver's side of a session."""

    def take_effect(self, connection: VenueConnection, action: Callable[[], None]) -> None:
        """Run ``action`` after the venue's latency, in order per connection."""

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Run ``action`` ``delay_ns`` from now."""

    def response_first(self) -> bool:
        """Whether this order's response overtakes its user data: they travel on different paths."""


class UserDataHub:
    """Which sessions follow which account."""

    def __init__(self) -> None:
        self._followers: dict[str, dict[tuple[ApiSession, int], None]] = {}

    def add(self, account: str, session: ApiSession, subscription: int) -> None:
        self._followers.setdefault(account, {})[session, subscription] = None

    def remove(self, account: str, session: ApiSession, subscription: int) -> None:
        self._followers.get(account, {}).pop((session, subscription), None)

    def publish(self, account: str, event: dict[str, Any]) -> None:
        """Queue an event of ``account`` on every session that subscribed to it."""
        for session, subscription in self._followers.get(account, ()):
            session.tell({"subscriptionId": subscription, "event": event})


class ApiSession:
    """One connection to the WebSocket API."""

    def __init__(
        self,
        connection: VenueConnection,
        gateway: Gateway,
        users: UserDataHub,
        faults: FaultPlan,
        timing: Timing,
        ip: str,
        microseconds: bool = False,
        rate_limits: bool = True,
    ) -> None:
        self.connection = connection
        self.microseconds = microseconds
        self._gateway = gateway
        self._users = users
        self._faults = faults
        self._timing = timing
        self._ip = ip
        self._rate_limits = rate_limits
        self._connected_ms = gateway.now_ns // NS_PER_MS
        self._authorized_ms: int | None = None
        self._key: ApiKey | None = None
        self._subscriptions: dict[int, str] = {}
        self._logon_subscription: int | None = None
        self._next_subscription = 0
        self._held: list[dict[str, Any]] = []
        self._session_methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "session.logon": self._logon,
            "session.status": lambda params: self._session_status(),
            "session.logout": lambda params: self._logout(),
            "session.subscriptions": lambda params: [{"subscriptionId": number} for number in self._subscriptions],
            "userDataStream.subscribe": lambda params: self._subscribe_session(),
            "userDataStream.subscribe.signature": self._subscribe_signature,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    def send(self, message: dict[str, Any]) -> None:
        self.connection.queue(_encode(in_microseconds(message) if self.microseconds else message))

    def tell(self, message: dict[str, Any]) -> None:
        """Send user data, each event as the faults have it."""
        if not self._faults.active:
            self.send(message)
            self._send_held()
            return
        kind = str(message["event"].get("e"))
        late = self._faults.take(FaultKind.DELAY_EVENT, kind)
        if late is not None:
            self._timing.after(late.delay_ns, lambda: self.send(message))
            return
        if self._faults.take(FaultKind.REORDER_EVENT, kind):
            self._held.append(message)
            self._timing.after(_HELD_NS, self._send_held)
            return
        self.send(message)
        if self._faults.take(FaultKind.DUPLICATE_EVENT, kind):
            self.send(message)
        self._send_held()

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.send(message)

    def closed(self) -> None:
        for subscription, account in self._subscriptions.items():
            self._users.remove(account, self, subscription)
        self._subscriptions.clear()

    def announce_shutdown(self, now_ns: int) -> None:
        self.send({"event": {"e": "serverShutdown", "E": now_ns // NS_PER_MS}})

    def receive(self, text: bytes) -> None:
        """Take one request: checked now, performed and answered after the venue's latency."""
        try:
            identity, method, params = _parse(text)
        except ApiError as error:
            unreadable = _failure(None, error)
            self._timing.take_effect(self.connection, lambda: self._respond("", unreadable, None, None, True))
            return
        if self._faults.take(FaultKind.DROP_REQUEST, method):
            return
        shows_limits = params.get("returnRateLimits", self._rate_limits) is True
        checked_ns = self._gateway.receive(self._faults, method, self._ip)
        try:
            perform, account = self._admit(method, params, checked_ns)
        except ApiError as error:
            if error.status == 401 and self._key is not None and not self._gateway.keys.holds(self._key):
                self._logout()
                identity = None
            refusal = _failure(identity, error)
            self._timing.take_effect(self.connection, lambda: self._respond(method, refusal, None, None, shows_limits))
            return
        self._timing.take_effect(self.connection, lambda: self._perform(identity, method, perform, account, shows_limits))

    def _admit(self, method: str, params: dict[str, Any], checked_ns: int) -> tuple[Callable[[], Any], str | None]:
        gateway = self._gateway
        if method in self._session_methods:
            gateway.weights(self._ip).charge(_SESSION_WEIGHT, gateway.now_ns)
            if method in _OF_THE_LOGON and self._key is not None:
                gateway.keys.find(self._key.key)
            handler = self._session_methods[method]
            return (lambda: handler(params)), None
        operation = BY_METHOD.get(method)
        if operation is None:
            gateway.weights(self._ip).charge(1, gateway.now_ns)
            raise ApiError(400, -1020, "This operation is not supported.")
        texts = {name: as_text(value) for name, value in params.items()}
        gateway.weights(self._ip).charge(operation.weight(texts), gateway.now_ns)
        if operation.security == "NONE":
            return (lambda: gateway.run(operation, "", texts, None, self._ip)), None
        key, time = self._authorize(operation, params, texts)
        time.check(checked_ns)
        counted = key.account if operation.security == "TRADE" else None
        return (lambda: gateway.run(operation, key.account, texts, time, self._ip)), counted

    def _authorize(self, operation: Operation, params: dict[str, Any], texts: Params) -> tuple[ApiKey, RequestTime]:
        if "apiKey" in params or "signature" in params or self._key is None:
            key, time = self._check_signed(params, texts)
        else:
            key, time = self._gateway.keys.find(self._key.key), parse_request_time(texts)
            time.check(self._gateway.now_ns)
        require_permission(key, operation.security)
        return key, time

    def _check_signed(self, params: dict[str, Any], texts: Params) -> tuple[ApiKey, RequestTime]:
        if not texts.get("apiKey"):
            raise mandatory("apiKey")
        key = self._gateway.keys.find(texts["apiKey"])
        time = parse_request_time(texts)
        time.check(self._gateway.now_ns)
        check_signature(key, websocket_payload(params), texts.get("signature"))
        return key, time

    def _perform(self, identity: Any, method: str, perform: Callable[[], Any], account: str | None, shows_limits: bool) -> None:
        before = len(self.connection.outbox)
        response: dict[str, Any]
        try:
            response = {"id": identity, "status": 200, "result": perform()}
        except ApiError as error:
            response = _failure(identity, error)
        except Exception:
            _log.exception("request %s failed inside the exchange", method)
            response = _failure(identity, ApiError(500, -1000, "An unknown error occurred while processing the request."))
        if self._faults.take(FaultKind.ERROR_AFTER_ACCEPT, method):
            response = _failure(
                identity,
                ApiError(
                    503, -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
                ),
            )
        elif self._faults.take(FaultKind.UNKNOWN_ERROR, method):
            response = _failure(identity, ApiError(400, _UNPUBLISHED_CODE, "The request was not understood."))
        at = before if account is not None and self._timing.response_first() else None
        self._respond(method, response, at, account, shows_limits)

    def _respond(self, method: str, response: dict[str, Any], at: int | None, account: str | None, shows_limits: bool) -> None:
        if shows_limits:
            response["rateLimits"] = self._gateway.rate_limits(self._ip, account)
        frame = text_frame(_encode(in_microseconds(response) if self.microseconds else response))
        take = self._faults.take
        if take(FaultKind.DROP_RESPONSE, method):
            return
        if take(FaultKind.RESET_AFTER_ACCEPT, method):
            self.connection.break_off()
            return
        if take(FaultKind.CLOSE_MID_FRAME, method):
            self.connection.break_off(frame[: len(frame) // 2])
            return
        delayed = take(FaultKind.DELAY_RESPONSE, method)
        if delayed is not None:
            self._timing.after(delayed.delay_ns, lambda: self.connection.queue_frame(frame))
            return
        self.connection.queue_frame(frame, at)
        if take(FaultKind.DUPLICATE_RESPONSE, method):
            self.connection.queue_frame(frame)

    def _logon(self, params: dict[str, Any]) -> dict[str, Any]:
        texts = {name: as_text(value) for name, value in params.items()}
        key, _ = self._check_signed(params, texts)
        if key.kind != "ED25519":
            # As seen from the venue; its tables of codes do not list it.
            raise ApiError(400, -4056, "HMAC_SHA256 API key is not supported.")
        self._logout()
        self._key, self._authorized_ms = key, self._gateway.now_ns // NS_PER_MS
        return self._session_status()

    def _logout(self) -> dict[str, Any]:
        self._key = self._authorized_ms = None
        if self._logon_subscription is not None:
            self._drop(self._logon_subscription)
            self._logon_subscription = None
        return self._session_status()

    def _session_status(self) -> dict[str, Any]:
        return {
            "apiKey": self._key.key if self._key is not None else None,
            "authorizedSince": self._authorized_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._rate_limits,
            "serverTime": self._gateway.now_ns // NS_PER_MS,
            "userDataStream": bool(self._subscriptions),
        }

    def _subscribe_session(self) -> dict[str, Any]:
        if self._key is None:
            raise ApiError(401, -1002, "You are not authorized to execute this request.")
        result = self._subscribe(self._key.account)
        self._logon_subscription = result["subscriptionId"]
        return result

    def _subscribe_signature(self, params: dict[str, Any]) -> dict[str, Any]:
        key, _ = self._check_signed(params, {name: as_text(value) for name, value in params.items()})
        require_permission(key, "USER_STREAM")
        return self._subscribe(key.account)

    def _subscribe(self, account: str) -> dict[str, Any]:
        if account in self._subscriptions.values():
            raise ApiError(400, -2035, "User Data Stream subscription already active.")
        if len(self._subscriptions) >= _MAX_SUBSCRIPTIONS or self._next_subscription >= _MAX_SUBSCRIPTION_IDS:
            raise ApiError(400, -2042, "Maximum subscription ID reached for this connection.")
        number = self._next_subscription
        self._next_subscription += 1
        self._subscriptions[number] = account
        self._users.add(account, self, number)
        return {"subscriptionId": number}

    def _unsubscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        number = params.get("subscriptionId")
        if number is None:
            self.closed()
        elif number in self._subscriptions:
            self._drop(number)
        else:
            raise ApiError(400, -2036, "User Data Stream subscription not active.")
        return {}

    def _drop(self, subscription: int) -> None:
        account = self._subscriptions.pop(subscription, None)
        if account is not None:
            self._users.remove(account, self, subscription)


def _parse(text: bytes) -> tuple[Any, str, dict[str, Any]]:
    try:
        request = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, -1135, "Invalid JSON Request") from None
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise ApiError(400, -1135, "Invalid JSON Request")
    params = request.get("params", {})
    identity = request.get("id")
    if not isinstance(params, dict) or isinstance(identity, (dict, list, bool)):
        raise ApiError(400, -1135, "Invalid JSON Request")
    return identity, request["method"].removeprefix("v3/"), dict(params)


def _failure(identity: Any, error: ApiError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "msg": error.msg}
    if error.data is not None:
        body["data"] = error.data
    return {"id": identity, "status": error.status, "error": body}
