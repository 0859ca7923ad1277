"""What an instance with an FPGA must show: by sysfs, procfs and AWS's command line tools, without touching the card's windows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import CardError

AMAZON = 0x1D0F
#: Device ids of a cleared card's application function, F2 and F1; users' own are 0xF000 to 0xF0FF.
_CLEARED, _USERS = (0x9048, 0x1042), range(0xF000, 0xF100)
_RESOURCES = ("resource0", "resource4_wc")
#: Of the PCI command register in config space: the card may write to memory.
_COMMAND, _BUS_MASTER = 4, 0x4
NAMES = ("slot", "loaded image", "bus mastering", "resource files", "huge pages")


class Function(NamedTuple):
    """A card's application function: its directory in sysfs and its device id."""

    path: Path
    device: int


def functions(sys_root: Path = Path("/sys")) -> list[Function]:
    """The application functions of the cards in this machine, in bus order."""
    found = []
    for path in sorted((sys_root / "bus/pci/devices").glob("*")):
        try:
            vendor, device = (int((path / name).read_text(), 16) for name in ("vendor", "device"))
        except (OSError, ValueError):
            continue
        if vendor == AMAZON and (device in _CLEARED or device in _USERS):
            found.append(Function(path, device))
    return found


def questions(
    slot: int, card: Function, agfi: str | None, proc_root: Path = Path("/proc")
) -> Iterator[tuple[str, Callable[[], str]]]:
    """What to ask of a card in ``slot``; ``agfi`` is the image that should be loaded, where one is known."""
    yield "slot", lambda: slot_state(slot)
    yield "loaded image", lambda: loaded(slot, agfi)
    yield "bus mastering", lambda: bus_mastering(card)
    yield "resource files", lambda: resource_files(card)
    yield "huge pages", lambda: huge_pages(proc_root)


class Slot(NamedTuple):
    """A slot as ``fpga-describe-local-image`` has it; ``agfi`` is empty where nothing is loaded."""

    agfi: str
    state: str
    error: str
    shell: str
    #: Bus address of its application function, for example 0000:34:00.0; empty where the tool names none.
    address: str


def parse_slot(text: str) -> Slot:
    """What ``fpga-describe-local-image`` prints.

    The AFI line has type, slot, image, state and its number, error and its number, shell; AFIDEVICE's ends with an address.

    Raises CardError where there is none.
    """
    line = re.search(r"^AFI\s+\d+\s+(.+?)\s+([a-z-]+)\s+\d+\s+([a-z-]+)\s+\d+\s+(\S+)", text, re.MULTILINE)
    if line is None:
        raise CardError(
            "slot", text.strip()[:80], "a line AFI of fpga-describe-local-image", "install the kit's tools: sdk_setup.sh"
        )
    device = re.search(r"^AFIDEVICE\s+\d+\s+\S+\s+\S+\s+(\S+)", text, re.MULTILINE)
    return Slot(line[1] if line[1].startswith("agfi-") else "", line[2], line[3], line[4], device[1] if device else "")


def described(slot: int) -> Slot:
    """What AWS's tool says of a slot. Raises CardError where the tool is missing or refuses."""
    tool = shutil.which("fpga-describe-local-image")
    if tool is None:
        remedy = "source sdk_setup.sh of AWS's FPGA kit on this instance"
        raise CardError("fpga-describe-local-image", None, "AWS's tools on the PATH", remedy)
    try:
        done = subprocess.run([tool, "-S", str(slot)], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CardError("slot", slot, "an answer of fpga-describe-local-image", f"run it by hand, as root ({error})") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-200:]
        raise CardError("slot", slot, "an answer of fpga-describe-local-image", f"run it by hand, as root ({said})")
    return parse_slot(done.stdout)


def card_in(slot: int, cards: list[Function]) -> Function | None:
    """The card in ``slot``: by the address AWS's tool names, or by bus order where the tool is not there."""
    try:
        address = described(slot).address
    except CardError:
        address = ""
    named = next((card for card in cards if card.path.name == address), None)
    return named or (cards[slot] if slot < len(cards) else None)


def slot_state(slot: int) -> str:
    """Whether the slot is neither busy nor in error."""
    found = described(slot)
    if found.error != "ok" or found.state not in ("loaded", "cleared"):
        remedy = f"wait if it is busy; else fpga-clear-local-image -S {slot}, then load again"
        raise CardError("slot", f"{found.state}, {found.error}", "loaded or cleared, ok", remedy)
    return f"{slot}: {found.state}, shell {found.shell}"


def loaded(slot: int, agfi: str | None) -> str:
    """Whether the image that was built is the one in the slot."""
    found = described(slot)
    if found.state != "loaded":
        wanted = agfi or "agfi-..."
        raise CardError("image", found.state, "a loaded image", f"fpga-load-local-image -S {slot} -I {wanted}")
    if agfi is not None and found.agfi != agfi:
        raise CardError("image", found.agfi, f"{agfi}, as afi.json says", f"fpga-load-local-image -S {slot} -I {agfi}")
    return found.agfi


def bus_mastering(card: Function) -> str:
    """Whether the card may write to memory; a load may have taken that away."""
    config = _read(card.path / "config", 64)
    command = int.from_bytes(config[_COMMAND : _COMMAND + 2], "little")
    if not command & _BUS_MASTER:
        remedy = f"setpci -s {card.path.name} 4.w=6, after every load"
        raise CardError("command register", f"{command:#06x}", "bus mastering on (bit 2)", remedy)
    return f"on, command register {command:#06x}"


def resource_files(card: Function) -> str:
    """Whether this user may map the card's windows."""
    for name in _RESOURCES:
        path = card.path / name
        if not os.access(path, os.R_OK | os.W_OK):
            remedy = "run as root, or give this user read and write on it by a udev rule"
            raise CardError("resource file", str(path), "a file this user may read and write", remedy)
    return ", ".join(_RESOURCES)


def huge_pages(proc_root: Path = Path("/proc")) -> str:
    """Whether a huge page is free for the ring the card writes to."""
    text = _read(proc_root / "meminfo", 1 << 16).decode(errors="replace")
    free = re.search(r"^HugePages_Free:\s+(\d+)", text, re.MULTILINE)
    count = int(free[1]) if free else 0
    if count == 0:
        raise CardError("huge pages", count, "one free or more", "echo 8 > /proc/sys/vm/nr_hugepages, as root")
    return f"{count} free"


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise CardError("file", str(path), "a file that can be read", f"run as root ({error})") from None
