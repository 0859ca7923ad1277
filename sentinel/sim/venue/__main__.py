"""``python -m sentinel.sim.venue``: a simulated exchange as a process of its own.

Prints one JSON line with its URLs when it is ready and serves until it is told to stop (SIGTERM,
SIGINT, or the end of its stdin with ``--exit-with-stdin``). A parent that holds its stdin is told in
that line, too, why it could not start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import uvloop

from sentinel.errors import FieldError, SentinelError, VenueError
from sentinel.sim.market.capture_source import CaptureSource
from sentinel.sim.market.mirror import MirrorSource
from sentinel.sim.market.model import demo_market
from sentinel.sim.market.source import MarketSource
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import NS_PER_MS, parse_e8

ACCOUNT = "paper"
#: The key of the simulated account where the environment names none; it opens nothing real.
PAPER_KEY = "sentinelpaper"
PAPER_SECRET = "sentinelpapersecret"

_EXAMPLES = """examples:
  python -m sentinel.sim.venue model --seed 7 --minutes 10 --lockstep --balance USDT=100000 --balance NOVA=50000
  python -m sentinel.sim.venue capture btcusdt.ndjsonl.zst --speed 10 --balance USDT=100000
  python -m sentinel.sim.venue mirror --stream-url wss://stream.example:9443 --rest-url https://api.example --symbols BTCUSDT
"""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with status 2 and says why."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--host", default="127.0.0.1")
    common.add_argument("--port", type=int, default=0, help="WebSocket port, 0 for any")
    common.add_argument("--rest-port", type=int, default=0, help="REST port, 0 for any")
    common.add_argument("--seed", type=int, default=0, help="of the market, the latencies and the faults")
    common.add_argument("--lockstep", action="store_true", help="virtual time waits for a client on /lockstep")
    common.add_argument(
        "--speed", type=float, default=0.0, help="virtual seconds a wall second; 0: in lock-step as fast as possible, else 1"
    )
    common.add_argument("--quantum-ms", type=int, default=5, help="events this close are one lock-step")
    common.add_argument("--release-ms", type=int, default=2000, help="virtual time the market runs on when the client leaves")
    common.add_argument("--latency-us", type=int, default=1000, help="virtual time until a request takes effect")
    common.add_argument("--jitter-us", type=int, default=500, help="up to this much more, at random")
    common.add_argument("--balance", action="append", default=[], metavar="ASSET=AMOUNT", help="of the paper account; repeatable")
    common.add_argument("--api-key-env", default="SENTINEL_API_KEY", help="environment variable that holds the account's key")
    common.add_argument("--api-secret-env", default="SENTINEL_API_SECRET", help="and the one that holds its HMAC secret")
    common.add_argument("--second-key-env", default="", help="environment variable of a second key of the account")
    common.add_argument("--second-secret-env", default="", help="and of its HMAC secret")
    common.add_argument("--fault", action="append", default=[], metavar="KIND=RATE", help=f"KIND: {', '.join(FaultKind)}")
    common.add_argument("--exit-with-stdin", action="store_true", help="stop when stdin is closed, as when the parent dies")

    parser = argparse.ArgumentParser(
        prog="python -m sentinel.sim.venue",
        description="A simulated exchange on loopback.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sources = parser.add_subparsers(dest="source", required=True)
    model = sources.add_parser("model", parents=[common], help="the seeded demo market with a pump and a dump")
    model.add_argument("--minutes", type=float, default=10.0, help="length of the market in virtual minutes")
    capture = sources.add_parser("capture", parents=[common], help="a recorded market")
    capture.add_argument("path")
    mirror = sources.add_parser("mirror", parents=[common], help="the public market of a live exchange, for paper orders")
    mirror.add_argument("--stream-url", required=True)
    mirror.add_argument("--rest-url", required=True)
    mirror.add_argument("--symbols", required=True, help="comma-separated")
    mirror.add_argument("--depth-symbols", default="", help="comma-separated, of those in --symbols")
    return parser.parse_args(arguments)


def parse_balances(texts: Sequence[str]) -> dict[str, int]:
    """``["USDT=100000"]`` as asset -> e8. Raises VenueError or UnitError."""
    balances: dict[str, int] = {}
    for text in texts:
        asset, separator, amount = text.partition("=")
        if not separator or not asset:
            raise VenueError("--balance", text, "ASSET=AMOUNT", "write for example USDT=100000")
        balances[asset] = parse_e8(amount, "--balance")
    return balances


def parse_faults(texts: Sequence[str], seed: int) -> FaultPlan:
    """``["drop_message=0.01"]`` as a plan. Raises VenueError."""
    rates: dict[FaultKind, float] = {}
    for text in texts:
        kind, _, rate = text.partition("=")
        try:
            rates[FaultKind(kind)] = float(rate)
        except ValueError:
            allowed = f"KIND=RATE, KIND one of {', '.join(FaultKind)}"
            raise VenueError("--fault", text, allowed, "write for example drop_message=0.01") from None
        if not 0.0 <= rates[FaultKind(kind)] <= 1.0:
            raise VenueError("--fault", text, "a rate between 0 and 1", "write for example drop_message=0.01")
    return FaultPlan(seed, rates)


def account_key(options: argparse.Namespace) -> ApiKey:
    """The paper account's key, from the environment or the built-in one."""
    return ApiKey(
        os.environ.get(options.api_key_env) or PAPER_KEY, os.environ.get(options.api_secret_env) or PAPER_SECRET, ACCOUNT
    )


def account_keys(options: argparse.Namespace) -> list[ApiKey]:
    """Every key of the paper account. Raises VenueError where a second one is named and not set."""
    keys = [account_key(options)]
    if options.second_key_env:
        name, secret = os.environ.get(options.second_key_env), os.environ.get(options.second_secret_env)
        if not name or not secret:
            raise VenueError("--second-key-env", options.second_key_env, "two set environment variables", "export key and secret")
        keys.append(ApiKey(name, secret, ACCOUNT))
    return keys


async def _open_source(options: argparse.Namespace) -> MarketSource:
    if options.source == "model":
        return demo_market(options.seed, options.minutes)
    if options.source == "capture":
        return CaptureSource(options.path)
    if options.lockstep or options.speed not in (0.0, 1.0):
        raise VenueError(
            "--lockstep/--speed", options.speed, "neither with mirror", "a live market moves by itself; leave them out"
        )
    depth = [name for name in options.depth_symbols.split(",") if name]
    return await MirrorSource.open_live(options.stream_url, options.rest_url, options.symbols.split(","), depth)


def _watch_stdin(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def drain() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        # The loop may have closed already: then there is nothing left to stop.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)

    threading.Thread(target=drain, name="stdin", daemon=True).start()


async def serve(options: argparse.Namespace, announce: Callable[[dict[str, Any]], None]) -> None:
    """Serve until stopped; ``announce`` gets the endpoints. Raises SentinelError when it cannot start or its market fails."""
    faults = parse_faults(options.fault, options.seed)
    balances = parse_balances(options.balance)
    stopped, is_open = asyncio.Event(), False

    def end() -> None:
        if not is_open:
            # The start may wait for an answer in a thread that nothing can interrupt, and there is nothing to put in order.
            os._exit(0)
        stopped.set()

    if options.exit_with_stdin:
        _watch_stdin(end)
    source = await _open_source(options)
    exchange = Exchange(source.instruments, source, {ACCOUNT: balances}, options.seed)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    venue = VenueServer(
        exchange,
        account_keys(options),
        lockstep=options.lockstep,
        host=options.host,
        port=options.port,
        rest_port=options.rest_port,
        seed=options.seed,
        latency_ns=options.latency_us * 1000,
        jitter_ns=options.jitter_us * 1000,
        pace=PaceConfig(
            speed=options.speed, quantum_ns=options.quantum_ms * NS_PER_MS, release_ns=options.release_ms * NS_PER_MS
        ),
        faults=faults,
    )
    async with venue:
        is_open = True
        tasks = [asyncio.create_task(stopped.wait()), asyncio.create_task(venue.failed())]
        if isinstance(source, MirrorSource):
            source.notify = venue.wake
            tasks.append(asyncio.create_task(source.follow()))
        symbols = [instrument.symbol for instrument in exchange.instruments]
        announce({**venue.urls(), "symbols": symbols, "start_ns": exchange.now_ns, "end_ns": source.end_ns})
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()


class _FirstLine:
    """The one line on stdout."""

    def __init__(self) -> None:
        self.written = False

    def write(self, content: dict[str, Any]) -> None:
        line = msgspec.json.encode(content, enc_hook=str) + b"\n"
        # A parent that has gone meanwhile is seen at stdin.
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), line)
        self.written = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 after a normal stop, 2 for a SentinelError: to a parent that waits for the first line, else to stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    line = _FirstLine()
    served: Coroutine[Any, Any, None] = serve(options, line.write)
    try:
        uvloop.run(served)
    except SentinelError as error:
        if options.exit_with_stdin and not line.written and isinstance(error, FieldError):
            fields = {"field": error.field, "value": error.value, "allowed": error.allowed, "remedy": error.remedy}
            line.write({"error": fields})
        else:
            sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
