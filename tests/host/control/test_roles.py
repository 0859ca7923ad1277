"""The role file: who is in it, and every reason not to believe it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ConfigError
from sentinel.host.control.roles import parse_roles, read_roles
from sentinel.wire import Role
from tests.host.control.persons import KEYS, PERSONS, UIDS, roles_text, write_roles

PEM = tomllib.loads(roles_text())["persons"]["alice"]["public_key"]
RSA = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----"


def test_persons_are_read_with_user_key_and_role(tmp_path: Path) -> None:
    persons = read_roles(write_roles(tmp_path), os.geteuid())
    assert persons == PERSONS
    alice = persons.by_uid(UIDS["alice"])
    assert alice is not None
    assert (alice.name, alice.role, alice.public_key) == ("alice", Role.RISK, KEYS["alice"].public_key().public_bytes_raw())
    assert persons.by_uid(1) is None
    assert persons.by_name("nobody") is None


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "access.roles"),
        ({"persons": {}}, "access.roles"),
        ({"persons": [1]}, "access.roles"),
        ({"person": {"alice": {"role": "risk", "uid": 1}}}, "access.roles"),
        ({"persons": {"Alice": {"role": "risk", "uid": 1}}}, "persons.Alice"),
        ({"persons": {"a" * 25: {"role": "risk", "uid": 1}}}, "persons." + "a" * 25),
        ({"persons": {"alice": 7}}, "persons.alice"),
        ({"persons": {"alice": {"role": "risk"}}}, "persons.alice"),
        ({"persons": {"alice": {"role": "none", "uid": 1}}}, "persons.alice.role"),
        ({"persons": {"alice": {"role": 3, "uid": 1}}}, "persons.alice.role"),
        ({"persons": {"alice": {"uid": 1}}}, "persons.alice.role"),
        ({"persons": {"alice": {"role": "risk", "uid": True}}}, "persons.alice.uid"),
        ({"persons": {"alice": {"role": "risk", "uid": -1}}}, "persons.alice.uid"),
        ({"persons": {"alice": {"role": "risk", "uid": 2**32 - 1}}}, "persons.alice.uid"),
        ({"persons": {"alice": {"role": "risk", "uid": 1, "rank": 1}}}, "persons.alice.rank"),
        ({"persons": {"alice": {"role": "risk", "public_key": "x"}}}, "persons.alice.public_key"),
        ({"persons": {"alice": {"role": "risk", "public_key": RSA}}}, "persons.alice.public_key"),
        ({"persons": {"alice": {"role": "risk", "public_key": 7}}}, "persons.alice.public_key"),
        ({"persons": {"a": {"role": "risk", "uid": 1}, "b": {"role": "risk", "uid": 1}}}, "access.roles"),
        ({"persons": {"a": {"role": "risk", "public_key": PEM}, "b": {"role": "risk", "public_key": PEM}}}, "access.roles"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(data: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_roles(data)
    assert caught.value.field == field


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o622])
def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    path = write_roles(tmp_path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod go-w"):
        read_roles(path, os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_somebody_else_is_not_believed_and_one_of_root_is(tmp_path: Path) -> None:
    path = write_roles(tmp_path)
    assert read_roles(path, 61_999) == PERSONS
    os.chown(path, 61_000, 0)
    assert read_roles(path, 61_000) == PERSONS
    with pytest.raises(ConfigError, match="of user 61000"):
        read_roles(path, 61_999)


def test_what_is_no_file_no_text_or_too_long_is_a_typed_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"#" * (64 << 10) + b"\n")
    (tmp_path / "deep").write_bytes(b"a=" + b"[" * 20_000)
    for name in ("pipe", "bytes", "long", "deep", "missing", "."):
        with pytest.raises(ConfigError) as caught:
            read_roles(tmp_path / name, os.geteuid())
        assert caught.value.field == "access.roles"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda part: st.dictionaries(st.text(), part)))
def test_no_tree_is_more_than_refused(tree: Any) -> None:
    with pytest.raises(ConfigError):
        parse_roles(tree if isinstance(tree, dict) else {"persons": tree})


@pytest.mark.parametrize(("mode", "believed"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)])
def test_a_file_that_others_can_exchange_for_another_is_not_believed(tmp_path: Path, mode: int, believed: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write_roles(folder)
    folder.chmod(mode)
    if believed:
        assert read_roles(path, os.geteuid()) == PERSONS
        return
    with pytest.raises(ConfigError, match="directory"):
        read_roles(path, os.geteuid())
