"""What the account holds is read exactly as it was told, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.holdings import HOLDINGS_NAME, Holding, Holdings, HoldingsWriter, read_holdings

E8_AMOUNTS = st.integers(-(2**63), 2**63 - 1)
SYMBOLS = ["AAAUSDT", "BBBUSDT"]


@given(rows=st.lists(st.tuples(E8_AMOUNTS, E8_AMOUNTS), min_size=2, max_size=2), t_ns=st.integers(0, 2**62))
def test_what_is_told_is_read(rows: list[tuple[int, int]], t_ns: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("holdings")
    writer = HoldingsWriter(directory, SYMBOLS)
    assert read_holdings(directory, SYMBOLS) is None
    writer.publish(t_ns, *np.array(rows, np.int64).T)
    assert read_holdings(directory, SYMBOLS) == Holdings(t_ns, dict(zip(SYMBOLS, (Holding(*row) for row in rows), strict=True)))
    # The same amounts under other names are of other coins.
    assert read_holdings(directory, SYMBOLS[::-1]) is None
    assert read_holdings(directory, SYMBOLS[:1]) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 80, bytes(80)])
def test_what_is_not_whole_is_none(damage: bytes, tmp_path: Path) -> None:
    assert read_holdings(tmp_path, SYMBOLS) is None
    HoldingsWriter(tmp_path, SYMBOLS).publish(5, np.ones(2, np.int64), np.ones(2, np.int64))
    (tmp_path / HOLDINGS_NAME).write_bytes(damage)
    assert read_holdings(tmp_path, SYMBOLS) is None
