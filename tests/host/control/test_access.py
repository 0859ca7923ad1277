"""Who may ask for what, with the engine's journal as witness."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.config_access import AccessConfig
from sentinel.errors import ConfigError, ControlError, VenueError
from sentinel.host.control.access import NEEDED, Access
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.gatekeeper import Gatekeeper
from sentinel.host.control.protocol import (
    Alarm,
    Approvals,
    Approve,
    Arm,
    CancelAll,
    Kill,
    LimitsApply,
    LimitsShow,
    Orders,
    Positions,
    Reconcile,
    Request,
)
from sentinel.wire import ACCESS, AccessRequest, AccessResult, Kind, Role
from tests.host.control.persons import ROLES, UIDS, peer, roles_text, write_roles
from tests.host.venues.offline_session import ManualClock

OWNER = Peer(5, 61_999)
EVERYTHING: list[Request] = [
    Orders(),
    Positions(),
    LimitsShow(),
    Approvals(),
    CancelAll(),
    Reconcile(),
    Kill(),
    Alarm(1, 1),
    Arm(),
    LimitsApply("version = 1", {}),
    Approve(7),
]


class Kept:
    """ACCESS records as dicts."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def note(self, records: NDArray[Any]) -> None:
        row = records.view(ACCESS)[0, 0]
        self.rows.append({name: row[name] for name in ACCESS.names or ()} | {"person": row["person"].tobytes().rstrip(b"\0")})


class Desk:
    """A gatekeeper whose requests always succeed, unless ``fails``."""

    def __init__(self, access: Access) -> None:
        self.kept, self.fails = Kept(), False
        self.asked: list[Request] = []
        self.gatekeeper = Gatekeeper(self._answer, access, self.kept, ManualClock())

    async def _answer(self, request: Request, who: Peer) -> dict[str, Any]:
        self.asked.append(request)
        if self.fails:
            raise VenueError("account", None, "an answer", "wait")
        return {}

    def ask(self, request: Request, who: Peer) -> None:
        asyncio.run(self.gatekeeper.answer(request, who))

    def results(self) -> list[AccessResult]:
        return [AccessResult(int(row["result"])) for row in self.kept.rows]


def _access(directory: Path) -> Access:
    path = write_roles(directory)
    if os.geteuid() == 0:
        os.chown(path, OWNER.uid, 0)
        return Access(AccessConfig(roles=str(path)), OWNER.uid)
    return Access(AccessConfig(roles=str(path)))


@pytest.mark.parametrize("request_", EVERYTHING, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("name", UIDS)
def test_a_command_above_the_role_is_refused_and_recorded_and_any_other_done_and_recorded(
    tmp_path: Path, request_: Request, name: str
) -> None:
    desk = Desk(_access(tmp_path))
    needed, number = NEEDED[type(request_)]
    if ROLES[name] >= needed:
        desk.ask(request_, peer(name))
        assert (desk.asked, desk.results()) == ([request_], [AccessResult.GRANTED])
    else:
        with pytest.raises(ControlError) as caught:
            desk.ask(request_, peer(name))
        assert (caught.value.field, desk.asked, desk.results()) == ("role", [], [AccessResult.DENIED])
        assert name in str(caught.value)
    (row,) = desk.kept.rows
    assert (row["kind"], row["request"], row["role"]) == (Kind.ACCESS, number, ROLES[name])
    assert (row["uid"], row["pid"], row["person"]) == (UIDS[name], 77, name.encode())


def test_every_request_needs_some_role_and_the_table_is_complete() -> None:
    assert set(NEEDED) == {type(request) for request in EVERYTHING} == set(Request.__args__)
    assert min(needed for needed, _ in NEEDED.values()) == Role.VIEWER
    assert len({number for _, number in NEEDED.values()}) == len(NEEDED)


def test_what_fails_after_it_was_granted_is_recorded_as_failed() -> None:
    desk = Desk(Access(AccessConfig()))
    desk.fails = True
    with pytest.raises(VenueError):
        desk.ask(Reconcile(), Peer(1, os.geteuid()))
    assert desk.results() == [AccessResult.GRANTED, AccessResult.FAILED]


def test_the_record_says_what_it_was_about() -> None:
    desk = Desk(Access(AccessConfig()))
    for request in (Approve(12_345), LimitsApply("version = 1", {}), Kill()):
        desk.ask(request, Peer(1, os.geteuid()))
    subjects = [int(row["subject"]) for row in desk.kept.rows]
    assert subjects[0] == 12_345
    assert subjects[1] not in (0, 12_345)
    assert subjects[2] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the daemon's user and root are one otherwise")
@pytest.mark.parametrize("who", [OWNER, Peer(1, 0)], ids=["the daemon's user", "root"])
def test_who_could_end_the_process_may_stop_and_look_without_a_role_and_nothing_else(tmp_path: Path, who: Peer) -> None:
    desk = Desk(_access(tmp_path))
    stops_or_looks: list[Request] = [Kill(), CancelAll(), Orders(), LimitsShow()]
    others: list[Request] = [Arm(), Approve(1), Reconcile(), LimitsApply("", {})]
    for request in stops_or_looks:
        desk.ask(request, who)
    for request in others:
        with pytest.raises(ControlError, match="role"):
            desk.ask(request, who)


def test_without_a_role_file_the_daemons_user_and_root_do_everything_and_nobody_else_anything() -> None:
    access = Access(AccessConfig(), 61_999)
    for uid in (0, 61_999):
        for request in EVERYTHING:
            assert access.require(request, Peer(1, uid)).role == Role.ADMIN
    assert not access.admits(61_000)
    with pytest.raises(ControlError, match="user"):
        access.require(Orders(), peer("alice"))


def test_who_is_taken_out_of_the_file_is_out_at_once_and_a_damaged_file_leaves_nobody(tmp_path: Path) -> None:
    desk = Desk(access := _access(tmp_path))
    path = tmp_path / "roles.toml"
    desk.ask(Arm(), peer("alice"))
    path.write_text(roles_text().replace('[persons.alice]\nrole = "risk"', '[persons.alice]\nrole = "viewer"'))
    with pytest.raises(ControlError, match="viewer of alice"):
        desk.ask(Arm(), peer("alice"))
    path.write_text("[persons.alice")
    assert not access.admits(UIDS["bob"])
    desk.ask(Kill(), Peer(1, os.geteuid()))
    with pytest.raises(ControlError):
        desk.ask(Arm(), peer("bob"))
    path.write_text(roles_text())
    desk.ask(Arm(), peer("bob"))
    path.chmod(0o666)
    with pytest.raises(ControlError):
        desk.ask(Arm(), peer("bob"))
    path.unlink()
    assert not access.admits(UIDS["bob"])


def test_a_file_that_is_damaged_at_the_start_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "roles.toml").write_text("persons = 7")
    with pytest.raises(ConfigError):
        Access(AccessConfig(roles=str(tmp_path / "roles.toml")))


def test_a_stranger_is_recorded_without_a_name() -> None:
    desk = Desk(Access(AccessConfig(), 61_999))
    asyncio.run(desk.gatekeeper.turned_away(Peer(9, 4_242)))
    (row,) = desk.kept.rows
    assert (row["request"], row["result"], row["uid"], row["role"]) == (AccessRequest.CONNECT, AccessResult.DENIED, 4_242, 0)
    assert row["person"] == b""
    assert row["seq"] == np.uint64(1)


def test_who_only_looks_waits_a_moment_and_who_stops_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    desk = Desk(Access(AccessConfig(roles=str(write_roles(tmp_path)))))
    for request, waits in ((Kill(), 0), (CancelAll(), 0), (Orders(), 1), (Positions(), 2)):
        asyncio.run(desk.gatekeeper.answer(request, peer("alice")))
        assert len(waited) == waits
