"""One process of a machine sends orders for an account, whichever store it uses.

Two with stores of their own would each take the other's orders for somebody else's, and the account's limits would hold for
neither. A store's lock does not show that, so the account itself is claimed: an abstract Unix socket is bound whose name follows
from venue and key. The kernel frees it with the process, however that ends. Another machine, container or key of the account is
not seen here: its orders are, as somebody else's, and halt their symbol.
"""

from __future__ import annotations

import hashlib
import socket
from urllib.parse import urlsplit

from sentinel.config import VenueConfig
from sentinel.config_venue import is_loopback
from sentinel.errors import JournalError


class AccountClaim:
    """Held until ``release``."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound

    @classmethod
    def take(cls, venue: VenueConfig, api_key: str) -> AccountClaim:
        """Raises JournalError where a process of this machine holds it."""
        parts = urlsplit(venue.rest_url)
        # Every simulated exchange on loopback is a venue of its own; a real one has many addresses.
        where = parts.netloc if is_loopback(parts.hostname or "") else ""
        name = hashlib.sha256("\n".join((venue.name, where, api_key)).encode()).hexdigest()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            bound.bind(f"\0sentinel-account-{name}")
        except OSError:
            bound.close()
            raise JournalError(
                "account",
                f"{venue.name}, the key of {venue.api_key_env}",
                "an account no other process of this machine sends orders for",
                "stop the daemon or the route that uses this key: limits would hold for neither",
            ) from None
        return cls(bound)

    def release(self) -> None:
        """Idempotent."""
        self._bound.close()
