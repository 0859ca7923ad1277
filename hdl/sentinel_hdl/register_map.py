"""The register map as plain data: what ``registers/sentinel.rdl`` says, compiled by systemrdl-compiler."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode
from systemrdl.rdltypes import AccessType, OnWriteType

RDL_FILE = Path(__file__).parent / "registers" / "sentinel.rdl"
WORD_BYTES = 4
ALL_ONES = 0xFFFF_FFFF


class MapError(ValueError):
    """The RDL says something that the register file does not build."""


class Source(Enum):
    """Where the bits of a field come from."""

    SOFTWARE = "software"  # stored in the register file, an output to the cores
    HARDWARE = "hardware"  # an input from the cores, not stored
    STICKY = "sticky"  # set by an input from the cores, cleared by writing ones
    CONSTANT = "constant"
    BAD_WRITES = "bad writes"  # counted by the register file itself


@dataclass(frozen=True)
class EnumValue:
    """A name for one value of a field; in a flag set, for one bit."""

    name: str
    value: int
    description: str


@dataclass(frozen=True)
class Enumeration:
    """Names of a field's values."""

    name: str
    values: tuple[EnumValue, ...]


@dataclass(frozen=True)
class Field:
    """Bits ``high`` to ``low`` of a register."""

    name: str
    high: int
    low: int
    reset: int
    source: Source
    readable: bool
    writable: bool
    pulse: bool
    description: str
    encoding: Enumeration | None

    @property
    def width(self) -> int:
        """Bits."""
        return self.high - self.low + 1

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """One 32-bit word; ``array`` and ``index`` say of which array it is an element."""

    name: str
    address: int
    fields: tuple[Field, ...]
    description: str
    kill_on_write: bool = False
    write_while_tripped: bool = False
    staged_limit: bool = False
    array: str | None = None
    index: int = 0
    constants: dict[str, int] = field(default_factory=dict, hash=False)

    @property
    def member(self) -> str:
        """Prefix of the register's members in a register file."""
        return self.name.lower()

    @property
    def writable(self) -> bool:
        """Software may write it."""
        return any(f.writable for f in self.fields)

    @property
    def readable(self) -> bool:
        """A read shows more than zeros."""
        return any(f.readable for f in self.fields)

    @property
    def write_mask(self) -> int:
        """Bits that a write changes."""
        return sum(f.mask for f in self.fields if f.writable)

    @property
    def read_mask(self) -> int:
        """Bits that may read as 1."""
        return sum(f.mask for f in self.fields if f.readable)

    @property
    def reset(self) -> int:
        """What is read after reset, hardware fields as 0."""
        return sum(f.reset << f.low for f in self.fields if f.readable)


@dataclass(frozen=True)
class RegisterMap:
    """One address map: registers in address order."""

    name: str
    title: str
    registers: tuple[Register, ...]

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)

    def __getitem__(self, name: str) -> Register:
        for register in self.registers:
            if register.name == name:
                return register
        raise KeyError(f"register {name!r} is not in the map {self.name}")

    @property
    def staged_limits(self) -> tuple[Register, ...]:
        """The words that LIMITS_COMMIT checks, in address order."""
        return tuple(r for r in self if r.staged_limit)


_CONSTANTS = ("arm_key_1", "arm_key_2", "arm_min_ticks", "arm_max_ticks")


def _source(node: FieldNode, where: str) -> Source:
    hardware = node.get_property("hw")
    if node.get_property("bad_write_count"):
        return Source.BAD_WRITES
    if node.get_property("sticky_set"):
        if node.get_property("onwrite") is not OnWriteType.woclr or hardware is not AccessType.w:
            raise MapError(f"{where}: a sticky field is hw = w and onwrite = woclr")
        return Source.STICKY
    if node.get_property("onwrite") is not None or node.get_property("onread") is not None:
        raise MapError(f"{where}: side effects of access other than woclr of a sticky field are not built")
    if hardware is AccessType.na and not node.is_sw_writable:
        return Source.CONSTANT
    if hardware is AccessType.w and not node.is_sw_writable:
        return Source.HARDWARE
    if hardware is AccessType.r and node.is_sw_writable:
        return Source.SOFTWARE
    raise MapError(f"{where}: sw = {node.get_property('sw').name}, hw = {hardware.name} is not built")


def _enumeration(node: FieldNode) -> Enumeration | None:
    encode: Any = node.get_property("encode")
    if encode is None:
        return None
    values = tuple(EnumValue(m.name, int(m.value), m.rdl_desc or "") for m in encode)
    return Enumeration(encode.type_name, values)


def _field(node: FieldNode, register: str) -> Field:
    where = f"{register}.{node.inst_name}"
    source = _source(node, where)
    reset = node.get_property("reset")
    if source is not Source.HARDWARE and not isinstance(reset, int):
        raise MapError(f"{where}: needs a reset value")
    if source is Source.HARDWARE and reset is not None:
        raise MapError(f"{where}: an input has no reset value")
    return Field(
        name=node.inst_name,
        high=node.high,
        low=node.low,
        reset=reset if isinstance(reset, int) else 0,
        source=source,
        readable=node.is_sw_readable,
        writable=node.is_sw_writable,
        pulse=bool(node.get_property("singlepulse")),
        description=node.get_property("desc") or "",
        encoding=_enumeration(node),
    )


def _register(node: RegNode, map_hash: int) -> Register:
    if node.get_property("regwidth") != WORD_BYTES * 8 or node.absolute_address % WORD_BYTES:
        raise MapError(f"{node.inst_name}: registers are aligned words of 32 bits")
    name, array, index = node.inst_name, None, 0
    if node.current_idx is not None:
        array, index = name, node.current_idx[0]
        name = f"{array}_{index}"
    fields = []
    for child in node.fields():
        built = _field(child, name)
        if child.get_property("map_hash"):
            built = Field(**{**vars(built), "reset": map_hash})
        fields.append(built)
    constants = {key: int(value) for key in _CONSTANTS if (value := node.get_property(key)) is not None}
    return Register(
        name=name,
        address=node.absolute_address,
        fields=tuple(fields),
        description=node.get_property("desc") or "",
        kill_on_write=bool(node.get_property("kill_on_write")),
        write_while_tripped=bool(node.get_property("write_while_tripped")),
        staged_limit=bool(node.get_property("staged_limit")),
        array=array,
        index=index,
        constants=constants,
    )


def _elaborate(path: Path, top: str) -> AddrmapNode:
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    node = compiler.elaborate(top).top
    assert isinstance(node, AddrmapNode)
    return node


def _maps_of(path: Path, tops: tuple[str, ...], map_hash: int) -> tuple[RegisterMap, ...]:
    maps = []
    for top in tops:
        node = _elaborate(path, top)
        registers = sorted((_register(r, map_hash) for r in node.registers(unroll=True)), key=lambda r: r.address)
        maps.append(RegisterMap(top, node.get_property("name"), tuple(registers)))
    return tuple(maps)


def hash_of(maps: tuple[RegisterMap, ...]) -> int:
    """32 bits over names, addresses, fields and access of every register, whatever the comments and descriptions.

    Never 0 nor all ones.
    """
    lines = [
        (
            f"{one.name} {r.name} {r.address:#x} {r.kill_on_write} {r.write_while_tripped} {r.staged_limit} "
            f"{sorted(r.constants.items())} "
            f"{f.name} {f.high} {f.low} {f.reset:#x} {f.source.value} {f.readable} {f.writable} {f.pulse} "
            f"{[(v.name, v.value) for v in f.encoding.values] if f.encoding else []}"
        )
        for one in maps
        for r in one
        for f in r.fields
    ]
    for salt in range(256):  # the first salt is taken in all but 2 of 2^32 cases
        digest = hashlib.sha256("\n".join([str(salt), *lines]).encode()).digest()
        if (value := int.from_bytes(digest[:4], "little")) not in (0, ALL_ONES):
            return value
    raise MapError("no hash found")


@cache
def load(path: Path = RDL_FILE, tops: tuple[str, ...] = ("sentinel_ocl", "sentinel_sda")) -> dict[str, RegisterMap]:
    """Compile an RDL file. The hash constant of every map is that of all ``tops`` together.

    Raises MapError for what the register file does not build, and the compiler's own error for bad RDL.
    """
    map_hash = hash_of(_maps_of(path, tops, 0))
    return {one.name: one for one in _maps_of(path, tops, map_hash)}
