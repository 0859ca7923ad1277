"""The custom logic under the core's own port names, so that whatever drives the core can drive the AWS top instead.

Nothing is added to it but names: what a bench does not know stays at zero, pins of the memory are left open, and an
interrupt is acknowledged a cycle after it was asked for.
"""

from __future__ import annotations

import re

from sentinel.image.custom_logic import COMMON, TOP, declared, instance, memory_stub, shell_ports, top_text
from sentinel.image.project import id_defines
from sentinel.image.targets import Port, Target

CORE = "sentinel_core"
#: Ports of the shell side that the core has not.
_SHELLS = ("flr", "flr_done", "power", "irq_req", "irq_ack")


def wrapped_core(target: Target, **parameters: int) -> str:
    """Verilog of a module ``sentinel_core`` that holds the AWS top with the core of these parameters.

    Raises CoreError or ToolError where the core cannot be emitted.
    """
    from sentinel_hdl.tools.emit import emitted

    shell = emitted("shell", **parameters).read_text(encoding="utf-8")
    ports = shell_ports(shell)
    refuse = emitted("refuse").read_text(encoding="utf-8") if target.unused_window else ""
    return shell + refuse + custom_logic_text(target, ports) + core_text(target, ports)


def custom_logic_text(target: Target, shell_ports: tuple[Port, ...]) -> str:
    """The top and what the HDK adds to it, as one text; ``sentinel_shell`` and, on F1, ``sentinel_refuse`` go beside it."""
    top = re.sub(r'^`include "cl_id_defines\.vh"$', id_defines(), top_text(target, shell_ports), flags=re.MULTILINE)
    return top + "\n" + memory_stub(target)


def core_text(target: Target, shell_ports: tuple[Port, ...]) -> str:
    """Module ``sentinel_core`` with the core's ports around ``cl_sentinel``.

    Its ``irq`` rises with the first interrupt and stays until a reset.
    """
    ports = [port for port in shell_ports if port.name not in _SHELLS] + [Port("irq", "output", 1)]
    outside = {port.name: port for port in target.ports}
    connections = {port.name: f"{port.width}'b0" for port in target.ports if port.direction == "input"}
    connections |= {"rst_main_n": "~rst", "sh_cl_apppf_irq_ack": "acknowledge", "cl_sh_apppf_irq_req": "request"}
    cut = []
    for port in ports:
        bus, _, signal = port.name.partition("_")
        if bus in target.into:
            name = (target.into if port.direction == "input" else target.out_of)[bus] + signal
            width = outside[name].width
            connections[name] = port.name if width == port.width else f"{port.name}[{width - 1}:0]"
            if port.direction == "output" and width < port.width:
                cut.append(f"  assign {port.name}[{port.width - 1}:{width}] = 0;\n")
        elif port.name in COMMON:
            connections[COMMON[port.name]] = port.name
    header = ",\n".join(f"  {port.direction} wire {declared(port)}" for port in ports)
    return (
        f"module {CORE} (\n{header}\n);\n"
        "  wire [15:0] request;\n  reg [15:0] acknowledge = 0;\n  reg asked = 0;\n  assign irq = asked;\n"
        "  always @(posedge clk) begin\n"
        "    acknowledge <= rst ? 16'd0 : request;\n    asked <= ~rst & (asked | request[0]);\n"
        "  end\n" + "".join(cut) + instance(TOP, "cl", connections) + "endmodule\n"
    )
