"""The socket itself: where it is, who may reach it, who is at its other end.

The kernel says who connects (SO_PEERCRED, unix(7)): the user the daemon runs as, and root, are let in, nobody else.
A path of any length works: the directory is opened first, and the socket is named through /proc/self/fd.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ControlError

SOCKET_NAME = "control.sock"
_MODE = 0o600
_MODE_EVERYBODY = 0o666
_BACKLOG = 8
_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end of a Unix-domain connection."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)


def listen(directory: Path, everybody: bool = False) -> socket.socket:
    """A socket that waits for connections, not blocking, mode 0600, or 0666 for ``everybody``, whom the caller must then tell
    apart by ``peer_of``. The caller holds the store's lock.

    What a dead daemon left is replaced. Raises ControlError for a directory others may write to, or that holds
    something else under the socket's name.
    """
    check_directory(directory)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with _named(directory) as path:
            _remove_stale(path)
            # Before bind: the file never exists with more rights.
            os.fchmod(listener.fileno(), _MODE)
            listener.bind(path)
            if everybody:
                os.chmod(path, _MODE_EVERYBODY)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ControlError(
            "control socket", str(directory / SOCKET_NAME), "a socket that can be made", f"check {error}"
        ) from None
    except BaseException:
        listener.close()
        raise
    return listener


def remove(directory: Path) -> None:
    """Take the socket's file away."""
    with contextlib.suppress(OSError):
        (directory / SOCKET_NAME).unlink()


def connect(directory: Path, timeout_s: float, trusted_uid: int | None = None) -> socket.socket:
    """A connection to the daemon that owns the store. Raises ControlError where there is none, or not a trusted one.

    ``trusted_uid``: whose daemon it may be besides this user's and root's.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(timeout_s)
    try:
        check_directory(directory, trusted_uid)
        with _named(directory) as path:
            connection.connect(path)
        server = peer_of(connection)
    except OSError as error:
        connection.close()
        raise ControlError(
            "store.directory",
            str(directory),
            "the store of a running daemon of this user",
            f"start it with sentinel run, or name its settings with --config ({error.strerror or error})",
        ) from None
    except BaseException:
        connection.close()
        raise
    if os.geteuid() not in (0, server.uid) and server.uid not in (0, trusted_uid):
        connection.close()
        raise ControlError("control socket", f"held by user {server.uid}", "a daemon of this user", "check who runs it")
    return connection


def check_directory(directory: Path, trusted_uid: int | None = None) -> None:
    """Raises ControlError for a directory in which somebody else could put a socket of his own; OSError where it is missing."""
    found = directory.stat()
    if os.geteuid() != 0 and found.st_uid not in (0, os.geteuid(), trusted_uid):
        raise ControlError("store.directory", f"of user {found.st_uid}", "a directory of this user", "run as its owner")
    if found.st_mode & stat.S_IWOTH:
        raise ControlError(
            "store.directory",
            f"{directory} mode {stat.S_IMODE(found.st_mode):o}",
            "a directory that only its owner and group may write to",
            f"chmod o-w {directory}, then start the daemon again",
        )


@contextlib.contextmanager
def _named(directory: Path) -> Iterator[str]:
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}/{SOCKET_NAME}"
    finally:
        os.close(opened)


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError("control socket", SOCKET_NAME, "no other file of that name", "move it out of the store's directory")
    os.unlink(path)
