"""Venues as they are now: one session for each of several settings, and what a route is planned from.

A reading takes no order and needs no running daemon: book, balances, fees, limits and round trip come by signed GETs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.errors import ConfigError, RouteError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.router.records import VenueRules, VenueState
from sentinel.host.venues.chosen import Credentials, new_session, read_credentials
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.standing import Standing
from sentinel.units import BPS, INT64_MAX, NS_PER_MS, format_e8_short
from sentinel.wire import InstrumentField

_E8_IN_E6 = 100
_READ_TIMEOUT_S = 15.0


class RouteSession(OrderSession, Protocol):
    """A session that also tells what its venue offers."""

    async def standing(self, symbol: str) -> Standing: ...


@dataclass(frozen=True, slots=True)
class VenueSetup:
    """One venue of a route: its name in plans and results, its settings, its key, and what the symbol is called there."""

    name: str
    config: Config
    credentials: Credentials
    symbol: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One venue's state and when it was true. ``t_ns``: no older than this; ``held_base``: free and locked."""

    state: VenueState
    t_ns: int
    held_base: int


class _Nowhere:
    def deliver(self, source: int, records: NDArray[Any]) -> None:
        """Without an order there is nothing to hear."""


async def no_reconnect() -> None:
    """Nothing is under way that a reconnect would have to reconcile."""


def symbol_names(text: str) -> tuple[str, dict[str, str]]:
    """``NAME`` for every venue, or ``VENUE=NAME,VENUE=NAME``. Raises ConfigError.

    The second form is how an operator states that the quote assets of two venues count as equal, one for one.
    """
    if "=" not in text:
        return text, {}
    names = {}
    for part in text.split(","):
        venue, _, name = part.partition("=")
        if not venue or not name or venue in names:
            raise ConfigError("--symbol", text, "NAME, or VENUE=NAME,VENUE=NAME", "name each venue's symbol once")
        names[venue] = name
    return "", names


def venue_setups(configs: Mapping[str, Config], symbol: str) -> list[VenueSetup]:
    """What ``configs`` (venue name -> settings) and ``symbol`` name. Raises ConfigError where they do not fit.

    A missing key does not fit either. One symbol name for all means one quote asset: another venue's other one is other money.
    """
    common, names = symbol_names(symbol)
    unknown = sorted(set(names) - set(configs))
    if unknown:
        raise ConfigError("--symbol", unknown, f"venues of the settings: {', '.join(configs)}", "correct the venue's name")
    setups: list[VenueSetup] = []
    for name, config in configs.items():
        wanted = names.get(name, common).replace("-", "")
        found = [listed for listed in config.feed.symbols if listed.replace("-", "") == wanted]
        if not found:
            allowed = f"one of {', '.join(config.feed.symbols[:8])} at {name}"
            raise ConfigError("--symbol", names.get(name, symbol), allowed, f"write --symbol {name}=NAME,... for its own name")
        if not config.venue.takes_orders:
            raise ConfigError(f"{name}: venue.api_url", "", "an address for orders", "name one: a route needs an account")
        credentials = read_credentials(config.venue)
        setup = VenueSetup(name, config, credentials, found[0])
        twins = [one.name for one in setups if _account(one) == _account(setup)]
        if twins:
            remedy = "name its settings once: its balance would be spent twice"
            raise ConfigError(f"{name}: key", f"that of {twins[0]}", "an account of its own", remedy)
        setups.append(setup)
    return setups


def _account(setup: VenueSetup) -> tuple[str, str, str]:
    """What two settings of one account have in common, as far as settings tell."""
    return setup.config.venue.name, setup.config.venue.rest_url, setup.credentials.api_key


def open_session(
    setup: VenueSetup,
    sink: RecordSink | None = None,
    clock: Clock | None = None,
    others: Iterable[str] = (),
    order_tag: str = "",
) -> RouteSession:
    """A session of this setup's symbol, and of ``others`` that are still to be asked about; not connected.

    ``order_tag``: the store's, for a session that sends orders.
    """
    venue, key = setup.config.venue, setup.credentials
    symbols = [setup.symbol, *sorted(set(others) - {setup.symbol})]
    session: Any = new_session(venue, symbols, key, clock or LiveClock(), sink or _Nowhere(), 0, no_reconnect, order_tag)
    return session  # type: ignore[no-any-return]


async def read_venue(name: str, session: RouteSession, symbol: str) -> Reading:
    """Raises VenueError, also for an answer that takes too long, ConfigError, RouteError for a book that cannot be one."""
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            standing = await session.standing(symbol)
    except TimeoutError:
        raise VenueError(name, "no answer", f"a reading within {_READ_TIMEOUT_S:g} s", "check the venue's status") from None
    return Reading(venue_state(name, standing), standing.t_ns, standing.held_base)


async def read_all(
    sessions: Mapping[str, tuple[RouteSession, str]],
) -> tuple[dict[str, Reading], dict[str, str]]:
    """Every venue's reading by name, all asked at once; and of each that cannot be read, why."""
    read = [read_venue(name, session, symbol) for name, (session, symbol) in sessions.items()]
    answers = await asyncio.gather(*read, return_exceptions=True)
    readings: dict[str, Reading] = {}
    missing: dict[str, str] = {}
    for name, answer in zip(sessions, answers, strict=True):
        if isinstance(answer, Reading):
            readings[name] = answer
        elif isinstance(answer, (VenueError, RouteError)):
            missing[name] = f"cannot be read: {answer}"
        else:
            raise answer
    return readings, missing


def drop_stale(
    setups: Sequence[VenueSetup], readings: Mapping[str, Reading], now_ns: int
) -> tuple[dict[str, Reading], dict[str, str]]:
    """The readings no older than their settings' ``feed.stale_after_ms``; and of each other, how old it is."""
    fresh, stale = {}, {}
    for setup in setups:
        reading = readings.get(setup.name)
        if reading is None:
            continue
        age_ms, most_ms = (now_ns - reading.t_ns) // NS_PER_MS, setup.config.feed.stale_after_ms
        if age_ms > most_ms:
            stale[setup.name] = f"its book is {age_ms} ms old, beyond feed.stale_after_ms = {most_ms}"
        else:
            fresh[setup.name] = reading
    return fresh, stale


def venue_state(name: str, standing: Standing) -> VenueState:
    """What the planner takes. Raises RouteError for a book that cannot be one."""
    fields = standing.instrument.fields
    least, most = fields.get(InstrumentField.MIN_PRICE, 0), fields.get(InstrumentField.MAX_PRICE, 0)
    reference = standing.reference_price
    up, down = fields.get(InstrumentField.PRICE_BAND_UP_BPS, 0), fields.get(InstrumentField.PRICE_BAND_DOWN_BPS, 0)
    if reference and up:
        bound = min(reference * up // BPS, INT64_MAX)
        most = min(most or bound, bound)
    if reference and down:
        least = max(least, -(-reference * down // BPS))
    rules = VenueRules(
        tick=fields.get(InstrumentField.TICK_SIZE, 0),
        step=fields.get(InstrumentField.STEP_SIZE, 0),
        min_price=least,
        max_price=most,
        min_qty=fields.get(InstrumentField.MIN_QTY, 0),
        max_qty=fields.get(InstrumentField.MAX_QTY, 0),
        min_notional=fields.get(InstrumentField.MIN_NOTIONAL, 0),
        max_notional=fields.get(InstrumentField.MAX_NOTIONAL, 0),
    )
    return VenueState(
        name=name,
        bids=standing.bids,
        asks=standing.asks,
        free_base=standing.free_base,
        free_quote=standing.free_quote,
        rules=rules,
        taker_fee_e6=-(-standing.taker_rate // _E8_IN_E6),
        maker_fee_e6=-(-standing.maker_rate // _E8_IN_E6),
        latency_ns=standing.rtt_ns,
        orders_left=standing.orders_left,
        trading=bool(fields.get(InstrumentField.TRADING, 0)),
    )


def named_configs(files: Sequence[Path], loaded: Sequence[Config]) -> dict[str, Config]:
    """File name without its ending -> settings. Raises ConfigError for two of one name."""
    named = {file.stem: config for file, config in zip(files, loaded, strict=True)}
    if len(named) != len(files):
        raise ConfigError(
            "--config", [file.name for file in files], "files of different names", "they name the venues: rename one"
        )
    return named


def state_rows(states: Iterable[VenueState]) -> list[dict[str, Any]]:
    """What is known of each venue, for people and programs."""
    rows = []
    for state in states:
        rows.append(
            {
                "venue": state.name,
                "best_bid": format_e8_short(state.bids[0][0]) if state.bids else None,
                "best_ask": format_e8_short(state.asks[0][0]) if state.asks else None,
                "free_base": format_e8_short(state.free_base),
                "free_quote": format_e8_short(state.free_quote),
                "taker_fee_e6": state.taker_fee_e6,
                "latency_us": state.latency_ns // 1000,
                "orders_left": state.orders_left,
                "trading": state.trading,
            }
        )
    return rows
