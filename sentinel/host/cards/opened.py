"""A card of this machine, opened for use by this process alone: checked, made ready, and given back.

What is checked, in this order: nobody else has the slot; the tools' word on it (loaded, no error, our AGFI, our shell);
the ids the kernel sees; bus mastering, which a load clears; the magic register, which may take a while after a load.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from types import TracebackType

from sentinel.errors import CardError
from sentinel.host.cards.aws_tools import AwsTools, ImageState, SlotState
from sentinel.host.cards.bus import Bus
from sentinel.host.cards.card_image import CardImage
from sentinel.host.cards.huge_ring import HugeRing
from sentinel.host.cards.registers import MAGIC, Ocl
from sentinel.host.cards.slots import Slot, Tree
from sentinel.host.cards.sysfs import TIMEOUT_US, SysfsBus

#: How long after a load the registers may still read as all ones.
MAGIC_S = 15.0


class SlotLock:
    """One process a slot, by a lock on a file that ends with the process. Raises CardError where another has it."""

    def __init__(self, tree: Tree, slot: int) -> None:
        path = tree.locks / f"card-slot-{slot}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+")
        except OSError as error:
            raise CardError("lock", str(path), "a file that can be written", f"run as root ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise CardError(
                f"slot {slot}", f"in use by {holder}", "one process a slot", "stop that one, or use another slot"
            ) from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def close(self) -> None:
        """Let others have the slot. Idempotent."""
        self._file.close()


def check_image(found: ImageState, slot: Slot, image: CardImage | None) -> None:
    """Raise CardError unless the slot holds ``image`` (None: whatever is loaded), without an error, under our shell."""
    name = f"slot {slot.number}"
    remedy = f"sentinel card load --slot {slot.number}"
    if found.state != SlotState.LOADED or found.agfi is None:
        raise CardError(name, found.name, "loaded", remedy)
    if image is not None and found.agfi != image.agfi:
        raise CardError(f"{name} agfi", found.agfi, image.agfi, f"another image is loaded: {remedy}")
    if found.shell_version != slot.generation.shell_version:
        raise CardError(
            f"{name} shell",
            f"{found.shell_version:#010x}",
            f"{slot.generation.shell_version:#010x}",
            "the instance runs another shell: build the image for that one",
        )


def wait_for_magic(bus: Bus, patience_s: float = MAGIC_S) -> None:
    """Wait until the image answers. Raises CardError for one that never does, or another design's answer."""
    deadline, pause = time.monotonic() + patience_s, 0.01
    while (found := bus.ocl_read(Ocl.MAGIC)) != MAGIC:
        if time.monotonic() >= deadline:
            raise CardError("MAGIC", f"{found:#x}", f"{MAGIC:#x}", "the image does not answer: clear the slot and load it again")
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def pin_near(slot: Slot, tree: Tree) -> set[int]:
    """Keep the calling thread on the CPUs of the card's NUMA node that it may use; returns them, none where there is no node."""
    node = slot.numa_node
    near = tree.node_cpus(node) & os.sched_getaffinity(0) if node >= 0 else set()
    if near:
        os.sched_setaffinity(0, near)
    return near


class OpenedCard:
    """A slot with Sentinel's image, as ``bus``; a context.

    Args:
        slot: which.
        tree: where the kernel's files are.
        image: what must be loaded; None takes whatever of ours is.
        timeout_us: see SysfsBus.

    ``cpus`` are those the calling thread was pinned to, the card's NUMA node. Raises CardError for the first check that
    fails; nothing stays open then.
    """

    def __init__(self, slot: Slot, tree: Tree, image: CardImage | None, timeout_us: int = TIMEOUT_US) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(SlotLock(tree, slot.number).close)
            self.loaded = AwsTools(slot.number).wait_until_idle()
            check_image(self.loaded, slot, image)
            slot.need_image()
            slot.enable_bus_mastering()
            self.cpus = pin_near(slot, tree)
            ring = HugeRing(tree, slot.number)
            stack.callback(ring.close)
            self.bus = SysfsBus(slot, ring, timeout_us)
            stack.callback(self.bus.close)
            wait_for_magic(self.bus)
            self._open = stack.pop_all()

    def close(self) -> None:
        """Stop the card's writing, give back memory and slot. Idempotent."""
        self._open.close()

    def __enter__(self) -> OpenedCard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
