"""FPGA slots of an AWS instance as sysfs shows them: which functions belong together, what is loaded, which CPUs are near.

A slot is a management function and the application function beside it; slots are numbered by the management functions'
PCIe addresses, as AWS's own tools number them. The two generations differ in what is tabled here and in nothing else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sentinel.errors import CardError

AMAZON = 0x1D0F
#: What Sentinel's image shows once it is loaded: vendor, device, subsystem vendor, subsystem.
IMAGE_IDS = (AMAZON, 0xF051, AMAZON, 0xF052)
#: Environment variable: a directory in place of ``/`` under which sys, proc and run are looked up; for a card in user space.
ROOT_VARIABLE = "SENTINEL_CARD_ROOT"

_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_BUS_MASTER, _MEMORY_SPACE = 0x4, 0x2
_COMMAND = 4  # offset in PCIe configuration space


@dataclass(frozen=True)
class Generation:
    """An AWS FPGA family. ``device_step``: the application function's device number, less the management function's."""

    name: str
    management_device: int
    cleared_device: int
    device_step: int
    function: int | None
    shell_version: int


F2 = Generation("f2", 0x9248, 0x9048, device_step=0, function=0, shell_version=0x10212415)
F1 = Generation("f1", 0x1041, 0x1042, device_step=-1, function=None, shell_version=0x04261818)
GENERATIONS = {generation.name: generation for generation in (F2, F1)}


@dataclass(frozen=True)
class Tree:
    """Where the kernel's files are: the machine's own under ``/``, or a card's in user space under another root."""

    root: Path = Path("/")

    @classmethod
    def from_environment(cls) -> Tree:
        return cls(Path(os.environ.get(ROOT_VARIABLE) or "/"))

    @property
    def devices(self) -> Path:
        return self.root / "sys/bus/pci/devices"

    @property
    def pagemap(self) -> Path:
        return self.root / "proc/self/pagemap"

    @property
    def locks(self) -> Path:
        return self.root / "run/sentinel"

    def huge_pages(self) -> Path:
        """Where files of huge pages of 2 MiB are made. Raises CardError where no such filesystem is mounted."""
        try:
            lines = (self.root / "proc/mounts").read_text().splitlines()
        except OSError:
            lines = []
        for words in map(str.split, lines):
            if words[2:3] == ["hugetlbfs"] and "pagesize=2M" in words[3].split(","):
                return Path(words[1])
        raise CardError(
            "huge pages", "no hugetlbfs", "a mount with pages of 2 MiB", "mount -t hugetlbfs -o pagesize=2M none /dev/hugepages"
        )

    def node_cpus(self, node: int) -> set[int]:
        """CPUs of a NUMA node; none where the machine has no such node."""
        try:
            text = (self.root / f"sys/devices/system/node/node{node}/cpulist").read_text()
        except OSError:
            return set()
        return cpu_list(text)


def cpu_list(text: str) -> set[int]:
    """``0-3,8`` as the set of its numbers."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


@dataclass(frozen=True)
class Slot:
    """One FPGA. ``application`` and ``management`` are its functions' directories; ids as the kernel scanned them last."""

    number: int
    generation: Generation
    application: Path
    management: Path

    @property
    def ids(self) -> tuple[int, int, int, int]:
        """Vendor, device, subsystem vendor and subsystem of the application function."""
        names = ("vendor", "device", "subsystem_vendor", "subsystem_device")
        return tuple(_hexadecimal(self.application / name) for name in names)  # type: ignore[return-value]

    @property
    def numa_node(self) -> int:
        """Of the socket the card hangs on; -1 where the machine has but one."""
        try:
            return int((self.application / "numa_node").read_text())
        except (OSError, ValueError):
            return -1

    @property
    def bus_mastering(self) -> bool:
        """Whether the card may write to host memory."""
        return bool(self._command() & _BUS_MASTER)

    def enable_bus_mastering(self) -> None:
        """Let the card write to host memory; loading an image clears it. Raises CardError where that is refused."""
        path = self.application / "config"
        word = self._command() | _BUS_MASTER | _MEMORY_SPACE
        try:
            with path.open("r+b", buffering=0) as file:
                os.pwrite(file.fileno(), word.to_bytes(2, "little"), _COMMAND)
        except OSError as error:
            raise _unreadable(path, error) from None
        if not self.bus_mastering:
            raise CardError("bus mastering", 0, "1", f"allow it: setpci -s {self.application.name} COMMAND=6:6")

    def _command(self) -> int:
        path = self.application / "config"
        try:
            with path.open("rb", buffering=0) as file:
                return int.from_bytes(os.pread(file.fileno(), 2, _COMMAND), "little")
        except OSError as error:
            raise _unreadable(path, error) from None

    def need_image(self) -> None:
        """Raise CardError unless the application function shows the ids of Sentinel's image."""
        found = self.ids
        if found != IMAGE_IDS:
            cleared = found[:2] == (AMAZON, self.generation.cleared_device)
            shown, wanted = (":".join(f"{number:04x}" for number in ids) for ids in (found, IMAGE_IDS))
            why = "no image is loaded" if cleared else "another design is loaded"
            raise CardError(f"slot {self.number} ids", shown, wanted, f"{why}: sentinel card load --slot {self.number}")


def find_slots(tree: Tree) -> list[Slot]:
    """Every slot in AWS's order; empty on a machine without one. Raises CardError where an application function is missing."""
    by_device = {generation.management_device: generation for generation in GENERATIONS.values()}
    found = []
    for path in tree.devices.iterdir() if tree.devices.is_dir() else ():
        address = _ADDRESS.fullmatch(path.name)
        if address is None:
            continue
        try:
            vendor, device = _hexadecimal(path / "vendor"), _hexadecimal(path / "device")
        except CardError:
            continue  # another device, on its way out
        if vendor == AMAZON and device in by_device:
            found.append((tuple(int(part, 16) for part in address.groups()), by_device[device], path))
    slots = []
    for number, (where, generation, path) in enumerate(sorted(found, key=lambda entry: entry[0])):
        domain, bus, slot, function = where
        function = function if generation.function is None else generation.function
        application = path.with_name(f"{domain:04x}:{bus:02x}:{slot + generation.device_step:02x}.{function}")
        if not application.is_dir():
            raise CardError(
                f"slot {number}",
                application.name,
                "an application function",
                f"scan the bus again: fpga-describe-local-image -S {number} -R, or echo 1 > /sys/bus/pci/rescan",
            )
        slots.append(Slot(number, generation, application, path))
    return slots


def find_slot(tree: Tree, number: int) -> Slot:
    """The slot of that number. Raises CardError where there is none."""
    slots = find_slots(tree)
    if not slots:
        raise CardError(
            "card",
            None,
            "an AWS FPGA on this machine's PCIe bus",
            "start an f2 instance, or use the simulated card: --decider rtl, sentinel card selftest --card rtl",
        )
    if not 0 <= number < len(slots):
        raise CardError("slot", number, f"0..{len(slots) - 1}", "sentinel card list shows them")
    return slots[number]


def _hexadecimal(path: Path) -> int:
    try:
        return int(path.read_text(), 16)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> CardError:
    return CardError(path.name, str(path), "a file of the card that root may use", f"run as root; the kernel says: {error}")
