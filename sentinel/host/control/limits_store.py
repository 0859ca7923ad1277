"""Accepted limits files in the store: the one in force and the one that waits, each with its signatures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from sentinel.errors import LimitsError
from sentinel.host.store.sync import sync_directory


class SignedText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A limits file's text and its signatures (base64) by person."""

    file: str
    signatures: dict[str, str]


class LimitsStore:
    """``limits-current.json`` and ``limits-pending.json`` in ``directory``, each on the disk before ``save`` returns."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, name: str) -> SignedText | None:
        """What is under ``name``, None for nothing. Raises LimitsError where it cannot be read."""
        path = self._path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=SignedText)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LimitsError(
                "stored limits", str(path), "what this program wrote", f"apply a signed file anew ({error})"
            ) from None

    def save(self, name: str, signed: SignedText) -> None:
        """Raises LimitsError where the disk does not take it; what was there before stays."""
        path = self._path(name)
        temporary = path.with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(msgspec.json.encode(signed))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_directory(self._directory)
        except OSError as error:
            raise LimitsError("stored limits", str(path), "a writable disk with room", f"free it ({error.strerror})") from None

    def drop(self, name: str) -> None:
        """Forget what is under ``name``. A disk that keeps it does no harm: it is older than what is in force."""
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)
            sync_directory(self._directory)

    def _path(self, name: str) -> Path:
        return self._directory / f"limits-{name}.json"
