"""Registers in one process: where a process only works out a register's next value, and nowhere else."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth")

from sentinel_hdl.tools.clocked import clock_processes

CORE = r"""module top(clk, en, d, q, seen);
  reg \$auto$verilog_backend.cc:2355:dump_module$1  = 0;
  input clk, en;
  input [3:0] d;
  output [3:0] q, seen;
  reg [3:0] held;
  reg [3:0] \$1 ;
  reg [3:0] \a.b ;
  reg [3:0] \$2 ;
  always @(posedge clk)
    held <= \$1 ;
  always @(posedge clk)
    \a.b  <= \$2 ;
  always @* begin
    if (\$auto$verilog_backend.cc:2355:dump_module$1 ) begin end
    \$1  = held;
    if (en) begin
      \$1 [1:0] = d[1:0];
    end
  end
  always @* begin
    if (\$auto$verilog_backend.cc:2355:dump_module$1 ) begin end
    \$2  = \a.b ;
    if (en) begin
      \$2  = d;
    end
  end
  assign seen = \$2 ;
endmodule
"""


def test_next_value_that_only_the_register_reads_is_assigned_at_the_clock() -> None:
    changed = clock_processes(CORE)
    assert " ".join(changed.split()).count("always @(posedge clk) begin if (en) begin held[1:0] <= d[1:0]; end end") == 1
    assert "held <= \\$1" not in changed


def test_next_value_that_something_else_reads_stays_what_it_is() -> None:
    changed = clock_processes(CORE)
    assert "    \\$2  = d;" in changed
    assert "    \\a.b  <= \\$2 ;" in changed


def test_process_of_no_register_stays_what_it_is() -> None:
    text = "module top(a, y);\n  always @* begin\n    y = 1'h0;\n    if (a) begin\n      y = 1'h1;\n    end\n  end\nendmodule\n"
    assert clock_processes(text) == text
