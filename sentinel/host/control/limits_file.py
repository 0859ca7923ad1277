"""A limits file: what it may say, and who has signed it.

TOML, signed byte for byte: a changed space is another file. Each signature is detached, Ed25519 over a prefix and the
file's bytes, so that a signature for something else never passes for one of limits::

    version = 4
    mode = "live"
    valid_from = 2026-11-22T12:00:00Z
    expires = 2026-12-22T12:00:00Z

    [firm]
    max_order_notional = "20"
    max_drawdown_bps = 300

    [symbols.NOVAUSDT]
    max_order_notional = "5"

    [restricted]
    issued = 2026-11-22T11:00:00Z
    symbols = ["MOONUSDT"]

Every limit's smaller value is the tighter one. Of a symbol the tighter of its own and the firm's holds.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sentinel.engine.layout import NO_LIMIT, SYMBOL_LIMITS, LimitField
from sentinel.errors import LimitsError, SentinelError, UnitError
from sentinel.host.control.protocol import MAX_LIMITS_FILE
from sentinel.host.control.roles import Person, Persons
from sentinel.host.venues.key_files import read_secret
from sentinel.units import E8, INT64_MAX, NS_PER_S, format_e8, parse_e8
from sentinel.wire import Role

_PREFIX = b"sentinel limits 1\0"
_MOST = 90_000_000_000 * E8
_MAX_VERSION = (1 << 32) - 1
_MAX_VALIDITY_NS = 366 * 24 * 3600 * NS_PER_S
_KEYS = ("version", "mode", "valid_from", "expires", "firm", "symbols", "restricted")
#: Name and value that put a symbol on the restricted list.
RESTRICTED, LISTED = "restricted", 0
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Bounds:
    """What one limit may be. ``money``: written as a decimal string, int in e8; else a whole number.

    ``low`` of the limits in basis points keeps per cent out: 20 meant as per cent would be 20 basis points.
    """

    field: LimitField
    money: bool
    low: int
    high: int


#: By name, which is also the name under ``[risk]`` and in the engine's parameters.
LIMITS = {
    "max_order_qty": Bounds(LimitField.MAX_ORDER_QTY, True, 0, _MOST),
    "max_order_notional": Bounds(LimitField.MAX_ORDER_NOTIONAL, True, 0, _MOST),
    "max_position_notional": Bounds(LimitField.MAX_POSITION_NOTIONAL, True, 0, _MOST),
    "max_gross_notional": Bounds(LimitField.MAX_GROSS_NOTIONAL, True, 0, _MOST),
    "price_collar_bps": Bounds(LimitField.PRICE_COLLAR_BPS, False, 10, 10_000),
    "max_drawdown_bps": Bounds(LimitField.MAX_DRAWDOWN_BPS, False, 50, 10_000),
    "max_trades_per_minute": Bounds(LimitField.MAX_TRADES_PER_MINUTE, False, 1, 1_000),
    "max_orders_per_10s": Bounds(LimitField.MAX_ORDERS_PER_10S, False, 1, 10_000),
    "max_open_orders": Bounds(LimitField.MAX_OPEN_ORDERS, False, 0, 200),
    "max_orders_per_s": Bounds(LimitField.MAX_ORDERS_PER_S, False, 1, 10_000),
    "max_orders_per_minute": Bounds(LimitField.MAX_ORDERS_PER_MINUTE, False, 1, 10_000),
    "max_orders_per_day": Bounds(LimitField.MAX_ORDERS_PER_DAY, False, 0, 10_000_000),
    "max_notional_per_10s": Bounds(LimitField.MAX_NOTIONAL_PER_10S, True, 0, _MOST),
    "max_notional_per_minute": Bounds(LimitField.MAX_NOTIONAL_PER_MINUTE, True, 0, _MOST),
    "max_repeats_per_minute": Bounds(LimitField.MAX_REPEATS_PER_MINUTE, False, 1, 1_000),
    "max_order_to_trade": Bounds(LimitField.MAX_ORDER_TO_TRADE, False, 1, 10_000),
    "max_net_notional": Bounds(LimitField.MAX_NET_NOTIONAL, True, 0, _MOST),
    "daily_loss_soft_bps": Bounds(LimitField.DAILY_LOSS_SOFT_BPS, False, 10, 10_000),
    "daily_loss_hard_bps": Bounds(LimitField.DAILY_LOSS_HARD_BPS, False, 10, 10_000),
    "max_loss_per_minute_bps": Bounds(LimitField.MAX_LOSS_PER_MINUTE_BPS, False, 5, 10_000),
    "max_drift_bps": Bounds(LimitField.MAX_DRIFT_BPS, False, 10, 100_000),
    "max_impact_bps": Bounds(LimitField.MAX_IMPACT_BPS, False, 10, 100_000),
    "collar_sigmas": Bounds(LimitField.COLLAR_SIGMAS, False, 1, 100),
    "max_source_gap_bps": Bounds(LimitField.MAX_SOURCE_GAP_BPS, False, 5, 10_000),
}
#: Of these 0 in the settings asks nothing: the widest there is, and counted as NOT_ASKED.
SWITCHES = frozenset({"max_impact_bps", "max_source_gap_bps"})
NOT_ASKED = INT64_MAX


@dataclass(frozen=True)
class RestrictedList:
    """Symbols that are never traded, and when somebody said so."""

    issued_ns: int
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class LimitsFile:
    """A limits file as it was written; ``firm`` holds e8 or whole numbers by name, a limit it leaves out is not in it.

    ``symbols``: the same by symbol. ``restricted``: None where the file says nothing of it.
    """

    version: int
    mode: Literal["paper", "live"]
    valid_from_ns: int
    expires_ns: int
    firm: Mapping[str, int]
    symbols: Mapping[str, Mapping[str, int]]
    restricted: RestrictedList | None

    @cached_property
    def values(self) -> dict[str, int]:
        """Everything the file limits: the firm's by name, a symbol's by ``own(symbol, name)``."""
        found = dict(self.firm)
        for symbol, limits in self.symbols.items():
            found |= {own(symbol, name): value for name, value in limits.items()}
        if self.restricted is not None:
            found |= {own(symbol, RESTRICTED): LISTED for symbol in self.restricted.symbols}
        return found


def own(symbol: str, name: str) -> str:
    """What a symbol's own limit goes by beside the firm's."""
    return f"{symbol}.{name}"


def symbol_and_name(limit: str) -> tuple[str, str]:
    """The symbol, empty for a limit of the firm, and the limit's name."""
    symbol, _, name = limit.rpartition(".")
    return symbol, name


def field_of(limit: str) -> LimitField:
    """The field by which the engine is told."""
    name = symbol_and_name(limit)[1]
    return LimitField.RESTRICTED if name == RESTRICTED else LIMITS[name].field


def shown(limit: str, value: int) -> str | int | None:
    """A limit's value for people and JSON; None where a symbol has none of its own, 0 where the account's is not asked."""
    name = symbol_and_name(limit)[1]
    if limit in SWITCHES and value == NOT_ASKED:
        return 0
    if value == NO_LIMIT:
        return None
    if name == RESTRICTED:
        return "listed"
    return format_e8(value) if LIMITS[name].money else value


def counted(name: str, value: int) -> int:
    """A limit of the settings or the engine, NOT_ASKED where it asks nothing: smaller is tighter."""
    return NOT_ASKED if value == 0 and name in SWITCHES else value


def parse_limits(text: bytes) -> LimitsFile:
    """Read a limits file. Raises LimitsError for the first thing in it that cannot be meant."""
    if len(text) > MAX_LIMITS_FILE:
        raise LimitsError("limits file", f"{len(text)} bytes", f"at most {MAX_LIMITS_FILE}", "shorten it")
    try:
        data = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LimitsError("limits file", text[:40], "TOML", f"correct the syntax: {error}") from None
    for key in data:
        if key in ("strategy", "venue"):
            remedy = "a run is of one venue and one strategy: move them to [firm]"
            raise LimitsError(f"limits.{key}", data[key], "limits of the firm and of symbols", remedy)
        if key not in _KEYS:
            raise LimitsError(f"limits.{key}", data[key], f"one of {', '.join(_KEYS)}", "remove it or correct its spelling")
    version, mode, firm = data.get("version"), data.get("mode"), data.get("firm")
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        raise LimitsError("limits.version", version, f"1..{_MAX_VERSION}", "write the next version")
    if mode not in ("paper", "live"):
        raise LimitsError("limits.mode", mode, '"paper" or "live"', "say what the limits are for")
    if not isinstance(firm, dict) or not firm:
        raise LimitsError("limits.firm", firm, "a table with at least one limit", "write the limits under [firm]")
    valid_from_ns, expires_ns = (_instant(name, data.get(name)) for name in ("valid_from", "expires"))
    if not 0 < expires_ns - valid_from_ns <= _MAX_VALIDITY_NS:
        raise LimitsError(
            "limits.expires", str(data["expires"]), "after valid_from, by 366 days at most", "choose an earlier end"
        )
    values = {name: _limit("firm", name, value, tuple(LIMITS)) for name, value in firm.items()}
    _require_nested("firm", values)
    symbols = _symbols(data.get("symbols", {}), values)
    return LimitsFile(version, mode, valid_from_ns, expires_ns, values, symbols, _restricted(data.get("restricted")))


def _symbols(tables: Any, firm: Mapping[str, int]) -> dict[str, dict[str, int]]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) and table for table in tables.values()):
        raise LimitsError("limits.symbols", tables, "tables with at least one limit", "write them as [symbols.NOVAUSDT]")
    found = {}
    for symbol, table in tables.items():
        where = f"symbols.{symbol}"
        found[symbol] = {name: _limit(where, name, value, SYMBOL_LIMITS) for name, value in table.items()}
        _require_nested(where, found[symbol])
        for name, value in found[symbol].items():
            if name in firm and value > firm[name]:
                allowed = f"at most {shown(name, firm[name])}, the firm's"
                raise LimitsError(f"limits.{where}.{name}", shown(name, value), allowed, "lower it, or leave it out")
    return found


def _restricted(table: Any) -> RestrictedList | None:
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) != {"issued", "symbols"}:
        raise LimitsError("limits.restricted", table, "a table of issued and symbols", "say when the list was issued")
    symbols = table["symbols"]
    if (
        not isinstance(symbols, list)
        or not all(isinstance(one, str) and one for one in symbols)
        or len(set(symbols)) < len(symbols)
    ):
        raise LimitsError("limits.restricted.symbols", symbols, "a list of distinct symbols", "write each symbol once, in quotes")
    return RestrictedList(_instant("restricted.issued", table["issued"]), tuple(symbols))


def _instant(name: str, value: Any) -> int:
    if not isinstance(value, datetime.datetime) or value.tzinfo is None:
        raise LimitsError(f"limits.{name}", value, "a time with its zone", "write it as 2026-11-22T12:00:00Z")
    return (value - _EPOCH) // datetime.timedelta(microseconds=1) * 1_000


def _limit(where: str, name: str, value: Any, names: tuple[str, ...]) -> int:
    field = f"limits.{where}.{name}"
    if name not in names:
        raise LimitsError(field, value, f"one of {', '.join(names)}", "remove it or correct its spelling")
    bounds = LIMITS[name]
    if bounds.money:
        # No whole numbers: they may be meant in units of 1e-8.
        if not isinstance(value, str):
            raise LimitsError(field, value, 'a decimal string in the asset\'s own unit, as "25000.00"', "write it in quotes")
        try:
            number = parse_e8(value, field)
        except UnitError as error:
            raise LimitsError(field, value, error.allowed, error.remedy) from None
    elif type(value) is not int:
        raise LimitsError(field, value, "a whole number in the unit its name ends with", "2 % is 200 basis points")
    else:
        number = value
    if not bounds.low <= number <= bounds.high:
        allowed = f"{shown(name, bounds.low)}..{shown(name, bounds.high)}"
        remedy = "2 % is 200 basis points" if name.endswith("_bps") else "choose a value in that range"
        raise LimitsError(field, value, allowed, remedy)
    return number


def _require_nested(where: str, values: Mapping[str, int]) -> None:
    """An order fits a position and a position the whole: what does not is a slip of a digit or of a unit."""
    chain = [name for name in ("max_order_notional", "max_position_notional", "max_gross_notional") if name in values]
    for inner, outer in pairwise(chain):
        if values[inner] > values[outer]:
            given, most = format_e8(values[inner]), format_e8(values[outer])
            raise LimitsError(f"limits.{where}.{inner}", given, f"at most {most}, {outer}", "check digits and units of both")


def sign_limits(text: bytes, key: Ed25519PrivateKey) -> str:
    """A person's signature, base64. Raises LimitsError for a file the daemon would refuse."""
    parse_limits(text)
    return base64.b64encode(key.sign(_PREFIX + text)).decode()


def verified_signers(text: bytes, signatures: Mapping[str, str], persons: Persons) -> tuple[Person, ...]:
    """Who has signed. Raises LimitsError where one signature is not that person's, or the person may not sign limits."""
    if not signatures:
        raise LimitsError("signatures", [], "a signature of a person with the role risk", "sign it: sentinel limits sign")
    signers = []
    for name, signature in signatures.items():
        person = persons.by_name(name)
        if person is None or not person.public_key:
            raise LimitsError("signatures", name, "persons of the role file with a public key", "have it signed by one of them")
        if person.role < Role.RISK:
            raise LimitsError(
                "signatures", f"{name}, {person.role.name.lower()}", "persons with the role risk", "ask one of them"
            )
        try:
            Ed25519PublicKey.from_public_bytes(person.public_key).verify(
                base64.b64decode(signature, validate=True), _PREFIX + text
            )
        except (InvalidSignature, binascii.Error, ValueError):
            remedy = "sign the file again as it is now, by the key in the role file"
            raise LimitsError("signatures", name, "a signature over exactly this file", remedy) from None
        signers.append(person)
    return tuple(signers)


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """A person's private key. Raises LimitsError for a file that others may read, or that holds no such key."""
    try:
        key = load_pem_private_key(read_secret("--key", path).encode(), None)
    except SentinelError as error:
        raise LimitsError("--key", str(path), "a file of its owner alone", str(error)) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The reason is left out: a parser's message may quote what it could not parse.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        remedy = "make one by `openssl genpkey -algorithm ed25519`"
        raise LimitsError("--key", str(path), "an Ed25519 private key, PKCS#8 in PEM, not encrypted", remedy)
    return key
