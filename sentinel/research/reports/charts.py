"""The plots of the run report, as plotly figures that read well on a light and on a dark page."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from sentinel.research.reports import text
from sentinel.research.reports.run_report import EquityPath, Fill, Int64Array, PricePath, RunReport, Signal, StageLatency
from sentinel.wire import SignalCode

# Mid-tones that keep their contrast on white and on near-black, and stay apart for colour-blind readers.
INK = "#7d8590"
GRID = "rgba(125,133,144,0.22)"
PRICE = "#4c8dd6"
BUY = "#1a9e77"
SELL = "#d95f02"
SIGNAL = "#b07cd8"
BUDGET = "#d1242f"
STAGE_COLOURS = ("#4c8dd6", "#1a9e77", "#c99700", "#d95f02", "#b07cd8", "#8c6d5a")

# A logarithmic axis has no zero: an empty bucket is drawn below one event.
_EMPTY_BUCKET = 0.5

#: A browser stays quick with this many points a line; extremes survive the thinning.
MAX_POINTS = 6_000

# Signals worth a marker on the price; fills have markers of their own, refusals are rows of the table.
_SHOWN = {
    SignalCode.ANOMALY: ("anomaly", "circle-open"),
    SignalCode.ARMED: ("setup armed", "diamond-open"),
    SignalCode.ENTRY: ("entry", "star-open"),
    SignalCode.EXIT: ("exit", "square-open"),
    SignalCode.KILLED: ("killed", "x"),
}
#: An anomaly can persist over thousands of trades; only the first of each burst is drawn.
_BURST_GAP_NS = 2_000_000_000


def thin_series(t_ns: Int64Array, values: Int64Array, limit: int = MAX_POINTS) -> tuple[Int64Array, Int64Array]:
    """At most ``limit`` points (limit >= 4) that keep the first, the last and each bucket's lowest and highest point."""
    count = len(values)
    if count <= limit:
        return t_ns, values
    buckets = np.array_split(np.arange(count), max(1, (limit - 2) // 2))
    keep = {0, count - 1}
    for bucket in buckets:
        part = values[bucket]
        keep.add(int(bucket[int(np.argmin(part))]))
        keep.add(int(bucket[int(np.argmax(part))]))
    chosen = np.array(sorted(keep))
    return t_ns[chosen], values[chosen]


def price_chart(report: RunReport, path: PricePath) -> go.Figure:
    """Price of one symbol with its known events shaded and its signals and fills marked."""
    figure = new_figure(height=380)
    t_ns, price = thin_series(path.t_ns, path.price_e8)
    figure.add_trace(
        go.Scatter(
            x=_times(t_ns), y=_units(price), name="price", mode="lines", line={"color": PRICE, "width": 1.3}, hoverinfo="x+y"
        )
    )
    for event in report.known_events:
        if event.symbol == path.symbol:
            first, last = (str(moment) for moment in _times(np.array([event.start_ns, event.end_ns])))
            figure.add_vrect(
                x0=first,
                x1=last,
                fillcolor="rgba(217,95,2,0.10)",
                line_width=0,
                annotation_text=f"simulated {event.kind}",
                annotation_position="bottom left",
            )
    for code, (label, marker) in _SHOWN.items():
        chosen = first_of_bursts([signal for signal in report.signals if signal.symbol == path.symbol and signal.code == code])
        if chosen:
            figure.add_trace(_signal_markers(chosen, label, marker))
    for side, colour, marker in (("BUY", BUY, "triangle-up"), ("SELL", SELL, "triangle-down")):
        fills = [fill for fill in report.fills if fill.symbol == path.symbol and fill.side == side]
        if fills:
            figure.add_trace(_fill_markers(fills, side, colour, marker))
    figure.update_yaxes(title_text=report.quote_asset)
    return figure


def first_of_bursts(signals: list[Signal]) -> list[Signal]:
    """The signals that follow the one before by more than two seconds, in time order."""
    ordered = sorted(signals, key=lambda signal: signal.t_ns)
    return [s for i, s in enumerate(ordered) if i == 0 or s.t_ns - ordered[i - 1].t_ns > _BURST_GAP_NS]


def equity_chart(report: RunReport, path: EquityPath) -> go.Figure:
    """Equity over time in the quote asset."""
    figure = new_figure(height=300)
    t_ns, equity = thin_series(path.t_ns, path.equity_e8)
    figure.add_trace(
        go.Scatter(
            x=_times(t_ns), y=_units(equity), name="equity", mode="lines", line={"color": PRICE, "width": 1.6, "shape": "hv"}
        )
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(title_text=report.quote_asset, tickformat=",.2f")
    return figure


def latency_chart(stages: list[StageLatency], budget_ns: int) -> go.Figure:
    """Events per latency bucket of every stage, both axes logarithmic, with the budget as a line."""
    figure = new_figure(height=380)
    for stage, colour in zip(stages, _cycle(len(stages)), strict=True):
        floors, counts = _eighths(stage)
        figure.add_trace(
            go.Scatter(
                x=floors / 1_000.0,
                y=np.maximum(counts, _EMPTY_BUCKET),
                customdata=counts,
                name=stage.stage,
                mode="lines",
                line={"color": colour, "width": 1.8, "shape": "hv"},
                hovertemplate="%{x:.3g} µs: %{customdata} events",
            )
        )
    figure.add_vline(x=budget_ns / 1_000.0, line={"color": BUDGET, "width": 2, "dash": "dash"})
    figure.add_annotation(
        x=float(np.log10(budget_ns / 1_000.0)),
        y=1.0,
        yref="paper",
        xanchor="right",
        xshift=-6,
        text=f"budget {text.latency(budget_ns)}",
        showarrow=False,
        font={"color": BUDGET},
    )
    tallest = max((int(stage.counts.max()) for stage in stages if len(stage.counts)), default=1)
    figure.update_xaxes(type="log", title_text="µs", tickformat="~g", dtick=1)
    figure.update_yaxes(
        type="log", title_text="events", tickformat="~s", dtick=1, range=[np.log10(_EMPTY_BUCKET * 1.3), np.log10(tallest * 4)]
    )
    figure.update_layout(hovermode="closest")
    return figure


def _eighths(stage: StageLatency) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Counts merged into eight buckets per power of two: their smallest latency in ns and their counts, zeros included."""
    if not len(stage.counts):
        return np.zeros(0), np.zeros(0, np.int64)
    index = np.floor(np.log2(np.maximum(stage.floor_ns, 1)) * 8).astype(np.int64)
    first = int(index[0])
    # One empty bucket on each side, so that the outline starts and ends on the axis.
    merged = np.zeros(int(index[-1]) - first + 3, np.int64)
    np.add.at(merged, index - first + 1, stage.counts)
    return 2.0 ** ((np.arange(len(merged)) + first - 1) / 8), merged


def _cycle(count: int) -> list[str]:
    return [STAGE_COLOURS[i % len(STAGE_COLOURS)] for i in range(count)]


def _signal_markers(signals: list[Signal], label: str, marker: str) -> go.Scatter:
    return go.Scatter(
        x=_times(np.array([signal.t_ns for signal in signals])),
        y=_units(np.array([signal.price_e8 for signal in signals])),
        name=label,
        mode="markers",
        marker={"symbol": marker, "size": 11, "color": SIGNAL, "line": {"width": 1.6}},
        customdata=[[signal.margin, signal.detail] for signal in signals],
        hovertemplate=label + " at %{y}<br>margin %{customdata[0]} %{customdata[1]}<extra></extra>",
    )


def _fill_markers(fills: list[Fill], side: str, colour: str, marker: str) -> go.Scatter:
    return go.Scatter(
        x=_times(np.array([fill.t_ns for fill in fills])),
        y=_units(np.array([fill.price_e8 for fill in fills])),
        name=f"{side} fill",
        mode="markers",
        marker={"symbol": marker, "size": 13, "color": colour, "line": {"width": 1, "color": "rgba(255,255,255,0.8)"}},
        customdata=[[text.quantity(fill.qty_e8), text.words(fill.reason)] for fill in fills],
        hovertemplate=side + " %{customdata[0]} at %{y}<br>%{customdata[1]}<extra></extra>",
    )


def new_figure(height: int) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 16, "t": 12, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GRID, "activecolor": INK},
        hoverlabel={"bgcolor": "#2d333b", "font": {"color": "#f0f3f6"}, "bordercolor": INK},
    )
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(gridcolor=GRID, zerolinecolor=GRID, linecolor=GRID, showline=True, ticks="outside", tickcolor=GRID)
    return figure


def _times(t_ns: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(t_ns, np.int64).astype("datetime64[ns]").astype("datetime64[us]")


def _units(values_e8: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values_e8, np.int64) / 1e8
