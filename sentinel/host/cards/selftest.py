"""A card's self test: identity, registers, model, decisions bit for bit, ring, both kill registers. It ends tripped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.registers import Ocl, Sda, Status, TripCause
from sentinel.model.artifact import ModelArtifact
from sentinel.wire import BEAT_FEATURES

#: Values that a line stuck at 0 or 1, or joined to its neighbour, would spoil; SCRATCH has 31 bits.
_PATTERNS = (0, 0x7FFFFFFF, 0x2AAAAAAA, 0x55555555, *(1 << bit for bit in range(31)))


def hard_vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors [count, 26] on all scales, with NaN, infinities, signed zeros and denormals among them."""
    rng = np.random.default_rng(seed)
    shape = count, 2 * BEAT_FEATURES
    vectors = (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 3, shape)).astype(np.float32)
    special = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-40, -1e-40], np.float32)
    chosen = rng.random(shape) < 0.15
    vectors[chosen] = rng.choice(special, int(chosen.sum()))
    return vectors


class SelfTest:
    """The steps on one card, in order; each returns what it found and raises CardError where the card is at fault.

    Args:
        driver: of a card that nobody else uses; whatever it was doing ends.
        artifact: the model to load and to compare with.
        vectors: how many to decide; more than the ring has slots, or the ring is not gone round.
    """

    def __init__(self, driver: CardDriver, artifact: ModelArtifact, vectors: int, seed: int = 1) -> None:
        self._driver, self._artifact = driver, artifact
        self._count, self._seed = vectors, seed

    def steps(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Names and steps."""
        for step in (self.identify, self.registers, self.start, self.model, self.decisions, self.ring, self.kill):
            yield step.__name__, step

    def identify(self) -> dict[str, Any]:
        """The magic, the version and the register map."""
        found = self._driver.identify()
        return {"version": ".".join(map(str, found.version)), "map_hash": f"{found.map_hash:#010x}", "trees": found.trees}

    def registers(self) -> dict[str, Any]:
        """Every bit of SCRATCH, both ways."""
        bus = self._driver.bus
        for value in _PATTERNS:
            bus.ocl_write(Ocl.SCRATCH, value)
            found = bus.ocl_read(Ocl.SCRATCH)
            if found != value:
                raise CardError(
                    "SCRATCH", f"{found:#x}", f"{value:#x}", "registers are not what was written: load the image again"
                )
        # Not 0 would mean that somebody told the gate of positions.
        bus.ocl_write(Ocl.SCRATCH, 0)
        return {"patterns": len(_PATTERNS)}

    def start(self) -> dict[str, Any]:
        """Tripped, no faults, an empty ring."""
        self._driver.start()
        return {"status": [flag.name for flag in Status if flag in self._driver.status()]}

    def model(self) -> dict[str, Any]:
        """The model, word by word, under its CRC."""
        load = self._driver.load_model(self._artifact, self._artifact.rules)
        return {"trees": load.trees, "words": len(load.words), "model_id": f"{load.model_id:#010x}"}

    def decisions(self) -> dict[str, Any]:
        """Each decision equals the CPU decider's in every bit."""
        vectors = hard_vectors(self._count, self._seed)
        decider = self._driver.decider(self._artifact)
        found = decider.score(pack_beats(vectors))
        wrong = np.flatnonzero(found != CpuDecider(self._artifact, self._artifact.rules, False).score(vectors))
        if len(wrong):
            raise CardError(
                "decisions", f"{len(wrong)} of {self._count} differ, vector {wrong[0]} first", "those of the CPU",
                "do not use this card or image: clear the slot, and report it",
            )  # fmt: skip
        report = decider.report()
        return {"vectors": self._count, "cycles_min": report["cycles_min"], "cycles_max": report["cycles_max"]}

    def ring(self) -> dict[str, Any]:
        """No record was lost or damaged, and the card counts as many as came."""
        link, slots = self._driver.link.counters(), len(self._driver.bus.ring)
        counters = self._driver.counters()
        bad = {name: link[name] for name in ("damaged", "lost_records", "stray_records") if link[name]}
        bad |= {name: count for name, count in counters.items() if count and name.startswith(("faults", "pcim_errors"))}
        if bad:
            raise CardError(
                "ring", bad, "every record whole and in order", "check bus mastering and the card's metrics: sentinel card status"
            )
        return {"records": link["records"], "slots": slots, "rounds": link["records"] // slots}

    def kill(self) -> dict[str, Any]:
        """Both kill registers trip, each noted as its own cause."""
        self._driver.kill()
        self._driver.kill_by_management()
        causes = TripCause(self._driver.bus.sda_read(Sda.TRIP_CAUSES)) & self._driver.causes()
        for cause in (TripCause.SOFTWARE_OCL, TripCause.SOFTWARE_SDA):
            if cause not in causes:
                raise CardError(
                    "TRIP_CAUSES", f"{int(causes):#x}", str(cause.name), "do not use this card: its kill register is dead"
                )
        if Status.TRIPPED not in self._driver.status():
            raise CardError("STATUS", "armed", "tripped", "do not use this card: clear the slot")
        return {"tripped": True}
