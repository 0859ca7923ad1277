"""Accesses to a card's mapped windows, each exactly what it says: volatile, so none is split, merged, moved or left out.

A register is read and written by one aligned 32-bit access. A beat is one 64-byte vector store where the processor has
one (AVX-512), two or four in a row elsewhere, so that a write-combining buffer fills at once; the store fence behind it
pushes the buffer out (x86: sfence; arm64: dsb st).
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.ir.instructions import LoadInstr, StoreInstr
from numba import cfunc, njit, types
from numba.core import cgutils

from sentinel.native import JIT, intrinsic, record_at
from sentinel.wire import SLOT_BYTES

_I32 = ir.IntType(32)
_BEAT = ir.VectorType(_I32, SLOT_BYTES // 4)

#: Context of ``write64`` and ``relax``: where a window is mapped, and how much of it.
WINDOW = np.dtype([("address", "<i8"), ("size", "<i8")])
_window_at = record_at(WINDOW)

#: LLVM's intrinsics by architecture: a fence for stores and a pause between two looks, each with its argument if it has one.
STORE_FENCE = {"x86_64": ("llvm.x86.sse.sfence", None), "aarch64": ("llvm.aarch64.dsb", 14)}
PAUSE = {"x86_64": ("llvm.x86.sse2.pause", None), "aarch64": ("llvm.aarch64.hint", 1)}


class _Volatile:
    # llvmlite has no keyword for it.
    def descr(self, buf: list[str]) -> None:
        plain: list[str] = []
        super().descr(plain)  # type: ignore[misc]
        buf += ["".join(plain).replace(self.opname, f"{self.opname} volatile", 1)]  # type: ignore[attr-defined]


class _VolatileLoad(_Volatile, LoadInstr):
    pass


class _VolatileStore(_Volatile, StoreInstr):
    pass


def _insert(builder: Any, instruction: Any, align: int) -> Any:
    instruction.align = align
    builder._insert(instruction)
    return instruction


def emit_beat_store(builder: Any, address: Any, source: Any) -> None:
    """IR that copies the 64 bytes at ``source`` (int64, 4-byte aligned) to ``address`` (int64, 64-byte aligned)."""
    pointer = ir.PointerType(_BEAT)
    beat = builder.load(builder.inttoptr(source, pointer), align=4)
    _insert(builder, _VolatileStore(builder.block, beat, builder.inttoptr(address, pointer)), SLOT_BYTES)


def emit_call(builder: Any, intrinsics: dict[str, tuple[str, int | None]], machine: str) -> None:
    """IR that calls one of the intrinsics above."""
    name, argument = intrinsics[machine]
    arguments = [] if argument is None else [_I32(argument)]
    kind = ir.FunctionType(ir.VoidType(), [_I32] * len(arguments))
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def _load32(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType(_I32))
        return _insert(builder, _VolatileLoad(builder.block, pointer), 4)

    return types.uint32(types.int64), codegen


@intrinsic
def _store32(typingctx: Any, address: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType(_I32))
        _insert(builder, _VolatileStore(builder.block, args[1], pointer), 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint32), codegen


@intrinsic
def _store_beat(typingctx: Any, address: Any, source: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_beat_store(builder, *args)
        emit_call(builder, STORE_FENCE, platform.machine())
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_call(builder, PAUSE, platform.machine())
        return context.get_dummy_value()

    return types.void(), codegen


@njit("uint32(int64)", **JIT)
def read32(address: int) -> int:
    """The register at an address."""
    return _load32(address)  # type: ignore[no-any-return]


@njit("void(int64, uint32)", **JIT)
def write32(address: int, value: int) -> None:
    """Write the register at an address."""
    _store32(address, value)


@cfunc(types.int32(types.int64, types.int64, types.int64), cache=True, error_model="numpy")
def write64(context: Any, offset: Any, beat: Any) -> Any:
    """``write64`` of a Bus over a WINDOW: a store outside it, or across two slots, is refused."""
    window = _window_at(context)
    if offset < 0 or offset % SLOT_BYTES != 0 or offset + SLOT_BYTES > window.size:
        return np.int32(1)
    _store_beat(window.address + offset, beat)
    return np.int32(0)


@cfunc(types.void(types.int64), cache=True, error_model="numpy")
def relax(context: Any) -> None:
    """``relax`` of a Bus whose card runs by itself: the processor's pause."""
    _pause()
