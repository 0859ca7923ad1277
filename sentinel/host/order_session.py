"""The order session's beginning: connected, and the account loaded over it, tried again until the venue answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.recovery import Recovery
from sentinel.host.venues.contract import OrderSession

_log = logging.getLogger(__name__)

_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 30.0


async def open_session(
    new: Callable[[], OrderSession],
    load_account: Callable[[OrderSession], Awaitable[None]],
    recovery: Recovery,
    venue: VenueConfig,
    stop: asyncio.Event,
    patient: bool,
) -> OrderSession | None:
    """A session of ``venue`` made by ``new``, connected, its account loaded; None where ``stop`` was set first.

    Raises ConfigError for a key the venue refuses, and, unless ``patient``, VenueError instead of trying again.
    """
    wait_s = _RETRY_MIN_S
    while not stop.is_set():
        session = new()
        try:
            await session.connect()
            load = partial(load_account, session)
            # Again after a reconnect in the middle of it, which nobody else reconciles yet.
            while not await recovery.load(recovery.begin(), load):
                pass
        except VenueError as error:
            await session.close()
            if session.halted is not None:
                names = (venue.api_key_env, venue.api_secret_env)
                raise ConfigError(
                    "environment", names, "a key the venue accepts", f"correct the key in {names[0]}: {session.halted}"
                ) from None
            if not patient:
                raise
            _log.warning("order session: %s; trying again in %.1f s", error, wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
            wait_s = min(2 * wait_s, _RETRY_MAX_S)
            continue
        return session
    return None
