"""A secret in AWS Secrets Manager, named in the settings as ``secretsmanager:NAME`` or ``secretsmanager:NAME#FIELD``.

NAME is the secret's name or ARN; FIELD is a key of the JSON object it holds. Source: AWS Secrets Manager, GetSecretValue.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sentinel.errors import ConfigError

PREFIX = "secretsmanager:"
_REFERENCE = re.compile(r"secretsmanager:([A-Za-z0-9/_+=.@:-]{1,2048})(?:#([A-Za-z0-9_.-]{1,128}))?")
_TIMEOUT_S = 5
_ATTEMPTS = 2


def read_from_secrets_manager(setting: str, reference: str, client: Any | None = None) -> str:
    """The secret's text. Raises ConfigError, naming ``setting``, where it cannot be had; what it holds is never quoted.

    ``client``: boto3's for secretsmanager; None makes one from the machine's own credentials and region.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise ConfigError(setting, reference, 'the extra "aws" installed', "run scripts/setup --all, or pip install it") from None
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(setting, reference, "secretsmanager:NAME or secretsmanager:NAME#FIELD", "correct the reference")
    name, field = match[1], match[2]
    allowed = "a secret that this machine may read"
    try:
        answer = (client or _new_client()).get_secret_value(SecretId=name)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise ConfigError(
            setting, reference, allowed, f"check name and region, allow secretsmanager:GetSecretValue: {code}"
        ) from None
    except BotoCoreError as error:
        remedy = f"give the machine a role and a region, and a way to the service: {type(error).__name__}"
        raise ConfigError(setting, reference, allowed, remedy) from None
    text = answer.get("SecretString")
    if field is not None:
        text = _field_of(text, field)
    if not isinstance(text, str) or not text.strip() or not text.isascii():
        held = f"the text under {field}" if field is not None else "a text"
        raise ConfigError(setting, reference, held, "store it as a string of plain characters")
    return text.strip()


def _field_of(text: Any, field: str) -> Any:
    try:
        held = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return held.get(field) if isinstance(held, dict) else None


def _new_client() -> Any:
    import boto3
    from botocore.config import Config

    times = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": _ATTEMPTS})
    return boto3.client("secretsmanager", config=times)
