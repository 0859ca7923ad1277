"""What befalls one seed: which faults are switched on and how often they strike, outages, deaths, kills, cancels, a full disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from sentinel.config import Config, parse_config
from sentinel.research.campaign.market import BUSY_S, CALM_S, INSTRUMENTS
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import NS_PER_MS, NS_PER_S

SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
#: Where a process may die; see Daemon and Gateway.
BOUNDARIES = ("stepped", "journaled", "sent", "recovering", "reconciled")
OUTAGES: dict[str, tuple[str, ...]] = {
    "outage_rest": ("rest",),
    "outage_api": ("api",),
    "outage_streams": ("streams",),
    "maintenance": ("rest", "api", "streams"),
}
#: What can be switched on besides the venue's own faults.
OTHER_FAULTS = (
    *OUTAGES,
    "key_refused",
    "self_trade",
    "foreign_order",
    "balance_moved",
    "shutdown",
    "burst",
    "price_jump",
    "death",
    "operator_kill",
    "disk_full",
    "operator_cancel_all",
)
ALL_FAULTS = (*(str(kind) for kind in FaultKind), *OTHER_FAULTS)

#: Largest chance that one request, message or event is struck.
_RATES: dict[FaultKind, float] = {
    FaultKind.DROP_REQUEST: 0.12,
    FaultKind.DROP_RESPONSE: 0.12,
    FaultKind.DELAY_RESPONSE: 0.10,
    FaultKind.DUPLICATE_RESPONSE: 0.15,
    FaultKind.ERROR_AFTER_ACCEPT: 0.10,
    FaultKind.RESET_AFTER_ACCEPT: 0.03,
    FaultKind.UNKNOWN_ERROR: 0.05,
    FaultKind.RATE_LIMIT: 0.02,
    FaultKind.BAN: 0.01,
    FaultKind.CLOCK_SKEW: 0.05,
    FaultKind.DROP_MESSAGE: 0.03,
    FaultKind.DUPLICATE_MESSAGE: 0.03,
    FaultKind.MALFORMED_MESSAGE: 0.02,
    FaultKind.REORDER_MESSAGE: 0.03,
    FaultKind.STALL: 0.001,
    FaultKind.CLOSE_MID_FRAME: 0.004,
    FaultKind.DELAY_EVENT: 0.40,
    FaultKind.DUPLICATE_EVENT: 0.25,
    FaultKind.REORDER_EVENT: 0.20,
    FaultKind.CROSSED_QUOTE: 0.10,
    FaultKind.FUTURE_TIME: 0.20,
}
_ON = 0.35
_MAX_DEATHS = 3
_PATIENT = 0.7
_RESTING = 0.5
_REST_MS = (100, 3000)
_MAX_CANCEL_ALLS = 4
_MAX_FOREIGN = 3
_JUMPS = (0.8, 1.2)
_SIBLINGS = (30, 150)
_RARELY = {"open_orders_every_ms": 10_000, "account_orders_every_ms": 50_000, "trades_every_ms": 20_000}


@dataclass(frozen=True)
class Outage:
    """Parts of the venue that are down, in seconds from the start."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Death:
    """The process dies at the first ``boundary`` it passes ``after_s`` seconds or more from the start."""

    boundary: str
    after_s: float


@dataclass(frozen=True)
class Scenario:
    """One seed. Times in seconds of virtual time from the start; ``kills`` are (kill, arm again).

    ``patient``: the daemon compares itself with the venue a tenth as often, so that what it misses lasts.
    ``rest_ms``: how long an entry rests in the book before it is cancelled; 0: entries take at once.
    ``cancel_alls``: when the operator cancels everything. ``key_refusals``: (from, until) when the venue refuses the key.
    ``siblings``: when another account of the trade group acts, whose orders and ours end each other. ``foreign_orders``:
    when somebody else places an order on the account; ``transfers``: when somebody moves money or coins in or out.
    ``shutdowns``: (when the venue announces the end of every connection, seconds until it comes). ``bursts`` and ``jumps``
    are the market's.
    """

    seed: int
    rates: dict[FaultKind, float]
    delays_ns: dict[FaultKind, int]
    outages: tuple[Outage, ...] = ()
    deaths: tuple[Death, ...] = ()
    kills: tuple[tuple[float, float], ...] = ()
    full_disks: tuple[tuple[float, float], ...] = ()
    patient: bool = False
    rest_ms: int = 0
    cancel_alls: tuple[float, ...] = ()
    key_refusals: tuple[tuple[float, float], ...] = ()
    siblings: tuple[float, ...] = ()
    foreign_orders: tuple[float, ...] = ()
    transfers: tuple[float, ...] = ()
    shutdowns: tuple[tuple[float, float], ...] = ()
    bursts: tuple[float, ...] = ()
    jumps: tuple[tuple[float, int, float], ...] = ()


def draw(seed: int, faults: Sequence[str] = ALL_FAULTS) -> Scenario:
    """The scenario of a seed, with no fault but ``faults``. The same arguments give the same scenario."""
    rng = Random(f"campaign/{seed}")
    # Everything is drawn whether it is wanted or not: switching one fault off leaves the others as they were.
    rates = {kind: top * rng.uniform(0.2, 1.0) for kind, top in _RATES.items() if rng.random() < _ON}
    delays_ns = {
        FaultKind.DELAY_RESPONSE: int(rng.uniform(0.05, 3.0) * NS_PER_S),
        FaultKind.RATE_LIMIT: int(rng.uniform(0.5, 4.0) * NS_PER_S),
        FaultKind.BAN: int(rng.uniform(1.0, 5.0) * NS_PER_S),
        FaultKind.CLOCK_SKEW: int(rng.uniform(1.2, 5.0) * NS_PER_S),
        FaultKind.DELAY_EVENT: rng.randrange(20, 3000) * NS_PER_MS,
        FaultKind.FUTURE_TIME: rng.choice((1, 300, 3600, 86_400)) * NS_PER_S,
    }
    outages = []
    for name in OUTAGES:
        start_s, length_s = rng.uniform(BUSY_S, CALM_S - 6.0), rng.uniform(0.3, 5.0)
        if rng.random() < _ON / 2:
            outages.append(Outage(name, start_s, start_s + length_s))
    deaths = [Death(rng.choice(BOUNDARIES), rng.uniform(BUSY_S, CALM_S - 3.0)) for _ in range(_MAX_DEATHS)]
    deaths = sorted(deaths[: rng.choice((0, 0, 1, 1, 2, 3))], key=lambda death: death.after_s)
    kill_s = rng.uniform(BUSY_S + 3.0, CALM_S - 8.0)
    kills = [(kill_s, kill_s + rng.uniform(0.5, 5.0))] if rng.random() < _ON / 2 else []
    full_s = rng.uniform(BUSY_S, CALM_S - 8.0)
    full_disks = [(full_s, full_s + rng.uniform(0.2, 4.0))] if rng.random() < _ON / 3 else []
    patient = rng.random() < _PATIENT
    rest_ms = rng.randrange(*_REST_MS) if rng.random() < _RESTING else 0
    cancel_alls = sorted(rng.uniform(BUSY_S, CALM_S) for _ in range(rng.randint(1, _MAX_CANCEL_ALLS)))
    if rng.random() >= _ON or "operator_cancel_all" not in faults:
        cancel_alls = []
    refused_s = rng.uniform(BUSY_S, CALM_S - 8.0)
    accepted_s = min(refused_s + rng.uniform(0.5, 20.0), CALM_S)
    key_refusals = [(refused_s, accepted_s)] if rng.random() < _ON / 3 else []
    siblings = sorted(rng.uniform(BUSY_S, CALM_S) for _ in range(rng.randint(*_SIBLINGS)))
    if rng.random() >= _ON:
        siblings = []
    foreign_orders = sorted(rng.uniform(BUSY_S, CALM_S) for _ in range(rng.randint(1, _MAX_FOREIGN)))
    if rng.random() >= _ON / 2:
        foreign_orders = []
    transfers = sorted(rng.uniform(BUSY_S, CALM_S) for _ in range(rng.randint(1, _MAX_FOREIGN)))
    if rng.random() >= _ON / 3:
        transfers = []
    shutdowns = [(rng.uniform(BUSY_S, CALM_S - 8.0), rng.uniform(0.1, 5.0))] if rng.random() < _ON / 2 else []
    bursts = [rng.uniform(BUSY_S, CALM_S - 3.0)] if rng.random() < _ON else []
    jump = rng.uniform(BUSY_S, CALM_S - 3.0), rng.randrange(len(INSTRUMENTS)), rng.choice(_JUMPS)
    jumps = [jump] if rng.random() < _ON else []
    return Scenario(
        seed,
        {kind: rate for kind, rate in rates.items() if kind in faults},
        delays_ns,
        tuple(outage for outage in outages if outage.name in faults),
        tuple(deaths) if "death" in faults else (),
        tuple(kills) if "operator_kill" in faults else (),
        tuple(full_disks) if "disk_full" in faults else (),
        patient=patient,
        rest_ms=rest_ms,
        cancel_alls=tuple(cancel_alls),
        key_refusals=tuple(key_refusals) if "key_refused" in faults else (),
        siblings=tuple(siblings) if "self_trade" in faults else (),
        foreign_orders=tuple(foreign_orders) if "foreign_order" in faults else (),
        transfers=tuple(transfers) if "balance_moved" in faults else (),
        shutdowns=tuple(shutdowns) if "shutdown" in faults else (),
        bursts=tuple(bursts) if "burst" in faults else (),
        jumps=tuple(jumps) if "price_jump" in faults else (),
    )


def campaign_config(urls: dict[str, str], model: Path, store: Path, patient: bool = False, rest_ms: int = 0) -> Config:
    """Settings under which the strategy acts on every move, and leaves soon: orders are under way most of the time."""
    return parse_config(
        {
            "model": str(model),
            "venue": {key: urls[key] for key in ("rest_url", "stream_url", "api_url")},
            "feed": {"symbols": SYMBOLS, "depth_symbols": SYMBOLS[:1], "snapshot_limit": 100, "backoff_min_ms": 100},
            "ring": {"slots": 4096, "huge_pages": False},
            "strategy": {
                "entry": "immediate",
                "entry_rest_ms": rest_ms,
                "forest_on": "rule",
                "price_delta_min_bps": 10,
                "volume_ratio_min_pct": 100,
                "alarm_quiet_ms": 0,
                "horizon_ms": 1500,
                "cooldown_ms": 300,
                "exit_retry_ms": 200,
                "slippage_bps": 12,
            },
            "risk": {
                "max_order_notional": "1500",
                "max_position_notional": "1900",
                "max_gross_notional": "4200",
                "max_open_orders": 3,
                "engine_timeout_ms": 1000,
            },
            "reconcile": _RARELY if patient else {},
            "store": {"directory": str(store), "segment_mib": 1, "snapshot_every_s": 45},
        },
        "campaign",
    )
