"""The module that is simulated: the core, the shell's clock counter, and the signals cocotbext-axi asks for besides."""

from __future__ import annotations

from sentinel_hdl.tools.emit import top_name
from sentinel_hdl.tools.simulation import ports_of

TOP = "card"
#: What the core has no port for: a burst is INCR.
_EXTRA = "  input [1:0] pcis_awburst,\n  input [1:0] pcis_arburst,\n  output [1:0] pcim_awburst,\n  output [1:0] pcim_arburst"


def top_verilog(core: str) -> str:
    """Verilog of module ``card`` around the emitted core.

    ``now`` is the shell's counter; it runs through resets and goes ``jump`` further in a cycle, so that a second passes in one.
    """
    ports = [port for port in ports_of(core, top_name("core")) if port.name != "now"]
    header = ",\n".join(
        f"  {'output' if port.output else 'input'} {f'[{port.width - 1}:0] ' if port.width > 1 else ''}{port.name}"
        for port in ports
    )
    pins = ",\n".join(f"    .{port.name}({port.name})" for port in ports)
    return f"""`timescale 1ns/1ps
module {TOP}(
{header},
{_EXTRA},
  input [63:0] jump,
  output reg [63:0] now
);
  initial now = 64'd1000;
  always @(posedge clk) now <= now + 64'd1 + jump;
  assign pcim_awburst = 2'd1;
  assign pcim_arburst = 2'd1;
  {top_name("core")} core(
    .now(now),
{pins}
  );
endmodule
"""
