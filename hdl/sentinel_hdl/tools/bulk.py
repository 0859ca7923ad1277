"""The decider under Verilator, fed from C++: millions of vectors in and Decisions out, models loaded meanwhile.

with BulkDecider() as decider:
    decider.load(words, BulkHeader(trees=100, classes=1, id=0x5EED))
    decisions = decider.run(vectors)
"""

from __future__ import annotations

import ctypes
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.model.artifact import ABI_VERSION
from sentinel.wire import DECISION
from sentinel_hdl.decider import LoadStatusLayout
from sentinel_hdl.model_loader import HeaderLayout
from sentinel_hdl.tools.emit import emitted, top_name
from sentinel_hdl.tools.verilator import shared_library

_WRAPPER = """// A decider that a stream of vectors goes through while words of a model are loaded.
#include <cstdint>
#include <cstring>
#include <vector>
#include "Vsentinel_decider.h"
#include "verilated.h"

namespace {
// No Decision for so many cycles: there will never be one.
constexpr uint64_t kPatience = 5000;

struct Bulk {
  VerilatedContext context;
  Vsentinel_decider top{&context};
  uint64_t cycle = 0, seed = 1;
  uint32_t faults = 0;
  std::vector<uint32_t> words;  // of the load under way
  size_t next = 0;
  uint32_t crc = 0, gap = 0, wait = 0;
  enum { kNone, kBegin, kWords, kSwap } step = kNone;

  uint32_t random() {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return uint32_t(seed >> 32);
  }
  void load() {
    top.begin = top.word = top.swap = 0;
    if (step == kNone || wait--) return;
    wait = gap;
    if (step == kBegin) {
      top.begin = 1;
      step = kWords;
    } else if (next < words.size()) {
      top.word = 1, top.value = words[next++];
    } else {
      top.swap = 1, top.value = crc;
      step = kNone;
    }
  }
  void tick() {
    load();
    top.now = cycle;
    top.cycle = uint32_t(cycle);
    top.clk = 1, top.eval();
    top.clk = 0, top.eval();
    faults += top.model_fault;
    ++cycle;
  }
};
}  // namespace

extern "C" {
void *bulk_new() {
  Bulk *bulk = new Bulk;
  bulk->top.rst = 1;
  for (int i = 0; i < 4; ++i) bulk->tick();
  bulk->top.rst = 0;
  bulk->cycle = 0;
  return bulk;
}
void bulk_free(Bulk *bulk) { bulk->top.final(); delete bulk; }
uint64_t bulk_cycle(Bulk *bulk) { return bulk->cycle; }
uint32_t bulk_faults(Bulk *bulk) { return bulk->faults; }
uint32_t bulk_status(Bulk *bulk) { return bulk->top.status; }
int bulk_loading(Bulk *bulk) { return bulk->step != Bulk::kNone; }
void bulk_step(Bulk *bulk, uint64_t cycles) {
  while (cycles--) bulk->tick();
}
void bulk_load(Bulk *bulk, const void *header, const uint32_t *words, size_t count, uint32_t crc, uint32_t gap) {
  memcpy(&bulk->top.header, header, sizeof(bulk->top.header));
  bulk->words.assign(words, words + count);
  bulk->next = 0, bulk->wait = 0, bulk->crc = crc, bulk->gap = gap, bulk->step = Bulk::kBegin;
}
// Sends n vectors of 26 words and gathers their Decisions. A vector is held back in `idle` of 256 cycles, a Decision
// in `stall` of 256. Returns how many Decisions came.
uint64_t bulk_run(Bulk *bulk, const uint32_t *vectors, uint64_t n, uint32_t *decisions, uint32_t idle, uint32_t stall) {
  auto &top = bulk->top;
  uint64_t sent = 0, got = 0, quiet = 0;
  char payload[sizeof(top.vectors___05Fpayload)] = {};
  while (got < n && quiet < kPatience) {
    if (!top.vectors___05Fvalid && sent < n && (bulk->random() & 255) >= idle) {
      const uint32_t seq = uint32_t(sent), stamp = uint32_t(bulk->cycle);
      const uint16_t symbol = uint16_t(sent % 1024);
      memcpy(payload, vectors + 26 * sent, 104);
      memcpy(payload + 104, &seq, 4), memcpy(payload + 108, &symbol, 2), memcpy(payload + 110, &stamp, 4);
      memcpy(&top.vectors___05Fpayload, payload, sizeof(payload));
      top.vectors___05Fvalid = 1;
    }
    top.decisions___05Fready = (bulk->random() & 255) >= stall;
    top.eval();
    const bool taken = top.vectors___05Fvalid && top.vectors___05Fready;
    ++quiet;
    if (top.decisions___05Fvalid && top.decisions___05Fready) {
      memcpy(decisions + 16 * got++, &top.decisions___05Fpayload, 64);
      quiet = 0;
    }
    bulk->tick();
    if (taken) ++sent, top.vectors___05Fvalid = 0;
  }
  top.vectors___05Fvalid = 0;
  return got;
}
}
"""
_FLAGS = ("-CFLAGS", "-fno-gnu-unique")
_SETTLE = 100  # cycles: more than a swap waits when nobody holds Decisions back


@dataclass(frozen=True)
class BulkHeader:
    """What is said of a model beside its words, as in HeaderLayout."""

    trees: int
    classes: int
    id: int
    forest_on_rule: bool = False
    two_beats: bool = True
    abi: int = ABI_VERSION


class BulkDecider:
    """One Verilated decider of the default size, or with the given parameters."""

    def __init__(self, **parameters: Any) -> None:
        library = shared_library(top_name("decider"), emitted("decider", **parameters).read_text(), _WRAPPER, _FLAGS)
        self._library = ctypes.CDLL(str(library))
        for name, result in (("new", ctypes.c_void_p), ("cycle", ctypes.c_uint64), ("run", ctypes.c_uint64)):
            getattr(self._library, f"bulk_{name}").restype = result
        self._sim = ctypes.c_void_p(self._library.bulk_new())

    def __enter__(self) -> BulkDecider:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._library.bulk_free(self._sim)

    @property
    def cycle(self) -> int:
        """Clock cycles since reset."""
        return int(self._library.bulk_cycle(self._sim))

    @property
    def faults(self) -> int:
        """Pulses of ``model_fault`` so far."""
        return int(self._library.bulk_faults(self._sim))

    @property
    def loading(self) -> bool:
        """Whether the swap of the last load is still to be asked for."""
        return bool(self._library.bulk_loading(self._sim))

    @property
    def status(self) -> dict[str, Any]:
        """Fields of LoadStatusLayout; ``errors`` as the names of those set."""
        view = LoadStatusLayout().from_bits(self._library.bulk_status(self._sim))
        errors = [name for name, _ in view.errors.shape() if view.errors[name]]
        return {"errors": errors, **{name: int(view[name]) for name, _ in view.shape() if name != "errors"}}

    def start_load(self, words: NDArray[np.uint32], header: BulkHeader, *, crc: int | None = None, gap: int = 0) -> None:
        """Begin, words and swap go in from now on, a strobe every ``gap + 1`` cycles; ``crc`` instead of the right one."""
        data = np.ascontiguousarray(words, "<u4")
        fields = {name: int(getattr(header, name)) for name, _ in HeaderLayout()}
        packed = HeaderLayout().const(fields).as_bits().to_bytes(12, "little")
        chosen = zlib.crc32(data.tobytes()) if crc is None else crc
        words_at, count = ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(len(data))
        self._library.bulk_load(self._sim, packed, words_at, count, ctypes.c_uint32(chosen), ctypes.c_uint32(gap))

    def load(self, words: NDArray[np.uint32], header: BulkHeader, *, crc: int | None = None) -> dict[str, Any]:
        """Load a model while nothing else happens; the status afterwards."""
        self.start_load(words, header, crc=crc)
        self.step(len(words) + _SETTLE)
        return self.status

    def step(self, cycles: int) -> None:
        """So many clock edges, no vector offered."""
        self._library.bulk_step(self._sim, ctypes.c_uint64(cycles))

    def run(self, vectors: NDArray[np.float32], *, idle: int = 0, stall: int = 0) -> NDArray[np.void]:
        """DECISION[n] of float32[n, 26] vectors; ``seq`` counts from 0, ``symbol`` is seq modulo 1024.

        A vector waits in ``idle`` of 256 cycles before it is offered, a Decision in ``stall`` of 256 before it is taken.
        Raises RuntimeError where Decisions stay away.
        """
        if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != 26:
            raise ValueError(f"vectors are {vectors.dtype}{vectors.shape}, not float32[n, 26]")
        data = np.ascontiguousarray(vectors)
        decisions = np.zeros(len(data), DECISION)
        count = ctypes.c_uint64(len(data))
        pauses = ctypes.c_uint32(idle), ctypes.c_uint32(stall)
        came = self._library.bulk_run(
            self._sim, ctypes.c_void_p(data.ctypes.data), count, ctypes.c_void_p(decisions.ctypes.data), *pauses
        )
        if came != len(data):
            raise RuntimeError(f"{came} Decisions of {len(data)} vectors")
        return decisions
