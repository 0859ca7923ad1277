"""The emitted core as a shared library: built once per source, loaded into this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sentinel.errors import CardError

_SHIM = Path(__file__).with_name("shim.cpp")
TOP = "sentinel_core"
# A library that was closed leaves nothing behind that a rebuilt one would find.
_FLAGS = ("-CFLAGS", "-fno-gnu-unique")

_P, _U32, _U64, _I64, _INT = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "card_new": (_P, ()),
    "card_free": (None, (_P,)),
    "card_reset": (None, (_P,)),
    "card_counters": (_P, (_P,)),
    "card_step": (None, (_P, _U64)),
    "card_run": (_U64, (_P, _U64, _U64)),
    "card_now": (_U64, (_P,)),
    "card_set_now": (None, (_P, _U64)),
    "card_set_ring": (None, (_P, _P, _U64, _U64)),
    "card_set_pauses": (None, (_P, _U32, _U32, _U32, _U32)),
    "card_pull": (None, (_P,)),
    "card_stop_clock": (None, (_P,)),
    "card_spoil_record": (None, (_P, _INT)),
    "card_set_vdip": (None, (_P, _U32)),
    "card_vled": (_U32, (_P,)),
    "card_irq": (_U32, (_P,)),
    "card_outstanding": (_U32, (_P,)),
    "card_ocl_read": (_INT, (_P, _U32, ctypes.POINTER(_U32))),
    "card_ocl_write": (_INT, (_P, _U32, _U32)),
    "card_sda_read": (_INT, (_P, _U32, ctypes.POINTER(_U32))),
    "card_sda_write": (_INT, (_P, _U32, _U32)),
    "card_write_strobed": (_INT, (_P, _I64, ctypes.c_char_p, _U64)),
    "card_write64": (_INT, (_P, _I64, ctypes.c_char_p)),
    "card_relax": (None, (_P,)),
}


def core_verilog(progress: Callable[[str], None] = lambda text: None) -> str:
    """The core as Verilog, emitted anew only where its sources changed. Raises CardError without the tools for it."""
    try:
        from sentinel_hdl.tools.emit import emitted
    except ModuleNotFoundError as error:
        raise missing_tools(error.name) from None
    progress("emitting the core as Verilog")
    return emitted().read_text(encoding="utf-8")


def build_library(verilog: str, progress: Callable[[str], None] = lambda text: None) -> Path:
    """Compile a module ``sentinel_core`` with the C interface of ``shim.cpp``; kept for the next time.

    Raises CardError naming what is absent: Verilator, g++ or make; or ToolError with what a tool said.
    """
    try:
        from sentinel_hdl.tools.errors import ToolError
        from sentinel_hdl.tools.verilator import environment, shared_library
    except ModuleNotFoundError as error:
        raise missing_tools(error.name) from None
    try:
        environment()
    except ToolError as error:
        raise missing_tools(error.field) from None
    progress("compiling the simulated card (once, a minute or two)")
    return shared_library(TOP, verilog, _SHIM.read_text(encoding="utf-8"), _FLAGS)


def missing_tools(what: str | None, option: str = "--hdl") -> CardError:
    """The error for a tool that is not there."""
    return CardError(
        "simulated card",
        what,
        "Amaranth, Verilator, g++ and make",
        f"run scripts/setup {option} (Debian: apt-get install g++ make perl), or use --decider cpu",
    )


def load_library(path: Path) -> ctypes.CDLL:
    """The library with its functions' types set."""
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library
