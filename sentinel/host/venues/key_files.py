"""Keys and secrets from where the settings say they are: environment variables, a file of its owner alone, or AWS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sentinel.errors import ConfigError
from sentinel.host.venues.secrets_manager import PREFIX, read_from_secrets_manager

_MAX_SECRET_BYTES = 64 << 10
#: Length of a key from which on its end may be shown.
_SHOWN_FROM = 16


def masked(api_key: str) -> str:
    """Enough of a key's name to tell it from another: its last four characters, of a short one nothing."""
    return f"...{api_key[-4:]}" if len(api_key) >= _SHOWN_FROM else "..."


def require_set(names: Sequence[str], purpose: str) -> None:
    """Raises ConfigError where one of these environment variables is not set."""
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        remedy = f"export {' and '.join(missing)} for {purpose}"
        raise ConfigError("environment", missing, "the exchange's key and its secret", remedy)


def read_secret(setting: str, path: Path) -> str:
    """A secret's file, or what a reference to AWS Secrets Manager stands for.

    Raises ConfigError, naming ``setting``, for one that cannot be read, or a file that others may read.
    """
    allowed, shown = "a text file of its owner alone", str(path)
    if shown.startswith(PREFIX):
        return read_from_secrets_manager(setting, shown)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(setting, shown, allowed, f"run chmod 600 {path}")
        with path.open("rb") as file:
            raw = file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ConfigError(setting, shown, allowed, f"correct the path ({error.strerror})") from None
    if len(raw) > _MAX_SECRET_BYTES or not raw.isascii():
        raise ConfigError(setting, shown, allowed, "name the file that holds the secret and nothing else")
    return raw.decode().strip()
