"""Vectors in, Decisions out: the pump detector and the forest on the same vector, joined into one record."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from sentinel.model.forest import MAX_DEPTH
from sentinel.model.rule import CONDITIONS, RULES
from sentinel.wire import DECISION, MAX_CLASSES, MAX_FEATURES, DecisionFlag, Kind
from sentinel_hdl.forest import ForestScorer
from sentinel_hdl.model_loader import ErrorLayout, HeaderLayout, ModelLoader
from sentinel_hdl.pump_detector import ConditionLayout, PumpDetector
from sentinel_hdl.vector import VectorLayout

RECORD_BITS = 512


class LoadStatusLayout(data.StructLayout):
    """State of the model memory, as the register MODEL_STATUS has it."""

    def __init__(self) -> None:
        super().__init__({"bank": 1, "loaded": 1, "busy": 1, "two_beats": 1, "errors": ErrorLayout()})


class _TagLayout(data.StructLayout):
    """What waits beside the pipeline for the scores of its vector."""

    def __init__(self) -> None:
        super().__init__({"seq": 32, "symbol": 16, "cycle_in": 32, "id": 32, "classes": 3, "on_rule": 1, "loaded": 1})


class _RulesLayout(data.StructLayout):
    """What the pump detector says of a vector."""

    def __init__(self) -> None:
        super().__init__({"fault": 1, "fired": RULES})


class Decider(wiring.Component):
    """One Decision for each vector, in order.

    Attributes
    ----------
    vectors : In(stream of VectorLayout). decisions : Out(stream of 512 bits), wire.DECISION without ``slot`` and ``crc32``.
    now, cycle, arm_epoch : In; stamped into a Decision. ``cycle_out`` is the number of the cycle in which it becomes valid.
    header, begin, word, swap, value : In; the model load, see ModelLoader.
    status, active_id : Out; state of the model memory, and the id of the model in use (0: none).
    rule_index : In; rule_read : Out, that condition of the table in use, a cycle later.
    model_fault : Out, pulse: a Decision became valid for which a word of the model failed its parity.
    """

    def __init__(
        self,
        engines: int = 32,
        trees_per_engine: int = 4,
        features: int = MAX_FEATURES,
        depth: int = MAX_DEPTH,
        rules: int = RULES,
        conditions: int = CONDITIONS,
    ) -> None:
        self._shape, self._rules = (engines, trees_per_engine, features, depth), (rules, conditions)
        super().__init__(
            {
                "vectors": In(stream.Signature(VectorLayout(features))),
                "decisions": Out(stream.Signature(RECORD_BITS)),
                "now": In(64),
                "cycle": In(32),
                "arm_epoch": In(32),
                "header": In(HeaderLayout()),
                "begin": In(1),
                "word": In(1),
                "swap": In(1),
                "value": In(32),
                "status": Out(LoadStatusLayout()),
                "active_id": Out(32),
                "rule_index": In(range(rules * conditions)),
                "rule_read": Out(ConditionLayout()),
                "model_fault": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engines, slots, features, depth = self._shape
        rule_count, conditions = self._rules
        m.submodules.loader = loader = ModelLoader(engines, slots, depth, rule_count, conditions)
        m.submodules.forest = forest = ForestScorer(engines, slots, features, depth)
        m.submodules.pump = pump = PumpDetector(features, rule_count, conditions)
        # The forest takes no more vectors than it has room for, and these hold as many.
        m.submodules.tags = tags = SyncFIFO(width=_TagLayout().size, depth=forest.room)
        m.submodules.rules = rules = SyncFIFO(width=_RulesLayout().size, depth=forest.room)
        active = loader.active
        m.d.comb += [
            loader.header.eq(self.header),
            loader.begin.eq(self.begin),
            loader.word.eq(self.word),
            loader.swap.eq(self.swap),
            loader.value.eq(self.value),
            loader.idle.eq(forest.idle),
            forest.write.eq(loader.write),
            forest.bank.eq(loader.bank),
            forest.trees.eq(Mux(loader.loaded, active.trees, 0)),
            pump.table.eq(loader.table),
            self.status.eq(Cat(loader.bank, loader.loaded, loader.busy, active.two_beats, loader.errors)),
            self.active_id.eq(active.id),
        ]
        take, tag = Signal(), Signal(_TagLayout())
        payload = self.vectors.payload
        m.d.comb += [
            forest.features.payload.eq(payload.features),
            forest.features.valid.eq(self.vectors.valid & ~loader.hold),
            self.vectors.ready.eq(forest.features.ready & ~loader.hold),
            take.eq(self.vectors.valid & self.vectors.ready),
            pump.valid.eq(take),
            pump.features.eq(payload.features),
            tag.seq.eq(payload.seq),
            tag.symbol.eq(payload.symbol),
            tag.cycle_in.eq(payload.cycle_in),
            tag.id.eq(active.id),
            tag.classes.eq(active.classes),
            tag.on_rule.eq(active.forest_on_rule),
            tag.loaded.eq(loader.loaded),
            tags.w_en.eq(take),
            tags.w_data.eq(tag),
            rules.w_en.eq(pump.fired_valid),
            rules.w_data.eq(Cat(pump.fault, pump.fired)),
        ]
        with m.Switch(self.rule_index):
            for number in range(rule_count * conditions):
                with m.Case(number):
                    m.d.sync += self.rule_read.eq(loader.table[number // conditions][number % conditions])
        self._join(m, forest, tags, rules, loader.fault)
        return m

    def _join(self, m: Module, forest: ForestScorer, tags: SyncFIFO, rules: SyncFIFO, header_fault: Signal) -> None:
        tag, rule = _TagLayout()(tags.r_data), _RulesLayout()(rules.r_data)
        score = forest.scores.payload
        give, skipped, fault = Signal(), Signal(), Signal()
        m.d.comb += [
            # Rule bits and tag came long before the scores.
            give.eq(forest.scores.valid & (~self.decisions.valid | self.decisions.ready)),
            forest.scores.ready.eq(give),
            tags.r_en.eq(give),
            rules.r_en.eq(give),
            skipped.eq(tag.loaded & tag.on_rule & (rule.fired == 0)),
            fault.eq((score.fault & ~skipped) | rule.fault | header_fault),
        ]
        flags = (
            Mux(skipped, DecisionFlag.FOREST_SKIPPED, 0)
            | Mux(tag.loaded, 0, DecisionFlag.NO_MODEL)
            | Mux(fault, DecisionFlag.MEMORY_FAULT, 0)
        )
        values = {
            "seq": tag.seq,
            "model_crc": tag.id,
            "now": self.now,
            "cycle_in": tag.cycle_in,
            "cycle_out": self.cycle + 1,
            "kind": int(Kind.DECISION),
            "rule_bits": rule.fired,
            "flags": flags,
            "classes": tag.classes,
            "symbol": tag.symbol,
            "arm_epoch": self.arm_epoch,
            **{f"margin{i}": Mux(skipped, 0, score.margins[i]) for i in range(MAX_CLASSES)},
        }
        assert DECISION.fields is not None
        m.d.sync += self.model_fault.eq(give & fault)
        with m.If(self.decisions.ready):
            m.d.sync += self.decisions.valid.eq(0)
        with m.If(give):
            m.d.sync += self.decisions.valid.eq(1)
            for name, value in values.items():
                field, offset = DECISION.fields[name][:2]
                m.d.sync += self.decisions.payload[8 * offset : 8 * (offset + field.itemsize)].eq(value)
