from __future__ import annotations

import pytest

from sentinel.host.venues.fix.dialect import BINANCE, COINBASE, Dialect


@pytest.mark.parametrize("dialect", [BINANCE, COINBASE])
def test_a_tag_changes_the_ids_of_orders_and_nothing_else(dialect: Dialect) -> None:
    tagged = dialect.tagged("7K3M9QXA")
    assert tagged.names.key(tagged.names.order(7)) == 7
    assert dialect.names.key(tagged.names.order(7)) is None
    assert {name for name in Dialect.__slots__ if getattr(tagged, name) != getattr(dialect, name)} == {"names"}
