"""What the kernel says of the clock: adjtimex(2), read only."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

from sentinel.errors import ClockError

#: Return value of adjtimex, and bit of ``status``: nobody disciplines the clock.
TIME_ERROR, STA_UNSYNC = 5, 0x40


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>; the rest of its 208 bytes is not read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 160),
    )


class KernelClock(NamedTuple):
    """``maxerror_us`` grows by 500 us each second in which nobody corrects it; ``esterror_us`` is what the last one estimated."""

    synchronised: bool
    maxerror_us: int
    esterror_us: int


_libc = ctypes.CDLL(None, use_errno=True)


def read_kernel_clock() -> KernelClock:
    """Raises ClockError where the kernel refuses, as some sandboxes do."""
    timex = _Timex(modes=0)
    state = _libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        raise ClockError("adjtimex", os.strerror(ctypes.get_errno()), "a kernel that answers", "allow the call in the sandbox")
    return KernelClock(state != TIME_ERROR and not timex.status & STA_UNSYNC, timex.maxerror, timex.esterror)
