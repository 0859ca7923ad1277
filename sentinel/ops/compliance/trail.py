"""A trail as it was verified: its records, and the settings they were made under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.config import Config, load_config
from sentinel.errors import AuditError, JournalError
from sentinel.host.store.run_settings import load_run_config
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.signing import load_public_key
from sentinel.ops.audit.verify import Verification, verify_trail


@dataclass(frozen=True)
class VerifiedTrail:
    """A directory that was checked. ``anchored`` and ``keyed``: whether against anchors, and against a public key."""

    directory: Path
    verification: Verification
    anchored: bool
    keyed: bool

    @property
    def whole(self) -> bool:
        return self.verification.first_bad is None

    def records(self) -> Iterator[dict[str, Any]]:
        """The records that were verified, as ``read_trail`` has them; none of a trail that is not whole.

        Raises AuditError where they are not the ones that were verified any more.
        """
        wanted = self.verification.records if self.whole else 0
        count = 0
        for row in read_trail(self.directory) if wanted else ():
            if count == wanted:
                # A follower has gone on meanwhile.
                return
            if row["index"] != count:
                break
            count += 1
            yield row
        if count != wanted:
            raise AuditError("audit trail", f"{count} records", f"the {wanted} that were verified", "verify it again")


def open_trail(directory: Path, anchors: Path | None = None, public_key: Path | None = None) -> VerifiedTrail:
    """Verify a trail. Raises AuditError only for what cannot be read."""
    key = None if public_key is None else load_public_key(public_key)
    return VerifiedTrail(directory, verify_trail(directory, anchors, key), anchors is not None, key is not None)


@dataclass
class SettingsSeen:
    """What the SETTINGS records name: digests in their order, without repeats in a row."""

    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def take(self, row: dict[str, Any]) -> bool:
        """See a record; whether other settings hold from here on."""
        if row["kind"] != "SETTINGS":
            return False
        stated = (row["record"]["config_sha256"], row["record"]["model_sha256"])
        if self.configs and stated == (self.configs[-1], self.models[-1]):
            return False
        self.configs.append(stated[0])
        self.models.append(stated[1])
        return True


@dataclass(frozen=True)
class FoundSettings:
    """Settings of the trail's end. ``proven``: they hash to the digest the trail names. ``source`` says where they are from."""

    config: Config | None
    proven: bool
    source: str


def find_settings(seen: SettingsSeen, config: Path | None, store: Path) -> FoundSettings:
    """From ``config``, else from the run files in ``store``. Raises ConfigError for a file that cannot be used."""
    digest = seen.configs[-1] if seen.configs else ""
    if config is not None:
        given = load_config(config)
        return FoundSettings(given, given.digest() == digest, "--config")
    try:
        return FoundSettings(load_run_config(store, digest), True, "run files of the store") if digest else _NO_SETTINGS
    except JournalError:
        return _NO_SETTINGS


_NO_SETTINGS = FoundSettings(None, False, "not found")
