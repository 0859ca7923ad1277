"""Registering once and waiting through whatever the service and the line do, against the double of AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import ImageError
from sentinel.image import registration
from sentinel.image.aws import Account
from sentinel.image.registration import Order, Waiting
from tests.image.aws_double import Fault, Refusal, client
from tests.image.conftest import Aws

ORDER = Order("an image", "ab" * 32, "f2", "sentinel-test", "sentinel/f2/x.tar", "sentinel/logs/x/", 0)
THROTTLED = Refusal("RequestLimitExceeded", "Request limit exceeded.", 503)
UNAVAILABLE = Refusal("Unavailable", "The service is unavailable.", 503)
EXPIRED = Refusal("RequestExpired", "Request has expired.", 400)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def stored(aws: Aws) -> Aws:
    """The account with the order's package in its bucket."""
    client(aws.url, "s3").put_object(Bucket=aws.bucket, Key=ORDER.key, Body=b"package")
    return aws


def _waiting(said: list[str], time: Time, pause: float = 60.0) -> Waiting:
    return Waiting(Account(None), pause, said.append, lambda: time.now, time.sleep)


def test_an_image_registered_twice_is_one(stored: Aws) -> None:
    account = Account(None)
    assert registration.create(account, ORDER) == registration.create(account, ORDER)
    assert len(stored.double.images) == 1


def test_an_image_is_found_when_aws_has_forgotten_its_token(stored: Aws) -> None:
    account = Account(None)
    assert registration.registered(account, ORDER) is None
    afi, agfi = registration.create(account, ORDER)
    stored.double.tokens.clear()
    found = registration.registered(account, ORDER)
    assert found is not None
    assert (found.afi, found.agfi) == (afi, agfi)


def test_another_attempt_is_another_image(stored: Aws) -> None:
    account = Account(None)
    first = registration.create(account, ORDER)
    assert registration.registered(account, ORDER._replace(attempt=1)) is None
    assert registration.create(account, ORDER._replace(attempt=1)) != first


def test_an_answer_that_was_lost_is_asked_for_again_and_not_a_second_image(stored: Aws) -> None:
    stored.double.faults.append(Fault("CreateFpgaImage", "reset after"))
    with pytest.raises(ImageError, match="goes on where it stopped"):
        registration.create(Account(None), ORDER)
    registration.create(Account(None), ORDER)
    assert len(stored.double.images) == 1


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (Refusal("UnauthorizedOperation", status=403), "allow ec2:CreateFpgaImage"),
        (EXPIRED, "renew them"),
        (Refusal("ExpiredToken"), "renew them"),
        (Refusal("AuthFailure", status=401), "check whose keys are set"),
        (THROTTLED, "goes on where it stopped"),
        (UNAVAILABLE, "goes on where it stopped"),
        (Refusal("InternalError", status=500), "goes on where it stopped"),
        (Refusal("FpgaImageLimitExceeded", "too many images"), "too many images"),
    ],
)
def test_a_refused_registration_says_what_to_do(stored: Aws, refusal: Refusal, remedy: str) -> None:
    stored.double.faults.append(Fault("CreateFpgaImage", refusal))
    with pytest.raises(ImageError) as caught:
        registration.create(Account(None), ORDER)
    assert remedy in caught.value.remedy
    assert not stored.double.images


def test_what_aws_says_of_a_wrong_signature_is_not_shown(stored: Aws) -> None:
    refusal = Refusal("SignatureDoesNotMatch", "The Canonical String should have been 'x-amz-security-token:SECRET'", 403)
    stored.double.faults.append(Fault("CreateFpgaImage", refusal))
    with pytest.raises(ImageError, match="SignatureDoesNotMatch") as caught:
        registration.create(Account(None), ORDER)
    assert "SECRET" not in str(caught.value)


def test_boto3s_own_retries_see_a_call_through(stored: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    stored.double.faults += [Fault("CreateFpgaImage", THROTTLED), Fault("CreateFpgaImage", "reset after")]
    registration.create(Account(None), ORDER)
    assert len(stored.double.images) == 1


def test_a_wait_looks_ever_more_rarely_until_the_image_is_available(stored: Aws) -> None:
    stored.double.looks_until_ready = 20
    time, said = Time(), list[str]()
    afi, _ = registration.create(Account(None), ORDER)
    image = _waiting(said, time).until_ready(afi)
    assert (image.afi, image.state, said) == (afi, "available", ["pending"])
    assert len(time.pauses) == 19
    assert time.pauses == sorted(time.pauses)
    assert (time.pauses[0], time.pauses[-1]) == (60.0, 300.0)


@pytest.mark.parametrize("what", [THROTTLED, UNAVAILABLE, Refusal("InternalError", status=500), "reset"])
def test_a_wait_goes_on_through_a_bad_half_hour(stored: Aws, what: Refusal | str) -> None:
    time, said = Time(), list[str]()
    afi, _ = registration.create(Account(None), ORDER)
    stored.double.faults.append(Fault("DescribeFpgaImages", what, times=10))
    assert _waiting(said, time).until_ready(afi).state == "available"
    assert [text.split(",")[0] for text in said] == ["lost connection", "pending"]


@pytest.mark.parametrize("what", [THROTTLED, "reset"])
def test_a_wait_without_an_answer_for_an_hour_ends(stored: Aws, what: Refusal | str) -> None:
    time = Time()
    afi, _ = registration.create(Account(None), ORDER)
    stored.double.faults.append(Fault("DescribeFpgaImages", what, times=1000))
    with pytest.raises(ImageError, match="run the same command again"):
        _waiting([], time).until_ready(afi)
    assert 3600 <= time.now < 4000


def test_a_service_that_is_gone_is_waited_for(stored: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    time, said = Time(), list[str]()
    afi, _ = registration.create(Account(None), ORDER)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    waiting = _waiting(said, time)
    with pytest.raises(ImageError, match="Could not connect"):
        waiting.until_ready(afi)
    assert time.now >= 3600


def test_credentials_of_the_environment_that_run_out_end_the_wait_with_the_remedy(stored: Aws) -> None:
    afi, _ = registration.create(Account(None), ORDER)
    stored.double.faults.append(Fault("DescribeFpgaImages", EXPIRED))
    with pytest.raises(ImageError, match="renew them"):
        _waiting([], Time()).until_ready(afi)


def test_credentials_of_a_profile_that_run_out_are_waited_for_and_read_anew(
    stored: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "credentials"
    keys.write_text("[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = old\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    time, said = Time(), list[str]()
    afi, _ = registration.create(Account(None), ORDER)
    stored.double.faults.append(Fault("DescribeFpgaImages", EXPIRED, times=4))
    waiting = _waiting(said, time)
    first = waiting.account.client("ec2")
    keys.write_text("[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = new\n")
    assert waiting.until_ready(afi).state == "available"
    assert said[0].startswith("credentials that have run out: renew them")
    assert waiting.account.client("ec2") is not first


def test_an_image_that_is_not_listed_at_once_is_waited_for_and_one_that_never_is_ends_the_wait(stored: Aws) -> None:
    unknown, time = Refusal("InvalidFpgaImageID.NotFound"), Time()
    afi, _ = registration.create(Account(None), ORDER)
    stored.double.faults.append(Fault("DescribeFpgaImages", unknown, times=2))
    assert _waiting([], time).until_ready(afi).state == "available"
    stored.double.faults.append(Fault("DescribeFpgaImages", unknown, times=1000))
    with pytest.raises(ImageError, match="InvalidFpgaImageID"):
        _waiting([], time).until_ready(afi)


@pytest.mark.parametrize("state", ["failed", "unavailable"])
def test_a_wait_ends_with_an_image_that_will_never_be_loaded(stored: Aws, state: str) -> None:
    stored.double.outcome = (state, "CLK_ILLEGAL")
    afi, _ = registration.create(Account(None), ORDER)
    image = _waiting([], Time()).until_ready(afi)
    assert registration.lost(image)
    assert image.message == "CLK_ILLEGAL"


def test_a_package_aws_cannot_read_fails_with_the_code(aws: Aws) -> None:
    afi, _ = registration.create(Account(None), ORDER)
    image = _waiting([], Time()).until_ready(afi)
    assert (image.state, image.message.split(":")[0]) == ("failed", "INACCESSIBLE_INPUT")


@pytest.mark.parametrize(("afi", "agfi"), [("afi-xyz", "agfi-00000000000000001"), ("agfi-00000000000000001",) * 2, ("", "")])
def test_ids_that_are_none_are_refused(afi: str, agfi: str) -> None:
    with pytest.raises(ImageError, match="this is no image's id"):
        registration.check_ids(afi, agfi)


def test_an_account_without_credentials_is_told_how_to_get_some(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ImageError, match="aws configure sso"):
        Account(None)


def test_an_account_without_a_region_is_told_how_to_name_one(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(ImageError, match="give --region"):
        Account(None)


def test_a_profile_that_is_not_there_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ImageError, match="nobody"):
        Account(None)
