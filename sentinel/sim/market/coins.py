"""The coins of the simulated market and how busily each one trades."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8, parse_e8


@dataclass(frozen=True, slots=True)
class Coin:
    """One symbol of the model.

    ``price`` and ``grid`` (spacing of its levels) are e8 prices; ``trade_quote`` is the mean trade and ``level_quote`` the mean
    level at the touch, both in quote e8; rates are a second; ``volatility_bps`` is the standard move of one minute.
    """

    instrument: Instrument
    price: int
    grid: int
    trades_per_s: float
    quotes_per_s: float
    trade_quote: int
    level_quote: int
    volatility_bps: float
    half_spread_bps: float
    levels: int = 40


def _coin(
    base: str,
    price: str,
    tick: str,
    grid: str,
    step: str,
    trades_per_s: float,
    quotes_per_s: float,
    trade_quote: int,
    level_quote: int,
    volatility_bps: float,
    half_spread_bps: float,
) -> Coin:
    instrument = Instrument(
        f"{base}USDT",
        base,
        "USDT",
        tick=parse_e8(tick),
        step=parse_e8(step),
        min_price=parse_e8(tick),
        max_price=1_000_000 * E8,
        min_qty=parse_e8(step),
        max_qty=900_000_000 * E8,
        market_max_qty=90_000_000 * E8,
    )
    return Coin(
        instrument,
        parse_e8(price),
        parse_e8(grid),
        trades_per_s,
        quotes_per_s,
        trade_quote * E8,
        level_quote * E8,
        volatility_bps,
        half_spread_bps,
    )


#: Two liquid leaders, two middling coins and four of the long tail, where pumps happen. The small ones are invented.
COINS: tuple[Coin, ...] = (
    _coin("BTC", "61837.63", "0.01", "1.00", "0.00001", 4.0, 10.0, 1500, 60_000, 5.0, 0.1),
    _coin("ETH", "2683.80", "0.01", "0.10", "0.0001", 3.0, 8.0, 900, 40_000, 6.0, 0.25),
    _coin("SOL", "148.12", "0.01", "0.02", "0.001", 1.5, 5.0, 400, 12_000, 8.0, 0.8),
    _coin("XRP", "0.6012", "0.0001", "0.0001", "1", 1.2, 4.0, 300, 9_000, 8.0, 1.0),
    _coin("NOVA", "0.04210", "0.00001", "0.00002", "1", 0.12, 2.0, 40, 900, 38.0, 10.0),
    _coin("ORBI", "1.2750", "0.0001", "0.0006", "0.1", 0.12, 2.0, 45, 900, 38.0, 10.0),
    _coin("ZETI", "0.31780", "0.0001", "0.0002", "1", 0.1, 1.5, 35, 800, 34.0, 10.0),
    _coin("LUMI", "7.412", "0.001", "0.004", "0.01", 0.15, 2.0, 50, 1000, 30.0, 8.0),
)
