"""The figures of a detector as titled tables of text, for a terminal and for a page."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from rich import box
from rich.table import Table as RichTable

from sentinel.research.reports.page import section, table

Figures = dict[str, Any]

#: Event-wise targets: share within 60 s, within 15 s, median delay, false alarms per coin-day.
_TARGETS = {
    "detected_60s": ">= 0.95",
    "detected_15s": ">= 0.80",
    "delay_median_s": "<= 5",
    "false_alarms_per_coin_day": "<= 0.02",
}
_WORKS = {
    "la_morgia_2020": "La Morgia 2020, as printed",
    "la_morgia_2023": "La Morgia 2023, as printed",
    "random_forest": "Random Forest (Reibel 2024), as printed",
    "c_lstm": "C-LSTM (Reibel 2024), as printed",
    "anomaly_transformer": "Anomaly Transformer (Reibel 2024), as printed",
    "autoencoder": "Autoencoder (Reibel 2024), as printed",
    "variational_autoencoder": "Variational autoencoder (Reibel 2024), as printed",
}
_BASELINES = {"random_forest": "Random Forest, 12 features", "xgboost": "XGBoost, 12 features"}
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
    ("hard_negatives", "hard negatives"),
    ("hard_negatives_alarmed", "hard negatives alarmed"),
    ("precision_60s", "precision (hits within 60 s)"),
)
_SHARES = ("events", "detected_15s", "detected_60s", "delay_median_s", "false_alarms_per_coin_day", "precision_60s")


class TextTable(NamedTuple):
    """A titled table; the first column names the row, the others are right-aligned."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def rich(self) -> RichTable:
        found = RichTable(title=self.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(self.columns):
            found.add_column(column, justify="right" if number else "left", no_wrap=bool(number))
        for row in self.rows:
            found.add_row(*row)
        return found

    def html(self) -> str:
        cells = [[escape(cell) for cell in row] for row in self.rows]
        return section(escape(self.title), table(self.columns, cells, self.columns[1:]))


def number_text(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _interval(figures: Figures, name: str) -> str:
    found = figures["intervals"].get(name)
    return f"{number_text(found[0])} to {number_text(found[1])}" if found else ""


def event_table(title: str, figures: Figures) -> TextTable:
    """Event-wise scores with their intervals, beside the targets."""
    rows = [[label, number_text(figures[name]), _interval(figures, name), _TARGETS.get(name, "")] for name, label in _EVENT_ROWS]
    return TextTable(title, ["", "measured", "95 % interval", "target"], rows)


def breakdown(result: Figures) -> TextTable:
    """By year, by activity of the coin, and at the stated budget of false alarms."""
    columns = ["part", "pumps", "in 15 s", "in 60 s", "delay", "false/day", "precision"]
    years = result["by_year"].items()
    parts = [(f"{year}, seen in training", part["seen"]) for year, part in years if part["seen"]]
    parts += [(f"{year}, unseen", part["unseen"]) for year, part in years if part["unseen"]]
    parts += [(f"{name} coins, unseen", part) for name, part in result["by_activity"].items()]
    if stated := result["at_budget"]:
        parts.append((f"unseen, at a budget of {stated['budget']}", stated))
    rows = [[label, *(number_text(part[name]) for name in _SHARES)] for label, part in parts]
    title = "By year, by activity of the coin, at a stated budget: shares, median delay (s), false alarms per coin-day"
    return TextTable(title, columns, rows)


def row_tables(row_wise: Figures) -> list[TextTable]:
    """A table for all rows kept and one for 30 minutes after onset dropped, as the published matrices are."""
    chunks = [chunk for chunk in ("25s", "15s", "5s") if chunk in row_wise]
    if not chunks:
        return []
    tables = []
    for title, kind in (("all rows kept", "all"), ("30 minutes after onset dropped", "dropped")):
        rows = [["XGBoost, engine's vectors", *(_cell(row_wise[c] if kind == "all" else row_wise[c]["dropped"]) for c in chunks)]]
        rows += [[label, *(_cell(row_wise[c][name][kind]) for c in chunks)] for name, label in _BASELINES.items()]
        if kind == "all" and all(row_wise[c]["model"] for c in chunks):
            rows.append(["this model's alarms, unseen events", *(_cell(row_wise[c]["model"]) for c in chunks)])
        if kind == "dropped":
            works = row_wise[chunks[0]]["published"]
            rows += [[_WORKS[name], *(_cell(row_wise[c]["published"][name]) for c in chunks)] for name in works]
        tables.append(TextTable(f"Row by row, {title}: precision/recall/F1", ["", *chunks], rows))
    return tables


def _cell(figures: Figures) -> str:
    return "/".join(f"{figures[name]:.3f}" for name in ("precision", "recall", "f1") if name in figures)


def spike_table(spikes: Figures) -> TextTable:
    """What natural spikes among the rows do to the models on the published features."""
    kinds = ("without", "with")
    rows = [[label, *(_cell(spikes[name][kind]) for kind in kinds)] for name, label in _BASELINES.items()]
    rows += [[_WORKS[name], *(_cell(work[kind]) for kind in kinds)] for name, work in spikes["published"].items()]
    title = f"Natural spikes, chunks of {spikes['chunk_s']} s: precision/recall/F1 (printed: precision/recall)"
    return TextTable(title, ["", "without spikes", "with spikes"], rows)


def curve_table(title: str, points: list[Figures]) -> TextTable:
    """Shares found at each threshold that differs from the one before in its false alarms."""
    rows = []
    for point, after in zip(points, [*points[1:], None], strict=True):
        if after is None or after["false_alarms_per_coin_day"] != point["false_alarms_per_coin_day"]:
            shares = [percent(point[f"detected_{seconds}s"]) for seconds in (5, 15, 60)]
            rows.append([f"{point['threshold']:g}", number_text(point["false_alarms_per_coin_day"]), *shares])
    return TextTable(title, ["threshold", "false per coin-day", "in 5 s", "in 15 s", "in 60 s"], rows)


def economics_table(economics: dict[str, Figures]) -> TextTable:
    """How alarms fared on prints, before fees, by the time from alarm to entry; one part a name."""
    rows = []
    for label, alarms in economics.items():
        for delay, part in alarms["by_delay"].items():
            shares = [percent(part[key]) for key in ("gain_median", "gain_mean", "win_share", "adverse_median", "adverse_p90")]
            rows.append([f"{label}, {delay}", f"{part['traded']}/{part['alarms']}", *shares])
    columns = ["alarms, entered after", "traded", "median", "mean", "> 0.3 %", "adverse", "its p90"]
    title = "What a contrarian could have got on prints, before fees: gain, share above 0.3 %, largest adverse move"
    return TextTable(title, columns, rows)


def entry_table(entry: Figures) -> TextTable:
    """The router's entry on training alarms: today's, the best found and the one to use."""
    rows = []
    for name in ("present", "best", "chosen"):
        part = entry[name]
        shape = f"{part['retrace_bps'] / 100:g} % back or {part['wait_s']:g} s, in {part['expiry_s']:g} s"
        interval = part["mean_interval"]
        spread = f"{percent(interval[0])} to {percent(interval[1])}" if interval else "-"
        entered = f"{part['entered']}/{part['setups']}"
        rows.append([f"{name}: {shape}", entered, percent(part["mean"]), spread, percent(part["win_share"])])
    return TextTable("The router's entry, on training alarms, net of fees", ["", "entered", "mean", "95 % interval", "won"], rows)


def data_table(counts: Figures) -> TextTable:
    """What was read, and what was put right or left out."""
    flat = {name: value for name, value in counts.items() if isinstance(value, int)}
    flat |= {f"rows, {name}": value for name, value in counts.get("rows", {}).items()}
    return TextTable("The data", ["", "count"], [[name.replace("_", " "), f"{value:,}"] for name, value in flat.items()])


def snapping_table(snapping: Figures) -> TextTable:
    """What snapping to the exact grid changed."""
    names = {
        "rows": "rows compared",
        "decisions_flipped": "decisions flipped",
        "largest_margin_shift": "largest shift of a margin, log-odds",
        "grid_bits": "bits of the grid",
    }
    rows = [[label, number_text(snapping[name])] for name, label in names.items()]
    return TextTable("Snapping to the exact grid", ["", "measured"], rows)
