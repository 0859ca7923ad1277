"""CLOCK_MONOTONIC from compiled code: 20 ns a call through the vDSO, no return to Python."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from sentinel.native import intrinsic

_CLOCK_MONOTONIC = 1
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


@intrinsic
def monotonic_ns(typingctx: Any) -> Any:
    """Nanoseconds of CLOCK_MONOTONIC, the clock of ``time.monotonic_ns``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        timespec = cgutils.alloca_once(builder, ir.ArrayType(_I64, 2))
        function_type = ir.FunctionType(_I32, [_I32, ir.PointerType(_I8)])
        function = cgutils.get_or_insert_function(builder.module, function_type, "clock_gettime")
        builder.call(function, [_I32(_CLOCK_MONOTONIC), builder.bitcast(timespec, ir.PointerType(_I8))])
        seconds = builder.load(cgutils.gep_inbounds(builder, timespec, 0, 0))
        nanoseconds = builder.load(cgutils.gep_inbounds(builder, timespec, 0, 1))
        return builder.add(builder.mul(seconds, _I64(1_000_000_000)), nanoseconds)

    return types.int64(), codegen
