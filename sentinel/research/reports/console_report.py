"""The run report on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from sentinel.research.reports import text
from sentinel.research.reports.run_report import RunReport

#: Longer tables are cut on the terminal; the HTML report has every row.
MAX_ROWS = 20
#: Left-hand columns whose cells mean nothing when cut or broken.
_WHOLE = ("time", "opened", "closed", "symbol", "side")


def print_report(report: RunReport, console: Console) -> None:
    """Print the whole report: outcome, counts, round trips, orders, latency, notes."""
    console.print(_outcome(report))
    console.print(_counts(report))
    if report.round_trips:
        console.print(_round_trips(report))
    if report.orders:
        console.print(_orders(report))
    if report.latency:
        console.print(_latency(report))
    for note in report.notes:
        console.print(f"[dim]- {escape(note)}[/]", highlight=False)
    console.print(f"state hash [bold]{escape(report.state_hash)}[/]", highlight=False, soft_wrap=True)


def _table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    # Two blanks between columns: with rich's three, the orders do not fit a terminal of 80 columns.
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in right or column in _WHOLE)
    return table


def _signed(value_e8: int) -> str:
    colour = "green" if value_e8 > 0 else "red" if value_e8 < 0 else "default"
    return f"[{colour}]{text.signed_money(value_e8)}[/]"


def _outcome(report: RunReport) -> Panel:
    market = text.duration((report.ended_ns - report.started_ns) / 1e9)
    lines = [
        f"{market} of market in {text.duration(report.wall_seconds)}, from {text.day_and_clock(report.started_ns)} UTC",
        f"net PnL {_signed(report.realised_pnl_e8)} {escape(report.quote_asset)} over {len(report.round_trips)} round trips,"
        f" fees {text.money(report.fees_e8)}",
    ]
    if len(report.equity.equity_e8):
        first, last = int(report.equity.equity_e8[0]), int(report.equity.equity_e8[-1])
        lines.append(f"equity {text.money(first)} -> {text.money(last)} {escape(report.quote_asset)}")
    return Panel("\n".join(lines), title=escape(report.title), title_align="left", expand=False)


def _counts(report: RunReport) -> Table:
    table = _table("What happened", "what", "count", right=("count",))
    for name, count in report.counts.items():
        table.add_row(escape(text.words(name)), f"{count:,}")
    return table


def _round_trips(report: RunReport) -> Table:
    table = _table("Round trips", "symbol", "opened", "closed", "exit", "net PnL", "fees", right=("net PnL", "fees"))
    for trip in report.round_trips[:MAX_ROWS]:
        table.add_row(
            escape(trip.symbol),
            text.clock(trip.opened_ns),
            text.clock(trip.closed_ns),
            escape(text.words(trip.exit_reason)),
            _signed(trip.pnl_e8),
            text.money(trip.fees_e8),
        )
    return _cut(table, len(report.round_trips))


def _orders(report: RunReport) -> Table:
    right = ("price", "quantity", "filled")
    table = _table("Orders", "time", "symbol", "side", "why", "price", "quantity", "filled", "state", right=right)
    for order in report.orders[:MAX_ROWS]:
        table.add_row(
            text.clock(order.t_ns),
            escape(order.symbol),
            escape(order.side),
            escape(text.words(order.reason)),
            text.quantity(order.price_e8),
            text.quantity(order.qty_e8),
            text.quantity(order.filled_e8),
            escape(text.words(order.state)),
        )
    return _cut(table, len(report.orders))


def _cut(table: Table, rows: int) -> Table:
    if rows > MAX_ROWS:
        table.caption = f"{rows - MAX_ROWS} more in the HTML report"
        table.caption_justify = "left"
    return table


def _latency(report: RunReport) -> Table:
    budget = text.latency(report.budget_ns)
    right = ("events", "p50", "p99", "p99.9", "max")
    table = _table(
        f"Latency by stage, budget {budget}", "stage", "events", "p50", "p99", "p99.9", "max", "p99 of budget", right=right
    )
    for stage in report.latency:
        if stage.count == 0:
            table.add_row(escape(stage.stage), "0", "-", "-", "-", "-", "-")
            continue
        share = stage.p99_ns * 100 / report.budget_ns
        colour = "green" if share <= 100 else "red"
        figures = [text.latency(value) for value in (stage.p50_ns, stage.p99_ns, stage.p99_9_ns, stage.max_ns)]
        table.add_row(escape(stage.stage), f"{stage.count:,}", *figures, f"[{colour}]{share:.1f} %[/]")
    return table
