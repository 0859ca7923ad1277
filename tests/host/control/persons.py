"""Persons with keys, a role file of them, and limits files they sign."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sentinel.host.control.endpoint import Peer
from sentinel.host.control.limits_file import sign_limits
from sentinel.host.control.roles import Person, Persons
from sentinel.units import NS_PER_S
from sentinel.wire import Role

UIDS = {"alice": 61_000, "bob": 61_001, "carol": 61_002, "dave": 61_003, "erin": 61_004}
ROLES = {"alice": Role.RISK, "bob": Role.RISK, "carol": Role.TRADER, "dave": Role.VIEWER, "erin": Role.ADMIN}
KEYS = {name: Ed25519PrivateKey.generate() for name in UIDS}
PERSONS = Persons(tuple(Person(name, ROLES[name], uid, KEYS[name].public_key().public_bytes_raw()) for name, uid in UIDS.items()))
#: What the start of a live run wants stated in its settings.
FIRM = {
    "max_order_notional": '"25000"',
    "max_position_notional": '"25000"',
    "max_gross_notional": '"100000"',
    "max_drawdown_bps": "2000",
    "max_trades_per_minute": "1000",
}


def peer(name: str) -> Peer:
    """A process of that person's user."""
    return Peer(77, UIDS[name])


def roles_text(uids: Mapping[str, int] = UIDS) -> str:
    """A role file of everybody, under other users where ``uids`` says so."""
    parts = []
    for name in UIDS:
        pem = KEYS[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        role = ROLES[name].name.lower()
        parts.append(f'[persons.{name}]\nrole = "{role}"\nuid = {uids.get(name, UIDS[name])}\npublic_key = """\n{pem}"""\n')
    return "\n".join(parts)


def write_roles(directory: Path, uids: Mapping[str, int] = UIDS) -> Path:
    """The role file, as only its owner may write it."""
    path = directory / "roles.toml"
    path.write_text(roles_text(uids))
    path.chmod(0o644)
    return path


def write_key(directory: Path, name: str) -> Path:
    """A person's private key, as only its owner may read it."""
    path = directory / f"{name}.pem"
    path.touch(0o600)
    path.write_bytes(KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def limits_text(
    version: int, now_ns: int, mode: str = "live", days: float = 30.0, more: str = "", **firm: str | int | None
) -> str:
    """A limits file that holds from an hour ago; ``firm`` over FIRM, in TOML, None for none; ``more``: further tables."""
    begin = datetime.datetime.fromtimestamp(now_ns // NS_PER_S - 3_600, datetime.UTC)
    end = begin + datetime.timedelta(hours=1, days=days)
    rows = "\n".join(f"{name} = {value}" for name, value in {**FIRM, **firm}.items() if value is not None)
    return (
        f'version = {version}\nmode = "{mode}"\nvalid_from = {begin:%Y-%m-%dT%H:%M:%SZ}\nexpires = {end:%Y-%m-%dT%H:%M:%SZ}\n\n'
        f"[firm]\n{rows}\n{more}"
    )


def own_limits(symbol: str, **limits: str | int) -> str:
    """The table of a symbol's own limits."""
    return f"\n[symbols.{symbol}]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items())


def restricted_list(issued_ns: int, *symbols: str) -> str:
    """The table of the restricted list, of whole seconds."""
    issued = datetime.datetime.fromtimestamp(issued_ns // NS_PER_S, datetime.UTC)
    return f"\n[restricted]\nissued = {issued:%Y-%m-%dT%H:%M:%SZ}\nsymbols = {list(symbols)}\n"


def signatures(text: str, *names: str) -> dict[str, str]:
    """Those persons' signatures over a limits file."""
    return {name: sign_limits(text.encode(), KEYS[name]) for name in names}
