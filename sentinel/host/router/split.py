"""The cheapest way to fill a quantity from several offers, exactly, in integers.

Each offer sells multiples of its step at a cost that rises with the quantity, and, if it is used at all, at least
``low``. As much as possible is filled; among the ways to do so the cheapest is taken. Without lows this is a separable
convex allocation, solved from the finest step to the coarsest: steps of one size are merged by cost, what the next
coarser step cannot express is taken, and the rest is regrouped into blocks of that step. Lows are settled by branching
on the offers that fell below theirs. Steps are powers of ten at every venue known; one that the finer ones do not
divide is coarsened to a common multiple, where a better way may be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Offer:
    """What one venue sells. ``levels``: (quantity, cost a unit), cheapest first; ``low`` and ``high`` bound what is used.

    ``latency_ns`` decides between equal costs.
    """

    levels: tuple[tuple[int, int], ...]
    step: int
    low: int
    high: int
    latency_ns: int = 0

    def cost(self, qty: int) -> int:
        """Of the first ``qty``."""
        total = 0
        for available, unit in self.levels:
            used = min(available, qty)
            total += used * unit
            qty -= used
        return total


class _Run(NamedTuple):
    """``times`` equal blocks; ``parts`` are (offer, quantity) of one. Runs sort by cost, then latency, then offer."""

    cost: int
    latency_ns: int
    number: int
    times: int
    parts: tuple[tuple[int, int], ...]


def split(qty: int, offers: Sequence[Offer]) -> list[int]:
    """How much to take of each offer, ``qty`` at most in all."""
    search = _Search(qty, _coarsened(offers))
    search.branch([0] * len(offers), frozenset())
    return search.best


def _coarsened(offers: Sequence[Offer]) -> list[Offer]:
    """Every step a multiple of the finer ones, and bounds that are multiples of it."""
    steps: dict[int, int] = {}
    finer = 1
    for step in sorted({offer.step for offer in offers}):
        steps[step] = finer = lcm(finer, step)
    result = []
    for offer in offers:
        step = steps[offer.step]
        depth = sum(available for available, _ in offer.levels)
        low = max(-(-offer.low // step), 1) * step
        high = min(offer.high, depth) // step * step
        result.append(Offer(offer.levels, step, low, high if high >= low else 0, offer.latency_ns))
    return result


class _Search:
    """Branch and bound over which offers are used; ``best`` is the best way found so far."""

    def __init__(self, qty: int, offers: list[Offer]) -> None:
        self.best = [0] * len(offers)
        self._qty = qty
        self._offers = offers
        self._value = (0, 0)

    def branch(self, floors: list[int], closed: frozenset[int]) -> None:
        """The offers with a floor are used, those ``closed`` are not, the others as it turns out."""
        taken = _allocate(self._qty, self._offers, floors, closed)
        if taken is None:
            return
        value = (-sum(taken), sum(offer.cost(part) for offer, part in zip(self._offers, taken, strict=True)))
        if value >= self._value:
            return
        for k, offer in enumerate(self._offers):
            if 0 < taken[k] < offer.low:
                self.branch([*floors[:k], offer.low, *floors[k + 1 :]], closed)
                self.branch(floors, closed | {k})
                return
        self.best, self._value = taken, value


def _allocate(qty: int, offers: list[Offer], floors: list[int], closed: frozenset[int]) -> list[int] | None:
    """The best way that takes at least the floors and nothing of the closed offers, whatever the other lows; None for none."""
    room = qty - sum(floors)
    if room < 0:
        return None
    taken = list(floors)
    use = [k for k, offer in enumerate(offers) if k not in closed and offer.high > floors[k]]
    steps = sorted({offers[k].step for k in use})
    # Coarse steps first fill the most, as every step divides the coarser ones.
    wanted = 0
    for step in reversed(steps):
        capacity = sum(offers[k].high - floors[k] for k in use if offers[k].step == step)
        wanted += min((room - wanted) // step * step, capacity)
    runs: list[_Run] = []
    for position, step in enumerate(steps):
        runs = sorted([*runs, *(run for k in use if offers[k].step == step for run in _runs(k, offers[k], floors[k]))])
        coarser = steps[position + 1] if position + 1 < len(steps) else None
        now = wanted if coarser is None else wanted % coarser
        runs = _take(runs, now // step, taken)
        wanted -= now
        if coarser is not None:
            runs = _regrouped(runs, coarser // step)
    return taken


def _runs(number: int, offer: Offer, floor: int) -> list[_Run]:
    """What an offer sells beyond ``floor``, in steps."""
    runs: list[_Run] = []
    left = (offer.high - floor) // offer.step
    begun = begun_cost = 0
    skip = floor

    def add(cost: int, count: int) -> None:
        nonlocal left
        if count := min(count, left):
            runs.append(_Run(cost, offer.latency_ns, number, count, ((number, offer.step),)))
            left -= count

    for available, unit in offer.levels:
        skipped = min(skip, available)
        skip -= skipped
        qty = available - skipped
        if begun:
            used = min(offer.step - begun, qty)
            begun, begun_cost, qty = begun + used, begun_cost + used * unit, qty - used
            if begun == offer.step:
                add(begun_cost, 1)
                begun = begun_cost = 0
        if not begun:
            add(unit * offer.step, qty // offer.step)
            begun = qty % offer.step
            begun_cost = begun * unit
    return runs


def _take(runs: list[_Run], blocks: int, taken: list[int]) -> list[_Run]:
    """Add the first ``blocks`` to ``taken``; returns the runs that are left."""
    for position, run in enumerate(runs):
        used = min(blocks, run.times)
        for number, qty in run.parts:
            taken[number] += used * qty
        blocks -= used
        if used < run.times:
            return [run._replace(times=run.times - used), *runs[position + 1 :]]
    return []


def _regrouped(runs: list[_Run], size: int) -> list[_Run]:
    """Blocks of ``size`` blocks each, in the same order; what does not fill the last one is left out."""
    result: list[_Run] = []
    begun: list[tuple[_Run, int]] = []
    have = 0
    for run in runs:
        count = run.times
        if have:
            used = min(count, size - have)
            begun.append((run, used))
            have, count = have + used, count - used
            if have == size:
                result.append(_joined(begun))
                begun, have = [], 0
        if count >= size:
            result.append(_joined([(run, size)])._replace(times=count // size))
            count %= size
        if count:
            begun, have = [(run, count)], count
    return result


def _joined(pieces: list[tuple[_Run, int]]) -> _Run:
    parts = tuple((number, qty * used) for run, used in pieces for number, qty in run.parts)
    first = pieces[0][0]
    return _Run(sum(run.cost * used for run, used in pieces), first.latency_ns, first.number, 1, parts)
