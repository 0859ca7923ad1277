"""How often each control refused and acted, by its code on the wire."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sentinel.ops.audit.fields import iso
from sentinel.wire import Control

_ACTED = ("KILLED", "CONTROL_FIRED")


@dataclass
class Firing:
    """One code. ``refused``: orders, by the engine's gate or a card's; ``acted``: trips, halts, warnings. Times UTC ns."""

    refused: int = 0
    acted: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def add(self, t_ns: int, acted: bool) -> None:
        if not self.refused + self.acted:
            self.first_ns = t_ns
        self.last_ns = t_ns
        self.acted += acted
        self.refused += not acted

    def as_dict(self) -> dict[str, Any]:
        times = {"first": iso(self.first_ns), "last": iso(self.last_ns)} if self.refused + self.acted else {}
        return {"refused": self.refused, "acted": self.acted, "first": None, "last": None} | times


class Firings:
    """Counts over a trail. ``by_code``: name of a wire.Control, or its number where this version has no name."""

    def __init__(self) -> None:
        self.by_code: dict[str, Firing] = {}
        self.kinds: Counter[str] = Counter()
        self._t_ns = 0

    def take(self, row: dict[str, Any]) -> None:
        """See a record."""
        self.kinds[row["kind"]] += 1
        record = row["record"]
        kind = record.get("kind")
        self._t_ns = record.get("t") or record.get("t_recv") or self._t_ns
        if kind == "SIGNAL" and record["code"] in (*_ACTED, "RISK_REJECT"):
            self._add(record["control"], record["t"], record["code"] in _ACTED)
        elif kind == "PERMIT" and record["verdict"] == "REJECT":
            # Its own time is in the card's ticks: the record before it says when.
            self._add(record["control"], self._t_ns, False)

    def of(self, code: Control) -> Firing:
        return self.by_code.get(code.name, Firing())

    def _add(self, code: str, t_ns: int, acted: bool) -> None:
        self.by_code.setdefault(code, Firing()).add(t_ns, acted)
