"""The compliance report as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from sentinel.html_page import section, table, whole_page

_SHOWN = 200
_TITLE = "Compliance report"
_WRAP = "<style>td, th { white-space: normal; vertical-align: top; }</style>\n"
_LISTS = {
    "starts": "Starts of the daemon",
    "kills": "Kills",
    "armings": "Armings",
    "limits": "Limit changes",
    "alarms": "Alarms that asked for something",
    "approvals": "Approvals",
    "access_denied": "Access denied",
    "halts": "Symbols halted and resumed",
    "cancel_all": "Everything cancelled by command",
    "clock_steps": "Clock steps",
    "audit_faults": "Journal and audit trail",
    "recoveries": "Unfinished writes set aside",
    "drills": "Kill drills (files beside the trail)",
}


def report_page(report: dict[str, Any]) -> str:
    """The page of a report of ``make_report``."""
    trail = report["trail"]
    parts = [f"<h1>{_TITLE}</h1>", _verdict(trail), section("Scope", _items(report["scope"]))]
    if trail["whole"]:
        parts += [_tiles(report), _settings(report["settings"]), _controls(report["controls"], report["other_codes"])]
        parts += [_evidence(report["evidence"], report["figures"]), _conduct(report["conduct"]), _orders(report["orders"])]
    parts += [section(_text(title), _articles(rows)) for title, rows in report["maps"].items()]
    return whole_page(_TITLE, "\n".join(parts), _WRAP)


def _verdict(trail: dict[str, Any]) -> str:
    bad = trail["first_bad"]
    if bad is not None:
        where = f"{bad['segment']}, record {bad['index']}, offset {bad['offset']}: {bad['what']}"
        return (
            f'<p class="bad"><b>The audit trail does not verify.</b> {_text(where)}</p>'
            "<p>Nothing below is evidence: no figure is drawn from a trail that is not whole.</p>"
        )
    missing = [] if trail["checked_against_anchors"] else ["no anchors were given, so a cut end would not show"]
    missing += [] if trail["checked_against_key"] else ["no public key was given, so nothing shows who made it"]
    note = f" But {'; '.join(missing)}." if missing else ""
    return f"<p>The audit trail verifies: {trail['records']} records in {trail['segments']} segments.{note}</p>"


def _tiles(report: dict[str, Any]) -> str:
    figures = report["figures"]
    period = report["period"] or {"first": "none", "last": "none"}
    shown = [(period["first"][:19], "first record, UTC"), (period["last"][:19], "last record, UTC")]
    shown += [(figures[name], name.replace("_", " ")) for name in ("records", "fills", "kills", "limits", "access_denied")]
    shown += [(figures[name], name.replace("_", " ")) for name in ("orders_without_reason", "entries_with_push")]
    tiles = "".join(f'<div class="tile"><b>{_text(value)}</b><span>{_text(name)}</span></div>' for value, name in shown)
    return f'<div class="tiles">{tiles}</div>'


def _settings(settings: dict[str, Any]) -> str:
    proven = "hash to what the trail names" if settings["proven"] else "are NOT proven to be those of the run"
    found = "were not found" if settings["source"] == "not found" else f"are from {settings['source']} and {proven}"
    rows = [
        (f"<code>{_text(config)}</code>", f"<code>{_text(model)}</code>")
        for config, model in zip(settings["config_sha256"], settings["model_sha256"], strict=True)
    ]
    return section(
        "Settings and model", f"<p>The settings {_text(found)}.</p>" + table(("settings SHA-256", "model SHA-256"), rows)
    )


def _controls(controls: list[dict[str, Any]], others: dict[str, Any]) -> str:
    rows = [
        (
            _text(one["id"]),
            f"<b>{_text(one['name'])}</b><br>{_text(one['about'])}",
            _lines(f"{p['path']} = {_value(p)} ({p['unit']}; {p['source']})" for p in one["parameters"]),
            _text(one["state"]),
            _lines(_firing(code, firing, one["shared"].get(code)) for code, firing in one["codes"].items()),
            _tests(one["tests"]),
        )
        for one in controls
    ]
    columns = ("id", "control", "in force", "in this trail", "refused / acted", "acceptance tests")
    rest = [(_text(code), _text(_firing(code, firing, None))) for code, firing in others.items()]
    beside = "<p>Codes that are no control's:</p>" + table(("code", "count"), rest) if rest else ""
    note = "<p>A control that never fired is not thereby shown to work: its tests are what shows that.</p>"
    return section("Control register", note + table(columns, rows) + beside)


def _firing(code: str, firing: dict[str, Any], shared: list[str] | None) -> str:
    count = f"{code}: {firing['refused']} / {firing['acted']}"
    times = f", {firing['first']} to {firing['last']}" if firing["first"] else ""
    return count + times + (f" (also counted at {', '.join(shared)})" if shared else "")


def _tests(tests: list[str]) -> str:
    if not tests:
        return "none"
    return f"<details><summary>{len(tests)}</summary>{_lines(tests)}</details>"


def _evidence(lists: dict[str, Any], figures: dict[str, int]) -> str:
    counted = table(
        ("figure", "in this trail"), [(_text(k.replace("_", " ")), str(v)) for k, v in figures.items()], ("in this trail",)
    )
    parts = [f"<details><summary>{_LISTS[name]}: {len(rows)}</summary>{_rows(rows)}</details>" for name, rows in lists.items()]
    return section("Evidence", counted + "".join(parts))


def _conduct(conduct: dict[str, Any]) -> str:
    episodes = [{**one, "orders": ", ".join(one["orders"][:_SHOWN])} for one in conduct["episodes"]]
    parts = [
        f"<p>{conduct['orders']} orders; {conduct['orders_without_reason']} without a reason (must be 0), "
        f"{conduct['entries_with_push']} entries with a push (must be 0), "
        f"{conduct['self_match_refusals']} self-match refusals.</p>",
        _rows(conduct["days"]),
        "<p>Episodes to look at. A pattern is no finding.</p>",
        _rows(episodes),
    ]
    if conduct["layering_days"]:
        parts.append(f'<p class="bad">M2 often enough for a case: {_text(", ".join(conduct["layering_days"]))}</p>')
    if conduct["pinging_not_computed"]:
        parts.append(f"<p>M7 is not computed without the least sizes of {_text(', '.join(conduct['pinging_not_computed']))}.</p>")
    parts.append(_items(f"{name}: {why}" for name, why in conduct["not_computed"].items()))
    return section("Conduct on own orders", "".join(parts))


def _orders(orders: dict[str, Any]) -> str:
    empty = ", ".join(orders["empty"])
    return section(
        "Order record",
        f"<p>{orders['rows']} events of {orders['orders']} orders in <code>{_text(orders['file'])}</code>.</p>"
        f"<p>Columns without a value here: {_text(empty)}.</p>",
    )


def _articles(rows: list[dict[str, Any]]) -> str:
    cells = [
        (
            _text(one["rule"]),
            _text(one["subject"]),
            _text(one["sentinel"]),
            _lines(
                [
                    *(f"{name.replace('_', ' ')}: {count}" for name, count in one.get("evidence", {}).items()),
                    *(f"{id}: {state}" for id, state in one.get("controls", {}).items()),
                ]
            ),
            _text(one["firm"]),
        )
        for one in rows
    ]
    return table(("rule", "subject", "what Sentinel has", "evidence in this trail", "what the firm must add"), cells)


def _rows(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    shown = [[_text(row.get(name, "")) for name in columns] for row in rows[:_SHOWN]]
    more = f"<p>{len(rows) - _SHOWN} more are in report.json.</p>" if len(rows) > _SHOWN else ""
    return table([_text(name.replace("_", " ")) for name in columns], shown) + more


def _value(parameter: dict[str, Any]) -> str:
    return "unknown" if parameter["in_force"] is None else str(parameter["in_force"])


def _items(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(text)}</li>" for text in texts) + "</ul>"


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(_text(text) for text in texts)


def _text(value: object) -> str:
    return escape("" if value is None else str(value))
