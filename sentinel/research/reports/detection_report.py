"""An evaluation of a detector, and the training of one: on a terminal and as one HTML page."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from rich.console import Console

from sentinel.research.reports.charts import new_figure
from sentinel.research.reports.detection_tables import (
    Figures,
    TextTable,
    breakdown,
    curve_table,
    data_table,
    economics_table,
    entry_table,
    event_table,
    number_text,
    row_tables,
    snapping_table,
    spike_table,
)
from sentinel.research.reports.page import page, plot, section, write_page

_CURVE = "Recall against false alarms"


def print_evaluation(result: Figures, console: Console) -> None:
    """Print every table of the evaluation."""
    for part in evaluation_tables(result):
        console.print(part.rich())


def evaluation_tables(result: Figures) -> list[TextTable]:
    """Event-wise scores, their breakdowns, the row-wise comparison, and whatever else was measured."""
    parts = [event_table("Event by event, in the stream (unseen events)", result["event_wise"]), breakdown(result)]
    parts += row_tables(result["row_wise"])
    if result["natural_spikes"]:
        parts.append(spike_table(result["natural_spikes"]))
    economics = result["economics"]
    parts.append(economics_table({"labelled pumps": economics["in_pumps"], "false alarms": economics["false"]}))
    if result["snapping"]:
        parts.append(snapping_table(result["snapping"]))
    return [*parts, data_table(result["data"])]


def write_evaluation(result: Figures, directory: Path) -> Path:
    """Write ``evaluation.html`` and ``evaluation.json`` to ``directory``; returns the former. Raises ReportError."""
    path = directory / "evaluation.html"
    write_page(path, render_evaluation(result))
    write_page(directory / "evaluation.json", json.dumps(result, indent=2) + "\n")
    return path


def render_evaluation(result: Figures) -> str:
    """The whole page."""
    name = f"Detection by the model {result['model']['name']}"
    first, *others = evaluation_tables(result)
    parts = [
        f"<h1>{escape(name)}</h1>\n<p>Events from {escape(result['unseen_from'])} on, which its training has not seen.</p>",
        first.html(),
        section(_CURVE, plot(curve_chart(result["curve"], result["event_wise"]), "curve")),
    ]
    if result["calibration"]:
        parts.append(section("Calibration", plot(_calibration(result["calibration"]), "calibration")))
    if result["contributions"]:
        chart = share_chart(result["contributions"], "mean absolute contribution at the alarms, log-odds")
        parts.append(section("What the model looks at", plot(chart, "contributions")))
    return page(name, "\n".join([*parts, *(part.html() for part in others)]))


def print_training(report: Figures, console: Console) -> None:
    """Print the scores on the test part, cross-fitted ones, the curve and what an entry would have got."""
    for part in (_test_table(report), *_training_tables(report)):
        console.print(part.rich())


def write_training(report: Figures, path: Path) -> Path:
    """Write the page of a training run to ``path``; returns it. Raises ReportError."""
    write_page(path, render_training(report))
    return path


def render_training(report: Figures) -> str:
    """The whole page."""
    name = f"Training of {report['model']}"
    lines = (
        f"Trained on events until {report['trained_until']}; {report['trees']} trees;"
        f" alarm from a margin of {number_text(report['threshold_margin'])} log-odds on,"
        f" for at most {report['alarm_budget']} false alarms per coin-day."
    )
    cross = report["cross_fitted"]
    parts = [
        f"<h1>{escape(name)}</h1>\n<p>{escape(lines)}</p>",
        _test_table(report).html(),
        section(f"{_CURVE}, cross-fitted", plot(curve_chart(cross["curve"], cross), "curve")),
        section("What the forest splits on", plot(share_chart(report["features"]["gain"], "share of the total gain"), "gain")),
        *(part.html() for part in _training_tables(report)),
        snapping_table(report["snapping"]).html(),
        data_table(report["data"]).html(),
        TextTable("Parameters", ["", "value"], [[key, str(value)] for key, value in report["parameters"].items()]).html(),
        section("Notes", "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report["notes"]) + "</ul>"),
    ]
    return page(name, "\n".join(parts))


def _training_tables(report: Figures) -> list[TextTable]:
    cross = report["cross_fitted"]
    return [
        event_table("Cross-fitted: each symbol by models fitted without it, where the threshold was chosen", cross),
        curve_table(f"{_CURVE}, cross-fitted", cross["curve"]),
        economics_table({"cross-fitted": report["economics"]}),
        entry_table(report["entry"]),
    ]


def _test_table(report: Figures) -> TextTable:
    return event_table("Event by event, in the stream (events later than the training)", report["test"])


def curve_chart(points: list[Figures], chosen: Figures) -> go.Figure:
    """Share of pumps found against false alarms over all thresholds; ``chosen``: scores at the model's own."""
    figure = new_figure(height=380)
    points = [point for point in points if point["false_alarms_per_coin_day"] > 0]
    for seconds in (5, 15, 60):
        figure.add_scatter(
            x=[point["false_alarms_per_coin_day"] for point in points],
            y=[point[f"detected_{seconds}s"] for point in points],
            mode="lines",
            name=f"within {seconds} s",
        )
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


def share_chart(shares: dict[str, float], title: str) -> go.Figure:
    figure = new_figure(height=380)
    names = sorted(shares, key=lambda name: shares[name])
    figure.add_bar(x=[shares[name] for name in names], y=names, orientation="h")
    figure.update_xaxes(title=title)
    figure.update_layout(margin={"l": 180}, hovermode="closest")
    return figure
