"""The decider and the gate a command was asked for: made before the engine, gone after it, and what to report of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from sentinel.config import CardConfig
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import CardError
from sentinel.host.cards.attached import AttachedCard
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
from sentinel.units import CARD_TICK_NS

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
    """A decider ``cpu``, ``rtl``, ``f2``, ``f1`` or ``pynq`` and a gate ``software`` or that same card, as a context.

    ``factory`` is what the engine's host takes, None for the CPU; ``attached`` the daemon's card, None where there is none.
    Entering ``rtl`` builds the simulated card, or takes the one built before; ``f2`` and ``f1`` open the slot of ``card``,
    which must hold the image that afi.json names; ``pynq`` loads its overlay. Raises CardError where there is no such card,
    and for a gate on an image that did not meet its timing.
    """

    def __init__(self, name: str, console: Console, gate: str = "software", card: CardConfig | None = None) -> None:
        self.name, self.gate = name, gate
        self.attached: AttachedCard | None = None
        self._console = console
        self._card = card or CardConfig()
        self._open = ExitStack()
        self._image: CardImage | None = None
        self._driver: CardDriver | None = None
        self._loaded: tuple[int, bytes, bool] | None = None
        self._decider: CardDecider | None = None

    def __enter__(self) -> DeciderChoice:
        try:
            self._attach()
        except BaseException:
            self._open.close()
            raise
        return self

    def _attach(self) -> None:
        name = self.name if self.name != "cpu" else self.gate
        follow: Callable[[int], None] | None = None
        bus: Bus
        if name == "rtl":
            # Only here: without a card no command needs the tools that build one.
            from sentinel.sim.card.simulated import SimulatedCard

            with self._console.status("simulated card") as status:
                card = self._open.enter_context(SimulatedCard(progress=lambda text: status.update(f"simulated card: {text}")))
            bus, follow = card, card.follow
        elif name in GENERATIONS:
            tree = Tree.from_environment()
            slot = slot_of(self._card, name, tree)
            self._image = read_image(image_file(self._card.afi, name))
            if self.gate == name:
                self._image.need_clean_timing()
            bus = self._open.enter_context(OpenedCard(slot, tree, self._image, self._card.timeout_us)).bus
        elif name == "pynq":
            # Only here: it is an extra that few have.
            from sentinel.host.cards.pynq_board import PynqBus

            board = PynqBus(Path(self._card.overlay))
            self._open.callback(board.close)
            bus = board
        else:
            return
        self._driver = CardDriver(bus)
        self._driver.identify()
        self._driver.start()
        self.attached = AttachedCard(self._driver, follow)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @property
    def factory(self) -> DeciderFactory | None:
        return None if self.name == "cpu" else self._on_card

    def _on_card(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> Decider:
        assert self._driver is not None
        assert self.attached is not None
        model = artifact.crc, rules.conditions.tobytes(), forest_on_rule
        if model != self._loaded or self._decider is None:
            self._driver.load_model(artifact, rules, forest_on_rule)
            self._decider = self._driver.decider(artifact, shadow=CpuDecider(artifact, rules, forest_on_rule))
            self.attached.health.decider = self._decider
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
        assert self.attached is not None
        card = {**self._decider.report(), "trouble": self.attached.health.trouble}
        return {"name": self.name, **answered, "card": card, "card_faults": self._faults()}

    def gate_report(self) -> dict[str, Any]:
        """The object ``gate`` of ``--json``."""
        card = None if self.attached is None else self.attached.gate
        if card is None:
            return {"name": self.gate}
        return {"name": self.gate, **card.counts, "lost": card.lost, "card_faults": self._faults()}

    def _faults(self) -> dict[str, int]:
        """What the card counted against its beats; ``lost`` where it can not be asked any more."""
        assert self._driver is not None
        try:
            counted = self._driver.counters()
        except CardError:
            return {"lost": 1}
        return {name: count for name, count in counted.items() if count and name.startswith(("faults", "pcim_e"))}

    def notes(self, report: dict[str, Any], gate: dict[str, Any] | None = None) -> list[str]:
        """Both reports for people."""
        what, counted = f"the board with {Path(self._card.overlay).name}", "counted by the card itself"
        if self._image is not None:
            what = f"the card in slot {self._card.slot}, image {self._image.agfi},"
        elif "rtl" in (self.name, self.gate):
            what, counted = "the FPGA core in RTL simulation (Verilator)", "counted in RTL simulation, not measured on a card"
        notes = []
        if gate is not None and "permits" in gate:
            lost = f" Lost: {gate['lost']}." if gate["lost"] else ""
            notes.append(
                f"Gate {self.gate}: {what} permitted {gate['permits']:,} orders and refused {gate['rejects']:,}, "
                f"after the software's controls.{lost}"
            )
        if "card" not in report:
            return notes
        card = report["card"]
        notes.append(
            f"Decider {self.name}: {what} made {card['decisions']:,} of "
            f"{report['decisions']:,} decisions; {report['fallbacks']:,} were answered by the CPU decider instead "
            f"({card['timeouts']:,} time-outs, {card['contradictions']:,} contradictions, {card['damaged']:,} damaged records)."
        )
        cycles = (
            f"Vector complete to decision: {card['cycles_min']} to {card['cycles_max']} cycles, mean {card['cycles_mean']:.1f} "
            f"({card['cycles_mean'] * CARD_TICK_NS:.0f} ns at 250 MHz), {counted}."
        )
        if self.name == "rtl":
            cycles += " Wall-clock latency of the decision stage is the speed of the simulation."
        notes.append(cycles)
        if self._image is not None and self._image.timing_violated:
            notes.append("The image did not meet its timing: no gate is armed on it.")
        if card["failed"]:
            notes.append(
                f"The card was marked failed and asked no more ({card['trouble']}); the CPU decided on. "
                "sentinel card status looks into it."
            )
        return notes
