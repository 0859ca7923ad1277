"""What an instance with an FPGA must show before its card is used: the slot, what is in it, and what the host grants."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing

from sentinel.errors import CardError
from sentinel.host.cards.aws_tools import AwsTools, ImageState, SlotState
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.slots import Slot, Tree
from sentinel.host.cards.sysfs import SysfsBus

_RESOURCES = ("resource0", "resource4_wc")
NAMES = ("slot", "loaded image", "magic register", "bus mastering", "resource files", "huge pages")


def questions(slot: Slot, agfi: str | None, tree: Tree) -> Iterator[tuple[str, Callable[[], str]]]:
    """What to ask of a card; ``agfi`` is the image that should be loaded, where one is known. Each raises CardError."""
    tools = AwsTools(slot.number)
    yield "slot", lambda: slot_state(tools.describe())
    yield "loaded image", lambda: loaded(tools.describe(), slot, agfi)
    yield "magic register", lambda: magic(slot)
    yield "bus mastering", lambda: bus_mastering(slot)
    yield "resource files", lambda: resource_files(slot)
    yield "huge pages", lambda: huge_pages(slot, tree)


def slot_state(found: ImageState) -> str:
    """Whether the slot is neither busy nor in error."""
    if found.error or found.state not in (SlotState.LOADED, SlotState.CLEARED):
        remedy = f"wait if it is busy; else sentinel card clear --slot {found.slot}, then load again"
        raise CardError("slot", f"{found.name}, error {found.error}", "loaded or cleared, no error", remedy)
    return f"{found.slot}: {found.name}, shell {found.shell_version:#010x}"


def loaded(found: ImageState, slot: Slot, agfi: str | None) -> str:
    """Whether the image that was built is the one in the slot."""
    remedy = f"sentinel card load --slot {slot.number}"
    if found.state != SlotState.LOADED or found.agfi is None:
        raise CardError("image", found.name, "a loaded image", remedy)
    if agfi is not None and found.agfi != agfi:
        raise CardError("image", found.agfi, f"{agfi}, as afi.json says", remedy)
    slot.need_image()
    return found.agfi


def magic(slot: Slot) -> str:
    """Whether the image answers, is ours, and of this release's register map."""
    with closing(SysfsBus(slot)) as bus:
        identity = CardDriver(bus).identify()
    return f"version {'.'.join(map(str, identity.version))}, register map {identity.map_hash:#010x}"


def bus_mastering(slot: Slot) -> str:
    """Whether the card may write to memory; a load takes that away, opening the card gives it."""
    if not slot.bus_mastering:
        remedy = f"setpci -s {slot.application.name} COMMAND=6:6; the daemon does it when it opens the card"
        raise CardError("bus mastering", 0, "1", remedy)
    return "on"


def resource_files(slot: Slot) -> str:
    """Whether this user may map the card's windows."""
    for path in (*(slot.application / name for name in _RESOURCES), slot.management / "resource4"):
        if not os.access(path, os.R_OK | os.W_OK):
            remedy = "run as root, or give this user read and write on it by a udev rule"
            raise CardError("resource file", str(path), "a file this user may read and write", remedy)
    return ", ".join((*_RESOURCES, "resource4"))


def huge_pages(slot: Slot, tree: Tree) -> str:
    """Whether there is a huge page for the ring the card writes to: a free one, or the slot's own of before."""
    own = tree.huge_pages() / f"sentinel-card-{slot.number}"
    try:
        text = (tree.root / "proc/meminfo").read_text()
    except OSError as error:
        raise CardError("huge pages", str(error), "/proc/meminfo", "mount /proc") from None
    free = re.search(r"^HugePages_Free:\s+(\d+)", text, re.MULTILINE)
    count = int(free[1]) if free else 0
    if count == 0 and not own.exists():
        raise CardError("huge pages", count, "one free or more", "sysctl vm.nr_hugepages=16, as root")
    return f"{count} free" + (", one kept for this slot" if own.exists() else "")
