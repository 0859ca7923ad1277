"""What the trader sees of the demo market: its own features, its default rule and its shipped forest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.engine.features import fill_vector, new_feature_state, update_trade
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.model.artifact import load_model
from sentinel.model.rule import pump_rules
from sentinel.sim.market.model import MarketModel, demo_market
from sentinel.sim.venue.exchange import Exchange
from sentinel.units import NS_PER_MS, NS_PER_S, parse_e8
from sentinel.wire import MAX_FEATURES, Side


def vectors_of(model: MarketModel) -> tuple[list[str], NDArray[np.int64], NDArray[np.float32]]:
    """(symbol, time ns, feature vector) after each trade."""
    exchange = Exchange(model.instruments, model, {})
    index = {instrument.symbol: i for i, instrument in enumerate(model.instruments)}
    exchange.subscriptions = {f"{symbol.lower()}@trade" for symbol in index}
    state = new_feature_state(len(index))
    symbols: list[str] = []
    times: list[int] = []
    vectors: list[NDArray[np.float32]] = []

    def trade(_stream: str, payload: dict[str, Any]) -> None:
        symbol = index[payload["s"]]
        now_ns = payload["T"] * NS_PER_MS
        side = int(Side.SELL if payload["m"] else Side.BUY)
        update_trade(state, symbol, now_ns, parse_e8(payload["p"]), parse_e8(payload["q"]), side)
        vector = np.full(MAX_FEATURES, np.nan, np.float32)
        fill_vector(state, symbol, now_ns, vector, False)
        symbols.append(payload["s"])
        times.append(now_ns)
        vectors.append(vector)

    exchange.publish = trade
    assert model.end_ns is not None
    exchange.advance(model.end_ns)
    return symbols, np.array(times), np.array(vectors)


@pytest.mark.parametrize(("seed", "minutes"), [(1, 10.0), (2, 4.0)])
def test_default_rule_and_forest_find_pump_and_dump_and_nothing_else(seed: int, minutes: float) -> None:
    model = demo_market(seed, minutes)
    symbols, times, vectors = vectors_of(model)
    artifact = load_model()
    decisions = CpuDecider(artifact, pump_rules(0.02, 3.0, 0.6), False).score(vectors)
    alarms = (decisions["rule_bits"] != 0) & (decisions["margin0"] >= artifact.threshold)
    names = np.array(symbols)
    for event in model.events:
        onset_ns = model.start_ns + int(event.onset_s * NS_PER_S)
        mine = names == event.symbol
        assert not (mine & alarms & (times < onset_ns)).any()
        first_ns = times[mine & alarms].min()
        assert first_ns - onset_ns < 20 * NS_PER_S
        rule_bit = 1 if event.direction > 0 else 2
        assert (decisions["rule_bits"][mine & alarms & (times < onset_ns + 60 * NS_PER_S)] == rule_bit).all()
    quiet = ~np.isin(names, [event.symbol for event in model.events])
    assert quiet.sum() > 1000
    assert not decisions["rule_bits"][quiet].any()
