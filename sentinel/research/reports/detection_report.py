"""An evaluation of a detector on a terminal and as one HTML page."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from rich import box
from rich.console import Console
from rich.table import Table

from sentinel.research.reports.charts import new_figure
from sentinel.research.reports.page import page, plot, section, table, write_page

Figures = dict[str, Any]

#: Event-wise targets: share within 60 s, within 15 s, median delay, false alarms per coin-day.
_TARGETS = {
    "detected_60s": ">= 0.95",
    "detected_15s": ">= 0.80",
    "delay_median_s": "<= 5",
    "false_alarms_per_coin_day": "<= 0.02",
}
_PAPERS = {"la_morgia_2020": "La Morgia 2020, as printed", "la_morgia_2023": "La Morgia 2023, as printed"}
_EVENT_ROWS = (
    ("events", "labelled pumps"),
    ("detected_5s", "alarmed within 5 s of onset"),
    ("detected_15s", "within 15 s"),
    ("detected_30s", "within 30 s"),
    ("detected_60s", "within 60 s"),
    ("detected_120s", "within 120 s"),
    ("delay_median_s", "median delay, s"),
    ("delay_p90_s", "90th percentile of delay, s"),
    ("false_alarms_per_coin_day", "false alarms per coin-day"),
    ("hard_negatives_alarmed", "hard negatives alarmed"),
    ("precision_60s", "precision (hits within 60 s)"),
)


def print_evaluation(result: Figures, console: Console) -> None:
    """Print the event-wise scores, their breakdowns, and the row-wise comparison."""
    console.print(_rich("Event by event, in the stream (unseen events)", *_event_table(result["event_wise"])))
    console.print(_rich("By year and by activity of the coin", *_breakdown(result)))
    for title, columns, rows in _row_tables(result["row_wise"]):
        console.print(_rich(title, columns, rows))


def write_evaluation(result: Figures, directory: Path) -> Path:
    """Write ``evaluation.html`` and ``evaluation.json`` to ``directory``; returns the former. Raises ReportError."""
    path = directory / "evaluation.html"
    write_page(path, render_evaluation(result))
    write_page(directory / "evaluation.json", json.dumps(result, indent=2) + "\n")
    return path


def render_evaluation(result: Figures) -> str:
    """The whole page."""
    name = f"Detection by the model {result['model']['name']}"
    parts = [
        f"<h1>{escape(name)}</h1>\n<p>Events from {escape(result['unseen_from'])} on, which its training has not seen.</p>",
        section("Event by event, in the stream", _html(*_event_table(result["event_wise"]))),
        section("Recall against false alarms", plot(_curve(result), "curve")),
        section("By year and by activity of the coin", _html(*_breakdown(result))),
    ]
    if result["calibration"]:
        parts.append(section("Calibration", plot(_calibration(result["calibration"]), "calibration")))
    if result["contributions"]:
        parts.append(section("What the model looks at", plot(_contributions(result["contributions"]), "contributions")))
    parts += [section(title, _html(columns, rows)) for title, columns, rows in _row_tables(result["row_wise"])]
    return page(name, "\n".join(parts))


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"


def _interval(figures: Figures, name: str) -> str:
    found = figures["intervals"].get(name)
    return f"{_number(found[0])} to {_number(found[1])}" if found else ""


def _event_table(figures: Figures) -> tuple[list[str], list[list[str]]]:
    rows = [[label, _number(figures[name]), _interval(figures, name), _TARGETS.get(name, "")] for name, label in _EVENT_ROWS]
    return ["", "measured", "95 % interval", "target"], rows


def _breakdown(result: Figures) -> tuple[list[str], list[list[str]]]:
    columns = ["part", "pumps", "within 15 s", "within 60 s", "median delay", "false per coin-day"]
    names = ("events", "detected_15s", "detected_60s", "delay_median_s", "false_alarms_per_coin_day")
    parts = [(year + (" (seen in part)" if part["seen"] else ""), part) for year, part in result["by_year"].items()]
    parts += [(f"{name} coins", part) for name, part in result["by_activity"].items()]
    return columns, [[label, *(_number(part[name]) for name in names)] for label, part in parts]


def _row_tables(row_wise: Figures) -> list[tuple[str, list[str], list[list[str]]]]:
    """A table for all rows kept and one for 30 minutes after onset dropped, as the published matrices are."""
    chunks = [chunk for chunk in ("25s", "15s", "5s") if chunk in row_wise]

    def cell(figures: Figures) -> str:
        return "/".join(f"{figures[name]:.3f}" for name in ("precision", "recall", "f1"))

    tables = []
    for title, kind in (("all rows kept", "all"), ("30 minutes after onset dropped", "dropped")):
        rows = [["Sentinel", *(cell(row_wise[c] if kind == "all" else row_wise[c]["dropped"]) for c in chunks)]]
        for label, name in (("Random Forest, 12 features", "random_forest"), ("XGBoost, 12 features", "xgboost")):
            rows.append([label, *(cell(row_wise[c][name][kind]) for c in chunks)])
        if kind == "dropped":
            rows += [[label, *(cell(row_wise[c]["published"][name]) for c in chunks)] for name, label in _PAPERS.items()]
        tables.append((f"Row by row, {title}: precision/recall/F1", ["", *chunks], rows))
    return tables


def _rich(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    found = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        found.add_column(column, justify="right" if number else "left", no_wrap=bool(number))
    for row in rows:
        found.add_row(*row)
    return found


def _html(columns: list[str], rows: list[list[str]]) -> str:
    return table(columns, [[escape(cell) for cell in row] for row in rows], columns[1:])


def _curve(result: Figures) -> go.Figure:
    figure = new_figure(height=380)
    points = [point for point in result["curve"] if point["false_alarms_per_coin_day"] > 0]
    for seconds in (5, 15, 60):
        figure.add_scatter(
            x=[point["false_alarms_per_coin_day"] for point in points],
            y=[point[f"detected_{seconds}s"] for point in points],
            mode="lines",
            name=f"within {seconds} s",
        )
    chosen = result["event_wise"]
    figure.add_scatter(
        x=[chosen["false_alarms_per_coin_day"]],
        y=[chosen["detected_60s"]],
        mode="markers",
        marker={"size": 12, "symbol": "diamond"},
        name="the model's threshold",
    )
    figure.update_xaxes(type="log", title="false alarms per coin-day")
    figure.update_yaxes(title="share of pumps", range=[0, 1.02])
    return figure


def _calibration(bins: list[Figures]) -> go.Figure:
    figure = new_figure(height=320)
    x = [part["log_odds_from"] + 0.5 for part in bins]
    figure.add_bar(x=x, y=[part["share"] for part in bins], name="share that are pumps", text=[part["spans"] for part in bins])
    figure.add_scatter(x=x, y=[part["predicted"] for part in bins], mode="lines+markers", name="said by the model")
    figure.update_xaxes(title="largest log-odds of ten minutes")
    return figure


def _contributions(shares: dict[str, float]) -> go.Figure:
    figure = new_figure(height=380)
    names = sorted(shares, key=lambda name: shares[name])
    figure.add_bar(x=[shares[name] for name in names], y=names, orientation="h")
    figure.update_xaxes(title="mean absolute contribution at the alarms, log-odds")
    figure.update_layout(margin={"l": 180}, hovermode="closest")
    return figure
