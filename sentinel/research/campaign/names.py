"""The order ids of a campaign: the daemon's store has a stated tag, so that a seed sends the same bytes each time."""

from __future__ import annotations

from sentinel.host.venues.order_names import TextNames
from sentinel.wire import client_key

ORDER_TAG = "CAMPA1GN"
#: Ids of the daemon under test.
NAMES = TextNames(ORDER_TAG)
_ELSEWHERE = TextNames("E1SEWHRE")


def by_hand(number: int) -> str:
    """The id of somebody else's order: every other one is that of another store, with a key the daemon gives out too."""
    return f"by-hand-{number}" if number % 2 else _ELSEWHERE.order(client_key(1, 1, number // 2))
