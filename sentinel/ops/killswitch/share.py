"""How much of what the account holds flattening may trade: the strategy's share, in doubt less."""

from __future__ import annotations

from typing import NamedTuple

from sentinel.host.holdings import Holding


class Share(NamedTuple):
    """Of one symbol's base asset, int64 e8.

    ``baseline``: what the account holds when flat. ``ours``: what may be sold (below zero: bought) at most, None without a
    limit of its own. ``doubtful``: what is too much or missing besides, and nothing proves to be the strategy's: it stays.
    """

    baseline: int
    ours: int | None = None
    doubtful: int = 0


def share_of(balance: int, holding: Holding) -> Share:
    """The strategy's share of ``balance``, by what the daemon last told: never more than its position, never the other way.

    What came or went since by another way, a deposit for one, is in the balance and not in the position.
    """
    excess = balance - holding.baseline
    ours = within(excess, holding.position)
    return Share(balance - ours, ours, excess - ours)


def within(amount: int, most: int) -> int:
    """``amount`` between zero and ``most``, on whichever side of zero that is."""
    return max(min(amount, most), 0) if most > 0 else min(max(amount, most), 0)
