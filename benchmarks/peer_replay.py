"""Trade replay of nautilus_trader or hftbacktest: prints {"name", "version", "trades", "seconds"} as JSON.

    PEER_PYTHON benchmarks/peer_replay.py {nautilus_trader,hftbacktest} TRADES.npy REPEATS

TRADES.npy: int64[n, 4] of time ns, price e8, quantity e8, side (1 buy, 2 sell). Runs in an environment of its own, because
the two pin other versions of numpy, pandas and uvloop than Sentinel does. The strategy counts trades and does nothing.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np

E8 = 100_000_000


def nautilus_trader(trades: np.ndarray, repeats: int) -> list[float]:
    """Seconds of BacktestEngine.run for each repeat."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import TradeTick
    from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType
    from nautilus_trader.model.identifiers import TradeId
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.btcusdt_binance()
    sides = {1: AggressorSide.BUYER, 2: AggressorSide.SELLER}

    class Counter(Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seen = 0

        def on_start(self) -> None:
            self.subscribe_trade_ticks(instrument.id)

        def on_trade_tick(self, tick: Any) -> None:
            self.seen += 1

    ticks = [
        TradeTick(
            instrument.id,
            Price(price / E8, instrument.price_precision),
            Quantity(max(qty / E8, 1e-6), instrument.size_precision),
            sides[side],
            TradeId(str(k)),
            t,
            t,
        )
        for k, (t, price, qty, side) in enumerate(trades.tolist())
    ]
    seconds = []
    for _ in range(repeats):
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
        engine.add_venue(instrument.venue, OmsType.NETTING, AccountType.CASH, [Money(1_000_000, USDT)], trade_execution=True)
        engine.add_instrument(instrument)
        engine.add_data(ticks)
        counter = Counter()
        engine.add_strategy(counter)
        began = time.perf_counter()
        engine.run()
        seconds.append(time.perf_counter() - began)
        assert counter.seen == len(ticks), (counter.seen, len(ticks))
        engine.dispose()
    return seconds


def hftbacktest(trades: np.ndarray, repeats: int) -> list[float]:
    """Seconds of a compiled loop that takes every trade from the backtest."""
    from hftbacktest import (
        BUY_EVENT,
        EXCH_EVENT,
        LOCAL_EVENT,
        SELL_EVENT,
        TRADE_EVENT,
        BacktestAsset,
        HashMapMarketDepthBacktest,
        event_dtype,
    )
    from numba import njit

    data = np.zeros(len(trades), event_dtype)
    data["ev"] = TRADE_EVENT | EXCH_EVENT | LOCAL_EVENT | np.where(trades[:, 3] == 1, BUY_EVENT, SELL_EVENT)
    data["exch_ts"], data["local_ts"] = trades[:, 0], trades[:, 0] + 1
    data["px"], data["qty"] = trades[:, 1] / E8, trades[:, 2] / E8

    @njit
    def replay(hbt: Any) -> int:
        seen = 0
        while hbt.wait_next_feed(False, 1_000_000_000_000) != 1:
            seen += len(hbt.last_trades(0))
            hbt.clear_last_trades(0)
        return seen + len(hbt.last_trades(0))

    def build(rows: np.ndarray) -> Any:
        asset = (
            BacktestAsset()
            .data(rows)
            .linear_asset(1.0)
            .constant_order_latency(1_000_000, 1_000_000)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(0.01)
            .lot_size(0.000001)
            .last_trades_capacity(1000)
        )
        return HashMapMarketDepthBacktest([asset])

    replay(build(data[:100]))
    seconds = []
    for _ in range(repeats):
        hbt = build(data)
        began = time.perf_counter()
        seen = replay(hbt)
        seconds.append(time.perf_counter() - began)
        assert seen == len(trades), (seen, len(trades))
        hbt.close()
    return seconds


PEERS = {"nautilus_trader": nautilus_trader, "hftbacktest": hftbacktest}


def main() -> None:
    name, path, repeats = sys.argv[1:]
    trades = np.load(path)
    seconds = PEERS[name](trades, int(repeats))
    print(json.dumps({"name": name, "version": version(name), "trades": len(trades), "seconds": seconds}))


if __name__ == "__main__":
    main()
