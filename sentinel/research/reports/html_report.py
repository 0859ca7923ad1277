"""The run report as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from sentinel.research.reports import charts, text
from sentinel.research.reports.run_report import ReportError, RunReport
from sentinel.wire import SignalCode

#: Rows of the signal table; a long run has thousands of refusals.
MAX_SIGNAL_ROWS = 500
#: One order can be filled in hundreds of pieces; longer fill tables start folded.
MAX_OPEN_FILL_ROWS = 20

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --card: #151b23; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 24px 64px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 8px; }
p, li { color: var(--soft); margin: 4px 0; }
ul { padding-left: 20px; margin: 8px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 24px 0 8px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.tile b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
.n { text-align: right; padding-right: 24px; }
.good { color: #1a9e77; } .bad { color: #d1242f; }
details { margin: 12px 0; } summary { cursor: pointer; font-weight: 600; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
"""


def write_html(report: RunReport, path: Path) -> None:
    """Write the report to ``path`` atomically. Raises ReportError where the file cannot be written."""
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(render_html(report), encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise ReportError("out", str(path), "a writable file", f"choose another directory ({error.strerror})") from None


def render_html(report: RunReport) -> str:
    """The whole page, plotly included, no reference to any other file or host."""
    sections = [_head(report), _tiles(report), *_price_sections(report)]
    if len(report.equity.equity_e8):
        sections.append(
            _section(f"Equity, {escape(report.quote_asset)}", _plot(charts.equity_chart(report, report.equity), "equity"))
        )
    if report.latency:
        chart = _plot(charts.latency_chart(list(report.latency), report.budget_ns), "latency")
        sections.append(_section("Latency by stage", _latency_table(report) + chart))
    sections += [_round_trips(report), _orders(report), _fills(report), _signals(report), _settings(report)]
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _plot(figure: go.Figure, name: str) -> str:
    config = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{name}", config=config))


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>\n{content}"


def _head(report: RunReport) -> str:
    market = text.duration((report.ended_ns - report.started_ns) / 1e9)
    span = f"{text.day_and_clock(report.started_ns)} to {text.day_and_clock(report.ended_ns)} UTC"
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        f"<h1>{escape(report.title)}</h1>\n<p>{span}: {market} of market in {text.duration(report.wall_seconds)}</p>\n"
        f"<p>State hash <code>{escape(report.state_hash)}</code></p>" + (f"\n<ul>{notes}</ul>" if notes else "")
    )


def _tiles(report: RunReport) -> str:
    tiles = [(f"{count:,}", text.words(name), "") for name, count in report.counts.items()]
    pnl = report.realised_pnl_e8
    tiles.append((f"{text.signed_money(pnl)} {report.quote_asset}", "net PnL of closed round trips", _tone(pnl)))
    measured = [stage for stage in report.latency if stage.count]
    if measured:
        slowest = max(measured, key=lambda stage: stage.p99_ns)
        within = "good" if slowest.p99_ns <= report.budget_ns else "bad"
        tiles.append((text.latency(slowest.p99_ns), f"p99 of the slowest stage ({slowest.stage})", within))
    cells = "".join(
        f'<div class="tile"><b class="{tone}">{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label, tone in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _price_sections(report: RunReport) -> list[str]:
    return [
        _section(f"{escape(path.symbol)}: price, signals and fills", _plot(charts.price_chart(report, path), f"price-{number}"))
        for number, path in enumerate(report.prices)
    ]


def _tone(value: int) -> str:
    return "good" if value > 0 else "bad" if value < 0 else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[str] = ()) -> str:
    """``rows`` hold ready HTML; everything that came from a run is escaped by the caller."""
    marks = [' class="n"' if column in numeric else "" for column in columns]
    head = "".join(f"<th{mark}>{column}</th>" for column, mark in zip(columns, marks, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{m}>{cell}</td>" for cell, m in zip(row, marks, strict=True)) + "</tr>\n" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _latency_table(report: RunReport) -> str:
    rows = []
    for stage in report.latency:
        if stage.count == 0:
            rows.append([escape(stage.stage), "0", "-", "-", "-", "-", "-"])
            continue
        figures = [text.latency(value) for value in (stage.p50_ns, stage.p99_ns, stage.p99_9_ns, stage.max_ns)]
        tone = "good" if stage.p99_ns <= report.budget_ns else "bad"
        share = f'<span class="{tone}">{stage.p99_ns * 100 / report.budget_ns:.1f} %</span>'
        rows.append([escape(stage.stage), f"{stage.count:,}", *figures, share])
    columns = ["stage", "events", "p50", "p99", "p99.9", "max", f"p99 of the {text.latency(report.budget_ns)} budget"]
    return _table(columns, rows, columns[1:])


def _round_trips(report: RunReport) -> str:
    if not report.round_trips:
        return ""
    rows = [
        [
            escape(trip.symbol),
            text.clock(trip.opened_ns),
            text.clock(trip.closed_ns),
            text.duration((trip.closed_ns - trip.opened_ns) / 1e9),
            escape(text.words(trip.exit_reason)),
            f'<span class="{_tone(trip.pnl_e8)}">{text.signed_money(trip.pnl_e8)}</span>',
            text.money(trip.fees_e8),
        ]
        for trip in report.round_trips
    ]
    columns = ["symbol", "opened", "closed", "held", "exit", "net PnL", "fees"]
    return _section("Round trips", _table(columns, rows, ["net PnL", "fees"]))


def _orders(report: RunReport) -> str:
    rows = [
        [
            text.clock(order.t_ns),
            escape(order.symbol),
            escape(order.side),
            escape(order.kind),
            text.quantity(order.price_e8),
            text.quantity(order.qty_e8),
            text.quantity(order.filled_e8),
            escape(text.words(order.state)),
            escape(text.words(order.reason)),
            f"<code>{escape(order.order_id)}</code>",
        ]
        for order in report.orders
    ]
    columns = ["time", "symbol", "side", "type", "price", "quantity", "filled", "state", "why", "client order id"]
    return _section("Orders", _table(columns, rows, ["price", "quantity", "filled"])) if rows else ""


def _fills(report: RunReport) -> str:
    rows = [
        [
            text.clock(fill.t_ns),
            escape(fill.symbol),
            escape(fill.side),
            text.quantity(fill.price_e8),
            text.quantity(fill.qty_e8),
            f"{text.quantity(fill.fee_e8)} {escape(fill.fee_asset)}",
            escape(text.words(fill.reason)),
            f"<code>{escape(fill.order_id)}</code>",
        ]
        for fill in report.fills
    ]
    columns = ["time", "symbol", "side", "price", "quantity", "fee", "why", "client order id"]
    table = _table(columns, rows, ["price", "quantity", "fee"])
    if len(rows) > MAX_OPEN_FILL_ROWS:
        return f"<details><summary>Fills ({len(rows):,})</summary>{table}</details>"
    return _section("Fills", table) if rows else ""


def _signals(report: RunReport) -> str:
    if not report.signals:
        return ""
    # Anomalies and fills repeat by the hundred and have their own places; the others come first when rows are cut.
    ranked = sorted(report.signals, key=lambda signal: (signal.code in (SignalCode.ANOMALY, SignalCode.FILL), signal.t_ns))
    shown = sorted(ranked[:MAX_SIGNAL_ROWS], key=lambda signal: signal.t_ns)
    rows = [
        [
            text.clock(signal.t_ns),
            escape(signal.symbol),
            text.words(signal.code.name),
            text.quantity(signal.price_e8),
            f"{signal.margin:,}",
            escape(signal.detail),
        ]
        for signal in shown
    ]
    table = _table(["time", "symbol", "signal", "price", "margin", "detail"], rows, ["price", "margin"])
    shown_of = f"{len(shown):,}" if len(shown) == len(report.signals) else f"{len(shown):,} of {len(report.signals):,}"
    return f"<details><summary>Signals ({shown_of})</summary>{table}</details>"


def _settings(report: RunReport) -> str:
    if not report.config:
        return ""
    rows = [[escape(key), f"<code>{escape(value)}</code>"] for key, value in report.config.items()]
    return f"<details><summary>Settings</summary>{_table(['key', 'value'], rows)}</details>"
