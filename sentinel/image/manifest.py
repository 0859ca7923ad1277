"""The manifest of a package: lines of key=value, format 2, as AWS reads them."""

from __future__ import annotations

import re
from typing import NamedTuple

from sentinel.image.targets import Target

FORMAT = "2"
#: Who may not be a PCIe vendor here, and which devices of AWS's vendor id are free for users.
FORBIDDEN_VENDORS, AWS_VENDOR, USER_DEVICES = (0x8086,), 0x1D0F, range(0xF000, 0xF100)
_IDS = ("pci_vendor_id", "pci_device_id", "pci_subsystem_id", "pci_subsystem_vendor_id")
_REQUIRED = (
    *_IDS,
    "manifest_format_version",
    "dcp_hash",
    "dcp_file_name",
    "shell_version",
    "hdk_version",
    "tool_version",
    "date",
)
#: Recipes by key. The scripts of F2 write all four though its main clock is fixed; F1 must have the first.
_RECIPES = {
    "clock_recipe_a": ("A0", "A1", "A2"),
    "clock_recipe_b": ("B0", "B1", "B2", "B3", "B4", "B5"),
    "clock_recipe_c": ("C0", "C1", "C2", "C3"),
    "clock_recipe_hbm": ("H0", "H1", "H2", "H3", "H4"),
}
#: What the HDK's script writes for a project that asks for no clock of its own.
DEFAULT_RECIPES = {"clock_recipe_a": "A1", "clock_recipe_b": "B2", "clock_recipe_c": "C0", "clock_recipe_hbm": "H2"}
#: Of F1.
_DEPRECATED_SHELLS = ("0x04261818", "0x04182104")


class Finding(NamedTuple):
    """Why AWS would refuse a package: its failure code, or one of ours where AWS has none, and what to do."""

    code: str
    field: str
    value: str
    remedy: str


def text(values: dict[str, str]) -> str:
    """The manifest as a file."""
    return "".join(f"{key}={value}\n" for key, value in values.items())


def parse(content: bytes) -> tuple[dict[str, str], list[Finding]]:
    """Values of a manifest, and what cannot be read in it."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        return {}, [Finding("MANIFEST_PARSE_FAILED", "manifest", str(error), "write it in plain ASCII")]
    values: dict[str, str] = {}
    findings: list[Finding] = []
    for line in filter(str.strip, lines):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch(r"\w+", key) or not value:
            findings.append(Finding("MANIFEST_PARSE_FAILED", "manifest", line[:80], "each line is key=value"))
        elif key in values:
            findings.append(Finding("MANIFEST_PARSE_FAILED", key, value[:80], "name each key once"))
        else:
            values[key] = value
    return values, findings


def check(values: dict[str, str], target: Target, tool_versions: tuple[str, ...]) -> list[Finding]:
    """What AWS would refuse in the values of a manifest for ``target``, the package's files apart."""
    found = [
        Finding("MANIFEST_PARSE_FAILED", key, "absent", "a manifest of format 2 has it") for key in _REQUIRED if key not in values
    ]
    if values.get("manifest_format_version", FORMAT) != FORMAT:
        found.append(Finding("MANIFEST_PARSE_FAILED", "manifest_format_version", values["manifest_format_version"], "write 2"))
    if not re.fullmatch(r"\d+\.\d+\.\d+", values.get("hdk_version", "0.0.0")):
        found.append(Finding("MANIFEST_PARSE_FAILED", "hdk_version", values["hdk_version"], "as in release_version.txt: 2.3.2"))
    found += check_ids(values) + _shell(values, target) + _clocks(values, target)
    tool = values.get("tool_version", "")
    if tool and tool not in tool_versions:
        allowed = ", ".join(tool_versions)
        found.append(Finding("TOOL_VERSION_INVALID", "tool_version", tool, f"build with one of {allowed}, written with its v"))
    return found


def check_ids(values: dict[str, str]) -> list[Finding]:
    """What AWS would refuse in those of the PCIe ids that are there."""
    return [finding for key in _IDS if key in values for finding in _id(key, values)]


def _id(key: str, values: dict[str, str]) -> list[Finding]:
    value = values[key]
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,4}", value):
        return [Finding("PCIID_SYNTAX_INVALID", key, value, "write 0x and one to four hex digits")]
    number = int(value, 16)
    vendor_key = "pci_vendor_id" if key in ("pci_device_id", "pci_vendor_id") else "pci_subsystem_vendor_id"
    if number == 0:
        return [Finding("PCIID_FORBIDDEN", key, value, "zero is nobody's id")]
    if key == vendor_key and number in FORBIDDEN_VENDORS:
        return [
            Finding("PCIID_FORBIDDEN", key, value, "use your own vendor id, or AWS's 0x1D0F with a device of 0xF000 to 0xF0FF")
        ]
    ours = values.get(vendor_key, "").lower() == f"{AWS_VENDOR:#06x}"
    if key == "pci_device_id" and ours and number not in USER_DEVICES:
        return [Finding("PCIID_FORBIDDEN", key, value, "of AWS's vendor id only 0xF000 to 0xF0FF are free")]
    return []


def _shell(values: dict[str, str], target: Target) -> list[Finding]:
    shell = values.get("shell_version", target.shell_version)
    if shell.lower() == target.shell_version.lower():
        return []
    remedy = f"build against the shell {target.shell_version}"
    if shell.lower() in _DEPRECATED_SHELLS:
        return [Finding("SHELL_VERSION_DEPRECATED", "shell_version", shell, f"F1 is gone; {remedy}")]
    return [Finding("SHELL_VERSION_INVALID", "shell_version", shell, remedy)]


def _clocks(values: dict[str, str], target: Target) -> list[Finding]:
    found = [
        Finding("CLK_ILLEGAL", key, values[key], f"one of {', '.join(allowed)}")
        for key, allowed in _RECIPES.items()
        if key in values and values[key] not in allowed
    ]
    if target.retired and "clock_recipe_a" not in values:
        found.append(Finding("CLK_ILLEGAL", "clock_recipe_a", "absent", "F1 must name the recipe of its main clock"))
    return found
