"""Beats from the host are checked here once, and go to the decider or to the gate.

A beat is torn where its last word is not the complement of its first. ``seq`` numbers messages: one seen before is dropped,
a gap is reported and the stream goes on. The two beats of a long vector share one ``seq``.

A beat comes with the parity of its words, and is compared with it for as long as it is held here; beats for the gate are
numbered through their queue. So no flipped bit changes, loses or repeats one unnoticed.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from sentinel.wire import BEAT_FEATURES, MAX_FEATURES, MAX_SYMBOLS, BeatKind
from sentinel_hdl.beats import BEAT, RECORD_BITS
from sentinel_hdl.vector import ABSENT, VectorLayout

GATE_KINDS = (BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE, BeatKind.EQUITY, BeatKind.HEARTBEAT)
SYMBOL_KINDS = (BeatKind.VECTOR, BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE)
GATE_QUEUE = 16
WORDS, WORD_BITS = 8, 64
NUMBER_BITS = 8  # more than the queue's depth takes


def _differ(beat: Value, parity: Value, valid: Value) -> Value:
    """The words of a beat, if there is one, that do not have the parity they came with."""
    differ = Cat(beat[WORD_BITS * i : WORD_BITS * (i + 1)].xor() for i in range(WORDS)) ^ parity
    return differ & valid.replicate(WORDS)


class FaultLayout(data.StructLayout):
    """What was wrong with a beat, in the bits of register BEAT_FAULTS."""

    def __init__(self) -> None:
        super().__init__({"torn": 1, "replay": 1, "skip": 1, "kind": 1, "symbol": 1, "part": 1})


class Intake(wiring.Component):
    """One beat a cycle, two cycles from ``beats`` to ``vectors`` or ``gate``.

    Attributes
    ----------
    beats : In(stream of 512 bits). parity : In(8), of each of its 64-bit words. two_beats : In; a vector is two beats.
    vectors : Out(stream of VectorLayout). gate : Out(stream of 512 bits), through a queue.
    cycle : In; the cycle counter that ``cycle_in`` is taken from.
    set_seq, seq : In; the next message is to have this number.
    faults : Out, pulses. faulty : Out, with any of them, in a flip-flop of its own. upset : Out, pulse: a bit has flipped.
    counted : Out, pulse for each beat; vector_counted : Out, pulse for each vector.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "beats": In(stream.Signature(RECORD_BITS)),
                "parity": In(WORDS),
                "vectors": Out(stream.Signature(VectorLayout())),
                "gate": Out(stream.Signature(RECORD_BITS)),
                "two_beats": In(1),
                "cycle": In(32),
                "set_seq": In(1),
                "seq": In(32),
                "faults": Out(FaultLayout()),
                "faulty": Out(1),
                "upset": Out(1),
                "counted": Out(1),
                "vector_counted": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full = Signal()
        held = Signal(BEAT, reset_less=True)
        held_parity = Signal(WORDS)
        cycle_in = Signal(32)
        torn = Signal()
        is_vector = Signal()
        known = Signal()
        symbol_bad = Signal()
        step = Signal()
        incoming = BEAT(self.beats.payload)
        m.d.comb += [self.beats.ready.eq(~full | step), self.counted.eq(step)]
        with m.If(step):
            m.d.sync += full.eq(0)
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [
                full.eq(1),
                held.eq(incoming),
                Cat(torn, is_vector, known, symbol_bad).eq(self._judge(incoming)),
                cycle_in.eq(self.cycle),
                held_parity.eq(self.parity),
            ]

        # What a message is to be numbered, and what the one before was: each tells when the other has lost a bit.
        next_seq = Signal(32)
        last_seq = Signal(32, init=(1 << 32) - 1, attrs={"keep": "true"})
        half = Signal()
        first_symbol = Signal(16, reset_less=True)
        second = Signal()
        ahead = Signal(32)
        replayed, sound, room = Signal(), Signal(), Signal()
        faults = Signal(FaultLayout())
        m.d.comb += [
            second.eq(is_vector & half & (held.part == 1) & (held.seq == last_seq) & (held.symbol == first_symbol)),
            ahead.eq(held.seq - next_seq),
            replayed.eq(~second & ahead[31]),
            faults.torn.eq(torn),
            faults.replay.eq(~torn & replayed),
            faults.skip.eq(~torn & ~second & ~ahead[31] & (held.seq != next_seq)),
            faults.kind.eq(~torn & ~replayed & ~known),
            faults.symbol.eq(~torn & ~replayed & symbol_bad),
            faults.part.eq(~torn & ~replayed & (held.part != 0) & ~second),
            sound.eq(full & ~torn & ~replayed & known & ~symbol_bad & ((held.part == 0) | second)),
        ]
        # Whether there is room is asked of every beat, sound or not, so that ``ready`` does not wait for the checks.
        completes = is_vector & (second | ~self.two_beats)
        m.submodules.queue = queue = SyncFIFO(width=RECORD_BITS + WORDS + NUMBER_BITS, depth=GATE_QUEUE)
        queued = Signal(NUMBER_BITS)
        given = Signal(NUMBER_BITS)
        m.d.comb += [
            room.eq(Mux(is_vector, ~self.vectors.valid | self.vectors.ready, queue.w_rdy)),
            step.eq(full & room),
            queue.w_data.eq(Cat(held, held_parity, queued)),
            queue.w_en.eq(sound & ~is_vector),
            self.gate.payload.eq(queue.r_data[:RECORD_BITS]),
            self.gate.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.gate.ready),
        ]
        with m.If(queue.w_en & queue.w_rdy):
            m.d.sync += queued.eq(queued + 1)
        with m.If(queue.r_en & queue.r_rdy):
            m.d.sync += given.eq(given + 1)
        m.d.sync += [self.faults.eq(Mux(step, faults.as_value(), 0)), self.vector_counted.eq(step & sound & completes)]
        with m.If(step & ~torn & ~replayed & ~second):
            m.d.sync += [next_seq.eq(held.seq + 1), last_seq.eq(held.seq)]
            # Anything else between the two beats of a vector ends it.
            m.d.sync += half.eq(sound & is_vector & self.two_beats)
        with m.If(step & second):
            m.d.sync += half.eq(0)
        with m.If(self.set_seq):
            m.d.sync += [next_seq.eq(self.seq), last_seq.eq(self.seq - 1), half.eq(0)]

        # A flip-flop of its own says that there was a fault, so that none is lost with one of the others.
        faulty = Signal(attrs={"keep": "true"})
        m.d.sync += faulty.eq(step & faults.as_value().any())
        m.d.comb += self.faulty.eq(faulty)
        self._upset(
            m,
            Cat(
                _differ(held.as_value(), held_parity, full),
                full & (Cat(torn, is_vector, known, symbol_bad) != self._judge(held)),
                next_seq != (last_seq + 1)[:32],
                _differ(queue.r_data[:RECORD_BITS], queue.r_data[RECORD_BITS : RECORD_BITS + WORDS], queue.r_rdy),
                queue.r_rdy & (queue.r_data[RECORD_BITS + WORDS :] != given),
            ),
        )

        with m.If(self.vectors.ready):
            m.d.sync += self.vectors.valid.eq(0)
        vector = self.vectors.payload
        with m.If(step & sound & is_vector):
            with m.If(~second):
                m.d.sync += first_symbol.eq(held.symbol)
            with m.If(completes):
                m.d.sync += [
                    self.vectors.valid.eq(1),
                    vector.seq.eq(held.seq),
                    vector.symbol.eq(held.symbol),
                    vector.cycle_in.eq(cycle_in),
                ]
            self._features(m, held, second, vector)
        return m

    def _features(self, m: Module, held: data.View[data.Layout], second: Signal, vector: data.View[VectorLayout]) -> None:
        # The first half waits apart, so that the vector before it may still be read meanwhile.
        waiting = Signal(data.ArrayLayout(32, BEAT_FEATURES), reset_less=True)
        with m.If(second):
            for f in range(BEAT_FEATURES):
                m.d.sync += [vector.features[f].eq(waiting[f]), vector.features[f + BEAT_FEATURES].eq(held.words[f])]
        with m.Elif(self.two_beats):
            m.d.sync += waiting.eq(held.words)
        with m.Else():
            for f in range(BEAT_FEATURES):
                m.d.sync += vector.features[f].eq(held.words[f])
            for f in range(BEAT_FEATURES, MAX_FEATURES):
                m.d.sync += vector.features[f].eq(ABSENT)

    def _upset(self, m: Module, signs: Value) -> None:
        """A cycle to look, one to tell."""
        found = Signal()
        m.d.sync += found.eq(signs.any())
        m.d.comb += self.upset.eq(found)

    def _judge(self, beat: data.View[data.Layout]) -> Value:
        """Whether a beat is torn, a vector, of a known kind, and of no symbol there is."""
        return Cat(
            beat.check != ~beat.seq,
            beat.kind == int(BeatKind.VECTOR),
            self._is_one_of(beat.kind, (BeatKind.VECTOR, *GATE_KINDS)),
            self._is_one_of(beat.kind, SYMBOL_KINDS) & (beat.symbol >= MAX_SYMBOLS),
        )

    @staticmethod
    def _is_one_of(kind: Signal, kinds: tuple[BeatKind, ...]) -> Signal:
        result = kind == int(kinds[0])
        for other in kinds[1:]:
            result = result | (kind == int(other))
        return result
