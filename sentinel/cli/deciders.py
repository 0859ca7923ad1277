"""The decider and the gate a command was asked for: made before the engine, gone after it, and what to report of them."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import CardError
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.decider import Decider, DeciderFactory
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable
from sentinel.units import CARD_TICK_NS


class DeciderChoice:
    """A decider ``cpu`` or ``rtl`` and a gate ``software`` or ``rtl``, as a context.

    ``factory`` is what the engine's host takes, None for the CPU; ``attached`` the daemon's card, None where there is none.
    Entering ``rtl`` builds the simulated card, or takes the one built before; raises CardError where it cannot.
    """

    def __init__(self, name: str, console: Console, gate: str = "software") -> None:
        self.name, self.gate = name, gate
        self.attached: AttachedCard | None = None
        self._console = console
        self._card: Any = None
        self._driver: CardDriver | None = None
        self._loaded: tuple[int, bytes, bool] | None = None
        self._decider: CardDecider | None = None

    def __enter__(self) -> DeciderChoice:
        if "rtl" in (self.name, self.gate):
            # Only here: without a card no command needs the tools that build one.
            from sentinel.sim.card.simulated import SimulatedCard

            with self._console.status("simulated card") as status:
                self._card = SimulatedCard(progress=lambda text: status.update(f"simulated card: {text}"))
            self._driver = CardDriver(self._card)
            self._driver.identify()
            self._driver.start()
            self.attached = AttachedCard(self._driver, self._card.follow)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._card is not None:
            self._card.close()

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
        """What the card counted against its beats; nothing where it can't be asked any more."""
        assert self._driver is not None
        try:
            counted = self._driver.counters()
        except CardError:
            return {}
        return {name: count for name, count in counted.items() if count and name.startswith(("faults", "pcim_e"))}

    def notes(self, report: dict[str, Any], gate: dict[str, Any] | None = None) -> list[str]:
        """Both reports for people."""
        notes = []
        if gate is not None and "permits" in gate:
            notes = [
                f"Gate {self.gate}: the FPGA core in RTL simulation (Verilator) permitted {gate['permits']:,} orders and refused "
                f"{gate['rejects']:,}, after the software's controls." + (f" Lost: {gate['lost']}." if gate["lost"] else "")
            ]
        if "card" not in report:
            return notes
        card = report["card"]
        return [
            *notes,
            f"Decider {self.name}: the FPGA core in RTL simulation (Verilator) made {card['decisions']:,} of "
            f"{report['decisions']:,} decisions; {report['fallbacks']:,} were answered by the CPU decider instead "
            f"({card['timeouts']:,} time-outs, {card['contradictions']:,} contradictions, {card['damaged']:,} damaged records)."
            + (f" It FAILED: {card['trouble']}." if card["trouble"] else ""),
            f"Vector complete to decision: {card['cycles_min']} to {card['cycles_max']} cycles, mean {card['cycles_mean']:.1f} "
            f"({card['cycles_mean'] * CARD_TICK_NS:.0f} ns at 250 MHz), counted in RTL simulation, not measured on a card. "
            "Wall-clock latency of the decision stage is the speed of the simulation.",
        ]
