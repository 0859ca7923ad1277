"""Secrets of AWS Secrets Manager, against the service's own model of its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ConfigError
from sentinel.host.venues import key_files
from sentinel.host.venues.secrets_manager import read_from_secrets_manager

boto3 = pytest.importorskip("boto3", reason="needs the aws extra")
stub = pytest.importorskip("botocore.stub", reason="needs the aws extra")

SECRET = "qX7planted9Secret"
SETTING = "venue.api_secret_file"


def _stubbed(answer: dict[str, Any] | None = None, error: str = "", name: str = "prod/binance") -> Any:
    """A client that expects one GetSecretValue of ``name``."""
    client = boto3.client("secretsmanager", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y")
    stubber = stub.Stubber(client)
    if error:
        stubber.add_client_error("get_secret_value", error, f"about {SECRET}", expected_params={"SecretId": name})
    else:
        stubber.add_response("get_secret_value", answer, {"SecretId": name})
    stubber.activate()
    return client


@pytest.mark.parametrize(
    ("reference", "held"),
    [
        ("secretsmanager:prod/binance", SECRET),
        ("secretsmanager:prod/binance", f"{SECRET}\n"),
        ("secretsmanager:prod/binance#secret", json.dumps({"secret": SECRET, "other": 1})),
    ],
)
def test_the_text_or_its_field_is_read(reference: str, held: str) -> None:
    assert read_from_secrets_manager(SETTING, reference, _stubbed({"SecretString": held})) == SECRET


def test_an_arn_is_a_name_too() -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/binance-AbCdEf"
    client = _stubbed({"SecretString": json.dumps({"k": SECRET})}, name=arn)
    assert read_from_secrets_manager(SETTING, f"secretsmanager:{arn}#k", client) == SECRET


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("secretsmanager:prod/binance#secret", {"SecretString": SECRET}),
        ("secretsmanager:prod/binance#secret", {"SecretString": json.dumps({"other": SECRET})}),
        ("secretsmanager:prod/binance#secret", {"SecretString": json.dumps({"secret": [SECRET]})}),
        ("secretsmanager:prod/binance#secret", {"SecretString": json.dumps([SECRET])}),
        ("secretsmanager:prod/binance#secret", {"SecretString": "[" * 100_000 + SECRET}),
        ("secretsmanager:prod/binance", {"SecretBinary": SECRET.encode()}),
        ("secretsmanager:prod/binance", {"SecretString": f"{SECRET}é"}),
        ("secretsmanager:prod/binance", {"SecretString": " "}),
    ],
)
def test_what_is_not_the_secret_is_refused_and_never_quoted(reference: str, answer: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_from_secrets_manager(SETTING, reference, _stubbed(answer))
    assert (caught.value.field, caught.value.value) == (SETTING, reference)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", ["ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure"])
def test_a_refusal_of_the_service_is_named_and_its_message_left_out(error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_from_secrets_manager(SETTING, "secretsmanager:prod/binance", _stubbed(error=error))
    assert error in caught.value.remedy
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("reference", ["secretsmanager:", "secretsmanager:a b", "secretsmanager:a#", "secretsmanager:a#b#c"])
def test_a_reference_that_names_nothing_asks_nobody(reference: str) -> None:
    with pytest.raises(ConfigError, match="correct the reference"):
        read_from_secrets_manager(SETTING, reference, object())


def test_without_credentials_or_region_the_remedy_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="a role and a region"):
        key_files.read_secret(SETTING, Path("secretsmanager:prod/binance#secret"))
