"""The venue's request limits: tokens that come back with time, and 429 without one."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.sim.coinbase.refusal import Refusal
from sentinel.units import NS_PER_S


@dataclass(frozen=True)
class LimitConfig:
    """Requests a second and bursts, as published."""

    public_per_s: int = 10
    public_burst: int = 15
    private_per_s: int = 15
    private_burst: int = 30
    fills_per_s: int = 10
    fills_burst: int = 20


class Limits:
    """Counts by address for public, by account for private requests."""

    def __init__(self, config: LimitConfig) -> None:
        self._config = config
        self._levels: dict[tuple[str, str], tuple[int, int]] = {}

    def public(self, ip: str, now_ns: int) -> None:
        """Raises Refusal, 429."""
        self._take("public", ip, self._config.public_per_s, self._config.public_burst, now_ns)

    def private(self, account: str, now_ns: int, fills: bool) -> None:
        """Raises Refusal, 429."""
        config = self._config
        if fills:
            self._take("fills", account, config.fills_per_s, config.fills_burst, now_ns)
        else:
            self._take("private", account, config.private_per_s, config.private_burst, now_ns)

    def _take(self, kind: str, who: str, per_s: int, burst: int, now_ns: int) -> None:
        full = burst * NS_PER_S
        level, at_ns = self._levels.get((kind, who), (full, now_ns))
        level = min(full, level + (now_ns - at_ns) * per_s)
        if level < NS_PER_S:
            self._levels[kind, who] = level, now_ns
            raise Refusal(429, f"{kind.capitalize()} rate limit exceeded")
        self._levels[kind, who] = level - NS_PER_S, now_ns
