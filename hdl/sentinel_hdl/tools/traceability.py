"""Which proof shows which requirement: docs/proofs.md, written from what the cores state.

python -m sentinel_hdl.tools.traceability           writes the page
python -m sentinel_hdl.tools.traceability --check   exit code 1 if the page differs
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sentinel_hdl.tools import mutate
from sentinel_hdl.tools.proof import Mutation, Proof
from sentinel_hdl.tools.prove import all_proofs

COMMAND = "python -m sentinel_hdl.tools.traceability"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "proofs.md"

#: What the cores together must be proven to do.
REQUIREMENTS = {
    "P1": "Nothing passes the gate while it is tripped, or in the cycle of a cause.",
    "P2": "Every cause trips within a cycle and before the next order is accepted.",
    "P3": "Power-on and reset mean tripped.",
    "P4": "Only the two-step key re-arms, and never while a cause stands.",
    "P5": "Transparency: armed and without a cause, an order within its limits is permitted, unchanged.",
    "P6": "Exactly once and in order: no order is lost, doubled or overtaken.",
    "P7": "Never more permits in any window of time than the limit.",
    "P8": "No sequence of permits takes a position or the exposure beyond its limit (proven is the premise: only limits in their "
    "range, committed while tripped, are in force; the arithmetic is held to its reference by simulation).",
    "P9": "The rules of AXI4-Lite and AXI4 hold on the register buses and on PCIM (on PCIS by simulation).",
    "P10": "Every register reads back what was written, or what the hardware says.",
    "P11": "No single flipped bit in the trip logic ever lets an order pass.",
    "P12": "No deadlock: with a fair partner every access and every order is answered.",
}
_MODES = {"prove": "induction", "bmc": "from reset", "any": "from any state", "cover": "reachable"}


def requirements_of(proof: Proof) -> set[str]:
    """The requirements a proof names."""
    return set(re.findall(r"P\d+", proof.property))


def page() -> str:
    """The whole page."""
    proofs = all_proofs()
    parts = [
        f"<!-- Written by {COMMAND}; change the proofs, not this page. -->\n\n# What is proven\n\n",
        "Every line is a proof that `sentinel hdl prove` runs and the tests require to pass: *induction* holds for every\n"
        "sequence of inputs of any length, *from reset* for the number of cycles given, *from any state* as far from\n"
        "whatever the core's flip-flops may hold, *reachable* shows that the cases\n"
        "the other proofs speak about do occur. Parameters of some cores are reduced in proofs (narrow words, small\n"
        "tables); their pages say which. [How to work on a core](hdl.md).\n\n",
    ]
    for requirement, text in REQUIREMENTS.items():
        found = [proof for proof in proofs if requirement in requirements_of(proof)]
        parts.append(f"## {requirement}\n\n{text}\n\n| core | proof | holds | cycles |\n|---|---|---|---|\n")
        parts += [f"| {proof.core} | `{proof.name}` | {_MODES[proof.mode]} | {proof.depth} |\n" for proof in found]
        parts.append("\n")
    others = [proof for proof in proofs if not requirements_of(proof) & set(REQUIREMENTS)]
    if others:
        parts.append(
            "## Further properties of single cores\n\n| core | property | proof | holds | cycles |\n|---|---|---|---|---|\n"
        )
        parts += [f"| {p.core} | {p.property} | `{p.name}` | {_MODES[p.mode]} | {p.depth} |\n" for p in others]
        parts.append("\n")
    parts.append(
        "## Mutation\n\nWhat must notice a wrong gate in a core: proofs, or a bench, a simulation beside the reference.\n\n"
    )
    parts.append("| core | proofs, in this order, or bench |\n|---|---|\n")
    for campaign in mutate.campaigns():
        if isinstance(campaign, Mutation):
            parts.append(f"| {campaign.core} | {', '.join(f'`{name}`' for name in campaign.proofs)} |\n")
        else:
            parts.append(f"| {campaign.core} | `{campaign.run.__module__.replace('.', '/')}.py` |\n")
    return "".join(parts)


def main(arguments: list[str]) -> int:
    """Write or check."""
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
    print(PAGE.name)
    return int("--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
