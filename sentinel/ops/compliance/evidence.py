"""What people and circumstances did to the run: kills, armings, limits, approvals, access, halts, clock, audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from sentinel.engine.layout import Halt
from sentinel.ops.audit.fields import iso
from sentinel.ops.compliance.limits import limit_of
from sentinel.ops.compliance.trail import SettingsSeen
from sentinel.units import NS_PER_US, format_e8_short

_Row = dict[str, Any]
#: Which request at the control socket leads to which command.
_REQUEST_OF = {
    "KILL": "KILL",
    "ARM": "ARM",
    "LIMITS": "LIMITS_APPLY",
    "APPROVE": "APPROVE",
    "CANCEL_ALL": "CANCEL_ALL",
    "ALARM": "ALARM",
}
_ALARM_WANTS = {1: "REDUCE_ONLY", 2: "kill"}
_JOURNAL_FAULTS = {0: "restored", 1: "the journal failed", 2: "the trail is too far behind"}
_RECONCILED = Halt.RECONCILE | Halt.MISMATCH


class Evidence:
    """Collects from records in their order. ``limits_in_force``: value by setting path, of changes since the settings held.

    Who: a person of the ACCESS record that was granted before the command, else ``user N``, else Sentinel itself.
    """

    LISTS = (
        *("starts", "kills", "armings", "limits", "alarms", "approvals", "access_denied"),
        *("halts", "cancel_all", "clock_steps", "audit_faults", "recoveries"),
    )

    def __init__(self) -> None:
        self.lists: dict[str, list[_Row]] = {name: [] for name in self.LISTS}
        self.counts: Counter[str] = Counter()
        self.clock_worst_us = 0
        self.limits_in_force: dict[str, Any] = {}
        self.settings = SettingsSeen()
        self.first_ns = self.last_ns = 0
        self.approved_by: dict[int, str] = {}
        self._looks_us: Counter[int] = Counter()
        self._granted: dict[str, tuple[_Row, int]] = {}
        self._signals: dict[str, Callable[[_Row], None]] = {"KILLED": self._killed, "APPROVAL_NEEDED": self._needed}
        self._commands: dict[str, Callable[[_Row, str], None]] = {
            "EPOCH": self._start,
            "KILL": self._kill,
            "ARM": self._arm,
            "LIMITS": self._limit,
            "APPROVE": self._approve,
            "CANCEL_ALL": self._cancel_all,
            "ALARM": self._alarm,
            "SYMBOL_HALT": self._halt,
            "SYMBOL_RESUME": self._halt,
            "CLOCK": self._clock,
            "JOURNAL_FAULT": self._fault,
        }

    def take(self, row: _Row) -> None:
        """See a record."""
        self.counts["records"] += 1
        self.counts["records_clock_unknown"] += row["clock_error_us"] is None
        if self.settings.take(row):
            # Changed settings are taken over whole.
            self.limits_in_force = {}
        record = row["record"]
        kind = record.get("kind")
        self._see_time(record.get("t") or record.get("t_recv") or 0)
        if row["kind"] == "RECOVERY":
            self._add("recoveries", row["time"], bytes_set_aside=record["bytes_set_aside"])
        elif kind == "ACCESS":
            self._access(record)
        elif kind == "CONTROL" and record["command"] in self._commands:
            self._commands[record["command"]](record, self._who(record))
        elif kind == "SIGNAL":
            self.counts[f"signal_{record['code']}"] += 1
            if record["code"] in self._signals:
                self._signals[record["code"]](record)

    def figures(self) -> dict[str, int]:
        """How many of each."""
        kinds = ("granted", "denied", "failed")
        found = {name: len(rows) for name, rows in self.lists.items()}
        found |= {f"access_{kind}": self.counts[f"access_{kind}"] for kind in kinds}
        found |= {
            "approvals_asked": self.counts["signal_APPROVAL_NEEDED"],
            "approvals_granted": self.counts["approvals_granted"],
            "approvals_refused": self.counts["approvals_refused"],
            "clock_looks": self.counts["clock_looks"],
            "clock_unknown": self.counts["clock_unknown"],
            "clock_worst_us": self.clock_worst_us,
            "clock_over_bound": self.counts["clock_over_bound"],
            "reconciliation_halts": self.counts["reconciliation_halts"],
            "orders_unknown": self.counts["signal_ORDER_UNKNOWN"],
            "orders_resolved": self.counts["signal_ORDER_RESOLVED"],
            "foreign_orders": self.counts["signal_FOREIGN_ORDER"],
            "fills": self.counts["signal_FILL"],
        }
        return found

    def count_clock(self, bound_us: int) -> None:
        """Count the clock's looks out of ``bound_us``; 0: no bound was asked."""
        over = sum(count for error_us, count in self._looks_us.items() if error_us < 0 or error_us > bound_us)
        self.counts["clock_over_bound"] = over if bound_us else 0

    def _see_time(self, t_ns: int) -> None:
        if t_ns > 0:
            self.first_ns = min(self.first_ns or t_ns, t_ns)
            self.last_ns = max(self.last_ns, t_ns)

    def _add(self, name: str, time: str, **fields: Any) -> None:
        self.lists[name].append({"time": time, **fields})

    def _access(self, record: _Row) -> None:
        result, request = record["result"].lower(), record["request"]
        self.counts[f"access_{result}"] += 1
        if result == "granted":
            self._granted[request] = (record, 0)
        elif result == "failed":
            self._granted.pop(request, None)
        elif result == "denied":
            self._add(
                "access_denied",
                iso(record["t"]),
                request=request,
                person=record["person"],
                uid=record["uid"],
                role=record["role"],
            )

    def _who(self, record: _Row) -> str:
        """Who asked for a command; one request may lead to several commands of one time."""
        request = _REQUEST_OF.get(record["command"], "")
        asked, used_t = self._granted.get(request, (None, 0))
        if asked is not None and asked["uid"] == record["actor"] and used_t in (0, record["t"]):
            self._granted[request] = (asked, record["t"])
            return asked["person"] or f"user {asked['uid']}"
        return f"user {record['actor']}" if record["actor"] else "Sentinel itself"

    def _start(self, record: _Row, who: str) -> None:
        self._add("starts", iso(record["t"]), epoch=record["id"])

    def _kill(self, record: _Row, who: str) -> None:
        self._add("kills", iso(record["t"]), what="asked", control=record["value"], by=who)

    def _killed(self, record: _Row) -> None:
        self._add(
            "kills", iso(record["t"]), what="latched", control=record["control"], observed=record["value"], limit=record["limit"]
        )

    def _arm(self, record: _Row, who: str) -> None:
        until = iso(record["t2"]) if record["t2"] else ""
        self._add("armings", iso(record["t"]), arm_epoch=record["id"], until=until, by=who)

    def _limit(self, record: _Row, who: str) -> None:
        path, value = limit_of(str(record["id"]), record["value"], str(record["symbol"]))
        before = self.limits_in_force.get(path)
        if path:
            self.limits_in_force[path] = value
        self._add(
            "limits",
            iso(record["t"]),
            limit=path or record["id"],
            before=before,
            after=value,
            version=record["version"],
            by=who,
        )

    def _needed(self, record: _Row) -> None:
        self._add(
            "approvals",
            iso(record["t"]),
            what="asked",
            request=record["limit"],
            symbol=record["symbol"],
            side=record["side"],
            notional=format_e8_short(record["value"]),
        )

    def _approve(self, record: _Row, who: str) -> None:
        what = "granted" if record["value"] == 1 else "refused"
        self.counts[f"approvals_{what}"] += 1
        self.approved_by[record["id"]] = who
        self._add("approvals", iso(record["t"]), what=what, request=record["id"], by=who)

    def _cancel_all(self, record: _Row, who: str) -> None:
        self._add("cancel_all", iso(record["t"]), by=who)

    def _alarm(self, record: _Row, who: str) -> None:
        wants = _ALARM_WANTS.get(record["value"], str(record["value"]))
        self._add("alarms", iso(record["t"]), number=record["id"], wants=wants, by=who)

    def _halt(self, record: _Row, who: str) -> None:
        bits = Halt(record["value"]) if record["value"] else Halt.OPERATOR
        what = "halted" if record["command"] == "SYMBOL_HALT" else "resumed"
        self.counts["reconciliation_halts"] += what == "halted" and bool(bits & _RECONCILED)
        named = ", ".join(flag.name or "" for flag in Halt if flag & bits)
        self._add("halts", iso(record["t"]), what=what, symbol=record["symbol"] or "all", why=named, by=who)

    def _clock(self, record: _Row, who: str) -> None:
        error_ns = record["value"]
        self.counts["clock_looks"] += 1
        self.counts["clock_unknown"] += error_ns < 0
        self.clock_worst_us = max(self.clock_worst_us, -(-error_ns // NS_PER_US))
        self._looks_us[-1 if error_ns < 0 else -(-error_ns // NS_PER_US)] += 1
        if record["value2"] == 1:
            self._add("clock_steps", iso(record["t"]), error_ns=error_ns)

    def _fault(self, record: _Row, who: str) -> None:
        self._add("audit_faults", iso(record["t"]), what=_JOURNAL_FAULTS.get(record["value"], str(record["value"])))
