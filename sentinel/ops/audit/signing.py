"""Ed25519 over a root: the digest of a segment's last record, with where it stands."""

from __future__ import annotations

import struct
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sentinel.errors import AuditError

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
_MAKE = "make one by `openssl genpkey -algorithm ed25519`"


def signed_message(segment: int, first_index: int, count: int, root: bytes) -> bytes:
    """What is signed: the first ``count`` records of a segment, which lead to ``root``."""
    return b"sentinel audit root 1\0" + struct.pack("<QQQ", segment, first_index, count) + root


class RootSigner:
    """Holds the private key; neither shown nor logged. ``public_key`` is its raw 32 bytes."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def from_file(cls, path: str | Path) -> RootSigner:
        """Raises AuditError for a file that others may read, or that holds no such key."""
        path, field, allowed = Path(path), "audit.signing_key_file", "an Ed25519 private key, PKCS#8 in PEM, not encrypted"
        try:
            if path.stat().st_mode & 0o077:
                raise AuditError(field, str(path), "a file of its owner alone", f"run chmod 600 {path}")
            key = load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise AuditError(field, str(path), "a readable file", f"correct the path ({error.strerror})") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The reason is left out: a parser's message may quote what it could not parse.
            raise AuditError(field, str(path), allowed, _MAKE) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditError(field, str(path), allowed, _MAKE)
        return cls(key)

    def sign(self, segment: int, first_index: int, count: int, root: bytes) -> bytes:
        return self._key.sign(signed_message(segment, first_index, count, root))


def load_public_key(path: Path) -> bytes:
    """The raw 32 bytes of a public key in PEM. Raises AuditError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise AuditError("--public-key", str(path), "a readable file", f"correct the path ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(
            "--public-key", str(path), "an Ed25519 public key in PEM", "make it by `openssl pkey -in KEY -pubout -out FILE`"
        )
    return key.public_bytes_raw()


def is_signed_by(public_key: bytes, signature: bytes, segment: int, first_index: int, count: int, root: bytes) -> bool:
    """Whether ``signature`` is this key's over that root."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_message(segment, first_index, count, root))
    except (InvalidSignature, ValueError):
        return False
    return True
