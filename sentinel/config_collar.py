"""Settings under which the gate's price collars would refuse every entry the strategy makes."""

from __future__ import annotations

from sentinel.errors import ConfigError


def require_entries_within_collars(
    slippage_bps: int, entry_rest_ms: int, price_collar_bps: int, collar_floor_bps: int, symbol: str = ""
) -> None:
    """Raise ConfigError where an entry that takes would lie outside its own collars.

    Its price is ``slippage_bps`` beyond the touch: further than ``price_collar_bps`` the static collar refuses it in every
    market, further than ``collar_floor_bps`` the dynamic one in every market that is quiet or has a narrow spread. An entry
    that rests (``entry_rest_ms``) lies at the touch, and exits come nearer to it by themselves. ``symbol``: whose collars
    these are; empty: the run's.
    """
    if entry_rest_ms > 0:
        return
    of_symbol = f" of {symbol}" if symbol else ""
    for name, collar_bps in (("price_collar_bps", price_collar_bps), ("collar_floor_bps", collar_floor_bps)):
        if slippage_bps > collar_bps:
            raise ConfigError(
                "strategy.slippage_bps",
                slippage_bps,
                f"0 to {collar_bps}, risk.{name}{of_symbol}",
                f"lower it, or widen risk.{name}{of_symbol}: the gate would refuse the entries",
            )
