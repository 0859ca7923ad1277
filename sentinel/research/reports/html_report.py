"""The run report as one HTML file that needs nothing beside itself."""

from __future__ import annotations

from html import escape
from pathlib import Path

from sentinel.research.reports import charts, text
from sentinel.research.reports.page import page, plot, section, table, write_page
from sentinel.research.reports.run_report import RunReport
from sentinel.wire import SignalCode

#: Rows of the signal table; a long run has thousands of refusals.
MAX_SIGNAL_ROWS = 500
#: One order can be filled in hundreds of pieces; longer fill tables start folded.
MAX_OPEN_FILL_ROWS = 20


def write_html(report: RunReport, path: Path) -> None:
    """Write the report to ``path`` atomically. Raises ReportError where the file cannot be written."""
    write_page(path, render_html(report))


def render_html(report: RunReport) -> str:
    """The whole page, plotly included, no reference to any other file or host."""
    sections = [_head(report), _tiles(report), *_price_sections(report)]
    if len(report.equity.equity_e8):
        sections.append(
            section(f"Equity, {escape(report.quote_asset)}", plot(charts.equity_chart(report, report.equity), "equity"))
        )
    if report.latency:
        chart = plot(charts.latency_chart(list(report.latency), report.budget_ns), "latency")
        sections.append(section("Latency by stage", _latency_table(report) + chart))
    sections += [_round_trips(report), _orders(report), _fills(report), _signals(report), _settings(report)]
    body = "\n".join(section for section in sections if section)
    return page(report.title, body)


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
        section(f"{escape(path.symbol)}: price, signals and fills", plot(charts.price_chart(report, path), f"price-{number}"))
        for number, path in enumerate(report.prices)
    ]


def _tone(value: int) -> str:
    return "good" if value > 0 else "bad" if value < 0 else ""


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
    return table(columns, rows, columns[1:])


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
    return section("Round trips", table(columns, rows, ["net PnL", "fees"]))


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
    return section("Orders", table(columns, rows, ["price", "quantity", "filled"])) if rows else ""


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
    rendered = table(columns, rows, ["price", "quantity", "fee"])
    if len(rows) > MAX_OPEN_FILL_ROWS:
        return f"<details><summary>Fills ({len(rows):,})</summary>{rendered}</details>"
    return section("Fills", rendered) if rows else ""


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
    rendered = table(["time", "symbol", "signal", "price", "margin", "detail"], rows, ["price", "margin"])
    shown_of = f"{len(shown):,}" if len(shown) == len(report.signals) else f"{len(shown):,} of {len(report.signals):,}"
    return f"<details><summary>Signals ({shown_of})</summary>{rendered}</details>"


def _settings(report: RunReport) -> str:
    if not report.config:
        return ""
    rows = [[escape(key), f"<code>{escape(value)}</code>"] for key, value in report.config.items()]
    return f"<details><summary>Settings</summary>{table(['key', 'value'], rows)}</details>"
