"""The kill switch and the watchdog as integer models, one call a cycle. The specification is docs/cores/kill_switch.md.

Times are ticks of 4 ns and wrap at 2^64, causes are bits of the register TRIP_CAUSES.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag

ARM_KEY_1, ARM_KEY_2 = 0x5E47A12D, 0xC3B196E8
ARM_MIN_TICKS, ARM_MAX_TICKS = 250_000, 2_500_000_000
WRONG_KEYS = 3
_TAPS = 0xA3000000
_WORD, _TIME = (1 << 32) - 1, (1 << 64) - 1


class OwnCause(IntFlag):
    """The causes that the switch finds by itself."""

    POWER_ON = 1 << 0
    WRONG_KEY = 1 << 17
    CLOCK = 1 << 20


class Arming(Enum):
    """How far arming is; the values are those of STATUS."""

    IDLE = 0
    HALF = 1
    LOCKED = 2


def galois_step(state: int) -> int:
    """The next state of the 32-bit Galois register, shifted right."""
    return state >> 1 ^ (_TAPS if state & 1 else 0)


@dataclass
class KillSwitchModel:
    """The switch after reset. ``standing`` and ``closed`` ask about the cycle under way, ``step`` ends it."""

    tripped: bool = True
    arming: Arming = Arming.IDLE
    arm_epoch: int = 1
    sticky: int = int(OwnCause.POWER_ON)
    first_cause: int = int(OwnCause.POWER_ON)
    first_time: int = 0
    nonce: int = 0x1D872B41
    armed_pulse: bool = False
    trip_pulse: bool = False
    _free: int = 0x1D872B41
    _wrong: int = 0
    _half_since: int = 0
    _waited: int = 0
    _last_now: int = 0
    _went_back: bool = False

    def standing(self, causes: int, key: int | None) -> int:
        """The causes of this cycle. ``key``: what is written to ARM_KEY in it."""
        own = OwnCause.CLOCK if self._went_back else OwnCause(0)
        if key is not None and not self.tripped:
            own |= OwnCause.WRONG_KEY
        return causes | int(own)

    def closed(self, causes: int, key: int | None) -> bool:
        """Whether nothing may pass in this cycle."""
        return self.tripped or self.standing(causes, key) != 0

    def step(self, now: int, causes: int, key: int | None) -> None:
        """The clock edge that ends a cycle with these inputs."""
        standing = self.standing(causes, key)
        self.armed_pulse = self.trip_pulse = False
        waited = self._waited
        self._waited = now - self._half_since & _TIME
        self._went_back, self._last_now = now < self._last_now, now
        if standing:
            self._stand(standing, now, key)
        elif key is not None and self.arming is not Arming.LOCKED:
            self._take_key(key, now, waited)
        self._free = galois_step(self._free)

    def _stand(self, standing: int, now: int, key: int | None) -> None:
        half = self.arming is Arming.HALF
        if half:
            self.arming = Arming.IDLE
        if half or not self.tripped or (key is not None and self.arming is not Arming.LOCKED):
            self._renew()
        if self.tripped:
            self.sticky |= standing
            return
        self.tripped = self.trip_pulse = True
        self.sticky = self.first_cause = standing
        self.first_time = now
        self.arm_epoch = 1 if self.arm_epoch >= _WORD - 1 else self.arm_epoch + 1

    def _take_key(self, key: int, now: int, waited: int) -> None:
        if self.arming is Arming.IDLE and key == self.nonce ^ ARM_KEY_1:
            self.arming, self._half_since, self._waited = Arming.HALF, now, 0
            return
        second = self.arming is Arming.HALF and key == self.nonce ^ ARM_KEY_2 ^ _WORD
        self.arming = Arming.IDLE
        self._renew()
        if not second:
            self._wrong += 1
            self.sticky |= OwnCause.WRONG_KEY
            if self._wrong >= WRONG_KEYS:
                self.arming = Arming.LOCKED
        elif ARM_MIN_TICKS <= waited <= ARM_MAX_TICKS:
            self.tripped, self.armed_pulse = False, True
            self.sticky = self._wrong = 0

    def _renew(self) -> None:
        self.nonce = self._free & _WORD >> 1


@dataclass
class WatchdogModel:
    """The watchdog after reset; ``cause`` and ``challenge`` are those of the cycle under way, ``step`` ends it."""

    cause: bool = True
    challenge: int = 0x6C0FFEE5
    challenge_new: bool = False
    _free: int = 0x6C0FFEE5
    _running: bool = False
    _waiting: bool = False
    _issued: int = 0
    _age: int = 0

    def step(self, now: int, answer: int | None, period: int, earliest: int, latest: int) -> None:
        """The clock edge that ends a cycle. ``answer``: what is written to WATCHDOG_ANSWER in it."""
        age, self._age = self._age, now - self._issued & _TIME
        self.challenge_new = False
        if period == 0:
            self._running = self._waiting = False
            self.cause = True
        elif not self._running or age >= period:
            if self._waiting or answer is not None:
                self.cause = True
            self._running = self._waiting = self.challenge_new = True
            self._issued, self._age, self.challenge = now, 0, self._free
        elif answer is not None:
            right = self._waiting and answer == galois_step(self.challenge) and earliest <= age <= latest
            self.cause, self._waiting = not right, False
        elif self._waiting and age > latest:
            self.cause, self._waiting = True, False
        self._free = galois_step(self._free)
