"""Verilator's lint of a custom-logic project, with the HDK's memory controller as an empty module of the same ports."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ConfigError
from sentinel.image.custom_logic import TOP, memory_stub
from sentinel.image.targets import Target

# What Yosys writes is right and not tidy: it extends operands by the language's own rules, gives registers their reset values
# twice, and leaves what was optimised away as names. In the top, nothing is let pass.
_WRITTEN_BY_YOSYS = ("UNUSEDSIGNAL", "PROCASSINIT", "WIDTHEXPAND", "WIDTHTRUNC", "ASCRANGE", "DECLFILENAME", "CASEINCOMPLETE")
_EMITTED = ("sentinel_shell.v", "sentinel_refuse.v")


class Finding(NamedTuple):
    """One message of the linter."""

    kind: str
    place: str
    text: str


def waivers() -> str:
    """The linter's control file."""
    lines = [f'lint_off -rule {rule} -file "*/{file}"' for file in _EMITTED for rule in _WRITTEN_BY_YOSYS]
    lines += [f'lint_off -rule {rule} -file "*/sh_ddr.sv"' for rule in ("UNUSEDSIGNAL", "UNUSEDPARAM")]
    return "\n".join(["`verilator_config", *lines]) + "\n"


def check(target: Target, root: Path) -> list[Finding]:
    """What ``verilator --lint-only -Wall`` says of the project in ``root``, an empty list where it is clean.

    Raises ConfigError where there is no project, ToolError where Verilator is missing.
    """
    from sentinel_hdl.tools.verilator import environment, lint

    design = root / "design"
    sources = sorted(path for path in design.glob("*") if path.suffix in (".v", ".sv"))
    if design / f"{TOP}.sv" not in sources:
        raise ConfigError("project", str(root), f"a directory with design/{TOP}.sv", "run sentinel build-afi --stop-after emit")
    with tempfile.TemporaryDirectory() as held:
        stub, control = Path(held) / "sh_ddr.sv", Path(held) / "waivers.vlt"
        stub.write_text(memory_stub(target))
        control.write_text(waivers())
        said = lint(TOP, [control, *sources, stub], design, environment())
    found = re.findall(r"^%(Warning|Error)(?:-(\w+))?: (?:([^\s:]+:\d+):\d+: )?(.*)$", said, re.MULTILINE)
    messages = (Finding(rule or kind.upper(), place.rpartition("/")[2], text) for kind, rule, place, text in found)
    return [message for message in messages if "Exiting due" not in message.text]
