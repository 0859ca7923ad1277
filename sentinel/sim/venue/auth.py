"""API keys, request signatures and the timestamp rule.

The payload that is signed differs by API: the WebSocket API sorts its parameters by name and signs
them unencoded with ``apiKey`` among them; REST signs query string and body exactly as sent, which
must be percent-encoded, and carries the key in a header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sentinel.errors import VenueError
from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.units import NS_PER_MS

DEFAULT_RECV_WINDOW_MS = 5000
MAX_RECV_WINDOW_MS = 60_000
_FUTURE_TOLERANCE_NS = 1000 * NS_PER_MS
_MICROSECONDS_FROM = 10**15  # a timestamp this large is in microseconds

_RECV_WINDOW = re.compile(r"([0-9]{1,5})(?:\.([0-9]{1,3}))?", re.ASCII)
_REST_SAFE = re.compile(r"[A-Za-z0-9\-._~%&=+*!'(),:;@/?$]*", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """One key of an account. ``secret`` is the HMAC secret, or the Ed25519 public key in PEM.

    Raises VenueError for an Ed25519 key that is none.
    """

    key: str
    secret: str = field(repr=False)
    account: str
    kind: Literal["HMAC", "ED25519"] = "HMAC"
    permissions: frozenset[str] = frozenset({"TRADE", "USER_DATA"})
    _verify: Callable[[str, bytes], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        verify = _hmac_verifier(self.secret) if self.kind == "HMAC" else _ed25519_verifier(self.secret)
        object.__setattr__(self, "_verify", verify)

    def verifies(self, payload: str, signature: str) -> bool:
        """Whether ``signature`` is this key's over ``payload`` (UTF-8): hex in either case (HMAC), or base64 (Ed25519)."""
        return self._verify(signature, payload.encode())


def _hmac_verifier(secret: str) -> Callable[[str, bytes], bool]:
    def verify(signature: str, payload: bytes) -> bool:
        expected = hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, signature.lower().encode("ascii", "replace").decode())

    return verify


def _ed25519_verifier(public_pem: str) -> Callable[[str, bytes], bool]:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise VenueError("key.kind", "ED25519", "HMAC here", "install the cryptography package to use Ed25519 keys") from None
    allowed, remedy = "an Ed25519 public key in PEM", "export the public half of the key: openssl pkey -pubout"
    try:
        public = load_pem_public_key(public_pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise VenueError("key.secret", "(not shown)", allowed, remedy) from None
    if not isinstance(public, Ed25519PublicKey):
        raise VenueError("key.secret", "another key type", allowed, remedy)

    def verify(signature: str, payload: bytes) -> bool:
        try:
            public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    return verify


def websocket_payload(params: Mapping[str, Any]) -> str:
    """What the WebSocket API signs: every parameter but ``signature``, sorted by name, not encoded."""
    return "&".join(f"{name}={as_text(params[name])}" for name in sorted(params) if name != "signature")


def rest_payload(query: str, body: str) -> str:
    """What REST signs: query then body as sent, without the ``signature`` parameter and without a separator."""
    return _without_signature(query) + _without_signature(body)


def is_percent_encoded(text: str) -> bool:
    """Whether a query string or body holds only characters allowed unencoded, and whole ``%xx`` escapes."""
    return _REST_SAFE.fullmatch(text) is not None and re.search(r"%(?![0-9A-Fa-f]{2})", text) is None


def _without_signature(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def as_text(value: Any) -> str:
    """A JSON parameter as the text that is signed and as the string the exchange reads."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, list):
        return "[" + ",".join(f'"{item}"' if isinstance(item, str) else as_text(item) for item in value) + "]"
    return str(value)


class KeyRing:
    """The keys an exchange knows."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = {key.key: key for key in keys}
        self._suspended: dict[str, ApiKey] = {}
        #: How often a key that is not known was named.
        self.refused = 0

    def find(self, name: str | None) -> ApiKey:
        """Raises ApiError -2014 for a key that is absent or cannot be one, -2015 for an unknown one."""
        if not name or not name.isascii() or not name.isalnum() or len(name) > 128:
            raise ApiError(401, -2014, "API-key format invalid.")
        key = self._keys.get(name)
        if key is None:
            self.refused += 1
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        return key

    def revoke(self, name: str) -> None:
        """Forget a key: its sessions and requests are refused from now on."""
        self._keys.pop(name, None)

    def suspend(self, name: str) -> None:
        """Forget a key until ``restore``."""
        if name in self._keys:
            self._suspended[name] = self._keys.pop(name)

    def restore(self, name: str) -> None:
        """Know a suspended key again. Sessions that were logged on with it are not."""
        if name in self._suspended:
            self._keys[name] = self._suspended.pop(name)

    def holds(self, key: ApiKey) -> bool:
        return self._keys.get(key.key) is key


def require_permission(key: ApiKey, security: str) -> None:
    """Raises -2015 when ``key`` may not do what ``security`` (TRADE, USER_DATA, USER_STREAM) names."""
    if security in ("TRADE", "USER_DATA") and security not in key.permissions:
        raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")


def check_signature(key: ApiKey, payload: str, signature: str | None) -> None:
    """Raises -1102 for an absent signature and -1022 for a wrong one."""
    if not signature:
        raise mandatory("signature")
    if not key.verifies(payload, signature):
        raise ApiError(400, -1022, "Signature for this request is not valid.")


@dataclass(frozen=True)
class RequestTime:
    """``timestamp`` and ``recvWindow`` of one request, in ns."""

    timestamp_ns: int
    recv_window_ns: int

    def check(self, server_ns: int) -> None:
        """The venue's rule, applied on arrival and again just before the matching engine. Raises -1021."""
        if self.timestamp_ns >= server_ns + _FUTURE_TOLERANCE_NS:
            raise ApiError(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if server_ns - self.timestamp_ns > self.recv_window_ns:
            raise ApiError(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def parse_request_time(params: Mapping[str, str]) -> RequestTime:
    """Read ``timestamp`` (ms or us) and ``recvWindow`` (ms, up to 3 decimals). Raises -1102 or -1100."""
    text = params.get("timestamp", "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise mandatory("timestamp")
    stamp = int(text)
    timestamp_ns = stamp * 1000 if stamp >= _MICROSECONDS_FROM else stamp * NS_PER_MS
    window_ns = DEFAULT_RECV_WINDOW_MS * NS_PER_MS
    if "recvWindow" in params:
        match = _RECV_WINDOW.fullmatch(params["recvWindow"])
        if match is None:
            raise ApiError(
                400, -1100, "Illegal characters found in parameter 'recvWindow'; legal range is '[0-9]{1,5}[.0-9]{0,4}'."
            )
        window_ns = int(match[1]) * NS_PER_MS + int((match[2] or "").ljust(3, "0")) * 1000
        if window_ns > MAX_RECV_WINDOW_MS * NS_PER_MS:
            raise ApiError(400, -1102, f"'recvWindow' contains unexpected value. Cannot be greater than {MAX_RECV_WINDOW_MS}.")
    return RequestTime(timestamp_ns, window_ns)
