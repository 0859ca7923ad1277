"""The card's driver: identity, model, limits, arming, and what goes to the gate and comes back.

It works on any Bus, so the driver tested against the emitted core is the one that drives a card. Registers are read
here and at leisure only; decisions, permits and heartbeats of the card arrive in the host's own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import CardError
from sentinel.host.cards.beats import GateBeats
from sentinel.host.cards.bus import ALL_ONES, Bus
from sentinel.host.cards.card_decider import FAIL_AFTER, CardDecider
from sentinel.host.cards.limits import CardLimits, commit_crc
from sentinel.host.cards.link import CardLink
from sentinel.host.cards.model_words import ModelLoad, model_load
from sentinel.host.cards.registers import (
    ARM_KEY_1,
    ARM_KEY_2,
    ARM_MIN_TICKS,
    MAGIC,
    MAP_HASH,
    OCL_FIELDS,
    OCL_WORDS,
    STATUS_MAGIC,
    BeatFault,
    LimitsStatus,
    ModelFlags,
    ModelStatus,
    Ocl,
    Sda,
    Status,
    SymbolStatus,
    TripCause,
    join,
    split,
)
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable

_VERSION_MAJOR = OCL_FIELDS[Ocl.VERSION]["major"]
_RING_ALIGN = 64
_PATIENCE = 10_000  # looks at a status register while the card runs on
_COUNTED = (
    *(Ocl.BEATS, Ocl.VECTORS, Ocl.DECISIONS, Ocl.PERMITS, Ocl.REJECTS),
    *(Ocl.FAULTS_TORN, Ocl.FAULTS_REPLAY, Ocl.FAULTS_SKIP, Ocl.FAULTS_KIND, Ocl.FAULTS_SYMBOL, Ocl.FAULTS_PART),
    *(Ocl.FAULTS_FIELDS, Ocl.PCIM_WRITES, Ocl.PCIM_STALLS, Ocl.PCIM_ERRORS, Ocl.ECC_CORRECTED, Ocl.BAD_WRITES),
)
_LFSR_TAPS = 0xA3000000
_MODEL_ERRORS: dict[IntFlag, str] = {
    ModelStatus.ERROR_CRC: "words with the CRC they were sent with",
    ModelStatus.ERROR_COUNT: "191 words a tree and 48 of rules",
    ModelStatus.ERROR_ABI: "the card's artifact ABI",
    ModelStatus.ERROR_TREES: "1..128 trees",
    ModelStatus.ERROR_CLASSES: "1..4 classes",
    ModelStatus.ERROR_PARITY: "memory words that keep their parity",
}
_LIMIT_ERRORS: dict[IntFlag, str] = {
    LimitsStatus.ERROR_CRC: "staged words with the CRC of the commit",
    LimitsStatus.ERROR_RANGE: "limits within the card's ranges",
    LimitsStatus.ERROR_RACED: "registers left alone during the commit",
    LimitsStatus.ERROR_SHADOW: "a copy equal to its shadow",
}


@dataclass(frozen=True)
class Identity:
    """What a card says it is."""

    version: tuple[int, int]
    map_hash: int
    trees: int
    features: int
    symbols: int


def next_answer(challenge: int) -> int:
    """The watchdog's answer: one step of its 32-bit Galois LFSR."""
    return challenge >> 1 ^ (_LFSR_TAPS if challenge & 1 else 0)


def names_of(causes: TripCause) -> str:
    """Names of the causes, for people."""
    return ", ".join(cause.name for cause in causes if cause.name)


class CardDriver:
    """Drives one card. ``identify`` and ``start`` it first; every method raises CardError for what the card refuses.

    Attributes: ``link`` carries beats and records; ``gate`` sends what the gate is told; ``loaded`` is the model in
    use, None before ``load_model``; ``limits`` those in force, None before ``set_limits``.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.link = CardLink(bus)
        self.gate = GateBeats(self.link)
        self.loaded: ModelLoad | None = None
        self.limits: CardLimits | None = None
        self._answered: int | None = None

    def read(self, register: Ocl) -> int:
        """One register. Raises CardError where the card does not answer: all ones are never a legal value."""
        value = self.bus.ocl_read(register)
        if value == ALL_ONES:
            raise CardError(
                register.name, f"{value:#x}", "an answer", "the card is lost: load its image again, or check the slot"
            )
        return value

    def read_wide(self, name: str) -> int:
        """A value of several words that stands still while it is read."""
        return join([self.read(word) for word in OCL_WORDS[name]])

    def now(self) -> int:
        """The card's time, ticks of 4 ns."""
        low, high = OCL_WORDS["NOW"]
        while True:
            before, word, after = self.read(high), self.read(low), self.read(high)
            if before == after:
                return join([word, after])

    def status(self) -> Status:
        """One-bit fields of STATUS. Raises CardError for a word that is no status."""
        word = self.read(Ocl.STATUS)
        if OCL_FIELDS[Ocl.STATUS]["magic"].of(word) != STATUS_MAGIC:
            raise CardError(
                "STATUS", f"{word:#x}", f"{STATUS_MAGIC:#x} in the top byte", "the card is lost: load its image again"
            )
        return Status(word & sum(Status))

    def identify(self) -> Identity:
        """Check that the card is one of ours and built from this register map."""
        magic = self.bus.ocl_read(Ocl.MAGIC)
        if magic == ALL_ONES:
            raise CardError("MAGIC", f"{magic:#x}", f"{MAGIC:#x}", "no card answers: load its image, check the slot")
        if magic != MAGIC:
            raise CardError("MAGIC", f"{magic:#x}", f"{MAGIC:#x}", "another design is loaded: load Sentinel's image")
        major = _VERSION_MAJOR.of(self.read(Ocl.VERSION))
        if major != _VERSION_MAJOR.reset:
            raise CardError("VERSION", major, f"{_VERSION_MAJOR.reset}", "load an image of this release")
        found = self.bus.ocl_read(Ocl.MAP_HASH)
        if found != MAP_HASH:
            raise CardError(
                "MAP_HASH", f"{found:#010x}", f"{MAP_HASH:#010x}", "the image has another register map: build it anew"
            )
        sizes, minor = OCL_FIELDS[Ocl.CAPABILITIES], OCL_FIELDS[Ocl.VERSION]["minor"].of(self.read(Ocl.VERSION))
        word = self.read(Ocl.CAPABILITIES)
        return Identity((major, minor), found, *(sizes[name].of(word) for name in ("trees", "features", "symbols")))

    def start(self) -> None:
        """Bring a card of unknown history to a known state: tripped, no faults, an empty ring, both counts agreed."""
        self.kill()
        self._until(Ocl.STATUS, Status.CLEARING, "STATUS.clearing", "the gate's memories are never clear: reset the card")
        self.bus.ocl_write(Ocl.PCIM_ENABLE, 0)
        self.link.poll(2)
        self._place_ring()
        self.bus.ocl_write(Ocl.BEAT_SEQ, 0)
        self.bus.ocl_write(Ocl.BEAT_FAULTS, sum(BeatFault))
        self.bus.ocl_write(Ocl.IRQ_ACK, 1)
        # Records are numbered from 1 each time the ring is enabled.
        self.link.restart(next_slot=1, next_seq=0)
        self.bus.ocl_write(Ocl.PCIM_ENABLE, 1)
        if Status.PCIM_ENABLED not in self.status():
            raise CardError("PCIM_ENABLE", 0, "1", "the card refuses the ring: see PCIM_BASE and PCIM_SLOTS")
        self._answered = self._newest = self._challenge = None

    def _place_ring(self) -> None:
        address, slots = self.bus.ring_address, len(self.bus.ring)
        if address == 0 or address % _RING_ALIGN or address >> 2 * 31:
            raise CardError("ring address", f"{address:#x}", "a 64-byte aligned bus address below 2^62", "allocate the ring anew")
        if slots > OCL_FIELDS[Ocl.PCIM_SLOTS]["value"].mask:
            raise CardError("ring slots", slots, f"at most {OCL_FIELDS[Ocl.PCIM_SLOTS]['value'].mask}", "use a smaller ring")
        for register, word in split("PCIM_BASE", address):
            self.bus.ocl_write(register, word)
        self.bus.ocl_write(Ocl.PCIM_SLOTS, slots)

    def load_model(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool = False) -> ModelLoad:
        """Load a model and its rules into the idle bank and swap; decisions go on under the old one meanwhile."""
        load = model_load(artifact, rules, forest_on_rule)
        self.write_model(load)
        return load

    def write_model(self, load: ModelLoad, crc: int | None = None) -> None:
        """Write a load word by word and ask for the swap under ``crc`` (its own by default)."""
        flags = (ModelFlags.FOREST_ON_RULE if load.forest_on_rule else 0) | (ModelFlags.TWO_BEATS if load.beats == 2 else 0)
        header = (Ocl.MODEL_ABI, load.abi), (Ocl.MODEL_TREES, load.trees), (Ocl.MODEL_CLASSES, load.classes)
        for register, value in header:
            if value > OCL_FIELDS[register]["value"].mask:
                raise CardError(register.name, value, f"at most {OCL_FIELDS[register]['value'].mask}", "load another model")
        if load.model_id in (0, ALL_ONES):
            raise CardError("MODEL_ID", f"{load.model_id:#010x}", "neither 0 nor all ones", "train with another seed")
        for register, value in (*header, (Ocl.MODEL_ID, load.model_id), (Ocl.MODEL_FLAGS, int(flags)), (Ocl.MODEL_BEGIN, 1)):
            self.bus.ocl_write(register, value)
        write = self.bus.ocl_write
        for word in load.words.tolist():
            write(Ocl.MODEL_DATA, word)
        self.bus.ocl_write(Ocl.MODEL_SWAP, load.crc if crc is None else crc)
        status = self._until(Ocl.MODEL_STATUS, ModelStatus.BUSY, "MODEL_STATUS.busy", "the load never ends: reset the card")
        _refuse(status, _MODEL_ERRORS, "MODEL_STATUS", "load the artifact again, or another one")
        active = self.read(Ocl.MODEL_ACTIVE_ID)
        if not status & ModelStatus.LOADED or active != load.model_id:
            raise CardError("MODEL_ACTIVE_ID", f"{active:#010x}", f"{load.model_id:#010x}", "load the artifact again")
        self.loaded = load

    def decider(self, artifact: ModelArtifact, fail_after: int = FAIL_AFTER, shadow: CpuDecider | None = None) -> CardDecider:
        """The decider of the model in use. Raises CardError where that is another than ``artifact``."""
        if self.loaded is None or self.loaded.model_id != artifact.crc:
            raise CardError(
                "model", None if self.loaded is None else f"{self.loaded.model_id:#010x}", "the run's", "load it first"
            )
        return CardDecider(self.link, artifact, self.loaded.beats, self.loaded.forest_on_rule, fail_after, shadow)

    def set_limits(self, limits: CardLimits) -> None:
        """Put limits in force, all or none; only while tripped."""
        writes = limits.writes()
        self._need_tripped("limits")
        for register, word in writes:
            self.bus.ocl_write(register, word)
        self.bus.ocl_write(Ocl.LIMITS_COMMIT, commit_crc(writes))
        status = self._until(Ocl.LIMITS_STATUS, LimitsStatus.BUSY, "LIMITS_STATUS.busy", "the commit never ends: reset the card")
        _refuse(status, _LIMIT_ERRORS, "LIMITS_STATUS", "set the limits again")
        if not status & LimitsStatus.LOADED:
            raise CardError("LIMITS_STATUS", f"{status:#x}", "loaded", "set the limits again")
        self.limits = limits

    def set_symbol(self, symbol: int, max_order_qty: int, max_position_qty: int, enabled: bool = True) -> None:
        """Limits of one symbol, quantities e8; only while tripped."""
        if not 0 <= symbol <= OCL_FIELDS[Ocl.SYMBOL_INDEX]["value"].mask:
            raise CardError("symbol", symbol, f"0..{OCL_FIELDS[Ocl.SYMBOL_INDEX]['value'].mask}", "use an index of the table")
        try:
            words = [*split("SYMBOL_MAX_QTY", max_order_qty), *split("SYMBOL_MAX_POSITION", max_position_qty)]
        except ValueError as error:
            raise CardError("symbol limits", (max_order_qty, max_position_qty), "0..2^61-1", str(error)) from None
        self._need_tripped("symbol")
        taken = OCL_FIELDS[Ocl.SYMBOL_STATUS]["taken"]
        before = taken.of(self.read(Ocl.SYMBOL_STATUS))
        for register, word in ((Ocl.SYMBOL_INDEX, symbol), (Ocl.SYMBOL_FLAGS, int(enabled)), *words, (Ocl.SYMBOL_COMMIT, 1)):
            self.bus.ocl_write(register, word)
        status = self._until(
            Ocl.SYMBOL_STATUS, SymbolStatus.BUSY, "SYMBOL_STATUS.busy", "the gate takes no symbols: reset the card"
        )
        if taken.of(status) == before or status & SymbolStatus.OVERRUN:
            raise CardError("SYMBOL_STATUS", f"{status:#x}", "the commit taken", "set the symbol again; after an overrun reset")

    def set_equity_peak(self, peak: int) -> None:
        """Replace the peak that drawdown is measured from, quote e8; only while tripped."""
        try:
            writes = split("EQUITY_PEAK", peak)
        except ValueError as error:
            raise CardError("equity peak", peak, "0..2^62-1", str(error)) from None
        self._need_tripped("equity peak")
        for register, word in writes:
            self.bus.ocl_write(register, word)

    def standing(self) -> TripCause:
        """Causes that stand now: none may, or arming is refused."""
        return TripCause(self.read(Ocl.STANDING))

    def causes(self) -> TripCause:
        """Every cause since the last arming."""
        return TripCause(self.read(Ocl.TRIP_CAUSES))

    def arm(self, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Arm by the two keyed steps and return the arm epoch; ``meanwhile`` runs between them, to feed the card.

        Before, no cause may stand: limits in force, fresh heartbeat and equity, a first challenge answered. Raises
        CardError while armed, locked or a cause stands, and where the card stays tripped.
        """
        self._need_tripped("ARM_KEY")
        if Status.LOCKED in self.status():
            raise CardError("STATUS", "LOCKED", "not locked", "three wrong keys: only a reset of the card unlocks it")
        standing = self.standing()
        if standing:
            raise CardError(
                "STANDING", names_of(standing), "no cause", "remove it: set limits, send heartbeats, equity and references"
            )
        nonce = self.read(Ocl.ARM_NONCE)
        self.bus.ocl_write(Ocl.ARM_KEY, ARM_KEY_1 ^ nonce)
        meanwhile()
        self.bus.wait_ticks(ARM_MIN_TICKS + 1)
        meanwhile()
        self.bus.ocl_write(Ocl.ARM_KEY, ARM_KEY_2 ^ nonce ^ ALL_ONES)
        if Status.ARMED not in self.status():
            causes = self.causes() | self.standing()
            raise CardError("STATUS", f"tripped by {names_of(causes)}", "armed", "remove the cause and arm again")
        return self.read(Ocl.ARM_EPOCH)

    def kill(self) -> None:
        """Trip by the application's register and see that it tripped."""
        self.bus.ocl_write(Ocl.KILL, 1)
        if Status.TRIPPED not in self.status():
            raise CardError("STATUS", "armed", "tripped after KILL", "cut the card off: trip it by its management window")

    def kill_by_management(self) -> None:
        """Trip by the management window, which lives when the application's does not, and see that it tripped."""
        self.bus.sda_write(Sda.KILL, 1)
        word = self.bus.sda_read(Sda.STATUS)
        # A window that reads all ones has lost its card: no beat reaches the gate and no permit comes back.
        if word != ALL_ONES and not word & Status.TRIPPED:
            raise CardError("STATUS (SDA)", f"{word:#x}", "tripped after KILL", "remove power from the card")

    def service_watchdog(self) -> int | None:
        """Answer the newest challenge if its time has come; call it often. Returns the answer, None if none was due."""
        newest = self.newest_status()
        if self.limits is None:
            return None
        if newest is not None and int(newest["challenge"]) != self._challenge:
            self._challenge, self._issued = int(newest["challenge"]), int(newest["now"])
        if self._challenge is None or self._challenge == self._answered:
            return None
        if self.now() - self._issued <= self.limits.watchdog_min:
            return None
        answer = next_answer(self._challenge)
        self.bus.ocl_write(Ocl.WATCHDOG_ANSWER, answer)
        self._answered = self._challenge
        return answer

    _challenge: int | None = None
    _issued = 0

    def newest_status(self) -> np.void | None:
        """The last CARD_STATUS that came since ``start``, None before the first."""
        self.link.poll()
        statuses = self.link.statuses()
        if len(statuses):
            self._newest = statuses[-1]
        return self._newest

    _newest: np.void | None = None

    def permits(self) -> NDArray[np.void]:
        """PERMIT[n] that came since the last call."""
        self.link.poll()
        return self.link.permits()

    def counters(self) -> dict[str, int]:
        """The card's own counters since its reset, by register name in lower case."""
        return {register.name.lower(): self.read(register) for register in _COUNTED}

    def _need_tripped(self, what: str) -> None:
        if Status.TRIPPED not in self.status():
            raise CardError(what, "armed", "a tripped card", "kill it first: nothing is changed under an armed gate")

    def _until(self, register: Ocl, busy: int, name: str, remedy: str) -> int:
        for _ in range(_PATIENCE):
            word = self.read(register)
            if not word & busy:
                return word
            self.bus.relax()
        raise CardError(name, 1, "0 within its time", remedy)


def _refuse(status: int, errors: Mapping[IntFlag, str], name: str, remedy: str) -> None:
    found = [bit for bit in errors if status & bit]
    if found:
        names = ", ".join(str(bit.name) for bit in found)
        raise CardError(name, names, "; ".join(errors[bit] for bit in found), remedy)
