"""The compliance report as plain data: the same trail and settings give the same report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.config import Config
from sentinel.ops.audit.export import write_rows
from sentinel.ops.audit.fields import iso
from sentinel.ops.compliance.articles import MAPS, NOT_COMPUTED, SCOPE, Article
from sentinel.ops.compliance.conduct import MarketFacts, conduct_report
from sentinel.ops.compliance.drills import read_drills
from sentinel.ops.compliance.evidence import Evidence
from sentinel.ops.compliance.firings import Firings
from sentinel.ops.compliance.orders import COLUMNS, EMPTY_COLUMNS, NUMBERS, OrderRecords, order_rows
from sentinel.ops.compliance.register import control_register, other_codes
from sentinel.ops.compliance.trail import VerifiedTrail, find_settings

FORMAT = 1


@dataclass(frozen=True)
class Sources:
    """Where settings and drills are looked for: ``config`` a file given, ``store`` the daemon's directory."""

    config: Path | None
    store: Path


def write_orders(trail: VerifiedTrail, out: Path) -> OrderRecords:
    """The order record as a file whose suffix names the format. A trail that is not whole gives no row.

    Raises AuditError for what cannot be read or written.
    """
    evidence = Evidence()
    orders = OrderRecords(evidence.approved_by)
    write_rows(order_rows(trail.records(), orders, [evidence]), out, COLUMNS, NUMBERS)
    return orders


def make_report(trail: VerifiedTrail, sources: Sources, orders_out: Path) -> dict[str, Any]:
    """Read the trail once, write the order record to ``orders_out``, and return the report.

    A trail that is not whole proves nothing: its report has no figure, and no order record is written.
    Raises AuditError or ConfigError for what cannot be read or written.
    """
    head = {"format": FORMAT, "scope": list(SCOPE), "trail": _verified(trail)}
    if not trail.whole:
        return head | {"maps": {title: [_bare(one) for one in articles] for title, articles in MAPS.items()}}
    firings, evidence, market = Firings(), Evidence(), MarketFacts()
    orders = OrderRecords(evidence.approved_by)
    write_rows(order_rows(trail.records(), orders, [firings, evidence, market]), orders_out, COLUMNS, NUMBERS)
    settings = find_settings(evidence.settings, sources.config, sources.store)
    evidence.count_clock(0 if settings.config is None else settings.config.risk.max_clock_error_us)
    conduct = conduct_report(orders.orders.values(), market, settings.config)
    drills = read_drills(sources.store, settings.config)
    figures = evidence.figures() | {
        "records": trail.verification.records,
        "settings_seen": len(evidence.settings.configs),
        "drills": len(drills),
        "drills_passed": sum(drill["passed"] is True for drill in drills),
        "order_rows": orders.rows,
        "orders_without_reason": conduct["orders_without_reason"],
        "entries_with_push": conduct["entries_with_push"],
        "conduct_episodes": len(conduct["episodes"]),
    }
    controls = control_register(firings, evidence, settings.config)
    return head | {
        "period": {"first": iso(evidence.first_ns), "last": iso(evidence.last_ns)} if evidence.first_ns else None,
        "settings": _settings(evidence, settings.config, settings.proven, settings.source),
        "kinds": dict(sorted(firings.kinds.items())),
        "controls": controls,
        "other_codes": other_codes(firings),
        "figures": figures,
        "evidence": evidence.lists | {"drills": drills},
        "maps": {title: [_filled(one, figures, controls) for one in articles] for title, articles in MAPS.items()},
        "conduct": conduct | {"not_computed": NOT_COMPUTED},
        "orders": {"file": orders_out.name, "rows": orders.rows, "orders": len(orders.orders), "empty": list(EMPTY_COLUMNS)},
    }


def report_json(report: dict[str, Any]) -> str:
    """The report as its file has it."""
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _verified(trail: VerifiedTrail) -> dict[str, Any]:
    found = trail.verification
    bad = found.first_bad
    return {
        "whole": trail.whole,
        "records": found.records,
        "segments": found.segments,
        "closed": found.closed,
        "signed": found.signed,
        "unsigned": found.unsigned,
        "anchors": found.anchors,
        "checked_against_anchors": trail.anchored,
        "checked_against_key": trail.keyed,
        "first_bad": None
        if bad is None
        else {"segment": bad.segment, "index": bad.index, "offset": bad.offset, "what": bad.what},
    }


def _settings(evidence: Evidence, config: Config | None, proven: bool, source: str) -> dict[str, Any]:
    seen = evidence.settings
    return {
        "config_sha256": seen.configs,
        "model_sha256": seen.models,
        "source": source,
        "proven": proven,
        "mode": "" if config is None else config.mode,
    }


def _bare(article: Article) -> dict[str, Any]:
    return {"rule": article.rule, "subject": article.subject, "sentinel": article.sentinel, "firm": article.firm}


def _filled(article: Article, figures: dict[str, int], controls: list[dict[str, Any]]) -> dict[str, Any]:
    return _bare(article) | {
        "evidence": {name: figures[name] for name in article.evidence},
        "controls": {control["id"]: control["state"] for control in controls if control["id"] in article.controls},
    }
