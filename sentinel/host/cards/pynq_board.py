"""A Bus over a board under PYNQ (Alveo and what else XRT drives): three AXI windows by MMIO, the ring in a buffer of the device.

The overlay names the core's windows ``ocl``, ``sda`` and ``pcis``. XRT takes about 100 us an access, so this is for trying
the core on such a board, not for speed; the hot functions of the Bus are Python here. AWS F2 has no XRT.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.host.cards.bus import ALL_ONES
from sentinel.host.cards.registers import Ocl
from sentinel.units import CARD_TICK_NS, NS_PER_S
from sentinel.wire import SLOT_BYTES

RING_SLOTS = 1024
TIMEOUT_US = 100_000
WINDOWS = ("ocl", "sda", "pcis")
_WRITE64 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_RELAX = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class PynqBus:
    """The Bus of one board.

    Args:
        image: the overlay's file (xclbin); it is loaded.
        device: a ``pynq.Device``; None takes the active one.
        timeout_us: after which an unanswered vector goes to the CPU.

    Raises CardError where pynq is not installed, the file is not there, or the overlay has no such windows.
    """

    def __init__(self, image: Path, device: Any = None, timeout_us: int = TIMEOUT_US) -> None:
        try:
            from pynq import MMIO, Device, Overlay
        except ModuleNotFoundError as error:
            raise CardError(
                "python package", error.name, "the extra pynq installed", "pip install 'sentinel-trading[pynq]'"
            ) from None
        if not image.is_file():
            raise CardError("overlay", str(image), "an overlay's file", "check the path")
        if device is None and not Device.devices:
            raise CardError("device", None, "a board that XRT drives", "source XRT's setup.sh; `xbutil examine` shows its boards")
        self._device = Device.active_device if device is None else device
        self._overlay = Overlay(str(image), device=self._device)
        blocks = self._overlay.ip_dict
        missing = [name for name in WINDOWS if name not in blocks]
        if missing:
            raise CardError("overlay", missing, f"blocks named {', '.join(WINDOWS)}", "load an overlay of the core")
        self._ocl, self._sda, self._pcis = (
            MMIO(blocks[name]["phys_addr"], blocks[name]["addr_range"], device=self._device) for name in WINDOWS
        )
        # Not pynq.allocate: its buffers set an attribute that numpy 2 made read-only.
        self._bytes = RING_SLOTS * SLOT_BYTES
        self._object = self._device.allocate_bo(self._bytes, self._device.default_memory.idx, True)
        memory = np.frombuffer(self._device.map_bo(self._object), np.uint32, self._bytes // 4)
        self.ring: NDArray[np.uint32] = memory.reshape(RING_SLOTS, -1)
        self.ring[:] = 0
        self.ring_address = int(self._device.get_device_address(self._object))
        self.context, self.poll_limit, self.timeout_ns = 0, 0, timeout_us * 1_000
        # Kept: a callback that is collected leaves its address behind.
        self._callbacks = _WRITE64(self._write64), _RELAX(lambda context: self.relax())
        self.write64_address, self.relax_address = (ctypes.cast(c, ctypes.c_void_p).value or 0 for c in self._callbacks)

    def ocl_read(self, offset: int) -> int:
        return int(self._ocl.read(offset)) & ALL_ONES

    def ocl_write(self, offset: int, value: int) -> None:
        self._ocl.write(offset, int(value))

    def sda_read(self, offset: int) -> int:
        return int(self._sda.read(offset)) & ALL_ONES

    def sda_write(self, offset: int, value: int) -> None:
        self._sda.write(offset, int(value))

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        if offset < 0 or offset % SLOT_BYTES or offset + SLOT_BYTES > self._pcis.length or len(data) != SLOT_BYTES:
            return False
        try:
            self._pcis.write(offset, bytes(data))
        except OSError:
            return False
        return True

    def _write64(self, context: int, offset: int, beat: int) -> int:
        return 0 if self.pcis_write64(offset, ctypes.string_at(beat, SLOT_BYTES)) else 1

    def close(self) -> None:
        """Stop the card's writing to the ring. Idempotent."""
        self.ocl_write(Ocl.PCIM_ENABLE, 0)

    def relax(self) -> None:
        """Bring what the card wrote into sight of the processor."""
        self._device.invalidate(self._object, 0, self.ring.ctypes.data, self._bytes)

    def wait_ticks(self, ticks: int) -> None:
        time.sleep(ticks * CARD_TICK_NS / NS_PER_S)
