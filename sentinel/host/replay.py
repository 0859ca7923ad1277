"""A journal's inputs through the same engine, segment by segment, under the settings each was written with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.state import EngineSpec, EngineState, configure, new_effects
from sentinel.engine.step import step_many
from sentinel.errors import JournalError
from sentinel.host.decider import DeciderFactory, Deciders
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.run_files import load_run_model
from sentinel.host.store.run_settings import load_run_config
from sentinel.wire import FrameType, record_views

#: Config digest and model CRC.
Settings = tuple[str, int]

_CHUNK = 65_536


class JournalReplay:
    """Steps ``state`` through a journal directory.

    Args:
        observe: called after each chunk with its input slots, the effects they caused (both int64[n, 8])
            and the state; chunks end at most ``chunk`` slots apart, which it may change.
        decider_factory: makes the decider; None for the CPU's, whichever decided when the journal was written.

    ``inputs``, ``effects`` and ``mismatched_effects`` count slots: the effects the engine produces must be
    those in the journal, bit for bit. ``unrecorded`` (int64[n, 8]) are effects of the last inputs that the
    writer was killed before it could journal; no order among them ever left. ``settings`` (config digest, model CRC)
    are those the state's parameters were last taken from.
    """

    def __init__(
        self,
        directory: str | Path,
        state: EngineState,
        observe: Callable[[NDArray[Any], NDArray[Any], EngineState], None] | None = None,
        chunk: int = _CHUNK,
        decider_factory: DeciderFactory | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.state = state
        self.inputs = 0
        self.effects = 0
        self.mismatched_effects = 0
        self.settings: Settings | None = None
        self._observe = observe
        self.chunk = chunk
        self._decider_factory = decider_factory
        self._out = new_effects(max(4096, chunk))
        self._recorded = np.zeros((0, 8), np.int64)
        self._produced = np.zeros((0, 8), np.int64)

    def run(self, from_sequence: int = 0, settings: Settings | None = None) -> None:
        """Replay from a sequence (0: the oldest) to the end. Raises JournalError for damage or a missing file.

        ``settings``: what the state was configured by; None for a fresh one. Only where a segment has others are its
        parameters set anew: limits that an operator has changed hold on over rotations and restarts.
        """
        self.settings = settings
        for header, frames in read_segments(self.directory, from_sequence):
            config = load_run_config(self.directory, header.config_digest)
            if tuple(config.feed.symbols) != header.symbols:
                raise JournalError("journal symbols", header.symbols, "those of its settings", "restore both from one copy")
            artifact = load_run_model(self.directory, header.model_crc)
            spec = EngineSpec.from_config(config, artifact)
            if spec.symbols != len(self.state.symbols):
                raise JournalError(
                    "journal symbols",
                    len(header.symbols),
                    f"{len(self.state.symbols)}",
                    "use a new store.directory for other symbols",
                )
            if self.settings != (header.config_digest, header.model_crc):
                configure(self.state, spec)
                self.settings = (header.config_digest, header.model_crc)
            deciders = Deciders(config, artifact, self._decider_factory)
            slots, types = frame_slots(frames), frames["type"]
            self._recorded = np.concatenate([self._recorded, slots[types == FrameType.EFFECT]])
            self._step(np.ascontiguousarray(slots[types == FrameType.INPUT]), deciders.words)
            self._compare()
        self.mismatched_effects += len(self._recorded)

    @property
    def unrecorded(self) -> NDArray[Any]:
        return self._produced

    def _step(self, slots: NDArray[Any], decider: NDArray[np.int64]) -> None:
        views = record_views(slots)
        start, total = 0, len(slots)
        while start < total:
            end = min(total, start + self.chunk)
            if end < total and int(slots[end, 3]) >> 40 & 0xFF == 1:
                end += 1
            at = start
            produced = []
            while at < end:
                at = step_many(self.state, decider, views, -1, at, end, self._out)
                produced.append(self._out.slots[: int(self._out.cursor[0])].copy())
                self._out.cursor[0] = 0
            effects = np.concatenate(produced)
            self._produced = np.concatenate([self._produced, effects])
            self.inputs += end - start
            if self._observe is not None:
                self._observe(slots[start:end], effects, self.state)
            start = end

    def _compare(self) -> None:
        n = min(len(self._recorded), len(self._produced))
        self.effects += n
        self.mismatched_effects += int((self._recorded[:n] != self._produced[:n]).any(axis=1).sum())
        self._recorded, self._produced = self._recorded[n:], self._produced[n:]


def state_of(directory: str | Path) -> tuple[EngineState, Config]:
    """A fresh state for the journal in ``directory``, and the settings of its first segment."""
    from sentinel.engine.state import new_state

    header, _ = next(iter(read_segments(directory)), (None, None))
    if header is None:
        raise JournalError("journal", str(directory), "at least one segment", "check the path")
    config = load_run_config(directory, header.config_digest)
    return new_state(EngineSpec.from_config(config, load_run_model(directory, header.model_crc))), config
