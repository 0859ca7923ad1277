"""Whether somebody may ask for something, by the role file as it is now."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sentinel.config_access import AccessConfig
from sentinel.errors import ConfigError, ControlError
from sentinel.host.control.endpoint import Peer
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
from sentinel.host.control.roles import Person, Persons, read_roles
from sentinel.wire import AccessRequest, Role

_log = logging.getLogger(__name__)

#: The least role for each request, and its number in the audit trail.
NEEDED: dict[type[Request], tuple[Role, AccessRequest]] = {
    Orders: (Role.VIEWER, AccessRequest.ORDERS),
    Positions: (Role.VIEWER, AccessRequest.POSITIONS),
    LimitsShow: (Role.VIEWER, AccessRequest.LIMITS_SHOW),
    Approvals: (Role.VIEWER, AccessRequest.APPROVALS),
    CancelAll: (Role.TRADER, AccessRequest.CANCEL_ALL),
    Reconcile: (Role.TRADER, AccessRequest.RECONCILE),
    Kill: (Role.TRADER, AccessRequest.KILL),
    Alarm: (Role.TRADER, AccessRequest.ALARM),
    Arm: (Role.RISK, AccessRequest.ARM),
    LimitsApply: (Role.RISK, AccessRequest.LIMITS_APPLY),
    Approve: (Role.RISK, AccessRequest.APPROVE),
}


class Access:
    """The role file, read anew whenever it has changed: who is taken out of it is out at once.

    Args:
        settings: ``[access]``; without a role file the daemon's user and root may do everything.
        owner_uid: the daemon's user; None for the one of this process.
        usable: whether a file that is unusable at the start is refused; else nobody has a role until it is usable.

    With a role file that user and root, who could end the process anyway, may always kill, cancel, raise an alarm and look,
    named in it or not. A file that has become unusable leaves only that. Raises ConfigError for a file that is unusable at
    the start.
    """

    def __init__(self, settings: AccessConfig, owner_uid: int | None = None, usable: bool = True) -> None:
        self._path = Path(settings.roles) if settings.roles else None
        self._owner_uid = os.geteuid() if owner_uid is None else owner_uid
        self._seen: tuple[int, ...] = ()
        self._persons = Persons(())
        if self._path is not None and usable:
            self._persons, self._seen = read_roles(self._path, self._owner_uid), self._look()

    @property
    def has_roles(self) -> bool:
        """Whether there is a role file."""
        return self._path is not None

    def persons(self) -> Persons:
        """Everybody in the role file now; nobody where it cannot be used."""
        if self._path is None:
            return self._persons
        # Looked at first: a change while it is read is seen at the next look.
        looked = self._look()
        if looked != self._seen:
            self._seen = looked
            try:
                self._persons = read_roles(self._path, self._owner_uid)
                _log.warning("role file read anew: %d persons", len(self._persons.everybody))
            except ConfigError as error:
                self._persons = Persons(())
                _log.error("nobody has a role any more: %s", error)
        return self._persons

    def who(self, uid: int) -> Person | None:
        """The person at a connection; None for one who has nothing to ask here."""
        named = self.persons().by_uid(uid)
        if named is not None:
            return named
        if uid in (0, self._owner_uid):
            return Person("", Role.ADMIN if self._path is None else Role.NONE, uid)
        return None

    def admits(self, uid: int) -> bool:
        """Whether a user may connect at all."""
        return self.who(uid) is not None

    def require(self, request: Request, peer: Peer) -> Person:
        """The person who asks. Raises ControlError where the role does not allow the request."""
        needed, number = NEEDED[type(request)]
        return self.require_role(peer.uid, needed, number, _only_stops_or_looks(request))

    def require_role(self, uid: int, needed: Role, number: AccessRequest, stops_or_looks: bool = False) -> Person:
        """The person of ``uid``. Raises ControlError for one without the role; the owner may always stop and look."""
        person = self.who(uid)
        if person is None:
            raise ControlError("user", uid, "a person of the role file", "have the person added to access.roles")
        if person.role >= needed or (uid in (0, self._owner_uid) and stops_or_looks):
            return person
        shown = f"{person.role.name.lower()} of {person.name or f'user {uid}'}"
        asked = number.name.lower().replace("_", "-")
        remedy = "ask somebody who has it, or have the role changed in access.roles"
        raise ControlError("role", shown, f"{needed.name.lower()} or above for {asked}", remedy)

    def _look(self) -> tuple[int, ...]:
        assert self._path is not None
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode, found.st_uid


def _only_stops_or_looks(request: Request) -> bool:
    return isinstance(request, (Kill, CancelAll, Alarm)) or NEEDED[type(request)][0] == Role.VIEWER
