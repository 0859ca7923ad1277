import json

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.binance_spot.signing import Credentials, sign_rest, websocket_payload

# The vectors of the venue's documentation.
CREDENTIALS = Credentials(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
)
REST: dict[str, str | int] = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": "0.1"}
REST_TIME = {"recvWindow": 5000, "timestamp": 1499827319559}


def test_websocket_signature_matches_the_documented_vector() -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": CREDENTIALS.api_key,
        "signature": "not part of the text",
    }
    signature = CREDENTIALS.sign(websocket_payload(params))
    assert signature == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        ("１２３４５６", "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_rest_signature_matches_the_documented_vectors(symbol: str, signature: str) -> None:
    signed = sign_rest({"symbol": symbol, **REST, **REST_TIME}, CREDENTIALS)
    assert signed["signature"] == signature
    assert list(signed)[-1] == "signature"


def test_order_request_carries_exact_decimals_and_a_signature_over_all_of_it() -> None:
    raw = Requests(CREDENTIALS, 500).place("STL-0000000000000", "币安USDT", 2, 1, 2, 1250, 8000 * 10**8, 1723161255400)
    assert raw is not None
    request = json.loads(raw)
    params = request["params"]
    assert request["id"] == params["newClientOrderId"] == "STL-0000000000000"
    assert (params["price"], params["quantity"]) == ("0.0000125", "8000")
    assert (params["side"], params["type"], params["timeInForce"]) == ("SELL", "LIMIT", "IOC")
    assert (params["recvWindow"], params["timestamp"], params["newOrderRespType"]) == (500, 1723161255400, "FULL")
    assert params["signature"] == CREDENTIALS.sign(websocket_payload(params))


@pytest.mark.parametrize(
    ("order_type", "tif", "names"),
    [(1, 3, {"price", "timeInForce"}), (2, 1, {"price"}), (3, 2, set())],
)
def test_each_order_type_sends_only_the_parameters_it_takes(order_type: int, tif: int, names: set[str]) -> None:
    raw = Requests(CREDENTIALS, 500).place("a", "BTCUSDT", 1, order_type, tif, 10**8, 10**8, 1)
    assert raw is not None
    assert {"price", "timeInForce"} & set(json.loads(raw)["params"]) == names


@pytest.mark.parametrize(
    "order",
    [
        (0, 1, 2, 1, 1),
        (3, 1, 2, 1, 1),
        (1, 0, 2, 1, 1),
        (1, 9, 2, 1, 1),
        (1, 1, 0, 1, 1),
        (1, 1, 2, 0, 1),
        (1, 2, 1, -1, 1),
        (1, 1, 2, 1, 0),
        (1, 1, 2, 1, -5),
    ],
)
def test_values_that_cannot_be_an_order_give_no_request(order: tuple[int, int, int, int, int]) -> None:
    assert Requests(CREDENTIALS, 500).place("a", "BTCUSDT", *order, 1) is None


def test_credentials_are_not_shown() -> None:
    assert CREDENTIALS.secret not in repr(CREDENTIALS)
    assert CREDENTIALS.api_key not in repr(CREDENTIALS)
    with pytest.raises(VenueError) as caught:
        Credentials("key", 'se"cret')
    assert 'se"cret' not in str(caught.value)


def test_credentials_come_from_the_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = VenueConfig(rest_url="http://x", stream_url="ws://x", api_key_env="MY_KEY", api_secret_env="MY_SECRET")
    monkeypatch.setenv("MY_KEY", "abc")
    monkeypatch.delenv("MY_SECRET", raising=False)
    with pytest.raises(ConfigError, match="MY_SECRET"):
        Credentials.from_environment(venue)
    monkeypatch.setenv("MY_SECRET", "def")
    assert Credentials.from_environment(venue) == Credentials("abc", "def")
