"""Journals of random records to build trails from."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sentinel.config import Config
from sentinel.host.store.journal import Journal
from sentinel.host.store.segment import PAGE
from sentinel.ops.audit.follower import AuditFollower
from sentinel.wire import (
    FRAME_BYTES,
    Command,
    FrameType,
    Kind,
    OrderEventKind,
    SignalCode,
    client_key,
    empty_slots,
    record_views,
)
from tests.host.plain_config import plain_config

T0 = 1_700_000_000_000_000_000
MODEL_CRC = 7
MODEL = b"a model file"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
#: A journal segment so small that a test rotates it.
SMALL = PAGE + 50 * FRAME_BYTES


def open_journal(directory: Path, digest: str = "ab" * 32, segment_bytes: int = SMALL) -> Journal:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"model-{MODEL_CRC:08x}.stl").write_bytes(MODEL)
    return Journal.open(directory, config_digest=digest, model_crc=MODEL_CRC, symbols=SYMBOLS, segment_bytes=segment_bytes)


def trail_config(store: Path, **audit: Any) -> Config:
    return plain_config(store, audit={"segment_mib": 1, **audit})


def records_of(random: Random, number: int) -> tuple[FrameType, Any]:
    """A whole record of any kind, as int64[1 or 2, 8]."""
    kind = random.choice((Kind.TRADE, Kind.TRADE, Kind.BBO, Kind.STATUS, Kind.PLACE, Kind.SIGNAL, Kind.ORDER_EVENT, Kind.CONTROL))
    paired = kind in (Kind.PLACE, Kind.ORDER_EVENT)
    slots = empty_slots(2 if paired else 1)
    views = record_views(slots)
    key = client_key(1, 1, number)
    views.market["kind"] = kind
    views.market["symbol"] = random.randrange(2)
    views.market["t_recv"] = T0 + number
    views.market["price"] = random.randrange(1 << 40)
    if paired:
        slots[:, 0] = key
        views.market["part"] = np.arange(2)
    if kind == Kind.ORDER_EVENT:
        views.order1["event"][0] = random.choice(list(OrderEventKind))
    elif kind == Kind.SIGNAL:
        views.signal["client_key"], views.signal["code"] = key, random.choice(list(SignalCode))
    elif kind == Kind.CONTROL:
        views.control["command"] = random.choice(list(Command))
    return FrameType.EFFECT if kind in (Kind.PLACE, Kind.SIGNAL) else FrameType.INPUT, slots


def write_records(journal: Journal, seed: int, count: int) -> None:
    random = Random(seed)
    for number in range(count):
        frame_type, slots = records_of(random, number)
        journal.append(frame_type, slots)


def make_trail(store: Path, seed: int, count: int, **audit: Any) -> Config:
    """A closed trail of a journal of ``count`` records."""
    with open_journal(store) as journal:
        write_records(journal, seed, count)
    config = trail_config(store, **audit)
    follow_all(config)
    return config


def follow_all(config: Config) -> AuditFollower:
    follower = AuditFollower(config)
    follower.catch_up()
    follower.close()
    return follower


def write_for_ever(store: Path, seed: int) -> None:
    """A writer to be killed."""
    journal = open_journal(store, segment_bytes=1 << 16)
    while True:
        write_records(journal, seed, 50)


def follow_for_ever(store: Path) -> None:
    """A follower to be killed."""
    AuditFollower(trail_config(store, commit_every_ms=1, anchor_every_s=1)).run(threading.Event())
