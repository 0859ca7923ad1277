"""The integer reference of the gate beside the card: what goes in goes to both, and every record is compared."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sentinel.host.cards.limits import CardLimits
from sentinel.host.cards.registers import Ocl, TripCause
from sentinel.model.gate import Cause, GateLimits, GateModel, SymbolLimits
from sentinel.wire import (
    ORDER_EVENT_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    Kind,
    PermitFlag,
    Verdict,
)
from tests.cocotb import cross
from tests.cocotb.card import Card

#: Time goes in steps of this, and every age and window ends half way between two: a few cycles decide nothing.
JUMP = 1_000_000


def gate_limits(limits: CardLimits) -> GateLimits:
    return GateLimits(**{field.name: getattr(limits, field.name) for field in fields(GateLimits)})


def bits(causes: set[Cause]) -> TripCause:
    """Causes of the reference as bits of the registers."""
    return TripCause(sum(TripCause[cause.value] for cause in causes))


class Shadow:
    """An armed card and its reference. Beats are sent by ``order``, ``event``, ...; ``check`` compares all since the last."""

    def __init__(self, card: Card) -> None:
        self.card, self.model = card, GateModel(gate_limits(card.limits))
        self.epoch, self.tripped, self.sticky = 1, True, TripCause(0)
        self.answers = 0
        self._sent: list[tuple[bytes, int]] = []
        self._stopped = False

    @classmethod
    async def armed(cls, card: Card, rows: dict[int, SymbolLimits]) -> Shadow:
        """Arm a card that was just started and configured with its limits."""
        shadow = cls(card)
        for symbol, row in rows.items():
            await card.set_symbol(symbol, row.max_order_qty, row.max_position_qty, row.enabled)
            shadow.model.set_symbol(symbol, row)
        await card.answer_watchdog()
        shadow.sticky = await card.causes()
        shadow.heartbeat()
        shadow.equity()
        shadow.reference()
        await shadow.check()
        await shadow.arm()
        return shadow

    # What goes to both

    def order(self, client_key: int, **given: Any) -> None:
        self._note(self.card.order(client_key, **{"arm_epoch": self.epoch, **given}))

    def event(self, event: ExposureEvent | int, **given: Any) -> None:
        self._note(self.card.send(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=event, **given))

    def heartbeat(self) -> None:
        self._note(self.card.heartbeat())

    def equity(self, *amounts: int) -> None:
        self._note(self.card.equity(*amounts))

    def reference(self, *quote: int, **given: Any) -> None:
        self._note(self.card.reference(*quote, **given))

    def _note(self, beat: bytes) -> None:
        self._sent.append((beat, self.card.now))

    async def pass_time(self, jumps: int) -> None:
        """Nothing is under way when time jumps."""
        await self.check()
        for _ in range(jumps):
            await self.card.pass_time(JUMP)
            self._levels(self.card.now)
        await self.card.cycles(8)

    # What comes back

    async def check(self) -> list[Any]:
        """Compare every record and the causes since the last time; the permit records."""
        card = self.card
        await card.settled()
        sent, self._sent = self._sent, []
        orders = sum(beat[6] == BeatKind.ORDER for beat, _ in sent)
        records = await card.take(Kind.PERMIT, orders, 200_000)
        left = iter(records)
        for beat, now in sent:
            self._beat(beat, now, next(left) if beat[6] == BeatKind.ORDER else None)
        assert self.tripped or not self._stopped, "a permit was stopped by nothing"
        self._stopped = False
        # The latch follows its cause, and registers the latch.
        await card.cycles(8)
        self._levels(card.now)
        assert card.tripped == self.tripped, f"{await card.causes()!r} {self.sticky!r}"
        if self.tripped:
            assert await card.causes() == self.sticky
        assert await card.standing() == bits(self.model.levels(card.now))
        assert await card.read(Ocl.ARM_EPOCH) == self.epoch
        assert await card.read(Ocl.GATE_STATUS) == (records[-1]["control"] if records else await card.read(Ocl.GATE_STATUS))
        return records

    async def arm(self, jumps: int = 1) -> None:
        """Both keys; nothing may stand."""
        card = self.card
        await card.press_keys(jumps * JUMP)
        assert not card.tripped, f"{await card.causes()!r}"
        self.tripped = False
        self.model.arm(self.epoch)
        self._levels(card.now)
        assert card.tripped == self.tripped

    def trip(self, causes: TripCause) -> None:
        """Causes from outside the gate."""
        if causes and not self.tripped:
            self.tripped, self.sticky, self.epoch = True, TripCause(0), self.epoch + 1
            self.model.arm_epoch = self.epoch
        if self.tripped:
            self.sticky |= causes

    def _levels(self, now: int) -> None:
        self.trip(bits(self.model.levels(now)))

    def _beat(self, beat: bytes, now: int, record: Any) -> None:
        now = now if record is None else int(record["now"])
        self._levels(now)
        self.model.causes.clear()
        before, closed = self.sticky, self.tripped
        verdict = self.model.beat(beat, now, closed)
        if verdict is not None:
            self.answers += 1
            expected = {
                "client_key": verdict.client_key,
                "now": now,
                "seq": self.answers,
                "kind": Kind.PERMIT,
                "verdict": verdict.verdict,
                "flags": 0,
                "venue": 0,
                "part": 0,
                "symbol": verdict.symbol,
                "control": verdict.control,
                "arm_epoch": self.epoch,
                "observed": before if verdict.control == Control.KILLED else 0,
                "limit": 0,
            }
            if record["flags"] == PermitFlag.COUNTED:
                # A permit that was still on its way when a later beat tripped: the books have it, the host doesn't.
                assert verdict.verdict == Verdict.PERMIT, verdict
                expected |= {"verdict": Verdict.REJECT, "flags": PermitFlag.COUNTED, "control": Control.KILLED}
                self._stopped = True
            found = {name: int(record[name]) for name in expected}
            assert found == {name: int(value) for name, value in expected.items()}, f"{found} is not {expected}"
        raised = bits(self.model.causes | self.model.levels(now))
        self.trip(raised)
        if verdict is not None and not record["flags"]:
            self._cover(verdict, raised)

    def _cover(self, verdict: Any, raised: TripCause) -> None:
        pressure = self.card.pressure
        if verdict.verdict == Verdict.PERMIT:
            cross.hit(None, cross.PERMIT, pressure)
        elif verdict.control == Control.KILLED:
            cross.hit(self.sticky, "KILLED", pressure)
        else:
            cross.hit(raised or None, cross.control_name(verdict.control), pressure)
