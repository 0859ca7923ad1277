"""The engine's state after a restart: the latest snapshot and the journal behind it."""

from __future__ import annotations

import logging
from pathlib import Path

from sentinel.engine.state import EngineSpec, EngineState, configure, load_state_arrays
from sentinel.errors import JournalError
from sentinel.host.replay import JournalReplay
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import journal_symbols
from sentinel.host.store.snapshot import load_latest_snapshot
from sentinel.wire import FrameType

_log = logging.getLogger(__name__)


def refuse_other_symbols(directory: Path, symbols: list[str]) -> None:
    """Raises JournalError where the journal in ``directory`` was begun with other symbols."""
    # Positions and orders are kept by symbol index: under another table they would be another coin's.
    begun_with = journal_symbols(directory)
    if begun_with is not None and begun_with != tuple(symbols):
        raise JournalError(
            "feed.symbols",
            symbols,
            f"{list(begun_with)}, those of the journal in {directory}",
            "use a new store.directory for other symbols once no order is open",
        )


def recover_state(
    directory: Path, journal: Journal, state: EngineState, spec: EngineSpec, config_digest: str, model_crc: int
) -> int:
    """Bring ``state`` to what it was after the last journaled input. Returns the number of inputs replayed.

    What was decided and not journaled is journaled now; settings of ``spec`` that differ from the journal's are taken over.
    Raises JournalError where this engine decides otherwise than the journal says.
    """
    snapshot = load_latest_snapshot(directory)
    replay = JournalReplay(directory, state)
    start, settings = 0, None
    if snapshot is not None and snapshot.sequence < journal.next_sequence:
        try:
            load_state_arrays(state, snapshot.arrays)
        except JournalError as error:
            _log.warning("%s: recovering from the journal alone", error)
        else:
            start = snapshot.sequence + 1
            settings = snapshot.meta.get("config_digest", ""), snapshot.meta.get("model_crc", 0)
    if start < journal.next_sequence > 1:
        replay.run(start, settings)
        settings = replay.settings
    if replay.mismatched_effects:
        raise JournalError(
            "journal effects",
            replay.mismatched_effects,
            "the effects this engine produces from the journaled inputs",
            "start the version that wrote the journal, or use a new store.directory once no order is open",
        )
    # What the killed process had decided but not yet journaled: journaled now, so that every replay agrees.
    journal.append(FrameType.EFFECT, replay.unrecorded)
    if settings != (config_digest, model_crc):
        # Changed settings begin a new segment, where a replay takes them over too.
        configure(state, spec)
    return replay.inputs
