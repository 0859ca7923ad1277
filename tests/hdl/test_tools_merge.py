"""Merging modules keeps the design: one definition, every instance pointing to it, nothing else touched."""

from __future__ import annotations

from sentinel_hdl.tools.merge import merge_modules

PARTS = r"""module top(clk, a, y);
  input clk;
  \top.engine_0  first (
    .a(a),
    .en(\en$1 )
  );
  \top.engine_1  \second$1  (
    .a(a),
    .en(\en$2 )
  );
  \top.engine_10  third (
    .a(a)
  );
endmodule

module \top.engine_0 (a, en);
  reg \$auto$dump_module$1  = 0;
  input a;
  input en;
endmodule

module \top.engine_1 (a, en);
  reg \$auto$dump_module$2  = 0;
  input a;
  input en;
endmodule

module \top.engine_10 (a);
  reg \$auto$dump_module$3  = 0;
  input [1:0] a;
endmodule
"""


def test_modules_that_differ_in_name_only_become_one() -> None:
    merged = merge_modules(PARTS)
    assert merged.count("\nmodule ") == 2
    assert r"\top.engine_0  first" in merged
    assert r"\top.engine_0  \second$1 " in merged
    assert r"module \top.engine_0 (a, en); /* verilator no_inline_module */" in merged


def test_only_inputs_that_instances_connect_differently_are_kept_as_variables() -> None:
    merged = merge_modules(PARTS)
    assert "  input en /* verilator public_flat_rd */;" in merged
    assert "  input a;" in merged
    assert merged.count("public_flat_rd") == 1


def test_module_that_differs_stays_itself_and_may_be_inlined() -> None:
    merged = merge_modules(PARTS)
    assert r"\top.engine_10  third" in merged
    assert "module \\top.engine_10 (a);\n" in merged


def test_design_without_equal_modules_is_left_as_it_is() -> None:
    text = "module a(x);\nendmodule\nmodule b(y);\nendmodule\n"
    assert merge_modules(text) == text
