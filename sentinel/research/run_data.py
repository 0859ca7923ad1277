"""From a journal to a report: the run is replayed through the engine and sampled on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.readout import counters, equity_e8
from sentinel.engine.state import EngineState
from sentinel.engine.state_hash import state_hash
from sentinel.host.decider import DeciderFactory
from sentinel.host.latency import Stage
from sentinel.host.replay import JournalReplay, state_of
from sentinel.research.reports.run_report import (
    EquityPath,
    Fill,
    KnownEvent,
    Order,
    PricePath,
    RoundTrip,
    RunReport,
    Signal,
    StageLatency,
)
from sentinel.wire import (
    Control,
    FeeAsset,
    Kind,
    OrderEventKind,
    OrderState,
    OrderType,
    Reason,
    Refusal,
    Side,
    SignalCode,
    TimeInForce,
    TradingState,
    client_order_id,
    record_views,
)

_SAMPLE_SLOTS = 64
_TRADE_OUTCOMES = {
    OrderEventKind.REJECTED: OrderState.REJECTED,
    OrderEventKind.EXPIRED: OrderState.EXPIRED,
    OrderEventKind.CANCELED: OrderState.CANCELED,
}


class RunData:
    """Collects what a report shows while a journal is replayed; pass ``observe`` to JournalReplay."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.symbols = config.feed.symbols
        self.signals: list[Signal] = []
        self.fills: list[Fill] = []
        self.round_trips: list[RoundTrip] = []
        self._orders: dict[int, dict[str, Any]] = {}
        self._seen_trades: set[tuple[int, int]] = set()
        self._prices: list[list[NDArray[np.int64]]] = [[] for _ in self.symbols]
        self._equity: list[tuple[int, int]] = []
        self._entry_t: dict[int, int] = {}
        self._exit_reason: dict[int, str] = {}

    def observe(self, inputs: NDArray[Any], effects: NDArray[Any], state: EngineState) -> None:
        """One chunk of the replay."""
        market = record_views(inputs).market
        kind = market["kind"]
        for symbol in np.unique(market["symbol"][kind == Kind.TRADE]).tolist():
            chosen = market[(kind == Kind.TRADE) & (market["symbol"] == symbol)]
            self._prices[symbol].append(np.stack([chosen["t_recv"], chosen["price"]]))
        self._take_effects(effects)
        for i in np.flatnonzero((kind == Kind.ORDER_EVENT) & (market["part"] == 0)).tolist():
            self._take_order_event(record_views(inputs[i : i + 2]))
        value, now = equity_e8(state), int(state.glob[0]["now"])
        unpriced = (state.symbols["inventory"] != 0) & (state.symbols["last_price"] == 0)
        if value > 0 and not unpriced.any() and (not self._equity or now > self._equity[-1][0]):
            self._equity.append((now, value))

    def _take_effects(self, effects: NDArray[Any]) -> None:
        views = record_views(effects)
        kinds = views.market["kind"]
        for i in np.flatnonzero((kinds == Kind.PLACE) & (views.market["part"] == 0)).tolist():
            intent = views.intent1[i]
            self._orders[int(intent["client_key"])] = {
                "t_ns": int(intent["t"]),
                "symbol": self.symbols[int(intent["symbol"])],
                "side": Side(int(intent["side"])).name,
                "kind": f"{OrderType(int(intent['order_type'])).name} {TimeInForce(int(intent['tif'])).name}",
                "price_e8": int(intent["price"]),
                "qty_e8": int(intent["qty"]),
                "filled_e8": 0,
                "state": OrderState.INTENT.name,
                "reason": Reason(int(intent["reason"])).name,
            }
        for i in np.flatnonzero(kinds == Kind.SIGNAL).tolist():
            self._take_signal(views.signal[i])

    def _take_signal(self, record: Any) -> None:
        code, symbol = SignalCode(int(record["code"])), int(record["symbol"])
        if code is SignalCode.FILL:
            return
        t_ns = int(record["t"])
        name = self.symbols[symbol] if symbol < len(self.symbols) else ""
        if code is SignalCode.ENTRY:
            self._entry_t.setdefault(symbol, t_ns)
        elif code is SignalCode.EXIT:
            self._exit_reason[symbol] = Reason(int(record["reason"])).name
        elif code is SignalCode.ROUND_TRIP:
            self.round_trips.append(
                RoundTrip(
                    symbol=name,
                    opened_ns=self._entry_t.pop(symbol, t_ns),
                    closed_ns=t_ns,
                    pnl_e8=int(record["value"]),
                    fees_e8=int(record["limit"]),
                    exit_reason=self._exit_reason.pop(symbol, ""),
                )
            )
        self.signals.append(Signal(t_ns, name, code, int(record["price"]), int(record["margin"]), _detail(code, record)))

    def _take_order_event(self, views: Any) -> None:
        first, second = views.order1[0], views.order2[1]
        key = int(first["client_key"])
        order = self._orders.get(key)
        event = OrderEventKind(int(first["event"]))
        trade = (int(first["symbol"]), int(second["trade_id"]))
        if event is OrderEventKind.TRADE and trade not in self._seen_trades:
            self._seen_trades.add(trade)
            self.fills.append(
                Fill(
                    t_ns=int(first["t_recv"]),
                    symbol=self.symbols[trade[0]],
                    side=Side(int(first["side"])).name,
                    price_e8=int(first["last_price"]),
                    qty_e8=int(first["last_qty"]),
                    fee_e8=int(second["commission"]),
                    fee_asset=FeeAsset(int(first["fee_asset"])).name,
                    reason=order["reason"] if order else "FOREIGN",
                    order_id=client_order_id(key),
                )
            )
        if order is None:
            return
        order["filled_e8"] = max(order["filled_e8"], int(first["cum_qty"]))
        if event in _TRADE_OUTCOMES:
            order["state"] = _TRADE_OUTCOMES[event].name
        elif event is OrderEventKind.TRADE:
            order["state"] = (OrderState.FILLED if order["filled_e8"] >= order["qty_e8"] else OrderState.PARTIAL).name
        elif event is OrderEventKind.STATUS and int(first["state"]):
            order["state"] = OrderState(int(first["state"])).name
        elif event in (OrderEventKind.SENT, OrderEventKind.ACKED) and order["state"] in ("INTENT", "SENT"):
            order["state"] = event.name

    def orders(self) -> list[Order]:
        """Every order at its last known state, in the order of intents."""
        return [Order(**fields, order_id=client_order_id(key)) for key, fields in self._orders.items()]

    def price_paths(self) -> list[PricePath]:
        """Prices of the symbols that had a signal or a fill."""
        named = {signal.symbol for signal in self.signals if signal.symbol} | {fill.symbol for fill in self.fills}
        paths = []
        for index, name in enumerate(self.symbols):
            if name in named and self._prices[index]:
                t_ns, price = np.concatenate(self._prices[index], axis=1)
                paths.append(PricePath(name, t_ns, price))
        return paths

    def equity_path(self) -> EquityPath:
        points = np.array(self._equity, np.int64).reshape(-1, 2)
        return EquityPath(points[:, 0], points[:, 1])


def _detail(code: SignalCode, record: Any) -> str:
    value, limit = int(record["value"]), int(record["limit"])
    if code is SignalCode.REFUSED:
        return Refusal(int(record["reason"])).name
    if code is SignalCode.RISK_REJECT or code is SignalCode.KILLED:
        return f"{Control(int(record['control'])).name} observed {value} limit {limit}"
    if code in (SignalCode.ENTRY, SignalCode.EXIT):
        return Reason(int(record["reason"])).name
    if code is SignalCode.ARMED_STATE:
        return TradingState(value).name
    return ""


class ReplayedRun:
    """A journal replayed once: counts, state hash and, from ``report``, everything a report shows.

    ``decider_factory`` makes the decider to replay with; None for the CPU's. Raises JournalError or ModelError for a journal
    that cannot be replayed.
    """

    def __init__(self, directory: str | Path, decider_factory: DeciderFactory | None = None) -> None:
        self.directory = Path(directory)
        self.state, self.config = state_of(self.directory)
        self.data = RunData(self.config)
        self.replay = JournalReplay(self.directory, self.state, self.data.observe, _SAMPLE_SLOTS, decider_factory)
        self.replay.run()
        self.state_hash = state_hash(self.state)

    def counts(self) -> dict[str, int]:
        """What happened, by name; the keys of ``sentinel replay --json``."""
        engine = counters(self.state)
        return {
            "events": engine["market_events"],
            "bbo_checked": engine["bbo_checked"],
            "bbo_mismatches": engine["bbo_mismatches"],
            "gaps": engine["gaps"],
            "drops": engine["bad_input"] + engine["unknown_kind"],
            "decisions": engine["decisions"],
            "anomalies": engine["anomalies"],
            "orders": engine["intents"],
            "fills": engine["fills"],
        }

    def report(
        self,
        title: str,
        latency: NDArray[np.int64] | None = None,
        wall_seconds: float = 0.0,
        known_events: Sequence[KnownEvent] = (),
        notes: Sequence[str] = (),
    ) -> RunReport:
        """The report object; ``latency`` is the daemon's table, None for a run that was not live."""
        path = self.data.equity_path()
        prices = self.data.price_paths()
        starts = [int(p.t_ns[0]) for p in prices] + [int(t) for t in path.t_ns[:1]]
        ends = [int(p.t_ns[-1]) for p in prices] + [int(t) for t in path.t_ns[-1:]]
        return RunReport(
            title=title,
            quote_asset=self.config.feed.quote_asset,
            started_ns=min(starts, default=0),
            ended_ns=max(ends, default=0),
            wall_seconds=wall_seconds,
            state_hash=self.state_hash,
            counts=self.counts(),
            equity=path,
            config=_config_lines(self.config),
            prices=prices,
            known_events=known_events,
            signals=self.data.signals,
            fills=self.data.fills,
            orders=self.data.orders(),
            round_trips=self.data.round_trips,
            latency=[StageLatency.from_histogram(stage.name.lower(), latency[stage]) for stage in Stage]
            if latency is not None
            else (),
            notes=notes,
        )


def _config_lines(config: Config) -> dict[str, str]:
    strategy = config.strategy
    return {
        "mode": config.mode,
        "symbols": f"{len(config.feed.symbols)} ({len(config.feed.depth_symbols)} with depth)",
        "model": config.model,
        "decider / gate": f"{config.decider} / {config.gate}",
        "entry": f"{strategy.entry}, {strategy.retrace_bps / 100:g} % retraced or after {strategy.entry_wait_ms / 1000:g} s",
        "stop loss / take profit": f"{strategy.stop_loss_bps / 100:g} % / {strategy.take_profit_bps / 100:g} %",
        "horizon": f"{strategy.horizon_ms / 60000:g} min",
        "size": f"{strategy.size_bps / 100:g} % of equity",
    }
