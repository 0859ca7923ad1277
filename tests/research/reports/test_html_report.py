from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sentinel.research.reports.html_report import MAX_SIGNAL_ROWS, render_html, write_html
from sentinel.research.reports.run_report import ReportError
from tests.research.reports.sample_run import sample_report


class _Page(HTMLParser):
    """Every tag that could load something, the ids and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [f"{tag} {values[key]}" for key in ("src", "href", "srcset", "data") if values.get(key)]
        if values.get("id"):
            self.ids.append(str(values["id"]))
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


def _parse(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    return page


def test_page_loads_nothing_from_anywhere() -> None:
    page = _parse(render_html(sample_report()))
    assert page.loads == []


def test_page_holds_every_plot_and_every_figure_of_the_run() -> None:
    page = _parse(render_html(sample_report()))
    assert {"plot-price-0", "plot-equity", "plot-latency"} <= set(page.ids)
    text = " ".join(page.text)
    for expected in (
        "Sentinel demo, seed 7",
        "3f" * 32,
        "+36.00 USDT",
        "120,000",
        "STL-0000000000001",
        "entry retrace",
        "500 µs",
    ):
        assert expected in text


def test_text_from_a_run_cannot_become_markup() -> None:
    html = render_html(sample_report(title="<script>alert(1)</script>"))
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_long_signal_list_is_cut_but_keeps_what_is_rare() -> None:
    html = render_html(sample_report())
    assert f"Signals ({MAX_SIGNAL_ROWS} of 603)" in html
    for rare in ("setup 1", "retraced 20 %", "take profit"):
        assert rare in html


def test_many_fills_start_folded_with_every_row_inside() -> None:
    report = sample_report()
    html = render_html(dataclasses.replace(report, fills=tuple(report.fills) * 12))
    assert "<summary>Fills (24)</summary>" in html
    assert html.count("0.18 USDT") == 12


def test_same_run_gives_the_same_bytes() -> None:
    assert render_html(sample_report()) == render_html(sample_report())


def test_file_is_written_whole_and_no_scratch_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.html"
    write_html(sample_report(), target)
    assert target.read_text(encoding="utf-8") == render_html(sample_report())
    assert list(target.parent.iterdir()) == [target]


def test_directory_that_cannot_exist_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportError, match=r"out = .*file"):
        write_html(sample_report(), tmp_path / "file" / "report.html")


def test_plots_are_drawn_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine; scripts/setup --all installs it")
    target = tmp_path / "report.html"
    write_html(sample_report(), target)
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=8000", "--window-size=1240,2300", "--dump-dom", target.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    body = dom[dom.rindex("<body") :]
    for plot, traces in (("price-0", 7), ("equity", 1), ("latency", 5)):
        start = body.index(f'id="plot-{plot}"')
        end = body.find('id="plot-', start + 1)
        drawn = body[start : end if end > 0 else None]
        assert len(re.findall(r'class="trace scatter ', drawn)) == traces
        assert re.search(r'<path class="(js-line|point)"[^>]* d="M[^"]{6,}', drawn)
