"""Who re-arms: one person with a reason, and from level 2 on a second one, who is not the first.

A person is a name with the user the kernel says he connects as. The second proves to be another by another user, or by an
Ed25519 signature of the key that is known under his name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sentinel.errors import ControlError
from sentinel.host.kill_word import KillLevel
from sentinel.host.venues.key_files import read_secret

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_KEY_BYTES = 4096
_MIN_REASON, _MAX_REASON = 4, 400
#: Name -> raw public key, None for a name without one.
KeyOf = Callable[[str], bytes | None]


class Person(NamedTuple):
    """``key``: raw public key whose signature was verified, empty where he is known by his user alone."""

    name: str
    uid: int
    key: bytes = b""


def check_rearm(level: KillLevel, first: Person, second: Person | None, reason: str, key_of: KeyOf) -> None:
    """Raise ControlError where these persons may not re-arm after a kill of ``level``."""
    check_name(first.name)
    if not _MIN_REASON <= len(reason.strip()) <= _MAX_REASON:
        raise ControlError("reason", reason, f"{_MIN_REASON} to {_MAX_REASON} characters", "say why trading may go on")
    if level < KillLevel.CANCEL_ALL:
        return
    if second is None:
        raise ControlError("second person", None, f"another person, after a kill of level {int(level)}", "have him confirm")
    check_name(second.name)
    first_key = first.key or key_of(first.name)
    same = second.name.casefold() == first.name.casefold() or (second.key and second.key == first_key)
    if same or not (second.key or second.uid != first.uid):
        raise ControlError(
            "second person",
            f"{second.name}, user {second.uid}",
            f"another than {first.name}, by another user or a signature",
            "have another person confirm, as another user or by --key",
        )


def check_name(name: str) -> None:
    """Raises ControlError for what is no name."""
    if _NAME.fullmatch(name) is None:
        raise ControlError("name", name, "letters, digits, dot, dash and underscore, at most 64", "give your name so")


def message(nonce: str, level: int, generation: int, first: str, reason: str) -> bytes:
    """What the second person signs."""
    return f"sentinel killswitch rearm 1\n{nonce}\n{level}\n{generation}\n{first}\n{reason}".encode()


def registered_key(keys: Path | None, name: str) -> bytes | None:
    """The raw public key in NAME.pem of ``keys``; None without one that can be read and nobody else may write."""
    if keys is None:
        return None
    try:
        with open(keys / f"{name}.pem", "rb") as file:
            if (os.fstat(file.fileno()).st_mode | keys.stat().st_mode) & 0o022:
                return None
            key = load_pem_public_key(file.read(_MAX_KEY_BYTES))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def verified_key(key_of: KeyOf, name: str, signature: str, text: bytes) -> bytes:
    """The key of ``name`` that made ``signature`` (hex) over ``text``. Raises ControlError."""
    check_name(name)
    key = key_of(name)
    if key is None:
        raise ControlError(
            "name",
            name,
            "one with a key in access.roles, or without a role file in killswitch.persons",
            "have it put there, where its owner alone may write, or confirm as another user",
        )
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        raise ControlError("signature", signature[:16], f"one by the key of {name}", "sign what was shown, by that key") from None
    return key


def sign(key_file: Path, text: bytes) -> str:
    """The signature (hex) of a private key's file, PKCS#8 in PEM. Raises ConfigError, ControlError."""
    try:
        key = load_pem_private_key(read_secret("--key", key_file).encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The reason is left out: a parser's message may quote what it could not parse.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ControlError("--key", str(key_file), "an Ed25519 private key, PKCS#8 in PEM", "make one by openssl genpkey")
    return key.sign(text).hex()
