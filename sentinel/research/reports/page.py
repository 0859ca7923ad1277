"""What every HTML report shares: one page that needs nothing beside itself."""

from __future__ import annotations

import os
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from sentinel.html_page import section, table, whole_page
from sentinel.research.reports.run_report import ReportError

__all__ = ["page", "plot", "section", "table", "write_page"]


def page(title: str, body: str) -> str:
    """The whole page, plotly included, no reference to any other file or host. ``body`` is ready HTML."""
    return whole_page(title, body, f"<script>{get_plotlyjs()}</script>\n")


def write_page(path: Path, content: str) -> None:
    """Write ``content`` atomically. Raises ReportError where the file cannot be written."""
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(content, encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise ReportError("out", str(path), "a writable file", f"choose another directory ({error.strerror})") from None


def plot(figure: go.Figure, name: str) -> str:
    config = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{name}", config=config))
