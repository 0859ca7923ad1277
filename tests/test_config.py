from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sentinel.config import Config, RiskConfig, load_config, parse_config
from sentinel.errors import ConfigError
from sentinel.units import E8, INT64_MAX

MINIMAL: dict[str, Any] = {
    "venue": {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:2", "api_url": "ws://127.0.0.1:3"},
    "feed": {"symbols": ["BTCUSDT", "PUMPUSDT"]},
}
SECTIONS = {name: info.annotation for name, info in Config.model_fields.items() if isinstance(info.annotation, type)}
SECTIONS = {name: kind for name, kind in SECTIONS.items() if issubclass(kind, BaseModel)}


def _with(path: str, value: object) -> dict[str, Any]:
    section, _, key = path.rpartition(".")
    tree: dict[str, Any] = {name: dict(values) for name, values in MINIMAL.items()}
    (tree.setdefault(section, {}) if section else tree)[key] = value
    return tree


def _refused(path: str, value: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(_with(path, value), "sentinel.toml")
    return caught.value


def _bounds() -> Iterator[tuple[str, object]]:
    """Every bounded field with a value just outside each of its bounds."""
    for section, kind in SECTIONS.items():
        for name, field in kind.model_fields.items():
            for rule in field.metadata:
                for attribute, step in (("ge", -1), ("le", 1), ("gt", 0)):
                    bound = getattr(rule, attribute, None)
                    if bound is not None:
                        yield f"{section}.{name}", type(bound)(bound + step)


def test_minimal_file_needs_only_endpoints_and_symbols() -> None:
    config = parse_config(MINIMAL)
    assert config.mode == "paper"
    assert config.feed.symbols == ["BTCUSDT", "PUMPUSDT"]
    assert config.strategy.stop_loss_bps == 300
    assert config.risk.max_drawdown_bps == 2_000
    assert config.risk.max_trades_per_minute == 1_000
    assert config.paper.quote_balance == 100_000 * E8


def test_live_the_alarm_process_is_required_unless_the_settings_say_otherwise() -> None:
    live = MINIMAL | {"mode": "live"}
    assert not parse_config(MINIMAL).alarms.required
    assert parse_config(live).alarms.required
    assert parse_config(live | {"alarms": {"silence_ms": 3_000}}).alarms.required
    assert not parse_config(live | {"alarms": {"required": False}}).alarms.required


@pytest.mark.parametrize(("path", "value"), list(_bounds()), ids=lambda value: str(value))
def test_value_just_outside_its_range_is_refused_by_name(path: str, value: object) -> None:
    error = _refused(path, value)
    assert error.field == path
    assert error.value == value
    assert "sentinel.toml" in error.remedy


def test_the_generated_bounds_are_not_empty() -> None:
    assert len(list(_bounds())) > 50


@pytest.mark.parametrize("path", ["surprise", *(f"{name}.surprise" for name in SECTIONS)])
def test_unknown_key_is_refused_in_every_section(path: str) -> None:
    error = _refused(path, 1)
    assert error.field == path
    assert "spelling" in error.remedy


@pytest.mark.parametrize("path", ["venue.rest_url", "venue.stream_url", "feed.symbols"])
def test_missing_key_is_named(path: str) -> None:
    section, _, key = path.partition(".")
    tree = {name: dict(values) for name, values in MINIMAL.items()}
    del tree[section][key]
    with pytest.raises(ConfigError) as caught:
        parse_config(tree)
    assert caught.value.field == path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mode", "real"),
        ("venue.rest_url", "ftp://example"),
        ("venue.stream_url", "http://127.0.0.1"),
        ("venue.api_url", "127.0.0.1"),
        ("venue.api_urls", ["127.0.0.1"]),
        ("venue.api_urls", "ws://127.0.0.1:4"),
        ("venue.api_urls", [f"ws://127.0.0.1:{port}" for port in range(10, 18)]),
        ("feed.symbols", []),
        ("feed.symbols", "BTCUSDT"),
        ("feed.symbols", [7]),
        ("feed.symbols", [f"X{i}USDT" for i in range(1025)]),
        ("feed.snapshot_limit", 999),
        ("feed.reconnect_before_h", float("nan")),
        ("feed.reconnect_before_h", float("inf")),
        ("feed.stall_timeout_ms", "soon"),
        ("ring.huge_pages", "perhaps"),
        ("risk.max_order_notional", "1e308"),
        ("risk.max_order_notional", "-1"),
        ("risk.max_order_notional", "NaN"),
        ("risk.max_order_notional", 0.1),
        ("risk.max_order_notional", True),
        ("risk.max_order_notional", [1]),
        ("risk.max_order_notional", -1),
        ("risk.max_order_notional", 10**11),
        ("paper.quote_balance", "92233720368.54775808"),
    ],
)
def test_value_of_the_wrong_type_or_shape_is_refused(path: str, value: object) -> None:
    assert _refused(path, value).field.startswith(path)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("feed.symbols", ["BTCUSDT", "BTCUSDT"], "twice"),
        ("feed.symbols", ["BTCEUR"], "quote_asset"),
        ("feed.depth_symbols", ["ETHUSDT"], "not in symbols"),
        ("feed.backoff_min_ms", 60_000, "must not exceed"),
        ("ring.slots", 65_535, "power of two"),
        ("strategy.entry_wait_ms", 200_000, "expire before"),
        ("strategy.stop_loss_bps", 0, "between 1 and 9999"),
        ("strategy.stop_loss_bps", 10_000, "between 1 and 9999"),
        ("paper.base_balances", {"ETHUSDT": "1"}, "not in feed.symbols"),
        ("venue.api_urls", ["ws://127.0.0.1:3"], "twice"),
        ("venue.api_urls", ["ws://127.0.0.1:4", "ws://127.0.0.1:4"], "twice"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_reason(path: str, value: object, says: str) -> None:
    assert says in str(_refused(path, value))


def test_money_is_exact_from_text_and_whole_numbers() -> None:
    tree = _with("risk.max_order_notional", "0.00000001")
    tree["paper"] = {"quote_balance": 5, "base_balances": {"PUMPUSDT": "92233720368.54775807"}}
    config = parse_config(tree)
    assert config.risk.max_order_notional == 1
    assert config.paper.quote_balance == 5 * E8
    assert config.paper.base_balances == {"PUMPUSDT": INT64_MAX}


def test_symbols_beyond_ascii_are_symbols() -> None:
    assert parse_config(_with("feed.symbols", ["币安人生USDT"])).feed.symbols == ["币安人生USDT"]


def test_settings_cannot_change_after_start() -> None:
    config = parse_config(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.risk.max_drawdown_bps = 9_999  # type: ignore[misc]


def test_digest_follows_behaviour_and_not_the_place_of_things() -> None:
    base = parse_config(MINIMAL)
    assert parse_config(_with("venue.rest_url", "http://127.0.0.1:77")).digest() == base.digest()
    assert parse_config(_with("store.directory", "/elsewhere")).digest() == base.digest()
    assert parse_config(_with("risk.max_open_orders", 19)).digest() != base.digest()
    assert parse_config(_with("feed.symbols", ["PUMPUSDT", "BTCUSDT"])).digest() != base.digest()
    assert re.fullmatch(r"[0-9a-f]{64}", base.digest())


def test_names_of_numbers_carry_their_unit() -> None:
    # Counts and lists of names need none; money in quote or base units says so in its type.
    suffixes = tuple("_us _ms _s _h _hours _days _5min _bps _pct _mib _minute _minutes _day _10s".split())  # noqa: SIM905
    counts = {"slot", "slots", "streams_per_connection", "snapshot_limit", "max_open_orders"}
    counts |= {"collar_spreads", "collar_sigmas", "max_order_to_trade"}
    for section, kind in SECTIONS.items():
        for name, field in kind.model_fields.items():
            if field.annotation in (int, float) and not any("_money" in str(rule) for rule in field.metadata):
                assert name.endswith(suffixes) or name in counts, f"{section}.{name}"


def test_file_is_read_as_toml(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.toml"
    path.write_text(
        '[venue]\nrest_url = "https://127.0.0.1"\nstream_url = "wss://127.0.0.1"\n[feed]\nsymbols = ["BTCUSDT"]\n'
        '[risk]\nmax_order_notional = "12.5"\n'
    )
    assert load_config(path).risk == RiskConfig(max_order_notional="12.5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "says"), [(b"[venue\n", "syntax"), (b"\xff\xfe", "UTF-8"), (b"", "venue"), (b"mode = 1979-05-27\n", "mode")]
)
def test_unreadable_file_says_what_to_change(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "sentinel.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_config(path)


def test_missing_file_and_directory_are_config_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match="--config"):
            load_config(path)


def test_key_and_secret_are_named_by_environment_variable_only() -> None:
    venue = parse_config(MINIMAL).venue
    assert (venue.api_key_env, venue.api_secret_env) == ("SENTINEL_API_KEY", "SENTINEL_API_SECRET")
    for name in ("api_key", "api_secret"):
        assert _refused(f"venue.{name}", "k").field == f"venue.{name}"


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:9",
        "ws://[::1]:9",
        "ws://localhost:9",
        "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "wss://demo-ws-api.binance.com/ws-api/v3",
    ],
)
def test_paper_orders_may_go_to_a_test_endpoint(url: str) -> None:
    assert parse_config(_with("venue.api_url", url)).venue.api_url == url


@pytest.mark.control("A6")
@pytest.mark.parametrize(
    "url",
    [
        "wss://ws-api.binance.com/ws-api/v3",
        "wss://127.0.0.1.example.com",
        "wss://localhost.example.com",
        "wss://testnet.binance.vision.example.com",
        "wss://127.0.0.1@ws-api.binance.com",
        "wss://user:127.0.0.1@ws-api.binance.com/localhost",
        "wss://eviltestnet.binance.vision",
        "ws://192.168.0.1",
    ],
)
def test_paper_orders_can_never_reach_a_real_venue(url: str) -> None:
    with pytest.raises(ConfigError, match="no test endpoint"):
        parse_config(_with("venue.api_url", url))
    with pytest.raises(ConfigError, match="no test endpoint"):
        parse_config(_with("venue.api_urls", ["ws://127.0.0.1:4", url]))


@pytest.mark.parametrize("url", ["https://api.binance.com", "https://testnet.binance.vision.example.com"])
def test_what_is_asked_and_cancelled_over_rest_can_never_reach_a_real_venue_on_paper(url: str) -> None:
    with pytest.raises(ConfigError, match="no test endpoint"):
        parse_config(_with("venue.rest_url", url))
    tree = _with("venue.rest_url", url)
    del tree["venue"]["api_url"]
    assert parse_config(tree).venue.order_addresses == ()  # market data alone: orders go to the built-in exchange


@pytest.mark.parametrize("url", ["https://testnet.binance.vision", "https://demo-api.binance.com", "http://[::1]:8"])
def test_test_environments_may_be_asked_over_rest(url: str) -> None:
    assert parse_config(_with("venue.rest_url", url)).venue.order_addresses == (url, "ws://127.0.0.1:3")


def test_further_addresses_need_a_first_one_and_decide_no_behaviour() -> None:
    config = parse_config(_with("venue.api_urls", ["ws://127.0.0.1:4"]))
    assert config.venue.api_addresses == ("ws://127.0.0.1:3", "ws://127.0.0.1:4")
    assert config.digest() == parse_config(MINIMAL).digest()
    tree = _with("venue.api_urls", ["ws://127.0.0.1:4"])
    del tree["venue"]["api_url"]
    with pytest.raises(ConfigError, match="needs api_url"):
        parse_config(tree)
    assert parse_config(_with("venue.api_url", "")).venue.api_addresses == ()


@pytest.mark.parametrize("role", ["decider", "gate"])
def test_board_without_its_overlay_is_refused(role: str) -> None:
    with pytest.raises(ConfigError, match="overlay is empty"):
        parse_config(_with(role, "pynq"))
    assert parse_config({**_with(role, "pynq"), "card": {"overlay": "sentinel.xclbin"}}).card.overlay == "sentinel.xclbin"


def test_decider_and_gate_of_two_cards_are_refused() -> None:
    with pytest.raises(ConfigError, match="one daemon drives one card"):
        parse_config({**_with("decider", "rtl"), "gate": "f2"})


def test_decider_is_the_cpu_unless_a_file_says_otherwise() -> None:
    assert parse_config(MINIMAL).decider == "cpu"
    for name in ("rtl", "f2", "f1"):
        assert parse_config(_with("decider", name)).decider == name


@pytest.mark.parametrize(("key", "value"), [("slot", 8), ("slot", -1), ("timeout_us", 9), ("timeout_us", 1_000_001)])
def test_card_that_cannot_be_is_refused(key: str, value: int) -> None:
    assert _refused(f"card.{key}", value).field == f"card.{key}"


def test_where_the_card_is_decides_nothing() -> None:
    moved = _with("card", {"slot": 3, "afi": "elsewhere.json", "timeout_us": 50})
    assert parse_config(moved).digest() == parse_config(MINIMAL).digest()


COINBASE: dict[str, Any] = {
    "venue": {
        "name": "coinbase",
        "rest_url": "https://api-public.sandbox.exchange.coinbase.com",
        "stream_url": "wss://ws-feed-public.sandbox.exchange.coinbase.com",
        "api_url": "wss://ws-feed-public.sandbox.exchange.coinbase.com",
    },
    "feed": {"symbols": ["BTC-USD"], "quote_asset": "USD"},
}
FIX: dict[str, Any] = {
    "venue": {
        "rest_url": "https://testnet.binance.vision",
        "stream_url": "wss://stream.testnet.binance.vision",
        "orders": "fix",
        "fix_url": "tcp+tls://fix-oe.testnet.binance.vision:9000",
        "drop_copy_url": "tcp+tls://fix-dc.testnet.binance.vision:9000",
        "api_key_type": "ed25519",
    },
    "feed": {"symbols": ["BTCUSDT"]},
}


COINBASE_FIX: dict[str, Any] = {
    **COINBASE,
    "venue": {**COINBASE["venue"], "orders": "fix", "fix_url": "tcp+tls://fix-ord.sandbox.exchange.coinbase.com:6121"},
}


def _venue(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**base, "venue": {**base["venue"], **changes}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"api_url": ""}, "built-in paper exchange follows binance_spot"),
        ({"api_urls": ["ws://127.0.0.1:4"]}, "for binance_spot"),
        ({"api_key_type": "ed25519"}, "for binance_spot"),
        # Orders go to the REST address too.
        ({"rest_url": "https://api.exchange.coinbase.com"}, "no test endpoint"),
        ({"api_url": "wss://ws-feed.exchange.coinbase.com"}, "no test endpoint"),
        ({"api_url": "wss://sandbox.exchange.coinbase.com.example.com"}, "no test endpoint"),
    ],
)
def test_settings_of_coinbase_that_cannot_work_or_would_trade_for_real_are_refused(changes: dict[str, Any], says: str) -> None:
    assert parse_config(COINBASE).venue.takes_orders
    with pytest.raises(ConfigError, match=says):
        parse_config(_venue(COINBASE, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fix_url": ""}, "go together"),
        ({"orders": "websocket"}, "go together"),
        ({"api_key_type": "hmac"}, "does not log on by FIX"),
        ({"api_url": "ws://127.0.0.1:3"}, "leave it empty"),
        ({"fix_url": "tcp://fix-oe.testnet.binance.vision:9000"}, "without TLS"),
        ({"drop_copy_url": "tcp://fix-dc.testnet.binance.vision:9000"}, "without TLS"),
        ({"fix_url": "tcp+tls://fix-oe.binance.com:9000"}, "no test endpoint"),
        ({"drop_copy_url": "tcp+tls://fix-dc.binance.com:9000"}, "no test endpoint"),
        ({"fix_url": "fix-oe.testnet.binance.vision:9000"}, "match pattern"),
        ({"fix_sender": "too-long"}, "match pattern"),
    ],
)
def test_settings_of_fix_that_cannot_work_or_would_trade_for_real_are_refused(changes: dict[str, Any], says: str) -> None:
    assert parse_config(FIX).venue.takes_orders
    assert parse_config(_venue(FIX, fix_url="tcp://127.0.0.1:9", drop_copy_url="")).venue.order_address == "tcp://127.0.0.1:9"
    with pytest.raises(ConfigError, match=says):
        parse_config(_venue(FIX, **changes))


def test_a_kill_process_at_coinbase_has_a_key_of_its_kind() -> None:
    assert parse_config({**COINBASE, "killswitch": {"enabled": True}}).killswitch.enabled
    with pytest.raises(ConfigError, match='has "hmac" keys'):
        parse_config({**COINBASE, "killswitch": {"api_key_type": "ed25519"}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fix_url": ""}, "go together"),
        ({"orders": "websocket"}, "go together"),
        ({"api_url": ""}, "name the sandbox's feed"),
        ({"api_key_type": "ed25519"}, "for binance_spot"),
        ({"drop_copy_url": "tcp+tls://fix-dc.sandbox.exchange.coinbase.com:6122"}, "for binance_spot"),
        ({"fix_url": "tcp://fix-ord.sandbox.exchange.coinbase.com:6121"}, "without TLS"),
        ({"fix_url": "tcp+tls://fix-ord.exchange.coinbase.com:6121"}, "no test endpoint"),
    ],
)
def test_settings_of_coinbase_by_fix_that_cannot_work_or_would_trade_for_real_are_refused(
    changes: dict[str, Any], says: str
) -> None:
    venue = parse_config(COINBASE_FIX).venue
    assert venue.order_address == venue.fix_url
    assert set(venue.order_addresses) == {venue.rest_url, venue.api_url, venue.fix_url}
    with pytest.raises(ConfigError, match=says):
        parse_config(_venue(COINBASE_FIX, **changes))


def test_where_the_way_of_an_order_decides_how_late_it_may_be_accepted_it_is_a_setting_of_behaviour() -> None:
    assert parse_config(COINBASE_FIX).digest() != parse_config(COINBASE).digest()
    elsewhere = _venue(COINBASE_FIX, fix_url="tcp://127.0.0.1:9")
    assert parse_config(elsewhere).digest() == parse_config(COINBASE_FIX).digest()


def test_which_way_orders_go_decides_no_behaviour_and_which_venue_does() -> None:
    plain = parse_config({**FIX, "venue": {**FIX["venue"], "orders": "websocket", "fix_url": "", "drop_copy_url": ""}})
    assert parse_config(FIX).digest() == plain.digest()
    products = {"symbols": ["BTC-USD"], "quote_asset": "USD"}
    venue = {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:2", "api_url": "ws://127.0.0.1:3"}
    digests = [
        parse_config({"venue": {**venue, "name": name}, "feed": products}).digest() for name in ("coinbase", "binance_spot")
    ]
    assert digests[0] != digests[1]


def test_a_request_may_be_late_by_the_window_asked_for_or_by_what_the_venue_takes() -> None:
    assert parse_config(_with("venue.recv_window_ms", 700)).venue.acceptance_ms == 700
    assert parse_config(COINBASE).venue.acceptance_ms == 30_000
    assert parse_config(COINBASE_FIX).venue.acceptance_ms == 300_000


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path) -> None:
    assert load_config(path).mode == ("live" if path.stem.endswith("-live") else "paper")


OWN: dict[str, Any] = {
    "max_order_qty": "5",
    "max_order_notional": "6",
    "max_position_notional": "7",
    "price_collar_bps": 50,
    "max_open_orders": 3,
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_symbols_own_limit_is_at_most_the_accounts(name: str, over: int) -> None:
    own: Any = f"{int(OWN[name]) - 1}.99999999" if isinstance(OWN[name], str) and over < 0 else OWN[name]
    own = f"{own}.00000001" if isinstance(own, str) and over > 0 else own if isinstance(own, str) else own + over
    tree = _with("risk.symbols", {"PUMPUSDT": {name: own}})
    tree["risk"] |= {name: OWN[name], "max_position_notional": "7", "max_order_notional": "6"}
    tree["strategy"] = {"slippage_bps": 1}
    if over <= 0:
        risk = parse_config(tree).risk
        assert getattr(risk.of_symbol("PUMPUSDT"), name) <= getattr(risk.of_symbol("BTCUSDT"), name) == getattr(risk, name)
        return
    with pytest.raises(ConfigError) as caught:
        parse_config(tree)
    assert caught.value.field == f"risk.symbols.PUMPUSDT.{name}"
    assert f"risk.{name}" in caught.value.allowed


@pytest.mark.parametrize(
    ("tables", "field"),
    [
        ({"OTHERUSDT": {"max_open_orders": 1}}, "risk.symbols.OTHERUSDT"),
        ({"PUMPUSDT": {"max_drawdown_bps": 100}}, "risk.symbols.PUMPUSDT.max_drawdown_bps"),
        ({"PUMPUSDT": {"max_order_qty": 0.5}}, "risk.symbols.PUMPUSDT.max_order_qty"),
        ({"PUMPUSDT": {"price_collar_bps": -1}}, "risk.symbols.PUMPUSDT.price_collar_bps"),
    ],
)
def test_a_table_of_another_symbol_or_with_another_limit_is_refused_by_name(tables: dict[str, Any], field: str) -> None:
    assert _refused("risk.symbols", tables).field == field
