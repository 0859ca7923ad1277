"""Who may ask the kill process for what, by the role file of the control socket, and under which name somebody re-arms."""

from __future__ import annotations

from pathlib import Path

from sentinel.config_access import AccessConfig
from sentinel.errors import ControlError
from sentinel.host.control.access import Access
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.roles import Person as Known
from sentinel.ops.killswitch.persons import Person, registered_key
from sentinel.ops.killswitch.protocol import Confirm, KillRequest, KillTo, Rearm
from sentinel.wire import AccessRequest, Role


class Authority:
    """Asked before each request.

    Args:
        settings: ``[access]``. With a role file a person is who it says, and nobody else; one that cannot be used lets nobody
            re-arm and everybody stop who may end the process anyway. Without one a person is the name he gives.
        keys: directory of NAME.pem, for confirmations without a role file.
    """

    def __init__(self, settings: AccessConfig, keys: Path | None) -> None:
        # A kill process starts with whatever role file there is.
        self._access = Access(settings, usable=False)
        self._keys = keys

    @property
    def has_roles(self) -> bool:
        return self._access.has_roles

    def admits(self, uid: int) -> bool:
        """Whether a user may connect at all."""
        return self._access.admits(uid)

    def who(self, request: KillRequest, uid: int) -> Known:
        """Whom a record of ``request`` names, whether he may or not."""
        name = request.name if isinstance(request, Rearm | Confirm) else ""
        if isinstance(request, Confirm) and request.signature:
            known = self._access.persons().by_name(name)
        else:
            known = self._access.who(uid)
        if self.has_roles:
            return known or Known("", Role.NONE)
        return Known(name, Role.NONE)

    def require(self, request: KillRequest, peer: Peer) -> None:
        """Raises ControlError where whoever is at the other end may not ask for it, or not under that name."""
        if isinstance(request, Confirm):
            if self.has_roles:
                self._require_confirming(request, peer.uid)
        elif isinstance(request, Rearm):
            if self.has_roles:
                _require_name(request.name, self._access.require_role(peer.uid, Role.RISK, AccessRequest.REARM), peer.uid)
        elif isinstance(request, KillTo):
            self._access.require_role(peer.uid, Role.TRADER, AccessRequest.KILL, stops_or_looks=True)
        else:
            self._access.require_role(peer.uid, Role.VIEWER, AccessRequest.POSITIONS, stops_or_looks=True)

    def require_still(self, first: Person | None) -> None:
        """Raises ControlError for a first person who has lost his role since he asked."""
        if first is None or not self.has_roles:
            return
        found = self._access.persons().by_name(first.name)
        if found is None or found.uid != first.uid or found.role < Role.RISK:
            shown = f"{first.name}, user {first.uid}"
            raise ControlError("first person", shown, "one with the role risk or above, still", "have another person ask anew")

    def key_of(self, name: str) -> bytes | None:
        """The public key by which ``name`` confirms; None without one."""
        if not self.has_roles:
            return registered_key(self._keys, name)
        found = self._access.persons().by_name(name)
        return found.public_key or None if found is not None and found.role >= Role.RISK else None

    def _require_confirming(self, request: Confirm, uid: int) -> None:
        if not request.signature:
            _require_name(request.name, self._access.require_role(uid, Role.RISK, AccessRequest.REARM_CONFIRM), uid)
            return
        # Who has signed is who confirms, at whichever terminal.
        signer = self._access.persons().by_name(request.name)
        if signer is None:
            remedy = "have the person added to access.roles"
            raise ControlError("name", request.name, "a person of the role file", remedy)
        if signer.role < Role.RISK:
            shown = f"{signer.role.name.lower()} of {signer.name}"
            raise ControlError("role", shown, "risk or above for rearm-confirm", "have a person with that role confirm")


def _require_name(given: str, person: Known, uid: int) -> None:
    if given != person.name:
        raise ControlError("name", given, f"{person.name}, who user {uid} is in the role file", "give your own name")
