"""The top module of the custom logic, ``cl_sentinel``: the core's shell side under the names of an AWS shell.

It has no logic of its own: ports are renamed, what is not used is tied off, and the HDK's memory controller stands there,
absent, since its pins must be driven. The ids come from ``cl_id_defines.vh``, which the build script reads too.
"""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.image.targets import Port, Target

TOP = "cl_sentinel"
#: Ports of the shell side that every shell has under these names.
COMMON = {
    "clk": "clk_main_a0",
    "now": "sh_cl_glcount0",
    "flr": "sh_cl_flr_assert",
    "flr_done": "cl_sh_flr_done",
    "vdip": "sh_cl_status_vdip",
    "vled": "cl_sh_status_vled",
    "power": "sh_cl_pwr_state",
    "irq_req": "cl_sh_apppf_irq_req",
    "irq_ack": "sh_cl_apppf_irq_ack",
}
_IDS = {"cl_sh_id0": "`CL_SH_ID0", "cl_sh_id1": "`CL_SH_ID1"}
_LITE = (
    *("awaddr", "awvalid", "awready", "wdata", "wstrb", "wvalid", "wready", "bresp", "bvalid", "bready"),
    *("araddr", "arvalid", "arready", "rdata", "rresp", "rvalid", "rready"),
)


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def declared(port: Port) -> str:
    """Range and name, as a port or wire is declared."""
    return f"{_range(port.width)}{port.name}"


def instance(module: str, name: str, connections: dict[str, str], parameters: tuple[str, ...] = ()) -> str:
    """A module's instance; ``parameters`` are set to 0."""
    given = f" #({', '.join(f'.{parameter}(0)' for parameter in parameters)})" if parameters else ""
    lines = ",\n".join(f"    .{port}({signal})" for port, signal in connections.items())
    return f"  {module}{given} {name} (\n{lines}\n  );\n"


class _Top:
    """Builds the text, and keeps count of which ports of the shell have been connected."""

    def __init__(self, target: Target, shell_ports: tuple[Port, ...]) -> None:
        self.target, self.shell_ports = target, shell_ports
        self.ports = {port.name: port for port in target.ports}
        self.used: set[str] = set()
        self.wires: list[str] = []
        self.after: list[str] = []
        self.cut: list[str] = []

    def port(self, name: str) -> str:
        self.used.add(name)
        return name

    def core(self) -> str:
        connections = {}
        for port in self.shell_ports:
            bus, _, signal = port.name.partition("_")
            if port.name == "rst":
                connections["rst"] = "~" + self.port("rst_main_n")
            elif port.name in COMMON:
                connections[port.name] = self.port(COMMON[port.name])
            elif bus in self.target.into:
                prefix = (self.target.into if port.direction == "input" else self.target.out_of)[bus]
                connections[port.name] = self._fitted(port, prefix + signal)
        return instance("sentinel_shell", "SHELL", connections)

    def _fitted(self, port: Port, name: str) -> str:
        """The shell's port; where it is narrower, zeros above it on the way in and a cut on the way out."""
        outside, missing = self.ports[self.port(name)], port.width - self.ports[name].width
        if not missing:
            return name
        if port.direction == "input":
            return f"{{{missing}'b0, {name}}}"
        self.wires.append(f"  wire {declared(port)};\n")
        self.after.append(f"  assign {name} = {port.name}{_range(outside.width).strip()};\n")
        self.cut.append(f"{port.name}[{port.width - 1}:{outside.width}]")
        return port.name

    def memory(self) -> str:
        """Only pins are connected; its clock runs, and it stays in reset."""
        connections = {"clk": "clk_main_a0", "rst_n": "1'b0", "stat_clk": "clk_main_a0", "stat_rst_n": "1'b0"}
        for port in self.target.memory_ports:
            name = self.target.memory_names.get(port.name, port.name)
            if port.name in connections:
                continue
            pin = name in self.ports and not port.elements and self._is_pin(name)
            if pin:
                connections[port.name] = self.port(name)
            elif port.direction == "output":
                connections[port.name] = ""
            elif port.elements:
                wire = f"no_{port.name}"
                value = f"{port.width}'b01" if port.name.endswith("burst") else f"{port.width}'b0"
                self.wires.append(f"  wire {_range(port.width)}{wire} [{port.elements - 1}:0];\n")
                self.after += [f"  assign {wire}[{i}] = {value};\n" for i in range(port.elements)]
                connections[port.name] = wire
            else:
                connections[port.name] = f"{port.width}'b0"
        text = instance("sh_ddr", "SH_DDR", connections, self.target.memory_absent)
        return f"  // verilator lint_off PINCONNECTEMPTY\n{text}  // verilator lint_on PINCONNECTEMPTY\n"

    def _is_pin(self, name: str) -> bool:
        return name.startswith(("M_", "CLK_", "RST_", "cl_RST_"))

    def window(self) -> str:
        if self.target.unused_window is None:
            return ""
        into, out_of = self.target.unused_window
        connections = {"clk": "clk_main_a0", "rst": "~rst_main_n"}
        for signal in _LITE:
            name = into + signal if into + signal in self.ports else out_of + signal
            connections[signal] = self.port(name)
        return instance("sentinel_refuse", "UNUSED_WINDOW", connections)

    def ties(self) -> Iterator[str]:
        for port in self.target.ports:
            if port.direction == "output" and port.name not in self.used:
                value = _IDS.get(port.name) or self.target.ties.get(port.name, f"{port.width}'b0")
                yield f"  assign {self.port(port.name)} = {value};\n"

    def unused(self) -> str:
        """What is read by nobody, so that a linter knows it is meant."""
        names = [port.name for port in self.target.ports if port.direction == "input" and port.name not in self.used]
        joined = ",\n    ".join([*names, *self.cut])
        return (
            f"  // verilator lint_off UNUSEDSIGNAL\n  wire unused = &{{1'b0,\n    {joined}\n  }};\n"
            "  // verilator lint_on UNUSEDSIGNAL\n"
        )


def shell_ports(verilog: str) -> tuple[Port, ...]:
    """Ports of the emitted module ``sentinel_shell``."""
    from sentinel_hdl.tools.simulation import ports_of

    found = ports_of(verilog, "sentinel_shell")
    return tuple(Port(port.name, "output" if port.output else "input", port.width) for port in found)


def top_text(target: Target, shell_ports: tuple[Port, ...]) -> str:
    """``cl_sentinel.sv``. ``shell_ports`` are those of the emitted module ``sentinel_shell``."""
    top = _Top(target, shell_ports)
    kinds = {"input": "input  wire ", "output": "output wire ", "inout": "inout  wire "}
    ports = ",\n".join(f"  {kinds[port.direction]}{declared(port)}" for port in target.ports)
    body = [top.core(), top.memory(), top.window()]
    ties = "".join(top.ties())
    return (
        f"// The custom logic for the {target.name.upper()} shell {target.shell_version}. Written by `sentinel build-afi`.\n"
        '`include "cl_id_defines.vh"\n\n'
        f"module {TOP} (\n{ports}\n);\n\n"
        + "".join(top.wires)
        + "\n"
        + "\n".join(part for part in body if part)
        + "\n"
        + "".join(top.after)
        + ties
        + "\n"
        + top.unused()
        + "endmodule\n"
    )


def memory_stub(target: Target) -> str:
    """A module with the ports of the HDK's sh_ddr and nothing inside, to lint the top without the HDK."""

    def line(port: Port) -> str:
        array = f" [{port.elements - 1}:0]" if port.elements else ""
        return f"  {port.direction} wire {declared(port)}{array}"

    parameters = ", ".join(f"parameter {name} = 1" for name in target.memory_absent)
    ports = ",\n".join(map(line, target.memory_ports))
    outputs = "".join(f"  assign {port.name} = '0;\n" for port in target.memory_ports if port.direction == "output")
    return f"module sh_ddr #({parameters}) (\n{ports}\n);\n{outputs}endmodule\n"
