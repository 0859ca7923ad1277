"""A daemon in lock-step with a small simulated market, and a hand on everything the exchange says to it.

Two coins, one pump after 130 virtual seconds, and a model that acts on every rule hit, so that orders are under way
all through the pump. The same scenario without a hand on it is the measure: what must leave no trace has to end
in the same state hash.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.cli.deciders import DeciderChoice
from sentinel.engine.layout import HALT_BOOK, HALT_FEED
from sentinel.host.daemon import Daemon
from sentinel.model.artifact import load_model, save_model
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.connection import text_frame
from sentinel.sim.venue.server import VenueServer
from sentinel.sim.venue.streams import StreamSession, wrap
from sentinel.sim.venue.ws_api import ApiSession
from sentinel.units import NS_PER_S, parse_e8
from sentinel.wire import Kind, SignalCode, record_views
from tests.e2e.lockstep_rig import ACCOUNT, CREDENTIALS, config_for, lockstep_venue

SYMBOLS = ("NOVAUSDT", "LUMIUSDT")
PUMPED, QUIET = 0, 1
TRADES, TICKERS, DEPTH = "novausdt@trade", "novausdt@bookTicker", "novausdt@depth@100ms"
BALANCES = {"USDT": "100000", "NOVA": "120000", "LUMI": "700"}
PUMP_S, MINUTES, SEED = 130.0, 3.0, 5

#: Takes a payload on its way to a stream; what is sent instead: nothing, itself, another, several.
Change = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]


class Hand:
    """Changes and adds messages of ``venue``. ``last`` holds each stream's last payload, ``published`` counts them."""

    def __init__(self, venue: VenueServer) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.published: dict[str, int] = {}
        self._venue = venue
        self._changes: dict[str, Change] = {}
        self._publish = venue.exchange.publish
        self._publish_user = venue.exchange.publish_user
        venue.exchange.publish = self._pass
        venue.exchange.publish_user = self._pass_user

    def on(self, stream: str, change: Change) -> None:
        """From now on every payload of ``stream`` (``user`` for the account's events) goes through ``change``."""
        self._changes[stream] = change

    def off(self, stream: str) -> None:
        self._changes.pop(stream, None)

    def say(self, stream: str, body: bytes) -> None:
        """Send ``body`` as a message of ``stream``."""
        self.say_raw(stream, wrap(stream, body))

    def say_raw(self, stream: str, frame: bytes) -> None:
        """Send exactly these bytes to whoever listens to ``stream``."""
        for session in tuple(self._venue.streams.listeners[stream]):
            session.connection.queue_frame(text_frame(frame))

    def say_to_orders(self, frame: bytes) -> None:
        """Send exactly these bytes on the order connections."""
        for connection in self._connections(ApiSession):
            connection.queue_frame(text_frame(frame))

    def break_market_link(self, partial: bytes) -> None:
        """The market connections die after these bytes."""
        for connection in self._connections(StreamSession):
            connection.break_off(partial)

    def break_order_link(self, partial: bytes) -> None:
        """The order connections die after these bytes."""
        for connection in self._connections(ApiSession):
            connection.break_off(partial)

    def _connections(self, kind: type) -> list[Any]:
        return [link for link in self._venue._connections.in_order() if isinstance(link.session, kind) and link.is_open]

    def _pass(self, stream: str, payload: dict[str, Any]) -> None:
        self.published[stream] = self.published.get(stream, 0) + 1
        self.last[stream] = payload
        change = self._changes.get(stream)
        for message in (payload,) if change is None else tuple(change(dict(payload))):
            self._publish(stream, message)

    def _pass_user(self, account: str, event: dict[str, Any]) -> None:
        change = self._changes.get("user")
        for message in (event,) if change is None else tuple(change(dict(event))):
            self._publish_user(account, message)


@dataclass
class Scene:
    """A run under way. ``seconds`` is virtual time since its start."""

    venue: VenueServer
    hand: Hand
    directory: Path
    start_ns: int
    daemon: Daemon = field(init=False)
    places: list[tuple[float, int]] = field(default_factory=list)
    rejects: list[tuple[float, int, int]] = field(default_factory=list)
    halted: list[tuple[float, int]] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    on_sent: Callable[[], None] | None = None
    _agenda: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _each_step: list[Callable[[], None]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return (self.venue.exchange.now_ns - self.start_ns) / NS_PER_S

    def at(self, second: float, action: Callable[[], None]) -> None:
        """Do ``action`` after the first step at or behind ``second``."""
        self._agenda.append((second, action))
        self._agenda.sort(key=lambda entry: entry[0])

    def each_step(self, action: Callable[[], None]) -> None:
        self._each_step.append(action)

    def on_boundary(self, boundary: str) -> None:
        if boundary == "sent" and self.on_sent is not None:
            self.on_sent()
        if boundary != "stepped":
            return
        for symbol, halt in enumerate(self.daemon.host.state.symbols["halt"].tolist()):
            if halt & (HALT_BOOK | HALT_FEED):
                self.halted.append((self.seconds, symbol))
        for action in self._each_step:
            action()
        while self._agenda and self._agenda[0][0] <= self.seconds:
            self._agenda.pop(0)[1]()

    def on_effect(self, slots: NDArray[Any]) -> None:
        views = record_views(slots)
        kind, symbol = int(views.market["kind"][0]), int(views.market["symbol"][0])
        if kind == Kind.PLACE:
            self.places.append((self.seconds, symbol))
        elif kind == Kind.SIGNAL and int(views.signal["code"][0]) == SignalCode.RISK_REJECT:
            self.rejects.append((self.seconds, symbol, int(views.signal["control"][0])))


@dataclass(frozen=True)
class Outcome:
    """What is left of a run."""

    finished: bool
    state_hash: str
    feed: dict[str, int]
    session: dict[str, int]
    engine: dict[str, int]
    books: NDArray[Any]
    held: dict[str, int]
    owned: dict[str, int]
    live_orders: int
    unknown_orders: int
    now_ns: int
    books_given_up: int
    journal_faults: int
    places: list[tuple[float, int]]
    rejects: list[tuple[float, int, int]]
    halted: list[tuple[float, int]]
    published: dict[str, int]
    store: Path


def eager_model(directory: Path) -> Path:
    """The shipped model with a threshold that every margin reaches."""
    directory.mkdir(parents=True, exist_ok=True)
    default = load_model("default")
    margins = default.size_margins.copy()
    margins[0] = -(1 << 23)
    path = directory / "eager.stl"
    save_model(replace(default, threshold=-(1 << 23), size_margins=margins), path)
    return path


def small_market(seed: int = SEED) -> MarketModel:
    coins = [coin for name in SYMBOLS for coin in COINS if coin.instrument.symbol == name]
    return MarketModel(seed, coins, MINUTES, (Episode(SYMBOLS[PUMPED], PUMP_S, decay_s=60.0),))


Prepare = Callable[[Scene], object]


def wait_for_orders(scene: Scene) -> None:
    """Virtual time nearly stands still while no order can be sent, so that a reconnect, which takes real time, falls into the
    scenario however slow the machine is.
    """
    driver: Any = scene.venue._driver
    advance = driver._advance

    async def patient(to_ns: int) -> None:
        session = scene.daemon.session
        if session is not None and not session.ready:
            await asyncio.sleep(0.02)
        await advance(to_ns)

    driver._advance = patient


def _nothing(scene: Scene) -> None:
    """Leave the run alone."""


def _scene(
    venue: VenueServer,
    hand: Hand,
    directory: Path,
    sections: dict[str, Any] | None,
    start_ns: int,
    card: DeciderChoice | None = None,
) -> Scene:
    scene = Scene(venue, hand, directory, start_ns)
    settings: dict[str, Any] = {
        "model": str(eager_model(directory)),
        "strategy": {"entry": "immediate", "horizon_ms": 4000, "cooldown_ms": 1000, "alarm_quiet_ms": 0, "exit_retry_ms": 200},
        **(sections or {}),
    }
    config = config_for(venue, list(SYMBOLS), directory / "store", **settings)
    scene.daemon = Daemon(
        config,
        CREDENTIALS,
        venue.lockstep_url,
        on_effect=scene.on_effect,
        boundary=scene.on_boundary,
        decider_factory=None if card is None else card.factory,
        card=None if card is None else card.attached,
    )
    return scene


async def trade(
    directory: Path,
    prepare: Prepare = _nothing,
    sections: dict[str, Any] | None = None,
    card: DeciderChoice | None = None,
    **options: Any,
) -> Outcome:
    """Run the scenario with what ``prepare`` lays a hand on; options as VenueServer takes them."""
    async with lockstep_venue(small_market(), BALANCES, SEED, **options) as venue:
        scene = _scene(venue, Hand(venue), directory, sections, venue.exchange.now_ns, card)
        prepare(scene)
        await scene.daemon.run(scene.stopped)
        return _outcome(scene)


async def two_lives(
    directory: Path,
    prepare: Prepare,
    stop_at: float,
    between: Callable[[], None],
    sections: dict[str, Any] | None = None,
    prepare_second: Prepare = _nothing,
) -> tuple[Outcome, Outcome]:
    """The scenario lived by two daemons on one store: the first stops at a second, the other sees the end."""
    async with lockstep_venue(small_market(), BALANCES, SEED) as venue:
        start_ns, hand = venue.exchange.now_ns, Hand(venue)
        first = _scene(venue, hand, directory, sections, start_ns)
        prepare(first)
        first.at(stop_at, first.stopped.set)
        await first.daemon.run(first.stopped)
        outcome = _outcome(first)
        between()
        second = _scene(venue, hand, directory, sections, start_ns)
        prepare_second(second)
        await second.daemon.run(second.stopped)
        return outcome, _outcome(second)


def _outcome(scene: Scene) -> Outcome:
    daemon, state = scene.daemon, scene.daemon.host.state
    account = scene.venue.exchange.account_status(ACCOUNT, {})
    owned = {row["asset"]: parse_e8(row["free"]) + parse_e8(row["locked"]) for row in account["balances"]}
    held = {symbol.removesuffix("USDT"): int(state.symbols["inventory"][k]) for k, symbol in enumerate(SYMBOLS)}
    return Outcome(
        finished=daemon.finished,
        state_hash=daemon.state_hash,
        feed=daemon.feed_counters(),
        session=dict(daemon.session.counters) if daemon.session is not None else {},
        engine=daemon.host.counters(),
        books=np.array(state.book.books[["usable", "crossed", "checked", "mismatched"]]),
        held={**held, "USDT": int(state.glob["cash"][0])},
        owned={asset: owned.get(asset, 0) for asset in (*held, "USDT")},
        live_orders=int(state.glob["live_orders"][0]),
        unknown_orders=int(state.glob["unknown_orders"][0]),
        now_ns=int(state.glob["now"][0]),
        books_given_up=daemon.book_watch.found,
        journal_faults=daemon.host.spilling.faults,
        places=scene.places,
        rejects=scene.rejects,
        halted=scene.halted,
        published=scene.hand.published,
        store=scene.directory / "store",
    )


def with_raw(payload: dict[str, Any], **raw: str) -> bytes:
    """``payload`` as JSON, with the given keys' values replaced by raw JSON text; an empty text leaves the key out."""
    texts = {key: json.dumps(value, separators=(",", ":")) for key, value in payload.items()} | raw
    return ("{" + ",".join(f'"{key}":{text}' for key, text in texts.items() if text) + "}").encode()
