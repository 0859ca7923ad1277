"""What live settings must say, and how long an operator's arming holds, around the engine itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config, parse_config, settings_hash
from sentinel.errors import ConfigError
from sentinel.host.live import LiveArming
from sentinel.host.mode import STATED_LIMITS, STATED_SWITCHES, check_mode
from sentinel.host.store.run_files import save_run_files
from sentinel.model.artifact import load_model
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Control, TradingState
from tests.engine.world import World
from tests.host.venues.offline_session import ManualClock

HOUR_NS = 3600 * NS_PER_S
PAPER_VENUE: dict[str, Any] = {
    "rest_url": "http://127.0.0.1:9",
    "stream_url": "ws://127.0.0.1:9",
    "api_url": "ws://127.0.0.1:9",
    "api_key_env": None,
    "api_secret_env": None,
}
LIVE: dict[str, Any] = {
    "mode": "live",
    "access": {"roles": "roles.toml"},
    "venue": {
        "rest_url": "https://api.example.com",
        "stream_url": "wss://stream.example.com",
        "api_url": "wss://orders.example.com",
        "api_key_env": "SENTINEL_LIVE_API_KEY",
        "api_secret_env": "SENTINEL_LIVE_API_SECRET",
    },
    "feed": {"symbols": ["AAAUSDT"]},
    "risk": {
        "max_order_notional": "20",
        "max_position_notional": "40",
        "max_gross_notional": "60",
        "max_drawdown_bps": 300,
        "max_trades_per_minute": 10,
        "max_source_gap_bps": 0,
        "max_restricted_age_s": 0,
        "max_instrument_age_s": 0,
        "max_exit_minutes": 0,
    },
    "killswitch": {"enabled": True},
}


def _settings(**changes: Any) -> Config:
    """LIVE with ``section={key: value}`` merged in; a value None takes the key out."""
    tree = {name: dict(part) if isinstance(part, dict) else part for name, part in LIVE.items()}
    for name, change in changes.items():
        if not isinstance(change, dict):
            tree[name] = change
            continue
        merged = tree.get(name, {}) | change
        tree[name] = {key: value for key, value in merged.items() if value is not None}
    return parse_config(tree)


def _refused(config: Config) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_mode(config)
    assert caught.value.remedy
    return caught.value


def test_live_settings_with_keys_tls_and_limits_of_their_own_are_accepted() -> None:
    check_mode(_settings())
    check_mode(_settings(venue={"api_secret_env": None, "api_secret_file": "key.pem"}))


def test_orders_by_fix_are_live_too() -> None:
    fix = {"orders": "fix", "fix_url": "tcp+tls://fix.example.com:9000", "api_url": "", "api_key_type": "ed25519"}
    check_mode(_settings(venue=fix))
    key = {"name": "coinbase", "api_passphrase_env": "SENTINEL_LIVE_API_PASSPHRASE"}
    check_mode(_settings(venue=key | {"orders": "fix", "fix_url": "tcp+tls://fix-ord.example.com:6121"}))


def test_the_passphrase_of_a_live_key_is_its_own() -> None:
    coinbase = {"name": "coinbase"}
    assert _refused(_settings(venue=coinbase)).field == "venue.api_passphrase_env"
    check_mode(_settings(venue=coinbase | {"api_passphrase_env": "SENTINEL_LIVE_API_PASSPHRASE"}))
    check_mode(_settings(venue=coinbase | {"api_passphrase_file": "passphrase.txt"}))


def test_live_trading_needs_a_role_file_and_paper_does_not() -> None:
    assert _refused(_settings(access={"roles": None})).field == "access.roles"


@pytest.mark.parametrize("limit", STATED_LIMITS)
def test_a_limit_left_to_its_default_is_refused(limit: str) -> None:
    error = _refused(_settings(risk={limit: None}))
    assert (error.field, error.value) == (f"risk.{limit}", None)


@pytest.mark.control("A6")
@pytest.mark.parametrize("switch", STATED_SWITCHES)
def test_a_control_is_left_off_by_saying_so_and_not_by_silence(switch: str) -> None:
    error = _refused(_settings(risk={switch: None}))
    assert (error.field, error.value) == (f"risk.{switch}", None)
    check_mode(_settings(risk={switch: 0}))
    check_mode(_settings(risk={switch: 30}))
    check_mode(_settings(mode="paper", venue=PAPER_VENUE, risk={switch: None}))


@pytest.mark.control("E6")
def test_live_is_without_a_kill_process_by_saying_so_and_not_by_silence() -> None:
    error = _refused(_settings(killswitch={"enabled": None}))
    assert (error.field, error.value) == ("killswitch.enabled", None)
    check_mode(_settings(killswitch={"enabled": False}))
    check_mode(_settings(mode="paper", venue=PAPER_VENUE, killswitch={"enabled": None}))


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("rest_url", "http://api.example.com"),
        ("stream_url", "ws://stream.example.com"),
        ("api_url", "ws://orders.example.com"),
        ("api_url", "ws://127.0.0.1.example.com"),
        ("api_url", ""),
        ("api_urls", ["wss://a.example.com", "ws://b.example.com"]),
    ],
)
def test_a_live_address_needs_tls(field: str, url: Any) -> None:
    assert _refused(_settings(venue={field: url})).field == f"venue.{field}"


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "[::1]:9"])
def test_loopback_needs_no_tls(host: str) -> None:
    check_mode(_settings(venue={"rest_url": f"http://{host}", "stream_url": f"ws://{host}", "api_url": f"ws://{host}"}))


@pytest.mark.parametrize("field", ["api_key_env", "api_secret_env"])
def test_no_variable_serves_both_modes(field: str) -> None:
    error = _refused(_settings(venue={field: "SENTINEL_API_KEY"}))
    assert (error.field, error.value) == (f"venue.{field}", "SENTINEL_API_KEY")
    loopback = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9", "api_url": "ws://127.0.0.1:9"}
    paper = {"api_key_env": None, "api_secret_env": None}
    check_mode(_settings(mode="paper", venue=loopback | paper))
    assert _refused(_settings(mode="paper", venue=loopback | paper | {field: "SENTINEL_LIVE_X"})).field == f"venue.{field}"


@pytest.mark.parametrize(("before", "after"), [("paper", "live"), ("live", "paper")])
def test_a_store_serves_one_mode(tmp_path: Path, before: str, after: str) -> None:
    loopback = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9", "api_url": "ws://127.0.0.1:9"}
    paper = {"mode": "paper", "venue": {**loopback, "api_key_env": None, "api_secret_env": None}}
    settings = {
        mode: _settings(**(paper if mode == "paper" else {}), store={"directory": str(tmp_path)}) for mode in ("paper", "live")
    }
    save_run_files(tmp_path, settings[before], load_model())
    check_mode(settings[before])
    assert _refused(settings[after]).field == "store.directory"


def test_a_store_of_settings_that_cannot_be_read_is_not_traded_live(tmp_path: Path) -> None:
    (tmp_path / "config-0.json").write_text("{")
    assert _refused(_settings(store={"directory": str(tmp_path)})).field == "store.directory"


def test_the_hash_shown_covers_every_setting_but_what_a_command_line_chooses() -> None:
    plain = settings_hash(_settings())
    changed = [
        _settings(venue={"api_url": "wss://other.example.com"}),
        _settings(venue={"api_key_env": "SENTINEL_LIVE_OTHER"}),
        _settings(risk={"max_order_notional": "21"}),
        _settings(live={"arming_hours": 13}),
    ]
    assert len({plain, *map(settings_hash, changed)}) == 5
    assert settings_hash(_settings(decider="rtl")) == plain


def test_how_long_an_arming_holds_leaves_the_journals_digest_as_it_is() -> None:
    assert _settings(live={"arming_hours": 1}).digest() == _settings().digest()


@pytest.mark.parametrize("hours", [0, -1, 24.1, float("nan")])
def test_an_arming_holds_for_a_day_at_most(hours: float) -> None:
    with pytest.raises(ConfigError, match=r"live\.arming_hours"):
        _settings(live={"arming_hours": hours})


# The arming, around the engine


class Host:
    """An engine's host around a World."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = world.state

    def control(self, command: Command, t: int, **fields: int) -> None:
        self.world.control(command, **fields).run()

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool:
        return bool(self.world.g["arm_epoch"] == arm_epoch)


def _recovering(quote: float = 100_000.0) -> tuple[World, LiveArming, ManualClock]:
    world = World().start(quote, arm=False)
    clock = ManualClock()
    clock.ns = world.now
    world.control(Command.RECOVERING).run()
    return world, LiveArming(Host(world), clock, 12.0), clock


def _state(world: World) -> TradingState:
    return TradingState(int(world.g["trading_state"]))


def _arm(world: World, arming: LiveArming, clock: ManualClock) -> None:
    arming.begin(clock.ns)
    world.control(Command.ARM, id=int(world.g["arm_epoch"]) + 1).run()


def test_recovery_of_a_live_run_ends_halted_by_a_cause_that_arming_lifts() -> None:
    world, arming, clock = _recovering()
    arming.disarm_at_start()
    world.control(Command.RECOVERED).run()
    assert (_state(world), int(world.g["kill_cause"])) == (TradingState.HALTED, Control.DISARMED)
    assert (arming.holds(clock.ns), arming.left_s()) == (False, 0)
    _arm(world, arming, clock)
    assert (_state(world), arming.left_s()) == (TradingState.ACTIVE, 12 * 3600)


def test_what_was_tripped_before_the_start_keeps_its_cause() -> None:
    world, arming, _ = _recovering()
    world.control(Command.KILL, value=int(Control.OPERATOR)).run()
    arming.disarm_at_start()
    assert (int(world.g["kill_cause"]), int(world.c["kills"])) == (Control.OPERATOR, 1)


def test_a_second_start_is_disarmed_once() -> None:
    world, arming, _ = _recovering()
    arming.disarm_at_start()
    arming.disarm_at_start()
    assert (int(world.g["kill_cause"]), int(world.c["kills"])) == (Control.DISARMED, 1)


def test_a_cause_that_comes_while_disarmed_stands_in_the_way_of_arming() -> None:
    world, arming, clock = _recovering(quote=100.0)
    arming.disarm_at_start()
    world.control(Command.RECOVERED).run()
    world.quiet()
    assert int(world.g["kill_cause"]) == Control.DISARMED
    # The inventory was nine tenths of the account.
    world.wait(NS_PER_S).trade(0.1).bbo(0.0999, 0.1001).run()
    assert int(world.g["kill_cause"]) == Control.DRAWDOWN
    _arm(world, arming, clock)
    assert (_state(world), int(world.c["arms_refused"])) == (TradingState.HALTED, 1)


@pytest.mark.control("A6")
def test_an_arming_whose_time_is_over_leaves_only_what_reduces() -> None:
    world, arming, clock = _recovering()
    arming.disarm_at_start()
    world.control(Command.RECOVERED).run()
    _arm(world, arming, clock)
    epoch = int(world.g["arm_epoch"])
    clock.ns += 12 * HOUR_NS - 1
    arming.tick(clock.ns)
    assert (_state(world), arming.permits(epoch, False)) == (TradingState.ACTIVE, True)
    clock.ns += 1
    # Before the next tick already.
    assert (arming.permits(epoch, False), arming.permits(epoch, True)) == (False, True)
    arming.tick(clock.ns)
    assert (_state(world), arming.left_s(), int(world.g["killed"])) == (TradingState.REDUCE_ONLY, 0, 0)
    again = int(world.g["arm_epoch"])
    arming.tick(clock.ns + HOUR_NS)
    assert int(world.g["arm_epoch"]) == again == epoch + 1


def test_a_kill_ends_what_is_left_of_an_arming() -> None:
    world, arming, clock = _recovering()
    arming.disarm_at_start()
    world.control(Command.RECOVERED).run()
    _arm(world, arming, clock)
    world.control(Command.KILL, value=int(Control.OPERATOR)).run()
    assert arming.left_s() == 0
    clock.ns += 13 * HOUR_NS
    arming.tick(clock.ns)
    assert _state(world) == TradingState.HALTED
