"""The limits in force: the tightest of the settings, the signed file in force and the one that waits.

Tighter limits take effect at once and need one signature of a person with the role risk. Wider ones need two, and a wait by
the monotonic clock that a restart begins anew; what such a file tightens is tightened meanwhile. Nothing else widens a
limit: a stored file that is missing, damaged, tampered with, or older than the limits in force leaves those as they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sentinel.config import Config
from sentinel.engine.layout import NO_LIMIT, SYMBOL_LIMITS, LimitField
from sentinel.engine.state import EngineState
from sentinel.errors import LimitsError
from sentinel.host.control.limits_draft import settings_limits
from sentinel.host.control.limits_file import (
    LIMITS,
    LISTED,
    NOT_ASKED,
    RESTRICTED,
    SWITCHES,
    LimitsFile,
    counted,
    field_of,
    own,
    parse_limits,
    shown,
    symbol_and_name,
    verified_signers,
)
from sentinel.host.control.limits_store import LimitsStore, SignedText
from sentinel.host.control.roles import Persons
from sentinel.host.ports import Clock
from sentinel.units import NS_PER_S
from sentinel.wire import Command

_log = logging.getLogger(__name__)

_CURRENT, _PENDING = "current", "pending"
#: A value so much above the one of the settings is meant in another unit.
_UNIT_FACTOR = 100


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


class Accepted(NamedTuple):
    """A file that was verified."""

    limits: LimitsFile
    signed: SignedText
    signers: tuple[str, ...]


class LimitsDesk:
    """Takes limits files and keeps the engine's limits.

    Args:
        host: who takes LIMITS events.
        clock: for the files' validity.
        store: where accepted files are kept.
        config: the settings, whose ``[risk]`` no file exceeds.
        persons: everybody in the role file now.
        monotonic_ns: what a wait is measured by.
    """

    def __init__(
        self,
        host: EngineHost,
        clock: Clock,
        store: Path,
        config: Config,
        persons: Callable[[], Persons],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._host = host
        self._clock = clock
        self._store = LimitsStore(store)
        self._mode = config.mode
        self._symbols = {symbol: k for k, symbol in enumerate(config.feed.symbols)}
        self._settings = settings_limits(config) | _own_limits(config)
        self._max_list_age_s = config.risk.max_restricted_age_s
        self._wait_ns = config.access.limits_cool_down_s * NS_PER_S
        self._persons = persons
        self._monotonic_ns = monotonic_ns
        self._current: Accepted | None = None
        self._pending: Accepted | None = None
        self._due_ns = 0
        self._trouble = ""

    def begin(self) -> None:
        """At a start: put in force what the store holds. The wait of a file that waits begins anew."""
        self._current = self._load(_CURRENT)
        pending = self._load(_PENDING)
        if pending is not None and (self._current is None or pending.limits.version > self._current.limits.version):
            self._pending = pending
        elif self._current is not None and self._is_wider_than_told(self._current.limits):
            # It died between the disk and the engine, or somebody has moved a file that waits. It waits again.
            self._current, self._pending = None, self._current
        if self._pending is not None:
            self._due_ns = self._monotonic_ns() + self._wait_ns
        known = max((one.limits.version for one in (self._current, self._pending) if one), default=0)
        if known < self._version_in_force:
            self._trouble = self._trouble or f"version {known} is stored and {self._version_in_force} was in force"
        if self._trouble:
            _log.error("stored limits: %s; the limits stay as they are until a new signed file is applied", self._trouble)
        if self._current is not None or self._pending is not None:
            self._enforce(0, known)

    def tick(self) -> None:
        """Put in force what has waited long enough."""
        if self._pending is None or self._monotonic_ns() < self._due_ns:
            return
        pending, self._pending = self._pending, None
        try:
            accepted = self._verify(pending.signed, widens=True)
            self._store.save(_CURRENT, accepted.signed)
            self._store.drop(_PENDING)
        except LimitsError as error:
            # What it tightened stays so.
            self._trouble = f"version {pending.limits.version} was not put in force: {error}"
            _log.error("limits %s", self._trouble)
            return
        self._current, self._trouble = accepted, ""
        _log.warning("limits version %d in force, signed by %s", accepted.limits.version, ", ".join(accepted.signers))
        self._enforce(0, accepted.limits.version)

    def apply(self, file: str, signatures: Mapping[str, str], actor: int) -> dict[str, Any]:
        """Take a limits file. Returns what changes now and what later. Raises LimitsError, having changed nothing."""
        signed = SignedText(file, dict(signatures))
        limits = self._read(signed)
        if limits.version <= self._highest:
            raise LimitsError("limits.version", limits.version, f"above {self._highest}", "raise it, and sign the file again")
        base = self._base()
        # What no file states is the settings'; what one has stated stays stated.
        signed_before = {name for one in self._files() for name in one.limits.values}
        left_out = {name: value for name, value in self._settings.items() if name not in signed_before}
        widened = [name for name in self._settings if _stated(limits, name, left_out.get(name, NO_LIMIT)) > base[name]]
        accepted = self._verify(signed, bool(widened))
        before = self.in_force()
        self._take(accepted, bool(widened))
        self._enforce(actor, limits.version)
        after, later = self.in_force(), self._later()
        changes = [
            _named(name) | {"before": shown(name, before[name]), "after": shown(name, value), "when": when}
            for when, old, new in (("now", before, after), ("later", after, later))
            for name, value in new.items()
            if value != old[name]
        ]
        _log.warning("limits version %d accepted, signed by %s: %s", limits.version, ", ".join(accepted.signers), changes)
        return self.show() | {"changes": changes}

    def show(self) -> dict[str, Any]:
        """The limits in force, where each comes from, and the files."""
        in_force = self.in_force()
        stated = {name for one in self._files() for name in one.limits.values}
        rows = [
            _named(name)
            | {
                "in_force": shown(name, min(value, in_force.get(symbol_and_name(name)[1], NO_LIMIT))),
                "settings": shown(name, self._settings[name]),
                "signed": _shown_in(self._current, name),
                "pending": _shown_in(self._pending, name),
            }
            for name, value in in_force.items()
            if name in stated or name in LIMITS or value != NO_LIMIT
        ]
        left_ns = max(self._due_ns - self._monotonic_ns(), 0) if self._pending else 0
        return {
            "limits": rows,
            "restricted": self._list_shown(),
            "version": self._version_in_force,
            "signed": _described(self._current),
            "pending": _described(self._pending),
            "pending_left_s": -(-left_ns // NS_PER_S) if self._pending else None,
            "trouble": self._trouble,
        }

    def in_force(self) -> dict[str, int]:
        """The engine's limits by name; a symbol's own as ``own`` names them, NO_LIMIT where it has none."""
        params, symbols = self._host.state.params[0], self._host.state.symbols
        found = {name: counted(name, int(params[name])) for name in LIMITS}
        columns = {name: symbols[name].tolist() for name in SYMBOL_LIMITS}
        columns[RESTRICTED] = [LISTED if listed else NO_LIMIT for listed in symbols["restricted"].tolist()]
        return found | {own(symbol, name): column[k] for symbol, k in self._symbols.items() for name, column in columns.items()}

    @property
    def expires_ns(self) -> int:
        """Until when the signed file holds, 0 where there is none."""
        return 0 if self._current is None else self._current.limits.expires_ns

    def require_signed(self) -> None:
        """Raise LimitsError where live trading may not be armed under these limits."""
        if self._trouble:
            raise LimitsError(
                "limits", self._trouble, "a signed file as it was accepted", "sentinel limits apply with a new version"
            )
        if self._current is None:
            raise LimitsError("limits", "none", "a signed limits file", "sign one and take it in: sentinel limits apply")
        self._require_valid(self._current.limits)
        # What the settings alone say, one person widens by a restart.
        asked = [limit for limit, value in self._settings.items() if value not in (NOT_ASKED, NO_LIMIT)]
        missing = [limit for limit in asked if limit not in self._current.limits.values]
        if missing:
            allowed = "every limit of the settings: mode is live"
            raise LimitsError("limits", f"without {', '.join(missing)}", allowed, "state them: sentinel limits draft writes all")

    @property
    def _version_in_force(self) -> int:
        return int(self._host.state.glob["limits_version"][0])

    @property
    def _highest(self) -> int:
        known = [one.limits.version for one in (self._current, self._pending) if one]
        return max([self._version_in_force, *known])

    def _is_wider_than_told(self, limits: LimitsFile) -> bool:
        """Whether the engine was never told of a file that is wider than what it holds to."""
        if limits.version < self._version_in_force:
            return False
        # Of the version in force the engine may know no more than what a file that waits has tightened.
        return any(min(self._settings[name], _stated(limits, name)) > value for name, value in self.in_force().items())

    def _base(self) -> dict[str, int]:
        """What wider is measured from: never above the file in force, nor above what one that waits has tightened."""
        files = [one.limits for one in (self._current, self._pending) if one]
        if self._trouble or self._current is None or self._pending is not None:
            # What is in force is below the file: earlier files left it there, or the settings.
            return {name: min([value, *(_stated(one, name) for one in files)]) for name, value in self.in_force().items()}
        return {name: min(_stated(one, name) for one in files) for name in self._settings}

    def _read(self, signed: SignedText) -> LimitsFile:
        limits = parse_limits(signed.file.encode())
        if limits.mode != self._mode:
            raise LimitsError("limits.mode", limits.mode, f'"{self._mode}", the mode of this daemon', "sign limits for this mode")
        self._require_valid(limits)
        self._require_known(limits)
        for limit, value in limits.values.items():
            symbol, name = symbol_and_name(limit)
            setting = min(self._settings[limit], self._settings.get(name, NO_LIMIT))
            if value > setting * _UNIT_FACTOR > 0:
                allowed = f"at most {_UNIT_FACTOR} times risk.{name}, {shown(limit, setting)}"
                where = f"symbols.{symbol}" if symbol else "firm"
                raise LimitsError(f"limits.{where}.{name}", shown(limit, value), allowed, "check its unit")
        return limits

    def _require_known(self, limits: LimitsFile) -> None:
        """Every symbol is one of the run's, and a restricted list neither from the future nor older than the one in force."""
        for limit in limits.values:
            symbol, name = symbol_and_name(limit)
            if symbol and symbol not in self._symbols:
                field = "limits.restricted.symbols" if name == RESTRICTED else f"limits.symbols.{symbol}"
                raise LimitsError(field, symbol, "a symbol of feed.symbols", "remove it or correct its spelling")
        issued_ns = 0 if limits.restricted is None else limits.restricted.issued_ns
        now_ns, before_ns = self._clock.now_ns(), self._list_issued_ns
        if limits.restricted is not None and not before_ns <= issued_ns <= now_ns:
            allowed, remedy = f"{before_ns}..{now_ns}, not before the list in force and not after now", "issue the list anew"
            raise LimitsError("limits.restricted.issued", issued_ns, allowed, remedy)

    def _require_valid(self, limits: LimitsFile) -> None:
        now_ns = self._clock.now_ns()
        if not limits.valid_from_ns <= now_ns < limits.expires_ns:
            which = "valid_from" if now_ns < limits.valid_from_ns else "expires"
            field, remedy = f"limits.{which}", "sign a file that holds now; check the clock"
            raise LimitsError(field, getattr(limits, f"{which}_ns"), f"a file that holds at {now_ns}", remedy)

    def _verify(self, signed: SignedText, widens: bool) -> Accepted:
        limits = self._read(signed)
        signers = verified_signers(signed.file.encode(), signed.signatures, self._persons())
        if widens and len(signers) < 2:
            remedy = "have it signed by a second person, or leave out what is wider"
            raise LimitsError("signatures", [one.name for one in signers], "two persons: some limits are wider", remedy)
        return Accepted(limits, signed, tuple(one.name for one in signers))

    def _load(self, name: str) -> Accepted | None:
        """What the store holds; an expired file still tightens."""
        try:
            signed = self._store.load(name)
            if signed is None:
                return None
            limits = parse_limits(signed.file.encode())
            signers = verified_signers(signed.file.encode(), signed.signatures, self._persons())
            if limits.mode != self._mode:
                raise LimitsError("limits.mode", limits.mode, f'"{self._mode}"', "apply limits for this mode")
        except LimitsError as error:
            self._trouble = str(error)
            return None
        return Accepted(limits, signed, tuple(one.name for one in signers))

    def _take(self, accepted: Accepted, widens: bool) -> None:
        if widens:
            self._store.save(_PENDING, accepted.signed)
            self._pending = accepted
            self._due_ns = self._monotonic_ns() + self._wait_ns
            return
        self._store.save(_CURRENT, accepted.signed)
        self._current, self._pending, self._trouble = accepted, None, ""
        self._store.drop(_PENDING)

    def _enforce(self, actor: int, version: int) -> None:
        """Tell the engine what differs; of a new version at least one limit, so that its journal knows it."""
        before = self.in_force()
        wanted = {
            name: min(value, *(_stated(one.limits, name) for one in self._files())) for name, value in self._settings.items()
        }
        if self._trouble or self._pending is not None:
            wanted = {name: min(value, before[name]) for name, value in wanted.items()}
        # A control that a file has turned on stays on until the next start.
        changed = [name for name, value in wanted.items() if value != before[name] and not _asks_nothing(name, value)]
        now_ns = self._clock.now_ns()
        if not changed and version > self._version_in_force and self._pending is None:
            changed = [next(iter(LIMITS))]
        events = [{"id": int(field_of(name)), "value": wanted[name]} | self._symbol_of(name) for name in changed]
        issued_ns = max((one.limits.restricted.issued_ns for one in self._files() if one.limits.restricted), default=0)
        if issued_ns > self._list_issued_ns:
            # After the list itself: until all of it is told the old one's age counts.
            events.append({"id": int(LimitField.RESTRICTED_ISSUED), "value": issued_ns})
        for fields in events:
            self._host.control(Command.LIMITS, now_ns, **fields, version=max(version, self._version_in_force), actor=actor)

    def _symbol_of(self, limit: str) -> dict[str, int]:
        symbol, _ = symbol_and_name(limit)
        return {"symbol": self._symbols[symbol]} if symbol else {}

    @property
    def _list_issued_ns(self) -> int:
        return int(self._host.state.glob["restricted_t"][0])

    def _list_shown(self) -> dict[str, Any]:
        """The restricted list in force and its age."""
        issued_ns = self._list_issued_ns
        versions = [one.limits.version for one in self._files() if one.limits.restricted]
        listed = self._host.state.symbols["restricted"].tolist()
        return {
            "symbols": [symbol for symbol, k in self._symbols.items() if listed[k]],
            "version": max(versions, default=None),
            "issued_ns": issued_ns or None,
            "age_s": max(self._clock.now_ns() - issued_ns, 0) // NS_PER_S if issued_ns else None,
            "max_age_s": self._max_list_age_s or None,
        }

    def _files(self) -> list[Accepted]:
        return [one for one in (self._current, self._pending) if one]

    def _later(self) -> dict[str, int]:
        if self._pending is None:
            return self.in_force()
        wanted = {name: min(value, _stated(self._pending.limits, name)) for name, value in self._settings.items()}
        return {name: value if _asks_nothing(name, wanted[name]) else wanted[name] for name, value in self.in_force().items()}


def _own_limits(config: Config) -> dict[str, int]:
    """What the settings say of every symbol alone, NO_LIMIT where nothing."""
    found = {own(symbol, name): NO_LIMIT for symbol in config.feed.symbols for name in (*SYMBOL_LIMITS, RESTRICTED)}
    for symbol, limits in config.risk.symbols.items():
        found |= {own(symbol, name): min(value, LIMITS[name].high) for name, value in limits.stated().items()}
    return found | {own(symbol, RESTRICTED): LISTED for symbol in config.risk.restricted_symbols}


def _asks_nothing(name: str, value: int) -> bool:
    return name in SWITCHES and value == NOT_ASKED


def _named(limit: str) -> dict[str, Any]:
    symbol, name = symbol_and_name(limit)
    return {"symbol": symbol or None, "limit": name}


def _stated(limits: LimitsFile, name: str, otherwise: int = NO_LIMIT) -> int:
    """A limit; ``otherwise`` where the file does not state it."""
    return limits.values.get(name, otherwise)


def _shown_in(accepted: Accepted | None, name: str) -> str | int | None:
    return None if accepted is None or name not in accepted.limits.values else shown(name, accepted.limits.values[name])


def _described(accepted: Accepted | None) -> dict[str, Any] | None:
    if accepted is None:
        return None
    limits = accepted.limits
    return {
        "version": limits.version,
        "signers": list(accepted.signers),
        "valid_from_ns": limits.valid_from_ns,
        "expires_ns": limits.expires_ns,
    }
