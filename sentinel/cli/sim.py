"""``sentinel sim poke``: one simulated card, fresh from power-on, and a few operations on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from sentinel.engine.forest_cpu import pack_beats
from sentinel.errors import ConfigError
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.registers import Ocl, Sda
from sentinel.model.artifact import load_model
from sentinel.wire import MAX_FEATURES, DecisionFlag

_SDA = "sda:"


def poke(console: Console, *, operations: list[str], engine: str, model: str, waves: Path | None) -> dict[str, Any]:
    """Perform the operations in order. Raises ConfigError for one it does not know, CardError without a card."""
    if waves is not None and engine != "pyverilator":
        raise ConfigError("--waves", str(waves), "nothing with --engine verilator", "use --engine pyverilator")
    for operation in operations:
        _parse(operation)
    with console.status("simulated card") as status:
        card = _card(engine, waves, lambda text: status.update(f"simulated card: {text}"))
    bench = _Bench(card, model)
    results = []
    for operation in operations:
        result = bench.perform(operation)
        results.append({"operation": operation, **result})
        console.print(f"{operation:<24} {_shown(result)}", highlight=False, markup=False, soft_wrap=True)
    card.close()
    return {"engine": engine, "results": results}


def _card(engine: str, waves: Path | None, progress: Callable[[str], None]) -> Any:
    if engine == "pyverilator":
        from sentinel.sim.card.poke import PokeCard

        return PokeCard(progress=progress, waves=waves)
    from sentinel.sim.card.simulated import SimulatedCard

    return SimulatedCard(progress=progress)


def _parse(operation: str) -> tuple[str, str | None]:
    name, equals, text = operation.partition("=")
    value = text if equals else None
    known = Sda.__members__ if name.startswith(_SDA) else {**Ocl.__members__, "vector": 0, "step": 0}
    if name.removeprefix(_SDA) not in known:
        raise ConfigError("operation", operation, "a register of docs/registers.md, sda:REGISTER, vector= or step=", "correct it")
    try:
        if name == "vector":
            if not 1 <= len([float(part) for part in (value or "").split(",")]) <= MAX_FEATURES:
                raise ValueError
        elif value is not None or name == "step":
            int(value or "", 0)
    except ValueError:
        wanted = f"1..{MAX_FEATURES} numbers, nan where unknown" if name == "vector" else "a number, for example 7 or 0x10"
        raise ConfigError(name, value, wanted, "correct it") from None
    return name, value


class _Bench:
    """A card and what was done to it so far."""

    def __init__(self, card: Any, model: str) -> None:
        self.card = card
        self.model = model
        self._decider: CardDecider | None = None

    def perform(self, operation: str) -> dict[str, Any]:
        name, value = _parse(operation)
        if name == "vector":
            return self._decide([float(part) for part in (value or "").split(",")])
        if name == "step":
            self.card.step(int(value or "", 0))
            return {"now": self.card.now}
        window = "sda" if name.startswith(_SDA) else "ocl"
        register = Sda[name.removeprefix(_SDA)] if window == "sda" else Ocl[name]
        if value is None:
            return {"value": getattr(self.card, f"{window}_read")(register), "response": self.card.response}
        getattr(self.card, f"{window}_write")(register, int(value, 0))
        return {"response": self.card.response}

    def _decide(self, features: list[float]) -> dict[str, Any]:
        if self._decider is None:
            driver, artifact = CardDriver(self.card), load_model(self.model)
            driver.identify()
            driver.start()
            driver.load_model(artifact, artifact.rules)
            self._decider = driver.decider(artifact)
        self._decider.forget_counts()
        decision = self._decider.score(pack_beats(np.array([features], np.float32)))[0]
        return {
            "margins": [int(decision[f"margin{k}"]) for k in range(int(decision["classes"]))],
            "rule_bits": int(decision["rule_bits"]),
            "flags": [flag.name for flag in DecisionFlag if flag & int(decision["flags"])],
            "model_crc": int(decision["model_crc"]),
            "cycles": self._decider.report()["cycles_max"],
        }


def _shown(result: dict[str, Any]) -> str:
    if "value" in result:
        return f"{result['value']:#010x}" + ("" if result["response"] == 0 else f"  response {result['response']}")
    return "  ".join(f"{name} {value}" for name, value in result.items())
