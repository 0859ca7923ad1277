"""What reaches a card: two register windows, 64-byte stores, and host memory the card writes.

A real card and the simulated one are two of these; everything above knows only this protocol. The hot
operations are C functions besides, so that compiled code never returns to Python:
``int write64(void* context, int64 offset, const void* beat)`` (0: taken by the bus) and
``void relax(void* context)``, called between two looks at the ring.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from sentinel.native import intrinsic

#: What a read of a card that does not answer gives on PCIe.
ALL_ONES = 0xFFFFFFFF

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POINTER = ir.PointerType(_I8)


class Bus(Protocol):
    """One card's bus. Offsets are bytes within a window; nothing here raises for a card that is gone.

    Attributes: ``ring`` uint32[slots, 16], host memory the card may write; ``ring_address``, where the card finds it;
    ``context`` and the addresses ``write64_address`` and ``relax_address`` of the C functions above; ``poll_limit``,
    how many fruitless looks at the ring with ``relax`` between are a time-out (0: only the clock counts);
    ``timeout_ns``, the same by the clock (0: none, for a card whose time is not the wall's).
    """

    @property
    def ring(self) -> NDArray[np.uint32]: ...
    @property
    def ring_address(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def write64_address(self) -> int: ...
    @property
    def relax_address(self) -> int: ...
    @property
    def poll_limit(self) -> int: ...
    @property
    def timeout_ns(self) -> int: ...

    def ocl_read(self, offset: int) -> int:
        """One 32-bit register of the application; ALL_ONES where nothing answers."""
        ...

    def ocl_write(self, offset: int, value: int) -> None:
        """Write one 32-bit register of the application."""
        ...

    def sda_read(self, offset: int) -> int:
        """One 32-bit register of the management window."""
        ...

    def sda_write(self, offset: int, value: int) -> None:
        """Write one 32-bit register of the management window."""
        ...

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        """Store 64 bytes at a multiple of 64; False where the bus did not take them."""
        ...

    def relax(self) -> None:
        """Let the card run, or the processor pause, for a moment."""
        ...

    def wait_ticks(self, ticks: int) -> None:
        """Return after at least so many 4 ns ticks of the card's time."""
        ...


@intrinsic
def call_write64(typingctx: Any, function: Any, bus: Any, offset: Any, beat: Any) -> Any:
    """Call ``write64`` at address ``function``; ``beat`` is an address. Returns its C int."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I32, [_POINTER, _I64, _POINTER])
        target = builder.inttoptr(args[0], ir.PointerType(kind))
        pointers = [builder.inttoptr(args[k], _POINTER) for k in (1, 3)]
        return builder.sext(builder.call(target, [pointers[0], args[2], pointers[1]]), _I64)

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def call_relax(typingctx: Any, function: Any, bus: Any) -> Any:
    """Call ``relax`` at address ``function``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = builder.inttoptr(args[0], ir.PointerType(ir.FunctionType(ir.VoidType(), [_POINTER])))
        builder.call(target, [builder.inttoptr(args[1], _POINTER)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen
