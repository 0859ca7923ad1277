"""Permits from the gate on a card: what it must be told is told, and no order leaves without its answer.

The card checks each order on its own against limits, open orders, positions, references and equity that it was told; the
engine's controls have passed the order before. Where the answer is no, late, or not certain, the order does not leave.
``lost`` says why no permit can come any more; nothing here makes a lost card good again, an operator does.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.readout import equity_e8
from sentinel.engine.state import EngineState
from sentinel.errors import CardError
from sentinel.host.cards.driver import CardDriver, names_of
from sentinel.host.cards.gate_limits import EngineLimits
from sentinel.host.cards.limits import CardLimits
from sentinel.host.cards.registers import Ocl, Status, TripCause
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import TERMINAL_STATES, Control, PermitFlag, Side, Verdict

_log = logging.getLogger(__name__)

#: How long an answer may take on a card that has a clock of the wall's, or longer where a decision may.
PERMIT_TIMEOUT_NS = 5 * NS_PER_MS
#: Times to let a card run whose time runs only while it is looked at.
_PATIENCE = 256
#: How long prices may take to come before symbols without one are left out.
PRICES_WITHIN_NS = 30 * NS_PER_S
#: Looks for the first challenge.
_CHALLENGES = 40
#: In SCRATCH, which a reset clears: somebody has told this card of positions.
_BOOKS = 0x0B00C5
#: Causes of a trip by this process that changes limits: its own kill, and limits not yet committed.
_OWN_TRIP = TripCause.SOFTWARE_OCL | TripCause.LIMIT_FAULT
_DAY_NS = 86_400 * NS_PER_S
_TERMINAL = np.array(sorted(TERMINAL_STATES), np.int64)


@dataclass
class _Open:
    """A permitted order as the card counts it: limit price and quantity, and what of it was reported as filled."""

    symbol: int
    side: Side
    price: int
    qty: int
    filled: int = 0


class CardGate:
    """The gate of one card for one engine.

    Args:
        driver: identified and started, of a card that was reset since it last saw an order.
        state: the engine's; read only. Its limits are the card's; a position's limit is a quantity there, worth
            ``max_position_notional`` when it was set.

    Where the engine's limits change, the card is told before its next permit: it is tripped, set and armed anew in one go.
    ``lost`` is empty while permits may come; ``counts`` says what was asked and answered.
    """

    def __init__(self, driver: CardDriver, state: EngineState) -> None:
        self.driver = driver
        self.lost = ""
        self.counts = {"permits": 0, "rejects": 0, "unanswered": 0, "fills": 0, "releases": 0, "adjustments": 0}
        #: How often the card was told other limits since it was armed first.
        self.limits_changed = 0
        self._state = state
        self._limits = EngineLimits(state)
        self._rows: list[tuple[int, int, bool]] = []
        self._equity = 0
        self._arm_epoch: int | None = None
        self._open: dict[int, _Open] = {}
        self._position: NDArray[np.int64] = np.zeros(len(state.symbols), np.int64)
        self._told: NDArray[np.int64] = np.full((len(state.symbols), 3), -1, np.int64)
        self._day = -1
        self._day_start = 0
        self._asked_ns = 0
        self._taken = 0

    @property
    def armed(self) -> bool:
        """Permits may be asked for."""
        return self._arm_epoch is not None and not self.lost

    def ready(self, now_ns: int) -> bool:
        """Whether it is time to arm: what the account holds has its price, and no order of before is alive. Armed, it is.

        After PRICES_WITHIN the symbols that still have none are left out. Raises CardError where orders live on then.
        """
        if self.armed:
            return True
        self._asked_ns = self._asked_ns or now_ns
        late = now_ns - self._asked_ns > PRICES_WITHIN_NS
        live = int(self._state.glob["live_orders"][0])
        if late and live:
            raise CardError("live orders", live, "0", "the card cannot count orders of before: cancel them, then start again")
        return not live and (late or bool(self._priced().all()))

    def arm(self, now_ns: int) -> None:
        """Set limits and arm the card, once; it must be fed by ``tick`` from then on. Symbols without a price are not enabled.

        Raises CardError where the card refuses, or where it was told of orders or positions by a process before.
        """
        if self.armed:
            return
        if self.lost:
            raise CardError("card", self.lost, "a card that is not lost", "start again, with --gate software or a new image")
        driver, account = self.driver, self._state.glob[0]
        if driver.read(Ocl.PERMITS) or driver.read(Ocl.SCRATCH):
            raise CardError("SCRATCH", driver.read(Ocl.SCRATCH), "0", "the card has books of before: load its image again")
        self._equity = equity_e8(self._state)
        limits = self._limits.take(self._equity)
        driver.set_limits(limits)
        priced = self._priced()
        self._set_rows(priced.tolist())
        if not priced.all():
            _log.warning("card: no price yet, so no order, for symbols %s", np.flatnonzero(~priced).tolist())
        peak = int(account["equity_peak"])
        if peak > 0:
            driver.set_equity_peak(peak)
        # From here on its books are ours; only a reset clears them.
        driver.bus.ocl_write(Ocl.SCRATCH, _BOOKS)
        self._answer_first_challenge(limits, now_ns)
        self._arm_epoch = driver.arm(lambda: self._feed(now_ns))
        _log.info("card: armed, epoch %d", self._arm_epoch)

    def _set_rows(self, enabled: list[bool]) -> None:
        """Largest order and position of each symbol, where they are not what the card has."""
        prices = np.array([self._price(symbol) for symbol in range(len(enabled))], np.int64)
        rows = [(*row, on) for row, on in zip(self._limits.rows(prices), enabled, strict=True)]
        for symbol, row in enumerate(rows):
            if symbol >= len(self._rows) or row != self._rows[symbol]:
                self.driver.set_symbol(symbol, row[0], row[1], enabled=row[2])
        self._rows = rows

    def _follow_limits(self, now_ns: int) -> None:
        """The engine's limits have changed: the card takes them over, tripped by us and by nobody else meanwhile.

        Raises CardError where it cannot; its books stay, so no exposure is forgotten.
        """
        driver = self.driver
        if Status.ARMED not in driver.status():
            raise CardError("STATUS", f"tripped by {names_of(driver.causes())}", "armed", "remove the cause, then start again")
        self._arm_epoch = None
        driver.kill()
        driver.set_limits(self._limits.take(self._equity))
        self._set_rows([enabled for _, _, enabled in self._rows])
        self._feed(now_ns)
        others = driver.causes() & ~_OWN_TRIP
        if others:
            raise CardError("TRIP_CAUSES", names_of(others), "none but ours", "remove the cause, then start again")
        self._arm_epoch = driver.arm(lambda: self._feed(now_ns))
        self.limits_changed += 1
        _log.warning("card: limits version %d, armed anew, epoch %d", self._limits.version, self._arm_epoch)

    def _answer_first_challenge(self, limits: CardLimits, now_ns: int) -> None:
        """A watchdog that ran before asks in its own time: up to a period from now."""
        wait = limits.watchdog_min + 1
        for _ in range(_CHALLENGES):
            self.driver.bus.wait_ticks(wait)
            self._feed(now_ns)
            self.driver.service_watchdog()
            if TripCause.WATCHDOG not in self.driver.standing():
                return
            wait = limits.watchdog_period // (_CHALLENGES // 2)

    def _priced(self) -> NDArray[np.bool_]:
        symbols = self._state.symbols
        quoted = (symbols["bid"] > 0) & (symbols["ask"] > 0)
        return np.asarray(quoted & ((symbols["inventory"] == 0) | (symbols["inventory_value"] > 0)))

    def tick(self, now_ns: int) -> None:
        """Tell the card that the host lives, and all that has changed; see whether it has tripped."""
        if not self.armed:
            return
        if int(self._state.glob["killed"][0]):
            # One kill is everybody's.
            self.lose("the engine was killed")
            return
        try:
            self._feed(now_ns)
            self.driver.service_watchdog()
            taken = int(self.driver.link.state["records"])
            if taken == self._taken:
                # Nothing since the last tick: a record that never came may stand in the way of those behind it.
                self.driver.link.step_over()
            self._taken = taken
            self._look()
            if self.armed and self._limits.changed:
                self._follow_limits(now_ns)
        except CardError as error:
            self.lose(str(error))

    def permit(self, key: int, symbol: int, side: int, price: int, qty: int, reduce_only: bool) -> bool:
        """Ask the card for one order, price and quantity e8. Whether it may leave."""
        if not self.armed or self._arm_epoch is None:
            return False
        try:
            if self._limits.changed:
                self._follow_limits(int(self._state.glob["now"][0]))
            self._settle()
            self._tell_references(np.array([symbol]))
            # The engine's version, not the one the card was told: where they differ, the card refuses too.
            version, epoch = self._limits.version, self._arm_epoch
            self.driver.gate.order(symbol, Side(side), price, qty, key, epoch, version, reduce_only)
            answer = self._await(key)
            if answer is None:
                self.counts["unanswered"] += 1
                self.lose(f"no answer to order {key:#x}")
                return False
            return self._judge(answer, key, _Open(symbol, Side(side), price, qty))
        except (CardError, ValueError) as error:
            self.lose(str(error))
            return False

    def lose(self, reason: str) -> None:
        """No permit from here on. The card is told to stop too, should it hear."""
        if self.lost:
            return
        self.lost = reason
        _log.error("card gate lost: %s; no order leaves until an operator starts with another gate or a good card", reason)
        self._stop()

    def close(self) -> None:
        """The daemon ends: the card is tripped at once, not when its watchdog notices."""
        if self.armed:
            self._arm_epoch = None
            self._stop()

    def _stop(self) -> None:
        for stop in (self.driver.kill, self.driver.kill_by_management):
            try:
                stop()
            except CardError as error:
                _log.error("card: %s", error)

    def _judge(self, answer: np.void, key: int, order: _Open) -> bool:
        permitted = answer["verdict"] == Verdict.PERMIT and answer["symbol"] == order.symbol
        if permitted and answer["arm_epoch"] == self._arm_epoch:
            self.counts["permits"] += 1
            self._open[key] = order
            return True
        self.counts["rejects"] += 1
        control = Control(int(answer["control"]))
        _log.warning("card: order %#x refused by %s", key, control.name)
        if answer["flags"] & PermitFlag.COUNTED:
            self._release(order, key, order.qty)
        if control == Control.KILLED or answer["verdict"] == Verdict.PERMIT:
            self._look()
            self.lose(f"order {key:#x} was answered {control.name} in epoch {answer['arm_epoch']}")
        return False

    def _await(self, key: int) -> np.void | None:
        started, looks, stepped = time.monotonic_ns(), 0, False
        patience = max(PERMIT_TIMEOUT_NS, self.driver.bus.timeout_ns) if self.driver.bus.timeout_ns else _PATIENCE
        while True:
            # The clock first: whoever was put aside for long still looks once more.
            waited = time.monotonic_ns() - started if self.driver.bus.timeout_ns else looks
            for answer in self.driver.permits():
                if answer["client_key"] == key:
                    return answer
            if waited > patience:
                return None
            if not stepped and 2 * waited > patience:
                self.driver.link.step_over()
                stepped = True
            looks += 1
            self.driver.bus.relax()

    def _look(self) -> None:
        if Status.ARMED not in self.driver.status():
            self.lose(f"it tripped: {names_of(self.driver.causes())}")

    # What the card is told

    def _feed(self, now_ns: int) -> None:
        gate, equity = self.driver.gate, equity_e8(self._state)
        if now_ns // _DAY_NS != self._day:
            self._day, self._day_start = now_ns // _DAY_NS, equity
        gate.heartbeat()
        gate.equity(equity, self._day_start)
        self._tell_references(np.arange(len(self._state.symbols)))
        self._settle()
        self.driver.link.poll()

    def _tell_references(self, symbols: NDArray[np.int64]) -> None:
        """Best bid and ask where they are new: the card measures their age from now on."""
        records = self._state.symbols[symbols]
        quotes = np.stack([records[name] for name in ("bid", "ask", "bbo_t")], axis=1)
        changed = (quotes != self._told[symbols]).any(axis=1)
        if changed.any():
            self._told[symbols[changed]] = quotes[changed]
            self.driver.gate.references(symbols[changed], quotes[changed, 0], quotes[changed, 1])

    def _settle(self) -> None:
        """What became of the permitted orders, then whatever else moved a position: fees, fills of other orders."""
        for key in list(self._open):
            self._report(key, self._open[key])
        moved = self._state.symbols["position"] - self._position
        for symbol in np.flatnonzero(moved).tolist():
            self.driver.gate.adjust(symbol, self._price(symbol), int(moved[symbol]))
            self._position[symbol] += moved[symbol]
            self.counts["adjustments"] += 1

    def _report(self, key: int, order: _Open) -> None:
        records = self._state.orders
        signed = key - (1 << 64) if key >> 63 else key
        at = np.flatnonzero((records["key"] == signed) & (records["state"] != 0))
        filled = int(records["cum_qty"][at[0]]) - order.filled if len(at) else 0
        if filled > 0:
            self.driver.gate.fill(order.symbol, order.side, order.price, filled, key)
            order.filled += filled
            self._position[order.symbol] += filled if order.side == Side.BUY else -filled
            self.counts["fills"] += 1
        if not len(at) or records["state"][at[0]] in _TERMINAL:
            del self._open[key]
            self._release(order, key, order.qty - order.filled)

    def _release(self, order: _Open, key: int, qty: int) -> None:
        if qty > 0:
            self.driver.gate.release(order.symbol, order.side, order.price, qty, key)
            self.counts["releases"] += 1

    def _price(self, symbol: int) -> int:
        record = self._state.symbols[symbol]
        return next((int(record[name]) for name in ("ask", "last_price", "bid") if record[name] > 0), 1)
