"""The engine inside a process: ring, journal, state, snapshots and recovery, without any socket.

``accept`` takes records from whoever has them and runs the engine at once; opening brings the state
back from the latest snapshot and the journal behind it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.layout import GLOBAL
from sentinel.engine.readout import counters
from sentinel.engine.state import EngineSpec, EngineState, new_effects, new_state, state_arrays
from sentinel.engine.state_hash import state_hash
from sentinel.errors import JournalError, RingError
from sentinel.host.control_record import control_record
from sentinel.host.decider import DeciderFactory, Deciders, need_factory
from sentinel.host.kill_word import LATCH_NAME, KillLevel, KillState, KillTrigger, KillWordReader
from sentinel.host.latency import new_latency_table
from sentinel.host.ring import MIN_SLOTS, Ring
from sentinel.host.state_recovery import recover_state, refuse_other_symbols
from sentinel.host.store.epoch import bump_epoch, read_epoch
from sentinel.host.store.journal import Journal
from sentinel.host.store.order_tag import take_order_tag
from sentinel.host.store.run_files import save_run_files
from sentinel.host.store.snapshot import save_snapshot
from sentinel.host.store.spilling_journal import SpillingJournal
from sentinel.host.turn import RESERVED_FRAMES, bind_frame, turn
from sentinel.model.artifact import load_model
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Control, Kind, TradingState

_log = logging.getLogger(__name__)

_RETRY_NS = 5 * NS_PER_S
#: ``value`` of a JOURNAL_FAULT that the audit trail is the cause of.
_AUDIT_LATE = 2

_ACTIVE, _REDUCE_ONLY = int(TradingState.ACTIVE), int(TradingState.REDUCE_ONLY)
_EPOCH, _ARM_EPOCH, _TRADING_STATE, _KILLED, _JOURNAL_FAULT = (
    (GLOBAL.names or ()).index(name) for name in ("epoch", "arm_epoch", "trading_state", "killed", "journal_fault")
)


def account_words(state: EngineState) -> memoryview:
    """The account's record as whole numbers. An order meets cold code: four fields read through numpy took 10 us of its way."""
    return state.glob.view(np.int64).data


class EngineHost:
    """Owns one engine and everything it needs to survive its process.

    Args:
        config: the run's settings; ``config.store.directory`` holds journal and snapshots.
        on_effects: called with each batch of effects (int64[n, 8]) and the monotonic time they were ready,
            after they are in the journal. What it delivers back through ``accept`` is stepped next.
        decider_factory: makes the decider that ``config.decider`` names; None for the CPU's.

    ``state`` is the engine's; read it, never write it. ``decider_words`` int64[4] is what its step calls. ``epoch`` is this
    start's, ``order_tag`` the store's, both already durable.
    ``spilling`` says how often the disk stopped taking the journal, and how much waits for it.
    ``audit_late``: orders wait for the audit trail.
    ``kill_word`` is obeyed before each turn and each order; ``kills_obeyed`` counts the words that killed, ``kill_seen_ns``
    is CLOCK_MONOTONIC at which the one that stands was seen, 0 while it is open.
    Raises ConfigError, JournalError, ModelError or RingError when the host cannot be built.
    """

    def __init__(
        self,
        config: Config,
        on_effects: Callable[[NDArray[Any], int], None],
        decider_factory: DeciderFactory | None = None,
    ) -> None:
        need_factory(config, decider_factory)
        self.config = config
        self.on_effects = on_effects
        self.directory = Path(config.store.directory)
        self.artifact = load_model(config.model)
        self.spec = EngineSpec.from_config(config, self.artifact)
        self.state = new_state(self.spec)
        self._account_words = account_words(self.state)
        self._deciders = Deciders(config, self.artifact, decider_factory)
        self.decider_words = self._deciders.words
        self.latency = new_latency_table()
        self._effects = new_effects()
        self.ring = Ring.create(config.ring.slots, huge_pages=config.ring.huge_pages)
        self._ahead = Ring.create(MIN_SLOTS, huge_pages=False)
        self._pumping = False
        self._closed = False
        self._control_seq = 0
        self._retry_ns = self._service_ns = 0
        self.audit_late = False
        self.kills_obeyed = self.kill_seen_ns = self._level_obeyed = 0
        self._store_thread = ThreadPoolExecutor(1, "store")
        self._store_job: Future[None] | None = None

        refuse_other_symbols(self.directory, config.feed.symbols)
        save_run_files(self.directory, config, self.artifact)
        self.journal = Journal.open(
            self.directory,
            config_digest=config.digest(),
            model_crc=self.artifact.crc,
            symbols=config.feed.symbols,
            segment_bytes=config.store.segment_mib << 20,
        )
        self.spilling = SpillingJournal(self.journal, RESERVED_FRAMES, self._tell_fault)
        self._frames = self.spilling.frames
        try:
            self.replayed = recover_state(self.directory, self.journal, self.state, self.spec, config.digest(), self.artifact.crc)
            # After recovery: the replay had bound the frame to buffers of its own.
            self._bind(self.ring)
            required = config.killswitch.enabled or (config.killswitch_directory / LATCH_NAME).exists()
            self.kill_word = KillWordReader(self.directory, required)
            known = int(self.state.glob["epoch"][0])
            self.order_tag = take_order_tag(self.directory, in_use=max(known, read_epoch(self.directory)) > 0)
            self.epoch = bump_epoch(self.directory, known)
            if int(self.state.glob["journal_fault"][0]):
                # The process before this one ended in a fault of the journal; this one has just opened it.
                self.control(Command.JOURNAL_FAULT, self.now_ns, value=0)
        except BaseException:
            self.journal.close()
            raise

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool:
        """Whether an order decided under ``arm_epoch`` may leave now: nothing since has disarmed, killed or halted.

        The kill word is read last: no order is sent whose pass began after it was stored.
        """
        words = self._account_words
        needed = _REDUCE_ONLY if reduce_only else _ACTIVE
        armed = words[_ARM_EPOCH] == arm_epoch and words[_TRADING_STATE] >= needed
        return armed and not words[_KILLED] and not words[_JOURNAL_FAULT] and self._word_is_open()

    def _word_is_open(self) -> bool:
        is_open = self.kill_word.is_open
        if not is_open and not self.kill_seen_ns:
            self.kill_seen_ns = time.monotonic_ns()
        return is_open

    def obey_kill_word(self) -> None:
        """Have the engine latch what the kill word says, journaled and before everything that waits in the ring. Idempotent."""
        if self._word_is_open():
            self.kill_seen_ns = self._level_obeyed = 0
            return
        if self._account_words[_EPOCH] != self.epoch:
            # This start is not in the journal yet: nothing leaves before it is.
            return
        state = self.kill_word.state
        if state.is_open:
            # Re-armed. One who slept through the kill may not go on as if there had been none.
            self.kill_word.accept()
            if self._level_obeyed:
                self.kill_seen_ns = self._level_obeyed = 0
                return
            state = KillState(KillLevel.STOP_NEW, KillTrigger.OPERATOR, state.generation)
        if state.level <= self._level_obeyed:
            return
        self._level_obeyed = int(state.level)
        self.kills_obeyed += 1
        _log.error("kill word: level %d, %s; no new order leaves", state.level, state.trigger.name)
        if not self.spilling.has_room():
            self.spilling.make_room()
        fields = {"value": int(Control.OPERATOR), "value2": int(state.trigger), "id": state.generation}
        self._step_ahead(Command.KILL, self.now_ns, version=int(state.level), **fields)

    @property
    def now_ns(self) -> int:
        """Engine time."""
        return int(self.state.glob["now"][0])

    def control(self, command: Command, t: int, **fields: int) -> None:
        """Make a ControlEvent and step it."""
        self._control_seq += 1
        self.accept(control_record(command, t, seq=self._control_seq, **fields))

    def accept(self, records: NDArray[Any]) -> None:
        """Put int64[n, 8] records into the ring and, unless a turn is under way, run the engine over them.

        More records than the ring holds are taken in pieces; nothing is dropped.
        """
        start = 0
        while start < len(records):
            end = min(len(records), start + self.ring.capacity // 2)
            if end < len(records) and _second_of_pair(records[end]):
                end += 1
            while self.ring.push(records[start:end]) == 0:
                if self._pumping:
                    raise RingError("ring.slots", self.ring.capacity, "room for what one batch causes", "raise ring.slots")
                self.pump()
            start = end
        if not self._pumping:
            self.pump()

    def note(self, records: NDArray[Any]) -> None:
        """Journal int64[n, 8] for the audit trail alone: the engine does not see it, a replay passes over it."""
        self.spilling.note(records)

    def pump(self) -> None:
        """Turn until the ring is empty and every effect is dispatched."""
        self._pumping = True
        try:
            while True:
                self.obey_kill_word()
                left = self._turn(self.ring)
                filled = int(self._effects.cursor[0])
                if filled:
                    ready_ns = time.monotonic_ns()
                    batch = self._effects.slots[:filled].copy()
                    self._effects.cursor[0] = 0
                    self.on_effects(batch, ready_ns)
                # With room left what remains is the first half of a two-slot record: it waits for its second.
                elif left == 0 or self.spilling.has_room():
                    return
                else:
                    self.spilling.make_room()
        finally:
            self._pumping = False

    def _bind(self, ring: Ring) -> None:
        bind_frame(self.state, self.decider_words, ring.views, ring.mask, self._effects)

    def _turn(self, ring: Ring) -> int:
        words, cursor = self._frames()
        return turn(
            self.state.scratch.frame,
            ring.words,
            ring.slots,
            ring.mask,
            self._effects.slots,
            self._effects.cursor,
            words,
            cursor,
            self.latency,
        )

    def _tell_fault(self, stands: bool) -> None:
        value = 1 if stands else _AUDIT_LATE if self.audit_late else 0
        self._step_ahead(Command.JOURNAL_FAULT, self.now_ns, value=value)

    def hold_for_audit(self, late: bool) -> None:
        """Stop new orders while the audit trail is behind the journal, as they stop without a journal; cancels go on."""
        if late == self.audit_late:
            return
        self.audit_late = late
        _log.warning("audit trail: %s", "behind; new orders stop, cancels go on" if late else "caught up; orders may leave")
        if self.spilling.on_disk:
            self.control(Command.JOURNAL_FAULT, self.now_ns, value=_AUDIT_LATE if late else 0)

    def _step_ahead(self, command: Command, t: int, **fields: int) -> None:
        """Step a ControlEvent before everything that waits in the ring: none of that may act as if it had not come."""
        self._control_seq += 1
        self._ahead.push(control_record(command, t, seq=self._control_seq, **fields))
        self._bind(self._ahead)
        try:
            self._turn(self._ahead)
        finally:
            self._bind(self.ring)

    def tend_journal(self, now_ns: int) -> None:
        """Call it regularly: keeps the journal's writer from ever waiting, and gets out of memory back onto the disk.

        After a full disk orders resume only if nothing was lost.
        """
        if self._store_job is not None and self._store_job.done():
            self.finish_store_job()
        if self.spilling.on_disk:
            self.journal.prefault()
            if self._store_job is None and self.journal.wants_service and now_ns >= self._service_ns:
                # Not at every tick: on a full disk each attempt takes what little is left, for a moment.
                self._service_ns = now_ns + NS_PER_S
                self._store_job = self._store_thread.submit(self.journal.service)
        elif now_ns >= self._retry_ns:
            self._retry_ns = now_ns + _RETRY_NS
            self.spilling.restore()

    def snapshot(self) -> None:
        """Save the state as of the last journaled frame, written by another thread from a copy.

        Skipped while the last one is still being written. A full disk is logged: the journal alone recovers too.
        """
        if self.spilling.on_disk and self._store_job is None:
            arrays = {name: array.copy() for name, array in state_arrays(self.state).items()}
            self._store_job = self._store_thread.submit(self._write_snapshot, self.journal.next_sequence - 1, arrays)

    def finish_store_job(self) -> None:
        """Wait for what the store's thread is doing, if anything; a disk that failed it is a journal fault."""
        if self._store_job is None:
            return
        job, self._store_job = self._store_job, None
        error = job.exception()
        if error is not None:
            self.spilling.lose(error)

    def _write_snapshot(self, sequence: int, arrays: dict[str, NDArray[Any]]) -> None:
        self.journal.sync()
        try:
            meta = {"epoch": self.epoch, "config_digest": self.config.digest(), "model_crc": self.artifact.crc}
            save_snapshot(self.directory, sequence, arrays, meta)
        except JournalError as error:
            _log.error("snapshot: %s", error)

    def state_hash(self) -> str:
        """SHA-256 of what the engine decided and owns (hex)."""
        return state_hash(self.state)

    def counters(self) -> dict[str, int]:
        """The engine's counters by name."""
        return counters(self.state)

    def abandon(self) -> None:
        """Release what a killed process would lose to the kernel, and save nothing; what its store's thread began, it ends."""
        self._closed = True
        self._store_thread.shutdown()
        self.journal.abandon()
        self.kill_word.close()
        self.ring.close()
        self._ahead.close()

    def close(self) -> None:
        """Snapshot, sync and release everything. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if not self.spilling.on_disk and not self.spilling.restore():
            _log.error("journal: %d records never reached the disk", self.spilling.waiting)
        self.finish_store_job()
        self._store_thread.shutdown()
        if self.spilling.on_disk:
            try:
                self._write_snapshot(self.journal.next_sequence - 1, state_arrays(self.state))
            except JournalError as error:
                _log.error("journal: %s", error)
        self.journal.close()
        self.kill_word.close()
        self.ring.close()
        self._ahead.close()


def _second_of_pair(slot: NDArray[Any]) -> bool:
    head = int(slot[3])
    return head & 0xFF == Kind.ORDER_EVENT and head >> 40 & 0xFF == 1
