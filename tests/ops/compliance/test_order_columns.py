"""The table of the order record's columns says what the code writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sentinel.ops.compliance.orders import COLUMNS, EMPTY_COLUMNS

PAGE = Path(__file__).parents[3] / "docs" / "compliance.md"


def _columns_of_the_page() -> list[str]:
    rows = PAGE.read_text(encoding="utf-8").split("| subject | 2025/416 | columns |")[1].split("\n\n")[0]
    return [name for row in rows.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.rsplit("|", 2)[1])]


@pytest.mark.control("E9")
def test_every_column_of_the_table_is_written_and_once_only() -> None:
    named = _columns_of_the_page()
    assert set(named) <= set(COLUMNS)
    assert len(named) == len(set(named)) > 40


def test_every_empty_column_is_one_of_the_law_and_not_of_our_own() -> None:
    assert set(EMPTY_COLUMNS) <= set(_columns_of_the_page())
    assert len(COLUMNS) == len(set(COLUMNS))
