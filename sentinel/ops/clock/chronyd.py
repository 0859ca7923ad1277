"""What chronyd says of the clock: its tracking report, asked over the command port.

A request and a reply of chrony's own protocol, version 6 (chrony's candm.h, "tracking"): UDP on the loopback interface, which
chronyd answers without a password, to any user of the machine. A reply counts only from the address that was asked and with
the number of the request.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from typing import NamedTuple

from sentinel.errors import ClockError

VERSION = 6
REQUEST, REPLY = 1, 2
TRACKING_REQUEST, TRACKING_REPLY = 33, 5
SUCCESS = 0
LEAP_NOT_SYNCHRONISED = 3

#: version, type, 2 unused, command, attempt, number, 2 unused words.
REQUEST_HEAD = struct.Struct(">BBxxHHIxxxxxxxx")
#: version, type, 2 unused, command, reply, status, 3 unused halves, number, 2 unused words.
REPLY_HEAD = struct.Struct(">BBxxHHHxxxxxxIxxxxxxxx")
#: reference id, its address, stratum, leap status, reference time (seconds high, low, nanoseconds), then nine of chrony's
#: floats: correction, last offset, RMS offset, three frequencies, root delay, root dispersion, update interval.
TRACKING = struct.Struct(">I20sHH3I9I")
_REPLY_BYTES = REPLY_HEAD.size + TRACKING.size
_EXPONENT_BITS, _COEFFICIENT_BITS = 7, 25


class Tracking(NamedTuple):
    """chronyd's view of the system clock; seconds. ``correction_s`` is what is still to be slewed."""

    stratum: int
    leap_status: int
    correction_s: float
    root_delay_s: float
    root_dispersion_s: float

    @property
    def bound_s(self) -> float | None:
        """The largest error the clock can have, None where chronyd has no source it trusts."""
        if self.leap_status == LEAP_NOT_SYNCHRONISED or self.stratum == 0:
            return None
        bound = abs(self.correction_s) + self.root_dispersion_s + self.root_delay_s / 2
        return bound if math.isfinite(bound) and bound >= 0 else None


def from_float(word: int) -> float:
    """chrony's 32-bit float: a signed exponent of 7 bits over a signed coefficient of 25."""
    exponent = _signed(word >> _COEFFICIENT_BITS, _EXPONENT_BITS)
    return math.ldexp(_signed(word & ((1 << _COEFFICIENT_BITS) - 1), _COEFFICIENT_BITS), exponent - _COEFFICIENT_BITS)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def ask_tracking(address: tuple[str, int], timeout_s: float) -> Tracking:
    """Ask chronyd at ``address``. Raises ClockError where nothing of the kind answers in time."""
    number = int.from_bytes(os.urandom(4), "big")
    # As long as the reply: chronyd answers no request that is shorter.
    request = REQUEST_HEAD.pack(VERSION, REQUEST, TRACKING_REQUEST, 0, number).ljust(_REPLY_BYTES, b"\0")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
            client.settimeout(timeout_s)
            client.connect(address)
            client.send(request)
            reply = client.recv(_REPLY_BYTES + 1)
    except OSError as error:
        raise ClockError(
            "clock.chronyd", f"{address[0]}:{address[1]}", "an address chronyd answers at", f"start it, or correct it ({error})"
        ) from None
    return decode_tracking(reply, number)


def decode_tracking(reply: bytes, number: int) -> Tracking:
    """The report in ``reply``. Raises ClockError for anything but the answer to request ``number``."""
    if len(reply) != _REPLY_BYTES:
        raise _refused(f"{len(reply)} bytes")
    version, kind, command, said, status, answered = REPLY_HEAD.unpack_from(reply)
    if (version, kind, command, said, status, answered) != (
        VERSION,
        REPLY,
        TRACKING_REQUEST,
        TRACKING_REPLY,
        SUCCESS,
        number,
    ):
        raise _refused(f"version {version}, command {command}, reply {said}, status {status}")
    _, _, stratum, leap, _, _, _, correction, _, _, _, _, _, delay, dispersion, _ = TRACKING.unpack_from(reply, REPLY_HEAD.size)
    return Tracking(stratum, leap, from_float(correction), from_float(delay), from_float(dispersion))


def _refused(found: str) -> ClockError:
    return ClockError("chronyd's answer", found, "a tracking report of protocol version 6", "use chrony 3 or 4")
