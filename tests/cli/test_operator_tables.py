"""What an operator reads of a running daemon, on a terminal that is too narrow for it."""

from __future__ import annotations

import io

from rich.console import Console

from sentinel.cli.operator import _print_table


def test_no_digit_of_a_quantity_is_cut_off_on_a_narrow_terminal() -> None:
    columns = tuple(f"column_{number}" for number in range(9))
    quantity = "1234567.87654321"
    text = io.StringIO()
    _print_table(Console(file=text, width=80), columns, [dict.fromkeys(columns, quantity)], "nothing")
    rows = [line.split("│")[1:-1] for line in text.getvalue().splitlines() if "│" in line]
    assert "…" not in text.getvalue()
    assert ["".join(cells).replace(" ", "") for cells in zip(*rows, strict=True)] == [quantity] * len(columns)
