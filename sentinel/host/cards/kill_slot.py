"""The operator's kill of a slot: by every way there is, each on its own, beside whatever program uses the card."""

from __future__ import annotations

from collections.abc import Callable

from sentinel.errors import CardError
from sentinel.host.cards.aws_tools import AwsTools
from sentinel.host.cards.bus import ALL_ONES
from sentinel.host.cards.mmio import read32, write32
from sentinel.host.cards.registers import OCL_FIELDS, STATUS_MAGIC, Ocl, Sda, Status
from sentinel.host.cards.slots import Slot
from sentinel.host.cards.sysfs import Window

_MAGIC = OCL_FIELDS[Ocl.STATUS]["magic"]
TRIPPED, LOST = "tripped", "lost"


def _by_window(window: Window, kill: int, status: int) -> str:
    try:
        write32(window.address + kill, 1)
        word = int(read32(window.address + status))
    finally:
        window.close()
    if word == ALL_ONES:
        return LOST
    return TRIPPED if _MAGIC.of(word) == STATUS_MAGIC and word & Status.TRIPPED else f"status {word:#x}"


def _tried(way: Callable[[], str]) -> str:
    try:
        return way()
    except CardError as error:
        return str(error)


def kill_slot(slot: Slot) -> dict[str, str]:
    """Trip by OCL and by SDA, and where neither says that it tripped, by virtual switch 0; what became of each.

    ``lost`` is a card that reads all ones: no beat reaches its gate and no permit comes back. Takes no lock: a kill waits for
    nobody.
    """
    outcome = {
        "ocl": _tried(lambda: _by_window(Window(slot.application / "resource0"), Ocl.KILL, Ocl.STATUS)),
        "sda": _tried(lambda: _by_window(Window(slot.management / "resource4"), Sda.KILL, Sda.STATUS)),
    }
    if TRIPPED not in outcome.values():
        outcome["switch"] = _tried(lambda: _by_switch(slot))
    return outcome


def _by_switch(slot: Slot) -> str:
    AwsTools(slot.number).set_switches(1)
    return "set"
