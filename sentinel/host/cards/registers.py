"""Registers of the card: addresses, fields, bits and constants.

Written by ``python -m sentinel_hdl.tools.registers``; change the register map, not this file.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

ALL_ONES = 0xFFFFFFFF  # what a lost card reads as; no register's legal value
MAP_HASH = 0x0DDC239C
MAGIC = 0x53544E4C
STATUS_MAGIC = 0xA5
WORD_BITS = 31  # of each word of a value of several words
ARM_KEY_1 = 0x5E47A12D
ARM_KEY_2 = 0xC3B196E8
ARM_MIN_TICKS = 250_000
ARM_MAX_TICKS = 2_500_000_000


class Ocl(IntEnum):
    """Registers of the card on OCL (AXI4-Lite): byte addresses."""

    MAGIC = 0x000
    VERSION = 0x004
    MAP_HASH = 0x008
    CAPABILITIES = 0x00C
    STATUS = 0x010
    CONTROL = 0x014
    SCRATCH = 0x018
    BAD_WRITES = 0x01C
    IRQ_ACK = 0x020
    NOW_LO = 0x024
    NOW_HI = 0x028
    KILL = 0x040
    ARM_KEY = 0x044
    ARM_NONCE = 0x048
    ARM_EPOCH = 0x04C
    TRIP_CAUSES = 0x050
    FIRST_CAUSE = 0x054
    STANDING = 0x058
    FIRST_TIME_LO = 0x05C
    FIRST_TIME_HI = 0x060
    WATCHDOG_PERIOD_LO = 0x080
    WATCHDOG_PERIOD_HI = 0x084
    WATCHDOG_MIN_LO = 0x088
    WATCHDOG_MIN_HI = 0x08C
    WATCHDOG_MAX_LO = 0x090
    WATCHDOG_MAX_HI = 0x094
    WATCHDOG_ANSWER = 0x098
    LIMIT_MAX_ORDER_NOTIONAL_0 = 0x100
    LIMIT_MAX_ORDER_NOTIONAL_1 = 0x104
    LIMIT_MAX_ORDER_NOTIONAL_2 = 0x108
    LIMIT_MAX_ORDER_NOTIONAL_3 = 0x10C
    LIMIT_MAX_GROSS_NOTIONAL_0 = 0x110
    LIMIT_MAX_GROSS_NOTIONAL_1 = 0x114
    LIMIT_MAX_GROSS_NOTIONAL_2 = 0x118
    LIMIT_MAX_GROSS_NOTIONAL_3 = 0x11C
    LIMIT_COLLAR_BPS = 0x120
    LIMIT_MAX_DRAWDOWN_BPS = 0x124
    LIMIT_REFERENCE_MAX_AGE_LO = 0x128
    LIMIT_REFERENCE_MAX_AGE_HI = 0x12C
    LIMIT_HEARTBEAT_MAX_AGE_LO = 0x130
    LIMIT_HEARTBEAT_MAX_AGE_HI = 0x134
    LIMIT_EQUITY_MAX_AGE_LO = 0x138
    LIMIT_EQUITY_MAX_AGE_HI = 0x13C
    LIMIT_DUPLICATE_WINDOW_LO = 0x140
    LIMIT_DUPLICATE_WINDOW_HI = 0x144
    LIMIT_WINDOW_LO = 0x148
    LIMIT_WINDOW_HI = 0x14C
    LIMIT_PERMITS_PER_WINDOW = 0x150
    LIMIT_REJECT_TRIP = 0x154
    LIMIT_MAX_DAILY_LOSS_LO = 0x158
    LIMIT_MAX_DAILY_LOSS_HI = 0x15C
    LIMITS_VERSION = 0x160
    LIMITS_COMMIT = 0x164
    LIMITS_STATUS = 0x168
    SYMBOL_INDEX = 0x180
    SYMBOL_FLAGS = 0x184
    SYMBOL_MAX_QTY_LO = 0x188
    SYMBOL_MAX_QTY_HI = 0x18C
    SYMBOL_MAX_POSITION_LO = 0x190
    SYMBOL_MAX_POSITION_HI = 0x194
    SYMBOL_COMMIT = 0x198
    SYMBOL_STATUS = 0x19C
    MODEL_ABI = 0x1C0
    MODEL_TREES = 0x1C4
    MODEL_CLASSES = 0x1C8
    MODEL_ID = 0x1CC
    MODEL_FLAGS = 0x1D0
    MODEL_BEGIN = 0x1D4
    MODEL_DATA = 0x1D8
    MODEL_SWAP = 0x1DC
    MODEL_STATUS = 0x1E0
    MODEL_ACTIVE_ID = 0x1E4
    RULE_INDEX = 0x1E8
    RULE_SELECT = 0x1EC
    RULE_LOW = 0x1F0
    RULE_HIGH = 0x1F4
    PCIM_BASE_LO = 0x200
    PCIM_BASE_HI = 0x204
    PCIM_SLOTS = 0x208
    PCIM_ENABLE = 0x20C
    BEAT_SEQ = 0x240
    BEAT_FAULTS = 0x244
    BEATS = 0x280
    VECTORS = 0x284
    DECISIONS = 0x288
    PERMITS = 0x28C
    REJECTS = 0x290
    FAULTS_TORN = 0x294
    FAULTS_REPLAY = 0x298
    FAULTS_SKIP = 0x29C
    FAULTS_KIND = 0x2A0
    FAULTS_SYMBOL = 0x2A4
    FAULTS_PART = 0x2A8
    FAULTS_FIELDS = 0x2AC
    PCIM_WRITES = 0x2B0
    PCIM_STALLS = 0x2B4
    PCIM_ERRORS = 0x2B8
    ECC_CORRECTED = 0x2BC
    GATE_STATUS = 0x2C0
    LATENCY_BIN_0 = 0x300
    LATENCY_BIN_1 = 0x304
    LATENCY_BIN_2 = 0x308
    LATENCY_BIN_3 = 0x30C
    LATENCY_BIN_4 = 0x310
    LATENCY_BIN_5 = 0x314
    LATENCY_BIN_6 = 0x318
    LATENCY_BIN_7 = 0x31C
    LATENCY_BIN_8 = 0x320
    LATENCY_BIN_9 = 0x324
    LATENCY_BIN_10 = 0x328
    LATENCY_BIN_11 = 0x32C
    LATENCY_BIN_12 = 0x330
    LATENCY_BIN_13 = 0x334
    LATENCY_BIN_14 = 0x338
    LATENCY_BIN_15 = 0x33C
    EQUITY_PEAK_LO = 0x340
    EQUITY_PEAK_HI = 0x344


class Sda(IntEnum):
    """Registers of the card on SDA, the management BAR (AXI4-Lite): byte addresses."""

    MAGIC = 0x000
    STATUS = 0x004
    KILL = 0x008
    TRIP_CAUSES = 0x00C
    BAD_WRITES = 0x010


class TripCause(IntFlag):
    """Bits of TRIP_CAUSES, FIRST_CAUSE, STANDING."""

    POWER_ON = 0x000001  # Power-on or reset.
    SOFTWARE_OCL = 0x000002  # A write to KILL of the OCL map.
    SOFTWARE_SDA = 0x000004  # A write to KILL of the SDA map.
    VDIP = 0x000008  # The operator's virtual DIP switch 0.
    WATCHDOG = 0x000010  # The watchdog's answer was wrong, early, second or missing.
    HEARTBEAT = 0x000020  # No heartbeat beat within heartbeat_max_age.
    PERMIT_RATE = 0x000040  # More permits asked than permits_per_window.
    GROSS_EXPOSURE = 0x000080  # An order would have passed the gross exposure.
    DRAWDOWN = 0x000100  # Equity fell from its peak by max_drawdown_bps.
    DAILY_LOSS = 0x000200  # Equity fell by max_daily_loss since the day began.
    STALE_EQUITY = 0x000400  # No equity beat within equity_max_age.
    MEMORY_FAULT = 0x000800  # An uncorrectable error in the gate's memory, or a beat or permit with a wrong parity.
    LIMIT_FAULT = 0x001000  # No limits, refused limits, or limits that differ from their shadow.
    BEAT_FAULT = 0x002000  # A beat was dropped or out of sequence; BEAT_FAULTS says why.
    REJECTS = 0x004000  # reject_trip orders in a row were rejected.
    PCIM_FAULT = 0x008000  # A write to the host's ring was refused or not answered.
    EXPOSURE_FAULT = 0x010000  # A position or open quantity saturated or went below zero.
    WRONG_KEY = 0x020000  # A wrong arm key, or a key while armed.
    ILLEGAL_STATE = 0x040000  # The kill switch is in no state it knows, or the two channels differ.
    MODEL_FAULT = 0x080000  # A stored model word failed its parity.
    CLOCK = 0x100000  # The time `now` went back.
    CLEARING = 0x200000  # The gate still clears its memories after reset.


class BeatFault(IntFlag):
    """Bits of BEAT_FAULTS."""

    TORN = 0x000001  # The check word is not the complement of seq.
    REPLAY = 0x000002  # seq was seen before.
    SKIP = 0x000004  # seq left numbers out.
    KIND = 0x000008  # Unknown kind of beat.
    SYMBOL = 0x000010  # Symbol outside the table.
    PART = 0x000020  # A part without the other, or one that the kind does not have.
    FIELDS = 0x000040  # A field outside its range: event, side, price or quantity.


class Status(IntFlag):
    """One-bit fields of STATUS."""

    TRIPPED = 0x0001  # 1 = no order passes.
    ARMED = 0x0002
    LOCKED = 0x0004  # Three wrong keys: only a reset helps.
    MODEL_LOADED = 0x0020  # A model has been swapped in.
    LIMITS_LOADED = 0x0040  # Limits are committed and without fault.
    CLEARING = 0x0080  # The gate clears its memories after reset.
    GATE_BUSY = 0x0100  # The gate works on a beat, or one waits for it.
    PCIM_ENABLED = 0x0200  # Records are written to the host's ring.
    IRQ = 0x0400  # irq is up: a trip not yet acknowledged.


class Control(IntFlag):
    """One-bit fields of CONTROL."""

    CLEAR_HISTOGRAM = 0x0001  # Sets every LATENCY_BIN to 0.


class LimitsStatus(IntFlag):
    """One-bit fields of LIMITS_STATUS."""

    LOADED = 0x0001  # Limits are in force.
    BUSY = 0x0002  # A commit is being checked (less than 40 cycles).
    ERROR_CRC = 0x0100  # The CRC differs.
    ERROR_RANGE = 0x0200  # A limit is out of its range.
    ERROR_RACED = 0x0400  # Staged words changed, or arming happened, while the commit was checked.
    ERROR_SHADOW = 0x0800  # The copy in force differs from its inverted shadow.


class SymbolFlags(IntFlag):
    """One-bit fields of SYMBOL_FLAGS."""

    ENABLED = 0x0001  # Orders on the symbol may pass.


class SymbolStatus(IntFlag):
    """One-bit fields of SYMBOL_STATUS."""

    BUSY = 0x0001  # The gate has not yet taken the last commit.
    OVERRUN = 0x0002  # A commit came while one was pending and was dropped; cleared by reset.


class ModelFlags(IntFlag):
    """One-bit fields of MODEL_FLAGS."""

    FOREST_ON_RULE = 0x0001  # Score only when a rule fired.
    TWO_BEATS = 0x0002  # Two beats make a vector (26 features).


class ModelStatus(IntFlag):
    """One-bit fields of MODEL_STATUS."""

    BANK = 0x0001  # Bank in use.
    LOADED = 0x0002  # A model is in use.
    BUSY = 0x0004  # A load or a swap is under way.
    TWO_BEATS = 0x0008  # Two beats make a vector of the model in use.
    ERROR_CRC = 0x0100  # The CRC differs.
    ERROR_COUNT = 0x0200  # Not 191 x trees + 48 words.
    ERROR_ABI = 0x0400  # Another ABI.
    ERROR_TREES = 0x0800  # Trees out of range.
    ERROR_CLASSES = 0x1000  # Classes out of range.
    ERROR_PARITY = 0x2000  # A stored word failed its parity.


class RuleSelect(IntFlag):
    """One-bit fields of RULE_SELECT."""

    USED = 0x0100
    NAN_RESULT = 0x0200  # Result where the feature is NaN.


class PcimEnable(IntFlag):
    """One-bit fields of PCIM_ENABLE."""

    ENABLE = 0x0001


class Field(NamedTuple):
    """A field of a register: ``mask`` is in place."""

    shift: int
    mask: int
    reset: int

    def of(self, word: int) -> int:
        """The field's value in a word read."""
        return (word & self.mask) >> self.shift


OCL_FIELDS: dict[Ocl, dict[str, Field]] = {
    Ocl.MAGIC: {"value": Field(0, 0xFFFFFFFF, 0x53544E4C)},
    Ocl.VERSION: {"minor": Field(0, 0x0000FFFF, 0x0), "major": Field(16, 0x7FFF0000, 0x1)},
    Ocl.MAP_HASH: {"value": Field(0, 0xFFFFFFFF, 0xDDC239C)},
    Ocl.CAPABILITIES: {
        "trees": Field(0, 0x000000FF, 0x80),
        "features": Field(8, 0x0000FF00, 0x1A),
        "symbols": Field(16, 0xFFFF0000, 0x400),
    },
    Ocl.STATUS: {
        "tripped": Field(0, 0x00000001, 0x0),
        "armed": Field(1, 0x00000002, 0x0),
        "locked": Field(2, 0x00000004, 0x0),
        "phase": Field(3, 0x00000018, 0x0),
        "model_loaded": Field(5, 0x00000020, 0x0),
        "limits_loaded": Field(6, 0x00000040, 0x0),
        "clearing": Field(7, 0x00000080, 0x0),
        "gate_busy": Field(8, 0x00000100, 0x0),
        "pcim_enabled": Field(9, 0x00000200, 0x0),
        "irq": Field(10, 0x00000400, 0x0),
        "magic": Field(24, 0xFF000000, 0xA5),
    },
    Ocl.CONTROL: {"clear_histogram": Field(0, 0x00000001, 0x0)},
    Ocl.SCRATCH: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.BAD_WRITES: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.IRQ_ACK: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.NOW_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.NOW_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.KILL: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.ARM_KEY: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.ARM_NONCE: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.ARM_EPOCH: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.TRIP_CAUSES: {"causes": Field(0, 0x003FFFFF, 0x0)},
    Ocl.FIRST_CAUSE: {"causes": Field(0, 0x003FFFFF, 0x0)},
    Ocl.STANDING: {"causes": Field(0, 0x003FFFFF, 0x0)},
    Ocl.FIRST_TIME_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FIRST_TIME_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_PERIOD_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_PERIOD_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_MIN_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_MIN_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_MAX_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_MAX_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.WATCHDOG_ANSWER: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_0: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_1: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_2: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_3: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_0: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_1: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_2: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_3: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_COLLAR_BPS: {"value": Field(0, 0x00003FFF, 0x0)},
    Ocl.LIMIT_MAX_DRAWDOWN_BPS: {"value": Field(0, 0x00003FFF, 0x0)},
    Ocl.LIMIT_REFERENCE_MAX_AGE_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_REFERENCE_MAX_AGE_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_EQUITY_MAX_AGE_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_EQUITY_MAX_AGE_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_DUPLICATE_WINDOW_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_DUPLICATE_WINDOW_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_WINDOW_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_WINDOW_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_PERMITS_PER_WINDOW: {"value": Field(0, 0x000003FF, 0x0)},
    Ocl.LIMIT_REJECT_TRIP: {"value": Field(0, 0x0000FFFF, 0x0)},
    Ocl.LIMIT_MAX_DAILY_LOSS_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMIT_MAX_DAILY_LOSS_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMITS_VERSION: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LIMITS_COMMIT: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.LIMITS_STATUS: {
        "loaded": Field(0, 0x00000001, 0x0),
        "busy": Field(1, 0x00000002, 0x0),
        "error_crc": Field(8, 0x00000100, 0x0),
        "error_range": Field(9, 0x00000200, 0x0),
        "error_raced": Field(10, 0x00000400, 0x0),
        "error_shadow": Field(11, 0x00000800, 0x0),
    },
    Ocl.SYMBOL_INDEX: {"value": Field(0, 0x000003FF, 0x0)},
    Ocl.SYMBOL_FLAGS: {"enabled": Field(0, 0x00000001, 0x0)},
    Ocl.SYMBOL_MAX_QTY_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.SYMBOL_MAX_QTY_HI: {"value": Field(0, 0x3FFFFFFF, 0x0)},
    Ocl.SYMBOL_MAX_POSITION_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.SYMBOL_MAX_POSITION_HI: {"value": Field(0, 0x3FFFFFFF, 0x0)},
    Ocl.SYMBOL_COMMIT: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.SYMBOL_STATUS: {
        "busy": Field(0, 0x00000001, 0x0),
        "overrun": Field(1, 0x00000002, 0x0),
        "taken": Field(15, 0x7FFF8000, 0x0),
    },
    Ocl.MODEL_ABI: {"value": Field(0, 0x0000FFFF, 0x0)},
    Ocl.MODEL_TREES: {"value": Field(0, 0x000000FF, 0x0)},
    Ocl.MODEL_CLASSES: {"value": Field(0, 0x00000007, 0x0)},
    Ocl.MODEL_ID: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.MODEL_FLAGS: {"forest_on_rule": Field(0, 0x00000001, 0x0), "two_beats": Field(1, 0x00000002, 0x0)},
    Ocl.MODEL_BEGIN: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.MODEL_DATA: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.MODEL_SWAP: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.MODEL_STATUS: {
        "bank": Field(0, 0x00000001, 0x0),
        "loaded": Field(1, 0x00000002, 0x0),
        "busy": Field(2, 0x00000004, 0x0),
        "two_beats": Field(3, 0x00000008, 0x0),
        "error_crc": Field(8, 0x00000100, 0x0),
        "error_count": Field(9, 0x00000200, 0x0),
        "error_abi": Field(10, 0x00000400, 0x0),
        "error_trees": Field(11, 0x00000800, 0x0),
        "error_classes": Field(12, 0x00001000, 0x0),
        "error_parity": Field(13, 0x00002000, 0x0),
    },
    Ocl.MODEL_ACTIVE_ID: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.RULE_INDEX: {"value": Field(0, 0x0000000F, 0x0)},
    Ocl.RULE_SELECT: {
        "feature": Field(0, 0x0000001F, 0x0),
        "used": Field(8, 0x00000100, 0x0),
        "nan_result": Field(9, 0x00000200, 0x0),
    },
    Ocl.RULE_LOW: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.RULE_HIGH: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.PCIM_BASE_LO: {"value": Field(6, 0x7FFFFFC0, 0x0)},
    Ocl.PCIM_BASE_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.PCIM_SLOTS: {"value": Field(0, 0x0001FFFF, 0x0)},
    Ocl.PCIM_ENABLE: {"enable": Field(0, 0x00000001, 0x0)},
    Ocl.BEAT_SEQ: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Ocl.BEAT_FAULTS: {"faults": Field(0, 0x0000007F, 0x0)},
    Ocl.BEATS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.VECTORS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.DECISIONS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.PERMITS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.REJECTS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_TORN: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_REPLAY: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_SKIP: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_KIND: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_SYMBOL: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_PART: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.FAULTS_FIELDS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.PCIM_WRITES: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.PCIM_STALLS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.PCIM_ERRORS: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.ECC_CORRECTED: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.GATE_STATUS: {"last_control": Field(0, 0x000000FF, 0x0)},
    Ocl.LATENCY_BIN_0: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_1: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_2: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_3: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_4: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_5: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_6: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_7: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_8: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_9: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_10: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_11: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_12: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_13: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_14: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.LATENCY_BIN_15: {"count": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.EQUITY_PEAK_LO: {"value": Field(0, 0x7FFFFFFF, 0x0)},
    Ocl.EQUITY_PEAK_HI: {"value": Field(0, 0x7FFFFFFF, 0x0)},
}
SDA_FIELDS: dict[Sda, dict[str, Field]] = {
    Sda.MAGIC: {"value": Field(0, 0xFFFFFFFF, 0x53544E4C)},
    Sda.STATUS: {
        "tripped": Field(0, 0x00000001, 0x0),
        "armed": Field(1, 0x00000002, 0x0),
        "locked": Field(2, 0x00000004, 0x0),
        "phase": Field(3, 0x00000018, 0x0),
        "model_loaded": Field(5, 0x00000020, 0x0),
        "limits_loaded": Field(6, 0x00000040, 0x0),
        "clearing": Field(7, 0x00000080, 0x0),
        "gate_busy": Field(8, 0x00000100, 0x0),
        "pcim_enabled": Field(9, 0x00000200, 0x0),
        "irq": Field(10, 0x00000400, 0x0),
        "magic": Field(24, 0xFF000000, 0xA5),
    },
    Sda.KILL: {"value": Field(0, 0xFFFFFFFF, 0x0)},
    Sda.TRIP_CAUSES: {"causes": Field(0, 0x003FFFFF, 0x0)},
    Sda.BAD_WRITES: {"count": Field(0, 0x7FFFFFFF, 0x0)},
}
# Written only while tripped; refused with SLVERR while armed.
OCL_LOCKED = (
    Ocl.WATCHDOG_PERIOD_LO,
    Ocl.WATCHDOG_PERIOD_HI,
    Ocl.WATCHDOG_MIN_LO,
    Ocl.WATCHDOG_MIN_HI,
    Ocl.WATCHDOG_MAX_LO,
    Ocl.WATCHDOG_MAX_HI,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_0,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_1,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_2,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_3,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_0,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_1,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_2,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_3,
    Ocl.LIMIT_COLLAR_BPS,
    Ocl.LIMIT_MAX_DRAWDOWN_BPS,
    Ocl.LIMIT_REFERENCE_MAX_AGE_LO,
    Ocl.LIMIT_REFERENCE_MAX_AGE_HI,
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_LO,
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_HI,
    Ocl.LIMIT_EQUITY_MAX_AGE_LO,
    Ocl.LIMIT_EQUITY_MAX_AGE_HI,
    Ocl.LIMIT_DUPLICATE_WINDOW_LO,
    Ocl.LIMIT_DUPLICATE_WINDOW_HI,
    Ocl.LIMIT_WINDOW_LO,
    Ocl.LIMIT_WINDOW_HI,
    Ocl.LIMIT_PERMITS_PER_WINDOW,
    Ocl.LIMIT_REJECT_TRIP,
    Ocl.LIMIT_MAX_DAILY_LOSS_LO,
    Ocl.LIMIT_MAX_DAILY_LOSS_HI,
    Ocl.LIMITS_VERSION,
    Ocl.LIMITS_COMMIT,
    Ocl.SYMBOL_INDEX,
    Ocl.SYMBOL_FLAGS,
    Ocl.SYMBOL_MAX_QTY_LO,
    Ocl.SYMBOL_MAX_QTY_HI,
    Ocl.SYMBOL_MAX_POSITION_LO,
    Ocl.SYMBOL_MAX_POSITION_HI,
    Ocl.SYMBOL_COMMIT,
    Ocl.PCIM_BASE_LO,
    Ocl.PCIM_BASE_HI,
    Ocl.PCIM_SLOTS,
    Ocl.BEAT_SEQ,
    Ocl.EQUITY_PEAK_LO,
    Ocl.EQUITY_PEAK_HI,
)
# What LIMITS_COMMIT's CRC-32 is taken over, in this order.
STAGED_LIMITS = (
    Ocl.WATCHDOG_PERIOD_LO,
    Ocl.WATCHDOG_PERIOD_HI,
    Ocl.WATCHDOG_MIN_LO,
    Ocl.WATCHDOG_MIN_HI,
    Ocl.WATCHDOG_MAX_LO,
    Ocl.WATCHDOG_MAX_HI,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_0,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_1,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_2,
    Ocl.LIMIT_MAX_ORDER_NOTIONAL_3,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_0,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_1,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_2,
    Ocl.LIMIT_MAX_GROSS_NOTIONAL_3,
    Ocl.LIMIT_COLLAR_BPS,
    Ocl.LIMIT_MAX_DRAWDOWN_BPS,
    Ocl.LIMIT_REFERENCE_MAX_AGE_LO,
    Ocl.LIMIT_REFERENCE_MAX_AGE_HI,
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_LO,
    Ocl.LIMIT_HEARTBEAT_MAX_AGE_HI,
    Ocl.LIMIT_EQUITY_MAX_AGE_LO,
    Ocl.LIMIT_EQUITY_MAX_AGE_HI,
    Ocl.LIMIT_DUPLICATE_WINDOW_LO,
    Ocl.LIMIT_DUPLICATE_WINDOW_HI,
    Ocl.LIMIT_WINDOW_LO,
    Ocl.LIMIT_WINDOW_HI,
    Ocl.LIMIT_PERMITS_PER_WINDOW,
    Ocl.LIMIT_REJECT_TRIP,
    Ocl.LIMIT_MAX_DAILY_LOSS_LO,
    Ocl.LIMIT_MAX_DAILY_LOSS_HI,
    Ocl.LIMITS_VERSION,
)
# Arrays, and values of several words of 31 bits, lowest first.
OCL_WORDS: dict[str, tuple[Ocl, ...]] = {
    "NOW": (Ocl.NOW_LO, Ocl.NOW_HI),
    "FIRST_TIME": (Ocl.FIRST_TIME_LO, Ocl.FIRST_TIME_HI),
    "WATCHDOG_PERIOD": (Ocl.WATCHDOG_PERIOD_LO, Ocl.WATCHDOG_PERIOD_HI),
    "WATCHDOG_MIN": (Ocl.WATCHDOG_MIN_LO, Ocl.WATCHDOG_MIN_HI),
    "WATCHDOG_MAX": (Ocl.WATCHDOG_MAX_LO, Ocl.WATCHDOG_MAX_HI),
    "LIMIT_MAX_ORDER_NOTIONAL": (
        Ocl.LIMIT_MAX_ORDER_NOTIONAL_0,
        Ocl.LIMIT_MAX_ORDER_NOTIONAL_1,
        Ocl.LIMIT_MAX_ORDER_NOTIONAL_2,
        Ocl.LIMIT_MAX_ORDER_NOTIONAL_3,
    ),
    "LIMIT_MAX_GROSS_NOTIONAL": (
        Ocl.LIMIT_MAX_GROSS_NOTIONAL_0,
        Ocl.LIMIT_MAX_GROSS_NOTIONAL_1,
        Ocl.LIMIT_MAX_GROSS_NOTIONAL_2,
        Ocl.LIMIT_MAX_GROSS_NOTIONAL_3,
    ),
    "LIMIT_REFERENCE_MAX_AGE": (Ocl.LIMIT_REFERENCE_MAX_AGE_LO, Ocl.LIMIT_REFERENCE_MAX_AGE_HI),
    "LIMIT_HEARTBEAT_MAX_AGE": (Ocl.LIMIT_HEARTBEAT_MAX_AGE_LO, Ocl.LIMIT_HEARTBEAT_MAX_AGE_HI),
    "LIMIT_EQUITY_MAX_AGE": (Ocl.LIMIT_EQUITY_MAX_AGE_LO, Ocl.LIMIT_EQUITY_MAX_AGE_HI),
    "LIMIT_DUPLICATE_WINDOW": (Ocl.LIMIT_DUPLICATE_WINDOW_LO, Ocl.LIMIT_DUPLICATE_WINDOW_HI),
    "LIMIT_WINDOW": (Ocl.LIMIT_WINDOW_LO, Ocl.LIMIT_WINDOW_HI),
    "LIMIT_MAX_DAILY_LOSS": (Ocl.LIMIT_MAX_DAILY_LOSS_LO, Ocl.LIMIT_MAX_DAILY_LOSS_HI),
    "SYMBOL_MAX_QTY": (Ocl.SYMBOL_MAX_QTY_LO, Ocl.SYMBOL_MAX_QTY_HI),
    "SYMBOL_MAX_POSITION": (Ocl.SYMBOL_MAX_POSITION_LO, Ocl.SYMBOL_MAX_POSITION_HI),
    "PCIM_BASE": (Ocl.PCIM_BASE_LO, Ocl.PCIM_BASE_HI),
    "LATENCY_BIN": (
        Ocl.LATENCY_BIN_0,
        Ocl.LATENCY_BIN_1,
        Ocl.LATENCY_BIN_2,
        Ocl.LATENCY_BIN_3,
        Ocl.LATENCY_BIN_4,
        Ocl.LATENCY_BIN_5,
        Ocl.LATENCY_BIN_6,
        Ocl.LATENCY_BIN_7,
        Ocl.LATENCY_BIN_8,
        Ocl.LATENCY_BIN_9,
        Ocl.LATENCY_BIN_10,
        Ocl.LATENCY_BIN_11,
        Ocl.LATENCY_BIN_12,
        Ocl.LATENCY_BIN_13,
        Ocl.LATENCY_BIN_14,
        Ocl.LATENCY_BIN_15,
    ),
    "EQUITY_PEAK": (Ocl.EQUITY_PEAK_LO, Ocl.EQUITY_PEAK_HI),
}


def split(name: str, value: int) -> list[tuple[Ocl, int]]:
    """The writes of a value of several words, lowest word first. Raises ValueError where a bit has no place."""
    words = OCL_WORDS[name]
    writes = [(word, value >> WORD_BITS * i & ALL_ONES >> 1) for i, word in enumerate(words)]
    if value < 0 or value >> WORD_BITS * len(words) or any(v & ~OCL_FIELDS[w]["value"].mask for w, v in writes):
        raise ValueError(f"{name} = {value}: does not fit the register's bits")
    return writes


def join(words: list[int]) -> int:
    """The value of the words read, lowest word first."""
    return sum(word << WORD_BITS * i for i, word in enumerate(words))
