"""``sentinel killswitch status|rearm|confirm``, and the way of ``sentinel kill`` to the kill process and to the daemon.

Nothing here loads the compiler, the engine or a venue: they would take longer than the kill.
"""

from __future__ import annotations

import json
import shlex
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sentinel.cli.operator import ask_daemon, keeper_of
from sentinel.config import Config, load_config
from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.endpoint import SOCKET_NAME
from sentinel.host.control.protocol import Kill
from sentinel.ops.killswitch.protocol import Confirm, KillRequest, KillTo, Rearm, Status

#: A daemon that hangs is not waited for.
_DAEMON_TIMEOUT_S = 2.0
_MARGIN_S = 5.0
_HEAD_START_S = 1.0
#: What a daemon alone does: it stops and cancels its own orders.
_DAEMON_LEVEL = 2


def status(console: Console, *, config: Path) -> dict[str, Any]:
    answer = _ask(load_config(config), Status())
    _print_status(console, answer)
    return answer


def rearm(console: Console, *, config: Path, name: str, reason: str) -> dict[str, Any]:
    answer = _ask(load_config(config), Rearm(name, reason))
    if not answer["rearmed"]:
        nonce = answer["nonce"]
        _print(console, "the second person, within 10 minutes, as another user or with --key FILE:")
        _print(console, f"  sentinel killswitch confirm --config {config} --nonce {nonce} --name NAME")
        _print(console, f"with a key also: --key FILE --text {shlex.quote(json.dumps(answer['to_sign']))}")
    _print_status(console, answer)
    return answer


def confirm(console: Console, *, config: Path, nonce: str, name: str, text: str, key: Path | None) -> dict[str, Any]:
    signature = ""
    if key is not None:
        from sentinel.ops.killswitch.persons import sign

        signature = sign(key, _to_sign(text).encode())
    answer = _ask(load_config(config), Confirm(name, nonce, signature))
    _print_status(console, answer)
    return answer


def _to_sign(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise ControlError("--text", text, "the quoted text that rearm printed", "copy it whole, quotes included") from None


def kill(console: Console, *, config: Path, level: int, reason: str, within_s: float) -> dict[str, Any]:
    """The kill process first, then the daemon. Raises ControlError where neither can be reached."""
    settings = load_config(config)
    daemon: dict[str, Any] = {}
    daemon_error: ControlError | None = None
    with ThreadPoolExecutor(1) as other:
        telling = other.submit(_tell_process, settings, level, reason, within_s)
        # It stores the word at once, and answers when all is done. One that hangs keeps nobody from telling the daemon.
        wait([telling], _HEAD_START_S)
        failed = telling.done() and telling.result()[0] is None
        try:
            daemon = ask_daemon(settings, Kill(), 15.0 if failed else _DAEMON_TIMEOUT_S)
        except ControlError as error:
            daemon_error = error
        killed, kill_error = telling.result()
    if killed is None and daemon_error is not None:
        raise daemon_error
    _print_kill(console, killed, kill_error, daemon, daemon_error)
    return daemon | {
        "level": level,
        "reached": killed is not None or level <= _DAEMON_LEVEL,
        "killswitch": killed or {},
        "killswitch_error": kill_error,
        "daemon_error": "" if daemon_error is None else str(daemon_error),
    }


def _tell_process(settings: Config, level: int, reason: str, within_s: float) -> tuple[dict[str, Any] | None, str]:
    try:
        if not settings.killswitch.enabled and not (settings.killswitch_directory / SOCKET_NAME).exists():
            return None, "no kill process is configured"
        return _ask(settings, KillTo(level, reason, within_s), within_s + _MARGIN_S), ""
    except (ControlError, OSError) as error:
        # A directory this person may not enter, for one: the daemon is told all the same.
        return None, str(error)


def _ask(settings: Config, request: KillRequest, timeout_s: float = 15.0) -> dict[str, Any]:
    directory = settings.killswitch_directory
    try:
        return ask(directory, request, timeout_s, keeper_of(settings))
    except ControlError as error:
        if error.field != "store.directory":
            raise
        raise ControlError(
            "killswitch.directory",
            str(directory),
            "the directory of a running kill process of this user, or of the role file's owner",
            "start it with sentinel killswitch run, or name its settings with --config",
        ) from None


def _print_kill(
    console: Console, killed: dict[str, Any] | None, kill_error: str, daemon: dict[str, Any], daemon_error: ControlError | None
) -> None:
    if killed is None:
        _print(console, f"kill process: not reached ({kill_error}); the daemon alone stops and cancels its own orders")
    else:
        _print(console, f"kill process: level {killed['level']}" + ("" if killed["done"] else ", still at work"))
        _print_status(console, killed)
    if daemon:
        cause = f", killed: {daemon['kill_cause']}" if daemon["killed"] else ""
        _print(console, f"daemon: {daemon['trading_state']}{cause}; {daemon['live_orders']} orders are being cancelled")
    else:
        _print(console, f"daemon: no answer ({daemon_error}); it obeys the kill word as soon as it runs")


def _print_status(console: Console, answer: dict[str, Any]) -> None:
    if not answer["level"]:
        _print(console, f"open, generation {answer['generation']}; session: {answer['session']}")
        return
    _print(console, f"killed: level {answer['level']}, {answer['trigger']}, by {answer['actor']}: {answer['reason']}")
    if answer["verified_ms"] is not None:
        _print(
            console, f"open orders: none, verified {answer['verified_ms']} ms after the kill; {answer['orders_found']} were open"
        )
    elif answer["orders_left"]:
        _print(console, f"still open: {', '.join(answer['orders_left'])}")
    for row in answer["flatten"]:
        _print(console, f"{row['symbol']}: {'flat' if row['flat'] else 'NOT FLAT'}; {row['why']}")
    for line in (*answer["failures"], *answer["revoke"]):
        _print(console, line)


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
