"""An account at AWS: its clients, and what a refusal of one of its services means.

Credentials come from boto3's own chain and nowhere else; nothing here reads, keeps or prints one. Retries of single calls are
botocore's, set as AWS documents it (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from sentinel.errors import ImageError


class Trouble(Enum):
    """Why a call was not answered as asked."""

    passing = "lost connection, throttling or a fault of the service"
    expired = "credentials that have run out"
    identity = "credentials that AWS does not know"
    forbidden = "a missing permission"
    other = "a refusal"


_EXPIRED = {"RequestExpired", "ExpiredToken", "ExpiredTokenException"}
_IDENTITY = {"AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "UnrecognizedClientException"}
_FORBIDDEN = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Forbidden", "403", "OptInRequired"}
_PASSING = {
    "RequestLimitExceeded",
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "InternalFailure",
    "Unavailable",
    "BandwidthLimitExceeded",
}
#: A line that is down or was cut.
_LINE = (ConnectionError, HTTPClientError, IncompleteReadError)
#: What boto3 raises of its own when it cannot get credentials that it once had.
_CHAIN = (CredentialRetrievalError, TokenRetrievalError, UnauthorizedSSOTokenError)
_NONE = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)

_REMEDIES = {
    Trouble.passing: "run the same command again: it goes on where it stopped",
    Trouble.expired: "renew them (for example aws sso login) and run the same command again: it goes on where it stopped",
    Trouble.identity: "check whose keys are set: aws sts get-caller-identity; the machine's clock must be right too",
}


def code_of(error: Exception) -> str:
    """AWS's error code, or the exception's name where AWS did not answer."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")) or "no code"
    return type(error).__name__


def trouble(error: Exception) -> Trouble:
    """What kind of trouble an exception of boto3 is."""
    if isinstance(error, _LINE):
        return Trouble.passing
    if isinstance(error, _CHAIN):
        return Trouble.expired
    if isinstance(error, _NONE):
        return Trouble.identity
    if isinstance(error, Boto3Error) and isinstance(error.__cause__ or error.__context__, Exception):
        return trouble(error.__cause__ or error.__context__)  # type: ignore[arg-type]
    if not isinstance(error, ClientError):
        return Trouble.other
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for codes, kind in ((_EXPIRED, Trouble.expired), (_IDENTITY, Trouble.identity), (_FORBIDDEN, Trouble.forbidden)):
        if code in codes:
            return kind
    passing = code in _PASSING or code.startswith(("Throttl", "RequestThrottled", "ServiceUnavailable")) or status >= 500
    return Trouble.passing if passing else Trouble.other


def explained(error: Exception, field: str, value: object, permission: str) -> ImageError:
    """The error to raise for ``error``; ``permission`` is the IAM action that the call needs."""
    kind = trouble(error)
    remedy = _REMEDIES.get(kind, f"allow {permission} to this user or role" if kind is Trouble.forbidden else "")
    # To a wrong signature AWS answers with the whole request, session token and all.
    hidden = kind is Trouble.identity and isinstance(error, ClientError)
    said = code_of(error) if hidden else " ".join(str(error).split())[:400]
    return ImageError(
        field, value, f"an answer of AWS to {permission}, not {kind.value}", f"{remedy} ({said})" if remedy else said
    )


@contextmanager
def asking(field: str, value: object, permission: str) -> Iterator[None]:
    """Turns what boto3 raises inside into ImageError about ``field``."""
    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise explained(error, field, value, permission) from None


class Account:
    """One identity in one region. Raises ImageError where the chain has no credentials or no region."""

    def __init__(self, region: str | None) -> None:
        self._asked = region
        self.renew()

    def renew(self) -> None:
        """A new session, so that credentials renewed outside are read; raises ImageError where there are none."""
        try:
            self._session = boto3.session.Session(region_name=self._asked)
            credentials = self._session.get_credentials()
        except BotoCoreError as error:
            raise explained(error, "credentials", "boto3's chain", "sts:GetCallerIdentity") from None
        if credentials is None:
            remedy = "aws configure sso, or an instance role; see docs/aws.md"
            raise ImageError("credentials", None, "credentials in boto3's chain", remedy)
        if self._session.region_name is None:
            raise ImageError(
                "region", None, "a region, for example us-east-1", "give --region, or set AWS_REGION or the profile's region"
            )
        self._clients: dict[tuple[str, str], Any] = {}
        # Credentials from the environment stay as they are as long as the process lives.
        self.renewable = credentials.method not in ("env", "explicit")

    @property
    def region(self) -> str:
        """The session's region."""
        return str(self._session.region_name)

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client. Raises ImageError for a region that is none."""
        place = service, region or self.region
        try:
            if place not in self._clients:
                self._clients[place] = self._session.client(service, region_name=place[1])
            return self._clients[place]
        except (BotoCoreError, NoRegionError, ValueError) as error:
            raise ImageError("region", place[1], "a region of AWS, for example us-east-1", str(error)) from None

    def number(self) -> str:
        """The account's twelve digits, as the service says. Raises ImageError for credentials that are refused."""
        with asking("credentials", "boto3's chain", "sts:GetCallerIdentity"):
            return str(self.client("sts").get_caller_identity()["Account"])
