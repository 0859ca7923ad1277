from __future__ import annotations

import inspect
import pickle

import pytest

from sentinel import errors
from sentinel.errors import FieldError, SentinelError

KINDS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, FieldError)]


@pytest.mark.parametrize("kind", KINDS)
def test_message_names_field_value_allowed_and_remedy(kind: type[FieldError]) -> None:
    error = kind("risk.max_drawdown_bps", 99_999, "1 to 10000", "lower it in sentinel.toml")
    assert str(error) == "risk.max_drawdown_bps = 99999: allowed is 1 to 10000; lower it in sentinel.toml"
    assert (error.field, error.value, error.allowed, error.remedy) == (
        "risk.max_drawdown_bps",
        99_999,
        "1 to 10000",
        "lower it in sentinel.toml",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_handler_catches_every_error(kind: type[FieldError]) -> None:
    assert issubclass(kind, SentinelError)
    assert kind.__doc__


def test_huge_value_does_not_flood_the_log() -> None:
    message = str(errors.ParseError("message", "x" * 100_000, "JSON", "drop it"))
    assert len(message) < 200
    assert "..." in message


def test_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(errors.RingError("slots", 3, "a power of two", "use 65536")))
    assert isinstance(error, errors.RingError)
    assert error.field == "slots"
