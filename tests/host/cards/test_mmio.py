"""What accesses to a card compile to: one of each width, on every processor we run on, and none of it left out."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from sentinel.host.cards.mmio import PAUSE, STORE_FENCE, WINDOW, emit_beat_store, emit_call, read32, relax, write32, write64

I64 = ir.IntType(64)
X86_STORE = r"\tv?mov\w+\t%[xyz]mm\d+, (?:-?\d+)?\(%rsi\)"


def _assembly(triple: str, machine: str, features: str) -> str:
    module = ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64, I64]), "store")
    builder: Any = ir.IRBuilder(function.append_basic_block())
    emit_beat_store(builder, function.args[1], function.args[0])
    emit_call(builder, STORE_FENCE, machine)
    emit_call(builder, PAUSE, machine)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(features=features, opt=3)
    return str(target.emit_assembly(llvm.parse_assembly(str(module))))


@pytest.mark.parametrize(
    ("features", "register", "stores"), [("+avx512f", "zmm", 1), ("+avx2", "ymm", 2), ("+sse2", "xmm", 4)], ids=lambda v: str(v)
)
def test_beat_is_as_few_stores_as_the_processor_can(features: str, register: str, stores: int) -> None:
    text = _assembly("x86_64-unknown-linux-gnu", "x86_64", features)
    found = re.findall(X86_STORE, text)
    assert len(found) == stores
    assert all(register in store for store in found)
    assert text.index("sfence") > text.rindex(found[-1])
    assert "pause" in text


def test_beat_on_arm_is_whole_vector_stores_and_a_store_barrier() -> None:
    text = _assembly("aarch64-unknown-linux-gnu", "aarch64", "+neon")
    stores = list(re.finditer(r"\t(stp|str|stur)\tq\d+", text))
    assert sum(2 if store[1] == "stp" else 1 for store in stores) == 4
    assert text.index("dsb\tst") > stores[-1].start()
    assert "yield" in text or "hint\t#1" in text


@given(value=st.integers(0, 2**32 - 1), word=st.integers(0, 15))
def test_register_holds_what_was_written_and_its_neighbours_stay(value: int, word: int) -> None:
    memory = np.full(16, 0x5A5A5A5A, np.uint32)
    write32(memory.ctypes.data + 4 * word, value)
    assert read32(memory.ctypes.data + 4 * word) == value
    assert (np.delete(memory, word) == 0x5A5A5A5A).all()


@pytest.mark.parametrize(
    ("offset", "taken"), [(0, True), (4032, True), (4096, False), (-64, False), (32, False), (1 << 40, False)]
)
def test_beat_goes_to_its_slot_and_nowhere_outside_the_window(offset: int, taken: bool) -> None:
    storage = np.zeros(4096 + 3 * 64, np.uint8)
    start = -storage.ctypes.data % 64 + 64
    window = np.array([(storage.ctypes.data + start, 4096)], WINDOW)
    beat = np.arange(1, 65, dtype=np.uint8)
    status = write64.ctypes(window.ctypes.data, offset, beat.ctypes.data)
    assert (status == 0) is taken
    expected = np.zeros_like(storage)
    if taken:
        expected[start + offset : start + offset + 64] = beat
    assert (storage == expected).all()


def test_relax_is_callable_as_the_bus_promises() -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(int(relax.address or 0))(None)
