"""``sentinel card``: the FPGA slots of this machine: what is in them, loading, testing, measuring, arming and killing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from sentinel.cli.deciders import image_file
from sentinel.config import load_config
from sentinel.errors import CardError
from sentinel.host.cards.aws_tools import AwsTools, ImageState
from sentinel.host.cards.bus import ALL_ONES, Bus
from sentinel.host.cards.card_image import CardImage, read_image
from sentinel.host.cards.driver import CardDriver, names_of
from sentinel.host.cards.kill_slot import LOST, TRIPPED, kill_slot
from sentinel.host.cards.opened import OpenedCard, SlotLock, check_image, wait_for_magic
from sentinel.host.cards.registers import Ocl, Status
from sentinel.host.cards.rehearsal import Rehearsal
from sentinel.host.cards.round_trip import figures, measure
from sentinel.host.cards.selftest import SelfTest
from sentinel.host.cards.slots import Slot, Tree, find_slot, find_slots
from sentinel.host.cards.sysfs import SysfsBus
from sentinel.model.artifact import load_model
from sentinel.units import CARD_TICK_NS

#: Time-out of a test's vectors: a slow answer is a figure here, not a fault.
_PATIENT_US = 1_000_000
_SHOWN_NS = ("p50_ns", "p99_ns", "p99_9_ns", "max_ns")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _described(slot: Slot) -> dict[str, Any]:
    return {
        "slot": slot.number,
        "generation": slot.generation.name,
        "address": slot.application.name,
        "ids": ":".join(f"{number:04x}" for number in slot.ids),
        "numa_node": slot.numa_node,
        "bus_mastering": slot.bus_mastering,
    }


def _told(found: ImageState) -> dict[str, Any]:
    return {"state": found.name, "agfi": found.agfi, "shell": f"{found.shell_version:#010x}"}


@contextmanager
def _opened(console: Console, card: str, slot: int, image: CardImage | None = None) -> Iterator[tuple[Bus, str]]:
    """The bus of a card that nobody else uses, and what to call its image; ``image`` is the one that must be loaded."""
    if card == "rtl":
        from sentinel.sim.card.simulated import SimulatedCard

        with console.status("simulated card") as status:
            simulated = SimulatedCard(progress=lambda text: status.update(f"simulated card: {text}"))
        with simulated:
            yield simulated, "rtl"
        return
    tree = Tree.from_environment()
    with OpenedCard(find_slot(tree, slot), tree, image, _PATIENT_US) as opened:
        yield opened.bus, str(opened.loaded.agfi)


def show(console: Console) -> dict[str, Any]:
    """``card list``. Raises CardError on a machine without a card."""
    tree = Tree.from_environment()
    find_slot(tree, 0)
    rows = []
    for slot in find_slots(tree):
        row = _described(slot) | {"state": None, "agfi": None, "shell": None}
        try:
            row |= _told(AwsTools(slot.number).describe())
        except CardError as error:
            # The bus says enough to be shown without the tools.
            row["trouble"] = str(error)
        rows.append(row)
        _say(
            console,
            f"slot {row['slot']}  {row['generation']}  {row['address']}  {row['ids']}  {row['state']}  {row['agfi'] or '-'}",
        )
        if "trouble" in row:
            _say(console, f"  {row['trouble']}")
    return {"slots": rows, "count": len(rows), "root": str(tree.root)}


def load(console: Console, *, slot: int, agfi: str | None, afi: Path | None) -> dict[str, Any]:
    """``card load``: the image of afi.json, or any AGFI; then see that it answers and is one of ours."""
    tree = Tree.from_environment()
    chosen = find_slot(tree, slot)
    image = read_image(image_file(str(afi or ""), chosen.generation.name)) if agfi is None else None
    lock = SlotLock(tree, slot)
    try:
        wanted = image.agfi if image else str(agfi)
        with console.status(f"loading {wanted}"):
            found = AwsTools(slot).load(wanted)
        chosen = find_slot(tree, slot)
        check_image(found, chosen, image)
        chosen.need_image()
        chosen.enable_bus_mastering()
        bus = SysfsBus(chosen)
        try:
            with console.status("waiting for the image to answer"):
                wait_for_magic(bus)
            identity = CardDriver(bus).identify()
        finally:
            bus.close()
    finally:
        lock.close()
    _say(console, f"slot {slot}: {found.agfi} loaded, register map {identity.map_hash:#010x}, tripped until armed")
    if image is not None and image.timing_violated:
        _say(console, "the image did not meet its timing: no gate is armed on it")
    return {
        **_described(chosen),
        **_told(found),
        "version": ".".join(map(str, identity.version)),
        "map_hash": f"{identity.map_hash:#010x}",
        "timing_violated": image.timing_violated if image else None,
    }


def clear(console: Console, *, slot: int) -> dict[str, Any]:
    """``card clear``: take the image out."""
    tree = Tree.from_environment()
    find_slot(tree, slot)
    lock = SlotLock(tree, slot)
    try:
        found = AwsTools(slot).clear()
    finally:
        lock.close()
    _say(console, f"slot {slot}: {found.name}")
    return {**_described(find_slot(tree, slot)), **_told(found)}


def status(console: Console, *, slot: int, metrics: bool) -> dict[str, Any]:
    """``card status``: registers, counters and lamps, beside whatever uses the card."""
    chosen = find_slot(Tree.from_environment(), slot)
    tools = AwsTools(slot)
    found = tools.describe()
    result: dict[str, Any] = {**_described(chosen), **_told(found)}
    check_image(found, chosen, None)
    chosen.need_image()
    bus = SysfsBus(chosen)
    try:
        if bus.ocl_read(Ocl.MAGIC) == ALL_ONES:
            wait_for_magic(bus, patience_s=1.0)
        driver = CardDriver(bus)
        identity = driver.identify()
        result |= {
            "version": ".".join(map(str, identity.version)),
            "map_hash": f"{identity.map_hash:#010x}",
            "status": [flag.name for flag in Status if flag in driver.status()],
            "causes": [cause.name for cause in driver.causes()],
            "standing": [cause.name for cause in driver.standing()],
            "arm_epoch": driver.read(Ocl.ARM_EPOCH),
            "model_id": f"{driver.read(Ocl.MODEL_ACTIVE_ID):#010x}",
            "now_s": driver.now() * CARD_TICK_NS / 1e9,
            "counters": driver.counters(),
            "lamps": f"{tools.lamps():016b}",
        }
    finally:
        bus.close()
    if metrics:
        result["metrics"] = tools.metrics()
    for key, value in result.items():
        if isinstance(value, dict):
            value = "  ".join(f"{name} {count}" for name, count in value.items() if count) or "all 0"
        _say(console, f"{key:>16}  {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return result


def selftest(console: Console, *, card: str, slot: int, model: str, vectors: int) -> dict[str, Any]:
    """``card selftest``. Raises CardError for the first step that fails; the card ends tripped."""
    done: dict[str, Any] = {}
    artifact = load_model(model)
    with _opened(console, card, slot) as (bus, image):
        for name, step in SelfTest(CardDriver(bus), artifact, vectors).steps():
            done[name] = step()
            _say(console, f"{name:>10}  ok  {'  '.join(f'{key} {value}' for key, value in done[name].items())}")
    return {"card": card, "image": image, "steps": done, "passed": True}


def latency(console: Console, *, card: str, slot: int, model: str, vectors: int) -> dict[str, Any]:
    """``card latency``: on a card the host's wall clock step by step, on the simulated one cycles only."""
    artifact = load_model(model)
    with _opened(console, card, slot) as (bus, image):
        driver = CardDriver(bus)
        driver.identify()
        driver.start()
        driver.load_model(artifact, artifact.rules)
        decider = driver.decider(artifact)
        table = measure(driver, decider, vectors)
        cycles = driver.link.cycles
        driver.kill()
    report = decider.report()
    bins = [[int(cycle), int(cycles[cycle])] for cycle in np.flatnonzero(cycles)]
    steps = {} if card == "rtl" else figures(table)
    for name, step in steps.items():
        _say(console, f"{name:>16}  " + "  ".join(f"{key.removesuffix('_ns')} {step[key]:,} ns" for key in _SHOWN_NS))
    if card == "rtl":
        _say(
            console,
            "Simulated card: only cycles are meaningful. Wall-clock time would be the simulation's speed, and is not shown.",
        )
    _say(
        console,
        f"vector complete to decision: {report['cycles_min']} to {report['cycles_max']} cycles, mean {report['cycles_mean']:.1f} "
        f"({report['cycles_mean'] * CARD_TICK_NS:.0f} ns at 250 MHz)",
    )
    return {
        "card": card,
        "image": image,
        "vectors": vectors,
        "meaningful": "cycles" if card == "rtl" else "wall clock and cycles",
        "steps": steps,
        "cycles": {**{name: report[f"cycles_{name}"] for name in ("min", "mean", "max")}, "bins": bins},
    }


def kill(console: Console, *, slot: int) -> dict[str, Any]:
    """``card kill``. Raises CardError where no window says that the card tripped."""
    outcome = kill_slot(find_slot(Tree.from_environment(), slot))
    for name, became in outcome.items():
        _say(console, f"{name:>6}  {became}")
    if TRIPPED not in outcome.values():
        lost = [name for name, became in outcome.items() if became == LOST]
        remedy = "the card answers nothing, so no permit comes from it" if lost else "the card does not say that it tripped"
        raise CardError("kill", outcome, "a card that says it tripped", f"{remedy}: stop the daemon, then clear the slot")
    return {"slot": slot, "tripped": True, "by": outcome}


def arm(
    console: Console, *, card: str, slot: int, config: Path, confirm: str, seconds: float, afi: Path | None
) -> dict[str, Any]:
    """``card arm``: the gate under the limits of a settings file, held armed and then tripped; no order is sent."""
    settings, wanted = load_config(config), None
    if card != "rtl":
        chosen = find_slot(Tree.from_environment(), slot)
        wanted = read_image(image_file(str(afi or ""), chosen.generation.name))
        wanted.need_clean_timing()
    with _opened(console, card, slot, wanted) as (bus, image):
        if confirm != image:
            raise CardError("--confirm", confirm, image, f"arming is on purpose only: repeat it with --confirm {image}")
        driver = CardDriver(bus)
        driver.identify()
        rehearsal = Rehearsal(driver, settings)
        try:
            rehearsal.prepare()
            epoch = rehearsal.arm()
            _say(console, f"armed, epoch {epoch}; no order is sent; tripped again after {seconds:g} s")
            rehearsal.hold(seconds)
        finally:
            rehearsal.end()
        causes = driver.causes()
    _say(console, f"held for {seconds:g} s, {rehearsal.answers} challenges answered; tripped by {names_of(causes)}")
    return {
        "card": card,
        "image": image,
        "arm_epoch": epoch,
        "seconds": seconds,
        "answers": rehearsal.answers,
        "tripped_by": [cause.name for cause in causes],
    }
