"""The decider a command was asked for: made before the engine, gone after it, and what to report of it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from sentinel.config import CardConfig
from sentinel.errors import CardError
from sentinel.host.cards.bus import Bus
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.card_image import CardImage, read_image
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.opened import OpenedCard
from sentinel.host.cards.slots import GENERATIONS, Slot, Tree, find_slot
from sentinel.host.decider import Decider, DeciderFactory
from sentinel.image.targets import AFI
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable

CYCLE_NS = 4
#: Environment variable: the ``afi.json`` to use where neither settings nor an option name one.
AFI_VARIABLE = "SENTINEL_AFI"


def image_file(named: str, generation: str) -> Path:
    """``afi.json``: the one named, else the environment's, else the one ``sentinel build-afi`` leaves in the checkout."""
    return Path(named or os.environ.get(AFI_VARIABLE) or AFI / "build" / generation / "afi.json")


def slot_of(card: CardConfig, generation: str, tree: Tree) -> Slot:
    """The slot of the settings. Raises CardError where there is none, or one of another generation."""
    slot = find_slot(tree, card.slot)
    if slot.generation.name != generation:
        raise CardError("decider", generation, slot.generation.name, f"slot {slot.number} is of that generation")
    return slot


class DeciderChoice:
    """``cpu``, ``rtl``, ``f2`` or ``f1``, as a context: ``factory`` is what the engine's host takes, None for the CPU.

    Entering ``rtl`` builds the simulated card, or takes the one built before; ``f2`` and ``f1`` open the slot of ``card``,
    which must hold the image that afi.json names. Raises CardError where there is no such card.
    """

    def __init__(self, name: str, console: Console, card: CardConfig | None = None) -> None:
        self.name = name
        self._console = console
        self._card = card or CardConfig()
        self._open = ExitStack()
        self._image: CardImage | None = None
        self._driver: CardDriver | None = None
        self._loaded: tuple[int, bytes, bool] | None = None
        self._decider: CardDecider | None = None

    def __enter__(self) -> DeciderChoice:
        bus = self._bus()
        if bus is not None:
            try:
                self._driver = CardDriver(bus)
                self._driver.identify()
                self._driver.start()
            except BaseException:
                self._open.close()
                raise
        return self

    def _bus(self) -> Bus | None:
        if self.name == "rtl":
            # Only here: without a card no command needs the tools that build one.
            from sentinel.sim.card.simulated import SimulatedCard

            with self._console.status("simulated card") as status:
                return self._open.enter_context(SimulatedCard(progress=lambda text: status.update(f"simulated card: {text}")))
        if self.name in GENERATIONS:
            tree = Tree.from_environment()
            slot = slot_of(self._card, self.name, tree)
            self._image = read_image(image_file(self._card.afi, self.name))
            return self._open.enter_context(OpenedCard(slot, tree, self._image, self._card.timeout_us)).bus
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @property
    def factory(self) -> DeciderFactory | None:
        return None if self._driver is None else self._on_card

    def _on_card(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> Decider:
        assert self._driver is not None
        model = artifact.crc, rules.conditions.tobytes(), forest_on_rule
        if model != self._loaded or self._decider is None:
            self._driver.load_model(artifact, rules, forest_on_rule)
            self._decider = self._driver.decider(artifact)
            self._loaded = model
        return self._decider

    def begin(self) -> None:
        """Count from here on: what warmed the machine up is no decision of the run."""
        if self._decider is not None:
            self._decider.forget_counts()

    def report(self, counters: dict[str, int]) -> dict[str, Any]:
        """The object ``decider`` of ``--json``; ``counters`` are the engine's."""
        answered = {"decisions": counters["decisions"], "fallbacks": counters["decider_fallbacks"]}
        if self._decider is None:
            return {"name": self.name, **answered}
        card = self._decider.report()
        return {"name": self.name, **answered, "card": card, "card_faults": self._faults()}

    def _faults(self) -> dict[str, int]:
        assert self._driver is not None
        try:
            counters = self._driver.counters()
        except CardError:
            return {"lost": 1}
        return {name: count for name, count in counters.items() if count and name.startswith(("faults", "pcim_e"))}

    def notes(self, report: dict[str, Any]) -> list[str]:
        """The same for people."""
        if "card" not in report:
            return []
        card = report["card"]
        what, counted = "the FPGA core in RTL simulation (Verilator)", "counted in RTL simulation, not measured on a card"
        if self._image is not None:
            what, counted = f"the card in slot {self._card.slot}, image {self._image.agfi_id},", "counted by the card itself"
        notes = [
            f"Decider {self.name}: {what} made {card['decisions']:,} of "
            f"{report['decisions']:,} decisions; {report['fallbacks']:,} were answered by the CPU decider instead "
            f"({card['timeouts']:,} time-outs, {card['contradictions']:,} contradictions, {card['damaged']:,} damaged records).",
            f"Vector complete to decision: {card['cycles_min']} to {card['cycles_max']} cycles, mean {card['cycles_mean']:.1f} "
            f"({card['cycles_mean'] * CYCLE_NS:.0f} ns at 250 MHz), {counted}.",
        ]
        if self._image is None:
            notes[1] += " Wall-clock latency of the decision stage is the speed of the simulation."
        elif self._image.timing_violated:
            notes.append("The image did not meet its timing: no gate is armed on it.")
        if card["failed"]:
            notes.append("The card was marked failed and asked no more; the CPU decided on. sentinel card status looks into it.")
        return notes
