"""No single flipped bit lets an order pass: the kill path bit by bit, the rest of the core by samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("amaranth")

from sentinel_hdl.tools.seu import Campaign, Flip, Outcome, Seen, Upset, describe, main, plain, tally
from sentinel_hdl.tools.seu_netlist import upsettable
from sentinel_hdl.tools.seu_script import Mark

from sentinel.wire import Control

#: Controls that refuse an order of the script.
REFUSED_BY = {
    *(Control.BAD_INPUT, Control.ARM_EPOCH, Control.LIMITS_VERSION, Control.SYMBOL_HALTED, Control.DUPLICATE, Control.MAX_QTY),
    *(Control.MAX_NOTIONAL, Control.STALE_REFERENCE, Control.PRICE_COLLAR, Control.POSITION_LIMIT, Control.GROSS_EXPOSURE),
    Control.TRADES_PER_MINUTE,
}


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    from sentinel_hdl.tools.errors import ToolError

    try:
        opened = Campaign()
    except ToolError as error:
        pytest.skip(f"no Verilated core: {error}")
    with opened:
        yield opened


def cell_of(campaign: Campaign, name: str) -> int:
    return next(i for i, cell in enumerate(campaign.cells) if plain(cell) == name)


def at(campaign: Campaign, mark: Mark) -> int:
    return next(cycle for name, cycle in campaign.marks if name is mark)


def broken(campaign: Campaign, upsets: list[Upset]) -> list[str]:
    return [describe(campaign, upset) for upset in upsets if upset.outcome <= Outcome.WRONGFUL]


def test_script_has_orders_that_pass_that_are_killed_and_that_each_control_refuses(campaign: Campaign) -> None:
    verdicts, controls = campaign.verdicts()
    assert np.count_nonzero(verdicts == 1) >= 30
    assert np.count_nonzero(verdicts == 2) >= 60
    assert {Control(int(control)) for control in controls[verdicts == 3]} == REFUSED_BY
    assert {mark for mark, _ in campaign.marks} == set(Mark)


def test_run_without_upset_is_the_same_again(campaign: Campaign) -> None:
    # A count that nobody reads any more.
    spare = Flip(cell_of(campaign, "latency.bins"), 0, 0, campaign.cycles - 1)
    (upset,) = campaign.run([spare])
    assert upset.outcome is Outcome.HARMLESS


def test_upset_copy_of_the_latch_trips_an_armed_card(campaign: Campaign) -> None:
    armed = at(campaign, Mark.ARMED)
    flips = [Flip(cell_of(campaign, f"kill.tripped_{i}"), 0, 0, armed + 3) for i in range(3)]
    for upset in campaign.run(flips):
        assert upset.outcome is Outcome.DETECTED
        assert Seen.TRIP in upset.seen


def test_upset_quantity_of_an_order_on_its_way_is_detected(campaign: Campaign) -> None:
    sent = at(campaign, Mark.REFUSED_ORDER)
    payload = cell_of(campaign, "pcis.beats__payload")
    upsets = campaign.run([Flip(payload, 0, 8 * 24, sent + delay) for delay in range(2, 12)])
    assert not broken(campaign, upsets)
    assert any(upset.outcome is Outcome.DETECTED for upset in upsets)


def test_no_upset_of_the_kill_path_lets_an_order_pass(campaign: Campaign) -> None:
    upsets = campaign.run(campaign.kill_path_flips(1, seed=2))
    assert len(upsets) > 4000
    assert not broken(campaign, upsets)
    counted = tally("kill path", campaign, upsets, 0.0)
    assert counted.count(Outcome.DETECTED) > 500
    assert {"gate", "gate_again", "kill", "kill_again", "watchdog", "watchdog_again", "intake", "limits", "pcim"} <= set(
        counted.parts
    )


def test_no_upset_of_sampled_bits_lets_an_order_pass(campaign: Campaign) -> None:
    assert not broken(campaign, campaign.run(campaign.sampled_flips(500, seed=3)))


@pytest.mark.full
def test_no_upset_of_ten_thousand_bits_lets_an_order_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_every_register_gets_a_mask_and_every_memory_is_public() -> None:
    text = """module top(clk, d, q);
  input clk;
  input d;
  output q;
  reg [3:0] \\a.b  = 4'h0;
  always @(posedge clk)
    \\a.b  <= { d, \\a.b [3:1] };
  reg [7:0] \\a.memory  [3:0];
  reg [7:0] _0_;
  always @(posedge clk) begin
    if (d) begin
      _0_ <= \\a.memory [\\a.b [1:0]];
    end
  end
  assign \\a.data  = _0_;
endmodule
"""
    changed, cells = upsettable(text, "top")
    assert [(cell.name, cell.width, cell.depth) for cell in cells] == [("a.b", 4, 0), ("a.data", 8, 0), ("a.memory", 8, 4)]
    assert "({ d, \\a.b [3:1] }) ^ mask0" in changed
    assert "((d) ? (memory0 [\\a.b [1:0]]) : _0_ ) ^ mask1" in changed
    assert "memory0  [3:0] /* verilator public_flat_rd */;" in changed
