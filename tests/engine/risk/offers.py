"""Orders offered to the gate by hand: a world whose strategy is silent, and one proposal at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

from sentinel.engine.state import EngineSpec
from sentinel.units import E8
from sentinel.wire import Command, Control, Kind, OrderEventKind, OrderType, Reason, Side, SignalCode, TimeInForce, TradingState
from tests.engine.world import SECOND, World


class Answer(NamedTuple):
    """What the gate said: control 0 and the PLACE, or the control with what it saw and its limit."""

    control: int
    observed: int = 0
    limit: int = 0
    place: dict[str, Any] | None = None


class Offers(World):
    """Armed, funded, quoted at 0.999 / 1.001; limits far away unless a test moves one near."""

    def __init__(self, symbols: int = 1, quote: float = 1_000_000.0, **changes: Any) -> None:
        wide = {
            "max_order_notional": 100_000 * E8,
            "max_position_notional": 1_000_000 * E8,
            "max_gross_notional": 10_000_000 * E8,
            "max_net_notional": 10_000_000 * E8,
            "max_orders_per_s": 1_000,
            "max_orders_per_10s": 1_000,
            "max_open_orders": 200,
            "max_notional_per_10s": 100_000_000 * E8,
            "max_notional_per_minute": 100_000_000 * E8,
            "max_order_to_trade": 10_000,
            "ack_timeout_ns": 3_600 * SECOND,
        }
        super().__init__(EngineSpec(symbols=symbols, threshold=100, size_margins=(100,)), **(wide | changes))
        self.start(quote=quote)
        for s in range(symbols):
            self.quote(s)
        self.run()

    def quote(self, s: int = 0, bid: float = 0.999, ask: float = 1.001) -> Offers:
        """A trade in the middle and a quote around it."""
        self.trade((bid + ask) / 2, symbol=s).bbo(bid, ask, s)
        return self

    def offer(
        self,
        side: int = Side.BUY,
        price: float = 1.0,
        qty: float = 100.0,
        reduce_only: int = 0,
        raw: dict[str, int] | None = None,
        **fields: int,
    ) -> Answer:
        """Put one order to the gate now. ``fields`` and ``raw`` replace those of its PROPOSAL record, in its units."""
        self.run()
        q = self.state.scratch.proposals[0]
        values = (
            {
                "symbol": 0,
                "side": side,
                "price": round(price * E8),
                "qty": round(qty * E8),
                "order_type": OrderType.LIMIT,
                "tif": TimeInForce.IOC,
                "reason": Reason.EXIT_HORIZON if reduce_only else Reason.ENTRY_WAIT,
                "reduce_only": reduce_only,
                "strategy": 1,
                "setup_id": 1,
                "t_signal": self.now,
                "decision_seq": 1,
                "margin": 100,
                "fair_value": 2 * E8 if side == Side.BUY else E8 // 2,
                "ref_price": E8,
                "edge_bps": 0 if reduce_only else 50,
                "t_rest_end": 0,
            }
            | fields
            | (raw or {})
        )
        for name, value in values.items():
            q[name] = value
        self.g["proposals"] = 1
        effects = self.tick().run()
        for effect in effects:
            if effect["kind"] == Kind.PLACE:
                return Answer(0, place=effect)
            if effect["kind"] == Kind.SIGNAL and effect["code"] == SignalCode.RISK_REJECT:
                return Answer(effect["control"], effect["value"], effect["limit"])
        raise AssertionError("the gate gave no answer")

    def passes(self, **fields: Any) -> dict[str, Any]:
        """The order must be let through; its PLACE."""
        answer = self.offer(**fields)
        assert answer.place is not None, f"{Control(answer.control).name} {answer.observed} {answer.limit}"
        return answer.place

    def refused(self, **fields: Any) -> Control:
        """The control that refuses the order, which must be refused."""
        answer = self.offer(**fields)
        assert answer.place is None
        return Control(answer.control)

    def ends(self, place: dict[str, Any], event: int = OrderEventKind.EXPIRED) -> Offers:
        """The venue takes the order and it ends unfilled; or refuses it, or does not answer."""
        key = place["client_key"]
        self.order(key, OrderEventKind.SENT, place["symbol"])
        if event not in (OrderEventKind.REJECTED, OrderEventKind.AMBIGUOUS):
            self.order(key, OrderEventKind.ACKED, place["symbol"])
        self.order(key, event, place["symbol"]).run()
        return self

    def limit(self, name: str, value: int) -> Offers:
        """Set one parameter of the run."""
        self.state.params[0][name] = value
        return self

    def command(self, command: Command, **fields: int) -> list[dict[str, Any]]:
        """A control event now."""
        return self.control(command, **fields).run()

    def arm(self) -> Offers:
        """A person's ARM under a new epoch."""
        self.command(Command.ARM, id=int(self.g["arm_epoch"]) + 1, value=int(TradingState.ACTIVE))
        return self
