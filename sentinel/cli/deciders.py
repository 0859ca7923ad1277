"""The decider a command was asked for: made before the engine, gone after it, and what to report of it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console

from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.decider import Decider, DeciderFactory
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable

CYCLE_NS = 4


class DeciderChoice:
    """``cpu`` or ``rtl``, as a context: ``factory`` is what the engine's host takes, None for the CPU.

    Entering ``rtl`` builds the simulated card, or takes the one built before; raises CardError where it cannot.
    """

    def __init__(self, name: str, console: Console) -> None:
        self.name = name
        self._console = console
        self._card: Any = None
        self._driver: CardDriver | None = None
        self._loaded: tuple[int, bytes, bool] | None = None
        self._decider: CardDecider | None = None

    def __enter__(self) -> DeciderChoice:
        if self.name == "rtl":
            # Only here: without a card no command needs the tools that build one.
            from sentinel.sim.card.simulated import SimulatedCard

            with self._console.status("simulated card") as status:
                self._card = SimulatedCard(progress=lambda text: status.update(f"simulated card: {text}"))
            self._driver = CardDriver(self._card)
            self._driver.identify()
            self._driver.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._card is not None:
            self._card.close()

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
        return {name: count for name, count in self._driver.counters().items() if count and name.startswith(("faults", "pcim_e"))}

    def notes(self, report: dict[str, Any]) -> list[str]:
        """The same for people."""
        if "card" not in report:
            return []
        card = report["card"]
        return [
            f"Decider {self.name}: the FPGA core in RTL simulation (Verilator) made {card['decisions']:,} of "
            f"{report['decisions']:,} decisions; {report['fallbacks']:,} were answered by the CPU decider instead "
            f"({card['timeouts']:,} time-outs, {card['contradictions']:,} contradictions, {card['damaged']:,} damaged records).",
            f"Vector complete to decision: {card['cycles_min']} to {card['cycles_max']} cycles, mean {card['cycles_mean']:.1f} "
            f"({card['cycles_mean'] * CYCLE_NS:.0f} ns at 250 MHz), counted in RTL simulation, not measured on a card. "
            "Wall-clock latency of the decision stage is the speed of the simulation.",
        ]
