"""The register map: what derives from it is up to date, and no register reads as all ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sentinel_hdl.register_map import ALL_ONES, RDL_FILE, MapError, RegisterMap, Source, load
from sentinel_hdl.tools.registers import OUTPUTS, main

from sentinel.host.cards import registers as generated

OCL, SDA = load()["sentinel_ocl"], load()["sentinel_sda"]
# What must have all 32 bits, and why it is never all ones.
WHOLE_WORDS = {
    "ARM_NONCE": "the kill switch skips it",
    "ARM_EPOCH": "the kill switch skips it",
    "MODEL_ACTIVE_ID": "the driver refuses such an artifact",
    "RULE_LOW": "no key of a float that is a number",
    "RULE_HIGH": "no key of a float that is a number",
}


def test_what_derives_from_the_map_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_a_file_that_differs_and_writing_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path), "--check"]) == 0
    for name in OUTPUTS:
        path = tmp_path / name
        path.write_text(path.read_text().replace("SCRATCH", "SCRATHC", 1))
        capsys.readouterr()
        assert main(["--root", str(tmp_path), "--check"]) == 1
        assert name in capsys.readouterr().err
        assert main(["--root", str(tmp_path)]) == 0
        assert main(["--root", str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize("register_map", [OCL, SDA], ids=lambda m: m.name)
def test_no_register_reads_as_all_ones(register_map: RegisterMap) -> None:
    for r in register_map:
        constant_zero = any(f.source is Source.CONSTANT and f.reset != (1 << f.width) - 1 for f in r.fields)
        assert r.read_mask != ALL_ONES or constant_zero or r.name in WHOLE_WORDS, r.name
        assert r.reset != ALL_ONES, r.name


def test_status_of_a_dead_bus_reads_as_tripped() -> None:
    assert ALL_ONES & generated.Status.TRIPPED
    assert generated.OCL_FIELDS[generated.Ocl.STATUS]["magic"].of(ALL_ONES) != generated.STATUS_MAGIC
    assert OCL["STATUS"].fields == SDA["STATUS"].fields


def test_python_constants_need_no_hdl_tool() -> None:
    script = (
        "import sys\n"
        "for tool in ('amaranth', 'systemrdl', 'sentinel_hdl'): sys.modules[tool] = None\n"
        "import sentinel.host.cards.registers as r\n"
        "print(hex(r.MAP_HASH))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(out, 16) == generated.MAP_HASH


def test_python_constants_equal_the_map() -> None:
    assert {r.name: r.value for r in generated.Ocl} == {r.name: r.address for r in OCL}
    assert {r.name: r.value for r in generated.Sda} == {r.name: r.address for r in SDA}
    assert [r.name for r in generated.STAGED_LIMITS] == [r.name for r in OCL.staged_limits]
    assert {r.name for r in generated.OCL_LOCKED} == {r.name for r in OCL if r.write_while_tripped}
    assert OCL["MAP_HASH"].reset == generated.MAP_HASH
    for register in generated.Ocl:
        for name, field in generated.OCL_FIELDS[register].items():
            source = next(f for f in OCL[register.name].fields if f.name == name)
            assert (field.shift, field.mask, field.reset) == (source.low, source.mask, source.reset)


def test_c_header_compiles_and_its_constants_equal_the_map(tmp_path: Path) -> None:
    compiler = next((c for c in ("cc", "gcc", "clang") if _found(c)), None)
    if compiler is None:
        pytest.skip("no C compiler")
    checks = [f'_Static_assert(SENTINEL_OCL_{r.name} == {r.address}u, "{r.name}");' for r in OCL]
    checks += [
        f"_Static_assert(SENTINEL_OCL_{r.name}_{f.name.upper()}_MASK == {f.mask}u && "
        f'SENTINEL_OCL_{r.name}_{f.name.upper()}_SHIFT == {f.low}, "{r.name}.{f.name}");'
        for r in OCL
        for f in r.fields
    ]
    checks += [f'_Static_assert(SENTINEL_TRIP_CAUSE_{c.name} == {c.value}u, "{c.name}");' for c in generated.TripCause]
    header = RDL_FILE.parent / "sentinel_regs.h"
    source = tmp_path / "check.c"
    source.write_text(f'#include "{header}"\n' + "\n".join(checks) + "\n")
    subprocess.run([compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", str(source)], check=True)


def _found(program: str) -> bool:
    return subprocess.run(["which", program], capture_output=True).returncode == 0


def test_hash_follows_names_addresses_and_fields_but_not_descriptions(tmp_path: Path) -> None:
    text = RDL_FILE.read_text()

    def hash_with(old: str, new: str) -> int:
        assert old in text
        path = tmp_path / f"{abs(hash((old, new)))}.rdl"
        path.write_text(text.replace(old, new, 1))
        return load(path)["sentinel_ocl"]["MAP_HASH"].reset

    assert hash_with("Commands of one cycle.", "Other words.") == generated.MAP_HASH
    assert hash_with("    // Kill switch\n", "") == generated.MAP_HASH
    changes = [
        ("SCRATCH @0x018", "SCRATCH @0x030"),
        ("feature[4:0]", "feature[5:0]"),
        ("VDIP           =", "DIP            ="),
        ("arm_key_1 = 0x5E47A12D", "arm_key_1 = 0x5E47A12E"),
        ("kill_on_write = true;", "kill_on_write = false;"),
        ("field {} minor[15:0] = 0", "field {} minor[15:0] = 1"),
    ]
    hashes = [hash_with(old, new) for old, new in changes]
    assert generated.MAP_HASH not in hashes
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "reg word_rw { default sw = rw; default hw = r; field {} value[31] = 0;",
            "reg word_rw { default sw = rw; default hw = r; field {} value[31];",
            "reset",
        ),
        ("onwrite = woclr; } faults", "onwrite = woset; } faults", "sticky"),
        ("reg word_rw { default sw = rw; default hw = r;", "reg word_rw { default sw = rw; default hw = rw;", "SCRATCH.value"),
    ],
)
def test_a_map_that_the_register_file_does_not_build_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = RDL_FILE.read_text()
    assert old in text
    path = tmp_path / "bad.rdl"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MapError, match=message):
        load(path)


def test_wide_values_split_into_words_and_join_again() -> None:
    value = (1 << 61) - 1
    writes = generated.split("SYMBOL_MAX_QTY", value)
    assert [r.name for r, _ in writes] == ["SYMBOL_MAX_QTY_LO", "SYMBOL_MAX_QTY_HI"]
    assert generated.join([w for _, w in writes]) == value
    assert all(w != ALL_ONES for _, w in generated.split("LIMIT_MAX_GROSS_NOTIONAL", (1 << 124) - 1))
    for bad in (1 << 61, -1):
        with pytest.raises(ValueError, match="SYMBOL_MAX_QTY"):
            generated.split("SYMBOL_MAX_QTY", bad)
    with pytest.raises(ValueError, match="PCIM_BASE"):
        generated.split("PCIM_BASE", 32)
