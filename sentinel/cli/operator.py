"""``sentinel orders|positions|reconcile|cancel-all|arm``: a running daemon, asked over its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sentinel.cli.shared import live_prefix
from sentinel.config import Config, load_config, settings_hash
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import (
    Approvals,
    Approve,
    Arm,
    CancelAll,
    Orders,
    Positions,
    Reconcile,
    Request,
)

_RECONCILE_TIMEOUT_S = 60.0
_MARGIN_S = 5.0


def orders(console: Console, *, config: Path) -> dict[str, Any]:
    """Raises ConfigError, or ControlError where no daemon runs; so do the others."""
    answer = ask_daemon(load_config(config), Orders())
    _print_orders(console, answer)
    _print_state(console, answer)
    return answer


def positions(console: Console, *, config: Path) -> dict[str, Any]:
    answer = ask_daemon(load_config(config), Positions())
    _print_positions(console, answer)
    _print_state(console, answer)
    return answer


def reconcile(console: Console, *, config: Path, accept: bool) -> dict[str, Any]:
    answer = ask_daemon(load_config(config), Reconcile(accept), _RECONCILE_TIMEOUT_S)
    _print_table(console, ("kind", "symbol", "identity", "outcome", "text"), answer["found"], "engine and venue agree")
    for failure in answer["failures"]:
        _print(console, f"not checked: {failure}")
    if not answer["balances_compared"]:
        _print(console, "balances were not compared: orders were under way, or the venue did not answer")
    if answer["halted"]:
        _print(console, f"halted: {', '.join(answer['halted'])}")
    return answer


def cancel_all(console: Console, *, config: Path, within_s: float) -> dict[str, Any]:
    answer = ask_daemon(load_config(config), CancelAll(within_s), within_s + _MARGIN_S)
    _print_table(console, ("id", "symbol", "side", "qty", "filled", "was", "state"), answer["orders"], "no live orders of ours")
    _print(
        console, f"{answer['left']} not final after {answer['seconds']} s; {answer['foreign_orders']} foreign orders left alone"
    )
    return answer


def arm(console: Console, *, config: Path, confirm: str) -> dict[str, Any]:
    settings = load_config(config)
    # Live, the daemon asks the exchange first whether the two agree.
    answer = ask_daemon(settings, Arm(confirm, settings_hash(settings)), _RECONCILE_TIMEOUT_S)
    if "endpoint" in answer:
        _print_terms(console, answer)
    if "nonce" in answer:
        _print(console, f"to arm, within {answer['valid_s']:g} s: sentinel arm --config {config} --confirm {answer['nonce']}")
    _print_state(console, answer)
    return answer


def approvals(console: Console, *, config: Path) -> dict[str, Any]:
    answer = ask_daemon(load_config(config), Approvals())
    _print_table(console, ("id", "symbol", "side", "notional", "left_ms"), answer["waiting"], "nothing waits for approval")
    for one in answer["decided"]:
        _print(console, f"{one['decision']}: {one['id']} {one['side']} {one['symbol']} {one['notional']} {one['by']}")
    return answer


def approve(console: Console, *, config: Path, number: int, granted: bool, within_s: float) -> dict[str, Any]:
    answer = ask_daemon(load_config(config), Approve(number, granted, within_s))
    holds = f", holds for {within_s:g} s" if granted else ""
    _print(console, f"{answer['decision']}: {answer['side']} {answer['symbol']} of {answer['notional']}{holds}")
    return answer


def ask_daemon(settings: Config, request: Request, timeout_s: float = 15.0) -> dict[str, Any]:
    """What the daemon of these settings answers. Raises ControlError."""
    return ask(settings.store.directory, request, timeout_s, keeper_of(settings))


def keeper_of(settings: Config) -> int | None:
    """The user who keeps the role file: whose processes may be asked besides one's own. None without one."""
    if not settings.access.roles:
        return None
    try:
        return Path(settings.access.roles).stat().st_uid
    except OSError:
        # The process has read it, or will say what is wrong with it.
        return None


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)


def _print_state(console: Console, answer: dict[str, Any]) -> None:
    cause = f", killed: {answer['kill_cause']}" if answer["killed"] else ""
    _print(console, f"{live_prefix(answer['armed_left_s'])}{answer['trading_state']}{cause}")


def _print_orders(console: Console, answer: dict[str, Any]) -> None:
    columns = ("id", "symbol", "side", "type", "tif", "price", "qty", "filled", "state", "reason", "age_ms")
    _print_table(console, columns, answer["orders"], "no live orders")


def _print_positions(console: Console, answer: dict[str, Any]) -> None:
    columns = ("symbol", "inventory", "position", "cost", "last_price", "realised", "open_buy", "open_sell", "halts")
    _print_table(console, columns, answer["positions"], "no positions")
    _print(
        console, f"cash {answer['cash']}  equity {answer['equity']}  realised {answer['realised']}  fees {answer['fees_quote']}"
    )
    for line in answer["unexplained"]:
        _print(console, f"unexplained: {line}")


def _print_terms(console: Console, answer: dict[str, Any]) -> None:
    """What is about to be armed."""
    _print(console, "about to arm LIVE trading:")
    names = ("endpoint", "account_key", "symbols", "arming_hours", "decider", "gate", "config_hash", "model_hash")
    shown = {name: answer[name] for name in names} | answer["limits"] | answer["symbol_limits"]
    for name, value in (shown | answer["checks"]).items():
        _print(console, f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    if answer["two_persons"]:
        _print(console, "another person than the one who asks has to confirm")
    _print_positions(console, answer)
    _print_orders(console, answer)


def _print_table(console: Console, columns: tuple[str, ...], rows: list[dict[str, Any]], nothing: str) -> None:
    if not rows:
        _print(console, nothing)
        return
    # Folded, not cut: of a quantity that is cut nobody knows the size.
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows:
        cells = (", ".join(row[name]) if isinstance(row[name], list) else str(row[name]) for name in columns)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
