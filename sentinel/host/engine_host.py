"""The engine inside a process: ring, journal, state, snapshots and recovery, without any socket.

``accept`` takes records from whoever has them and runs the engine at once; opening brings the state
back from the latest snapshot and the journal behind it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.engine.state import EngineSpec, configure, load_state_arrays, new_effects, new_state, state_arrays
from sentinel.engine.state_hash import state_hash
from sentinel.errors import JournalError, RingError
from sentinel.host.latency import new_latency_table
from sentinel.host.replay import JournalReplay
from sentinel.host.ring import Ring
from sentinel.host.rules import rules_of
from sentinel.host.store.epoch import bump_epoch
from sentinel.host.store.frames import FRAME_WORDS
from sentinel.host.store.journal import Journal
from sentinel.host.store.run_files import save_run_files
from sentinel.host.store.snapshot import load_latest_snapshot, save_snapshot
from sentinel.host.turn import bind_frame, turn
from sentinel.model.artifact import load_model
from sentinel.units import NS_PER_S
from sentinel.wire import CONTROL_EVENT, NO_SYMBOL, Command, FrameType, Kind, empty_slots

_log = logging.getLogger(__name__)

_SPARE_FRAMES = 65_536
_ROTATE_RETRY_NS = 5 * NS_PER_S


def control_record(command: Command, t: int, **fields: int) -> NDArray[Any]:
    """One ControlEvent as int64[1, 8]; ``fields`` are columns of wire.CONTROL_EVENT."""
    slots = empty_slots(1)
    record = slots.view(CONTROL_EVENT)[0, 0]
    record["kind"], record["command"], record["t"], record["symbol"] = Kind.CONTROL, command, t, NO_SYMBOL
    for name, value in fields.items():
        record[name] = value
    return slots


class EngineHost:
    """Owns one engine and everything it needs to survive its process.

    Args:
        config: the run's settings; ``config.store.directory`` holds journal and snapshots.
        on_effects: called with each batch of effects (int64[n, 8]) and the monotonic time they were ready,
            after they are in the journal. What it delivers back through ``accept`` is stepped next.

    ``state`` is the engine's; read it, never write it. ``epoch`` is this start's, already durable.
    Raises JournalError, ModelError or RingError when the host cannot be built.
    """

    def __init__(self, config: Config, on_effects: Callable[[NDArray[Any], int], None]) -> None:
        self.config = config
        self.on_effects = on_effects
        self.directory = Path(config.store.directory)
        self.artifact = load_model(config.model)
        self.spec = EngineSpec.from_config(config, self.artifact)
        self.state = new_state(self.spec)
        decider = CpuDecider(self.artifact, rules_of(config.strategy), config.strategy.forest_on == "rule")
        self._decider = decider
        self._decider_words = np.array([decider.address, decider.context, decider.address, decider.context], np.int64)
        self.latency = new_latency_table()
        self._effects = new_effects()
        self.ring = Ring.create(config.ring.slots, huge_pages=config.ring.huge_pages)
        self._pumping = False
        self._control_seq = 0
        self._spare: NDArray[np.int64] | None = None
        self._spare_cursor = np.zeros(3, np.int64)
        self._retry_rotate_ns = 0
        self.journal_lost = False

        save_run_files(self.directory, config, self.artifact)
        self.journal = Journal.open(
            self.directory,
            config_digest=config.digest(),
            model_crc=self.artifact.crc,
            symbols=config.feed.symbols,
            segment_bytes=config.store.segment_mib << 20,
        )
        try:
            self.replayed = self._recover()
            # After recovery: the replay had bound the frame to buffers of its own.
            bind_frame(self.state, self._decider_words, self.ring.views, self.ring.mask, self._effects)
            self.epoch = bump_epoch(self.directory, int(self.state.glob["epoch"][0]))
        except BaseException:
            self.journal.close()
            raise

    def _recover(self) -> int:
        """State after the last journaled input. Returns the number of inputs replayed."""
        snapshot = load_latest_snapshot(self.directory)
        start = 0
        if snapshot is not None and snapshot.sequence < self.journal.next_sequence:
            load_state_arrays(self.state, snapshot.arrays)
            start = snapshot.sequence + 1
        if start >= self.journal.next_sequence or self.journal.next_sequence == 1:
            return 0
        replay = JournalReplay(self.directory, self.state)
        replay.run(start)
        if replay.mismatched_effects:
            raise JournalError(
                "journal effects",
                replay.mismatched_effects,
                "the effects this engine produces from the journaled inputs",
                "start the version that wrote the journal, or use a new store.directory once no order is open",
            )
        # What the killed process had decided but not yet journaled: journaled now, so that every replay agrees.
        self.journal.append(FrameType.EFFECT, replay.unrecorded)
        configure(self.state, self.spec)
        return replay.inputs

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

    def pump(self) -> None:
        """Turn until the ring is empty and every effect is dispatched."""
        self._pumping = True
        try:
            while True:
                words, cursor = self._frames()
                consumed = turn(
                    self.state.scratch.frame,
                    self.ring.words,
                    self.ring.slots,
                    self.ring.mask,
                    self._effects.slots,
                    self._effects.cursor,
                    words,
                    cursor,
                    self.latency,
                )
                filled = int(self._effects.cursor[0])
                if filled:
                    batch = self._effects.slots[:filled].copy()
                    self._effects.cursor[0] = 0
                    self.on_effects(batch, time.monotonic_ns())
                elif consumed == 0:
                    if self.ring.available() == 0:
                        return
                    self._make_room()
        finally:
            self._pumping = False

    def _frames(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._spare is not None:
            return self._spare, self._spare_cursor
        return self.journal.words, self.journal.cursor

    def _make_room(self) -> None:
        """Rotate the journal; on a full disk keep frames in memory and tell the engine: no journal, no new order."""
        if self._spare is not None:
            # Memory is full as well: what is overwritten now can never be replayed.
            self.journal_lost = True
            self._spare_cursor[0] = 0
            return
        try:
            self.journal.rotate()
        except JournalError as error:
            _log.error("journal: %s; new orders stop, cancels go on", error)
            self._spare = np.zeros(_SPARE_FRAMES * FRAME_WORDS, np.int64)
            self._spare_cursor[:] = (0, self.journal.next_sequence, len(self._spare))
            self.ring.push(control_record(Command.JOURNAL_FAULT, self.now_ns, value=1))

    def tend_journal(self, now_ns: int) -> None:
        """Call it regularly: makes pages present ahead of the writer, and gets out of memory back onto the disk.

        After a full disk orders resume only if nothing was lost.
        """
        if self._spare is None:
            self.journal.prefault()
        elif not self.journal_lost:
            self._leave_memory(now_ns)

    def _leave_memory(self, now_ns: int) -> None:
        if self._spare is None or now_ns < self._retry_rotate_ns:
            return
        self._retry_rotate_ns = now_ns + _ROTATE_RETRY_NS
        try:
            self.journal.rotate()
        except JournalError:
            return
        used = int(self._spare_cursor[0]) // FRAME_WORDS
        frames = self._spare[: used * FRAME_WORDS].reshape(used, FRAME_WORDS)
        types = frames[:, 1] & 0xFFFFFFFF
        self._spare = None
        for frame_type in _runs(types):
            self.journal.append(int(types[frame_type.start]), np.ascontiguousarray(frames[frame_type, 2:]))
        self.control(Command.JOURNAL_FAULT, now_ns, value=0)

    def snapshot(self) -> None:
        """Save the state as of the last journaled frame. A full disk is logged, not raised: the journal alone recovers too."""
        if self._spare is not None:
            return
        try:
            self.journal.sync()
            save_snapshot(self.directory, self.journal.next_sequence - 1, state_arrays(self.state), {"epoch": self.epoch})
        except JournalError as error:
            _log.error("snapshot: %s", error)

    def state_hash(self) -> str:
        """SHA-256 of what the engine decided and owns (hex)."""
        return state_hash(self.state)

    def counters(self) -> dict[str, int]:
        """The engine's counters by name."""
        record = self.state.counters[0]
        return {name: int(record[name]) for name in record.dtype.names}

    def mark(self, value: int) -> None:
        """Append a MARK frame, which replay skips."""
        if self._spare is None:
            self.journal.append(FrameType.MARK, control_record(Command.TICK, self.now_ns, value=value))

    def close(self) -> None:
        """Snapshot, sync and release everything. Idempotent."""
        self.snapshot()
        self.journal.close()
        self.ring.close()


def _second_of_pair(slot: NDArray[Any]) -> bool:
    head = int(slot[3])
    return head & 0xFF == Kind.ORDER_EVENT and head >> 40 & 0xFF == 1


def _runs(types: NDArray[Any]) -> list[slice]:
    """Slices of equal neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(types)) + 1).tolist(), len(types)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]
