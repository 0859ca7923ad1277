"""What the register map says of trip causes and of arming, for the cores."""

from __future__ import annotations

from sentinel_hdl.register_map import load


def trip_causes() -> dict[str, int]:
    """Bit number of each cause in TRIP_CAUSES."""
    encoding = load()["sentinel_ocl"]["TRIP_CAUSES"].fields[0].encoding
    assert encoding is not None
    return {value.name: value.value.bit_length() - 1 for value in encoding.values}


def arming() -> dict[str, int]:
    """``arm_key_1``, ``arm_key_2``; ``arm_min_ticks``, ``arm_max_ticks`` between the two."""
    return load()["sentinel_ocl"]["ARM_KEY"].constants
