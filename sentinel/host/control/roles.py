"""Who may ask a daemon for what: persons, their roles and their keys, from one file.

The file is TOML, a table a person::

    [persons.alice]
    role = "risk"
    uid = 1001
    public_key = '''
    -----BEGIN PUBLIC KEY-----
    ...
    -----END PUBLIC KEY-----'''

``uid`` is what the kernel says of a connection, ``public_key`` (Ed25519, PEM) what a limits file is signed with; a person has
one of them or both. No two persons share a user or a key, so two names are two persons.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sentinel.errors import ConfigError
from sentinel.wire import Role

_MAX_BYTES = 64 << 10
_MAX_UID = (1 << 32) - 2
PERSON_NAME = re.compile(r"[a-z][a-z0-9_-]{0,23}")
_ROLES = {role.name.lower(): role for role in Role if role}
_FIELD = "access.roles"


@dataclass(frozen=True)
class Person:
    """One person. ``uid`` None: never at the control socket; ``public_key`` empty, else 32 bytes: signs nothing."""

    name: str
    role: Role
    uid: int | None = None
    public_key: bytes = b""


@dataclass(frozen=True)
class Persons:
    """Everybody in one role file."""

    everybody: tuple[Person, ...]

    def by_uid(self, uid: int) -> Person | None:
        return next((person for person in self.everybody if person.uid == uid), None)

    def by_name(self, name: str) -> Person | None:
        return next((person for person in self.everybody if person.name == name), None)


def read_roles(path: str | Path, owner_uid: int) -> Persons:
    """The persons of a role file. Raises ConfigError for one that is damaged, or that others may write.

    ``owner_uid``: who may own it besides root.
    """
    try:
        # Checked on what was opened: the name may be another file's a moment later.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            _require_owned(Path(path), found, owner_uid)
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(_FIELD, str(path), "a readable role file", f"correct the path ({error.strerror})") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(_FIELD, str(path), f"at most {_MAX_BYTES} bytes", "name the role file")
    try:
        data = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(_FIELD, str(path), "valid TOML", f"correct the syntax: {error}") from None
    return parse_roles(data)


def _require_owned(path: Path, found: os.stat_result, owner_uid: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(_FIELD, str(path), "a file", "name the role file itself")
    if found.st_uid not in (0, owner_uid):
        raise ConfigError(
            _FIELD, f"{path} of user {found.st_uid}", "a file of root or of the daemon's user", f"chown root {path}"
        )
    folder = path.absolute().parent
    around = folder.stat()
    if around.st_mode & 0o022 and not around.st_mode & stat.S_ISVTX:
        shown = f"{folder} mode {stat.S_IMODE(around.st_mode):o}"
        raise ConfigError(_FIELD, shown, "a directory in which nobody else can put another file", f"run chmod go-w {folder}")
    if found.st_mode & 0o022:
        shown = f"{path} mode {stat.S_IMODE(found.st_mode):o}"
        raise ConfigError(_FIELD, shown, "a file that only its owner may write", f"run chmod go-w {path}")


def parse_roles(data: dict[str, Any]) -> Persons:
    """The persons of a parsed role file. Raises ConfigError naming the first bad key."""
    tables = data.get("persons")
    for key in data:
        if key != "persons":
            raise ConfigError(_FIELD, key, "tables [persons.NAME]", f"remove {key} or correct its spelling")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(_FIELD, tables, "at least one table [persons.NAME]", "name a person")
    persons = tuple(_person(name, table) for name, table in tables.items())
    _require_distinct("uid", [person.uid for person in persons if person.uid is not None])
    _require_distinct("public_key", [person.public_key for person in persons if person.public_key])
    return Persons(persons)


def _person(name: str, table: Any) -> Person:
    field = f"persons.{name}"
    if PERSON_NAME.fullmatch(name) is None:
        allowed = "at most 24 of a-z, 0-9, underscore and hyphen, a letter first"
        raise ConfigError(field, name, allowed, "choose another name")
    if not isinstance(table, dict):
        raise ConfigError(field, table, "a table", f"write it under [{field}]")
    for key in table:
        if key not in ("role", "uid", "public_key"):
            raise ConfigError(f"{field}.{key}", table[key], "a known key", "remove it or correct its spelling")
    role, uid = table.get("role"), table.get("uid")
    if not isinstance(role, str) or role not in _ROLES:
        raise ConfigError(f"{field}.role", role, f"one of {', '.join(_ROLES)}", "give the person a role")
    if uid is not None and (type(uid) is not int or not 0 <= uid <= _MAX_UID):
        raise ConfigError(f"{field}.uid", uid, f"0..{_MAX_UID}", "write the number that `id -u` prints")
    public_key = _public_key(f"{field}.public_key", table["public_key"]) if "public_key" in table else b""
    if uid is None and not public_key:
        raise ConfigError(field, None, "uid, public_key or both", "say how the person is known")
    return Person(name, _ROLES[role], uid, public_key)


def _public_key(field: str, pem: Any) -> bytes:
    key = None
    if isinstance(pem, str):
        try:
            key = load_pem_public_key(pem.strip().encode())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
    if not isinstance(key, Ed25519PublicKey):
        remedy = "write what `openssl pkey -in KEY -pubout` prints"
        raise ConfigError(field, "(not shown)", "an Ed25519 public key in PEM", remedy)
    return key.public_bytes_raw()


def _require_distinct(what: str, values: list[Any]) -> None:
    if len(set(values)) != len(values):
        raise ConfigError(_FIELD, f"the same {what} twice", f"another {what} for each person", "two names must be two persons")
