"""Writes what derives from the register map: Python constants, C header and documentation page.

python -m sentinel_hdl.tools.registers            writes the files that differ
python -m sentinel_hdl.tools.registers --check    names the files that differ, exit code 1 if any
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..register_map import ALL_ONES, Enumeration, Register, RegisterMap, Source, load

ROOT = Path(__file__).parents[3]
COMMAND = "python -m sentinel_hdl.tools.registers"
LINE = 130  # columns of a source line
Maps = tuple[RegisterMap, RegisterMap]


def _prefix(one: RegisterMap) -> str:
    return one.name.removeprefix("sentinel_")


def _enumerations(maps: Maps) -> dict[str, Enumeration]:
    found = (f.encoding for one in maps for r in one for f in r.fields)
    return {e.name: e for e in found if e is not None}


def _flags(register: Register) -> list[tuple[str, int, str]]:
    """The one-bit fields of a register that has named fields."""
    return [(f.name.upper(), f.mask, f.description) for f in register.fields if f.width == 1]


def _groups(one: RegisterMap) -> dict[str, tuple[Register, ...]]:
    """Values of several words and arrays: the words in order, lowest first."""
    groups: dict[str, tuple[Register, ...]] = {}
    for r in one:
        if r.array is not None:
            groups[r.array] = (*groups.get(r.array, ()), r)
        elif r.name.endswith("_LO"):
            groups[r.name[:-3]] = (r, one[r.name[:-3] + "_HI"])
    return groups


def _access(register: Register) -> str:
    access = ("r" if register.readable else "") + ("w" if register.writable else "")
    return access + (" while tripped" if register.write_while_tripped else "")


def python_constants(maps: Maps) -> str:
    """``sentinel/host/cards/registers.py``."""
    return "\n".join(_python_lines(maps)) + "\n"


def _python_lines(maps: Maps) -> Iterator[str]:
    ocl, _ = maps
    yield f'''"""Registers of the card: addresses, fields, bits and constants.

Written by ``{COMMAND}``; change the register map, not this file.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

ALL_ONES = 0x{ALL_ONES:08X}  # what a lost card reads as; no register's legal value
MAP_HASH = 0x{ocl["MAP_HASH"].reset:08X}
MAGIC = 0x{ocl["MAGIC"].reset:08X}
STATUS_MAGIC = 0x{next(f for f in ocl["STATUS"].fields if f.name == "magic").reset:02X}
WORD_BITS = 31  # of each word of a value of several words'''
    for name, value in ocl["ARM_KEY"].constants.items():
        yield f"{name.upper()} = 0x{value:08X}" if "key" in name else f"{name.upper()} = {value:_}"
    for one in maps:
        yield f'\n\nclass {_prefix(one).title()}(IntEnum):\n    """{one.title}: byte addresses."""\n'
        for r in one:
            yield f"    {r.name} = 0x{r.address:03X}"
    for enum in _enumerations(maps).values():
        yield f'\n\nclass {_camel(enum.name)}(IntFlag):\n    """Bits of {_users(ocl, enum)}."""\n'
        for v in enum.values:
            yield f"    {v.name} = 0x{v.value:06X}  # {v.description}"
    for r in ocl:
        if flags := _flags(r):
            yield f'\n\nclass {_camel(r.name)}(IntFlag):\n    """One-bit fields of {r.name}."""\n'
            for name, mask, description in flags:
                yield f"    {name} = 0x{mask:04X}" + (f"  # {description}" if description else "")
    yield '''

class Field(NamedTuple):
    """A field of a register: ``mask`` is in place."""

    shift: int
    mask: int
    reset: int

    def of(self, word: int) -> int:
        """The field's value in a word read."""
        return (word & self.mask) >> self.shift

'''
    for one in maps:
        cls = _prefix(one).title()
        yield f"{cls.upper()}_FIELDS: dict[{cls}, dict[str, Field]] = {{"
        for r in one:
            items = [f'"{f.name}": Field({f.low}, 0x{f.mask:08X}, 0x{f.reset:X})' for f in r.fields]
            yield from _entry(f"{cls}.{r.name}: {{", items, "}")
        yield "}"
    yield "# Written only while tripped; refused with SLVERR while armed."
    yield from _python_tuple("OCL_LOCKED", [r for r in ocl if r.write_while_tripped])
    yield "# What LIMITS_COMMIT's CRC-32 is taken over, in this order."
    yield from _python_tuple("STAGED_LIMITS", list(ocl.staged_limits))
    yield "# Arrays, and values of several words of 31 bits, lowest first."
    yield "OCL_WORDS: dict[str, tuple[Ocl, ...]] = {"
    for name, group in _groups(ocl).items():
        yield from _entry(f'"{name}": (', [f"Ocl.{r.name}" for r in group], ")")
    yield "}"
    yield '''

def split(name: str, value: int) -> list[tuple[Ocl, int]]:
    """The writes of a value of several words, lowest word first. Raises ValueError where a bit has no place."""
    words = OCL_WORDS[name]
    writes = [(word, value >> WORD_BITS * i & ALL_ONES >> 1) for i, word in enumerate(words)]
    if value < 0 or value >> WORD_BITS * len(words) or any(v & ~OCL_FIELDS[w]["value"].mask for w, v in writes):
        raise ValueError(f"{name} = {value}: does not fit the register's bits")
    return writes


def join(words: list[int]) -> int:
    """The value of the words read, lowest word first."""
    return sum(word << WORD_BITS * i for i, word in enumerate(words))'''


def _python_tuple(name: str, registers: list[Register]) -> Iterator[str]:
    yield f"{name} = ("
    yield from (f"    Ocl.{r.name}," for r in registers)
    yield ")"


def _entry(head: str, items: list[str], end: str) -> Iterator[str]:
    """One entry of a dict, on one line where it fits: as the formatter lays it out."""
    if len(line := f"    {head}{', '.join(items)}{end},") <= LINE:
        yield line
        return
    yield f"    {head}"
    yield from (f"        {item}," for item in items)
    yield f"    {end},"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.lower().split("_"))


def _users(one: RegisterMap, enum: Enumeration) -> str:
    names = [r.name for r in one for f in r.fields if f.encoding is not None and f.encoding.name == enum.name]
    return ", ".join(names)


def c_header(maps: Maps) -> str:
    """``registers/sentinel_regs.h``."""
    return "\n".join(_c_lines(maps)) + "\n"


def _c_lines(maps: Maps) -> Iterator[str]:
    yield f"/* Registers of the card. Written by `{COMMAND}`; change the register map, not this file. */"
    yield "#ifndef SENTINEL_REGS_H\n#define SENTINEL_REGS_H\n"
    for one in maps:
        prefix = f"SENTINEL_{_prefix(one).upper()}"
        yield f"/* {one.title}: byte addresses, masks in place, shifts. */"
        for r in one:
            yield f"#define {prefix}_{r.name} 0x{r.address:03X}u"
            for f in r.fields:
                field = f"{prefix}_{r.name}_{f.name.upper()}"
                yield f"#define {field}_MASK 0x{f.mask:08X}u"
                yield f"#define {field}_SHIFT {f.low}"
                if f.source is not Source.HARDWARE and f.readable:
                    yield f"#define {field}_RESET 0x{f.reset:X}u"
        yield ""
    for name, value in maps[0]["ARM_KEY"].constants.items():
        yield f"#define SENTINEL_{name.upper()} {value:#x}u"
    for enum in _enumerations(maps).values():
        yield f"\n/* Bits of {_users(maps[0], enum)}. */"
        for v in enum.values:
            yield f"#define SENTINEL_{enum.name.upper()}_{v.name} 0x{v.value:06X}u /* {v.description} */"
    yield "\n#endif"


USE = """## How software uses them

- **All ones is never a value.** A lost card, a bus time-out and a card in reset read as `0xFFFFFFFF`. Treat that as
  tripped and the card as lost; every readable register has a bit that is 0, or a value that its core never lets
  become all ones.
- **First** compare `MAGIC`, then `MAP_HASH` with the one this build knows: another hash is another map.
- **Values of several words** lie in words of 31 bits, lowest first (`LO`, `HI`, or an array). Time that runs is read
  HI, LO, HI, again if the two HI differ. `split` and `join` of `sentinel.host.cards.registers` do the cutting.
- **Every access is answered.** An address without a register, a write to a register that is only read, a write of less than
  four bytes, and a write to a register marked *while tripped* while the card is armed have no effect and get SLVERR;
  reads then give 0. Bits without a field are ignored when written. All of these count in `BAD_WRITES`, reads do not. The
  two lowest address bits do not count: an address means its word.
- **A write-only register reads as 0.**
- **`KILL` trips** on any write: any data, any byte lanes, armed or not, on either bus.
- **Limits**: write every staged word, then `LIMITS_COMMIT` with their CRC-32, then read `LIMITS_STATUS` until it is
  not busy. A refused commit stands as the cause `LIMIT_FAULT` until one succeeds, so the card can't be armed on limits
  that differ from those the host meant. The watchdog's times are committed with them.
- **Symbols**: write the `SYMBOL_` registers, then `SYMBOL_COMMIT`, and wait until `SYMBOL_STATUS` is not busy before the
  next commit.
- **Do not poll** on the trading path: a read over PCIe takes a microsecond or more. Status comes by itself into the
  host's ring.

## Timing and what is proven

One write and one read may be under way at a time, independent of each other; address and data of a write may come in
either order. In cycles of 4 ns:

| from | to | cycles |
|---|---|---|
| last handshake of a write (address or data) | the register's new value and strobe in the core | 1 |
| last handshake of a write | response valid | 2 |
| handshake of a read's address | data valid | 3 |
| `LIMITS_COMMIT` written | limits in force or refused | less than 40 |
| an upset bit in the limits in force or their shadow | `LIMIT_FAULT` | 1 |

By induction, for every register of both maps and every sequence of inputs (`hdl/sentinel_hdl/proofs/registers.py`): the
AXI4-Lite rules of a slave (P9); every read gives the value last accepted, or what the hardware or the constant says, and
the strobe comes with each accepted write and with nothing else (P10); the times of the first three rows hold always, so
no access is left without an answer (P12). And of the limits (`proofs/limits.py`): what is in force is within its ranges,
and changes only at the end of a check that nothing disturbed, while tripped. That the check's CRC-32 is right is
simulated against zlib (`tests/hdl/test_limits.py`), not proven.
"""


def markdown(maps: Maps) -> str:
    """``docs/registers.md``."""
    return "\n".join(_markdown_lines(maps)) + "\n"


def _markdown_lines(maps: Maps) -> Iterator[str]:
    yield f"<!-- Written by `{COMMAND}`; change the register map, not this page. -->\n\n# Registers\n"
    yield (
        "The card's registers, from the one map `hdl/sentinel_hdl/registers/sentinel.rdl`. The AXI4-Lite register files, "
        "`sentinel/host/cards/registers.py` and `registers/sentinel_regs.h` come from the same file. This map's hash is "
        f"`0x{maps[0]['MAP_HASH'].reset:08X}`.\n"
    )
    yield USE
    for one in maps:
        yield f"## {one.title}\n\n| address | register | access | after reset | meaning |\n|---|---|---|---|---|"
        for r in one:
            reset = "hardware" if all(f.source is Source.HARDWARE for f in r.fields) else f"0x{r.reset:X}"
            yield f"| `0x{r.address:03X}` | `{r.name}` | {_access(r)} | {reset if r.readable else ''} | {r.description} |"
        yield "\n### Fields\n\n| register | bits | field | meaning |\n|---|---|---|---|"
        for r in one:
            for f in r.fields:
                if r.index == 0:
                    name = r.array or r.name
                    yield f"| `{name}` | {f.high}:{f.low} | `{f.name}` | {f.description or _bits_of(f.encoding)} |"
        yield ""
    for enum in _enumerations(maps).values():
        yield f"## Bits of {_users(maps[0], enum)}\n\n| bit | name | meaning |\n|---|---|---|"
        for v in enum.values:
            yield f"| {v.value.bit_length() - 1} | `{v.name}` | {v.description} |"
        yield ""
    keys = maps[0]["ARM_KEY"].constants
    yield "## Arm keys\n\n| constant | value |\n|---|---|"
    for name, value in keys.items():
        yield f"| `{name}` | {f'0x{value:08X}' if 'key' in name else f'{value} ticks of 4 ns'} |"


def _bits_of(encoding: Enumeration | None) -> str:
    return f"Bits `{encoding.name}`, below." if encoding else ""


OUTPUTS: dict[str, Callable[[Maps], str]] = {
    "sentinel/host/cards/registers.py": python_constants,
    "hdl/sentinel_hdl/registers/sentinel_regs.h": c_header,
    "docs/registers.md": markdown,
}


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when every file was up to date or has been written, 1 when ``--check`` found one that differs."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write what derives from the register map.")
    parser.add_argument("--check", action="store_true", help="only say which files differ")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    options = parser.parse_args(argv)
    loaded = load()
    maps = (loaded["sentinel_ocl"], loaded["sentinel_sda"])
    stale = 0
    for name, text_of in OUTPUTS.items():
        path, text = options.root / name, text_of(maps)
        if path.is_file() and path.read_text() == text:
            continue
        stale += 1
        if options.check:
            print(f"{name} differs from the register map: run {COMMAND}", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}")
    return int(options.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
