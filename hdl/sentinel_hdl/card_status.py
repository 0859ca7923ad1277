"""The card's heartbeat: a record with the watchdog's challenge and the state of the kill switch."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from sentinel.wire import CARD_STATUS, NO_SYMBOL, CardState, Kind
from sentinel_hdl.beats import RECORD_BITS, record


class CardStatus(wiring.Component):
    """A record for each challenge, trip and arming; two of them in short succession may share one.

    Attributes: ``send`` In, and what the record says; ``statuses`` Out(stream of 512 bits).
    """

    def __init__(self) -> None:
        fields = {"challenge": 32, "now": 64, "causes": 32, "first_cause": 32, "arm_epoch": 32, "model_crc": 32}
        fields |= {"permits": 32, "rejects": 32, "beats": 32, "tripped": 1, "send": 1}
        super().__init__({**{name: In(bits) for name, bits in fields.items()}, "statuses": Out(stream.Signature(RECORD_BITS))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wanted, number = Signal(), Signal(32, init=1)
        free = ~self.statuses.valid | self.statuses.ready
        with m.If(free):
            m.d.sync += self.statuses.valid.eq(wanted)
        with m.If(free & wanted):
            m.d.sync += [
                number.eq(number + 1),
                self.statuses.payload.eq(
                    record(
                        CARD_STATUS,
                        seq=number,
                        challenge=self.challenge,
                        now=self.now,
                        causes=self.causes,
                        first_cause=self.first_cause,
                        kind=int(Kind.CARD_STATUS),
                        state=Mux(self.tripped, int(CardState.TRIPPED), int(CardState.ARMED)),
                        symbol=NO_SYMBOL,
                        arm_epoch=self.arm_epoch,
                        model_crc=self.model_crc,
                        permits=self.permits,
                        rejects=self.rejects,
                        beats=self.beats,
                    )
                ),
            ]
        with m.If(self.send):
            m.d.sync += wanted.eq(1)
        with m.Elif(free):
            m.d.sync += wanted.eq(0)
        return m
