"""CRC-32 (zlib's) of the first 60 bytes of a record, pipelined.

The CRC is linear over GF(2): every bit of it is the parity of a fixed set of message bits, inverted where the CRC of
zeros has a one. The sets are found by asking zlib.
"""

from __future__ import annotations

import zlib
from functools import cache, reduce
from operator import xor

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

MESSAGE_BYTES = 60
LATENCY = 2
_GROUP = 36  # what two levels of 6-input LUTs take


@cache
def parity_sets(length: int = MESSAGE_BYTES) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """The CRC of ``length`` zero bytes, and for each of its 32 bits the message bits it is the parity of."""
    zeros = zlib.crc32(bytes(length))
    sets: list[list[int]] = [[] for _ in range(32)]
    for position in range(8 * length):
        message = bytearray(length)
        message[position // 8] = 1 << position % 8
        difference = zlib.crc32(bytes(message)) ^ zeros
        for bit in range(32):
            if difference >> bit & 1:
                sets[bit].append(position)
    return zeros, tuple(tuple(positions) for positions in sets)


class Crc32(wiring.Component):
    """``crc`` of the ``message`` of LATENCY enabled cycles ago; a stage without its bit of ``enable`` stands still."""

    def __init__(self) -> None:
        super().__init__({"message": In(8 * MESSAGE_BYTES), "enable": In(LATENCY), "crc": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        zeros, sets = parity_sets()
        for bit, positions in enumerate(sets):
            groups: list[Value] = []
            for start in range(0, len(positions), _GROUP):
                part = Signal(name=f"part_{bit}_{start}", reset_less=True)
                with m.If(self.enable[0]):
                    m.d.sync += part.eq(Cat(self.message[p] for p in positions[start : start + _GROUP]).xor())
                groups.append(part)
            with m.If(self.enable[1]):
                m.d.sync += self.crc[bit].eq(reduce(xor, groups) ^ (zeros >> bit & 1))
        return m
