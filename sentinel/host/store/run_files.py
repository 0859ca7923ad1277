"""What a journal needs beside it to be replayed anywhere: the settings and the model it was written under.

Both are stored once per content: ``config-<digest>.json`` and ``model-<crc>.stl``. Secrets are never
part of a config, only the names of the variables that hold them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sentinel.config import Config
from sentinel.errors import JournalError
from sentinel.host.store.run_settings import config_path
from sentinel.model.artifact import ModelArtifact, load_model, save_model


def _model_path(directory: Path, crc: int) -> Path:
    return directory / f"model-{crc:08x}.stl"


def save_run_files(directory: str | Path, config: Config, artifact: ModelArtifact) -> None:
    """Write both files if they are not there yet. Raises JournalError for a directory that cannot be written."""
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path = config_path(directory, config.digest())
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.write_text(config.model_dump_json(indent=1), encoding="utf-8")
            os.replace(temporary, path)
        model = _model_path(directory, artifact.crc)
        if not model.exists():
            temporary = model.with_suffix(".tmp")
            save_model(artifact, temporary)
            os.replace(temporary, model)
    except OSError as error:
        raise JournalError("store.directory", str(directory), "a writable directory with room", f"check it ({error})") from None


def load_run_model(directory: str | Path, crc: int) -> ModelArtifact:
    """The model a segment was written under. Raises ModelError or JournalError when it is missing or damaged."""
    path = _model_path(Path(directory), crc)
    artifact = load_model(path)
    if artifact.crc != crc:
        raise JournalError("journal model", f"{artifact.crc:08x}", f"{crc:08x}", "restore the model file of this journal")
    return artifact


def model_digest(directory: str | Path, crc: int) -> bytes:
    """SHA-256 of the model file a segment was written under. Raises JournalError when it cannot be read."""
    path = _model_path(Path(directory), crc)
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise JournalError("journal model", str(path), "the file written with the journal", f"restore it ({error})") from None
