"""Registering a package as an image, once, and waiting for it.

``CreateFpgaImage`` is given a client token that depends on the package alone and is recorded before the call, so that a call
repeated after a crash is answered with the image of the first. AWS forgets tokens in time; so the account's images are looked
through for ours first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from sentinel.errors import ImageError
from sentinel.image import storage
from sentinel.image.aws import Account, Trouble, asking, code_of, explained, trouble
from sentinel.image.failures import explain
from sentinel.image.files import digest

#: Longest pause between two looks, and how long the service may go without one answer, both in seconds.
_PAUSE_MAX, _SILENCE_MAX = 300.0, 3600.0
#: A new image may be unknown to a look that follows at once.
_APPEARS_WITHIN = 300.0
_LOST = ("failed", "unavailable")


class Order(NamedTuple):
    """What is registered: a package in S3, under a name; ``attempt`` counts registrations after failed ones."""

    name: str
    package: str
    target: str
    bucket: str
    key: str
    logs_key: str
    attempt: int

    @property
    def token(self) -> str:
        """The client token, 64 hex digits."""
        return digest([self.name, self.package, self.target, self.bucket, self.key, self.attempt])

    @property
    def description(self) -> str:
        """Marks the image as made from this package."""
        return f"Sentinel {self.target}, package {self.package}, registration {self.attempt + 1}"


class Image(NamedTuple):
    """An image as AWS describes it."""

    afi: str
    agfi: str
    state: str
    message: str
    description: str


def _image(answer: dict[str, Any]) -> Image:
    state = answer.get("State", {})
    image = Image(
        answer.get("FpgaImageId", ""),
        answer.get("FpgaImageGlobalId", ""),
        state.get("Code", ""),
        state.get("Message", ""),
        answer.get("Description", ""),
    )
    check_ids(image.afi, image.agfi)
    return image


def check_ids(afi: str, agfi: str) -> None:
    """Raises ImageError for ids that are none."""
    for field, value, prefix in (("afi", afi, "afi"), ("agfi", agfi, "agfi")):
        if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", value):
            raise ImageError(field, value, f"{prefix}- and 8 to 17 hex digits", "this is no image's id")


def registered(account: Account, order: Order) -> Image | None:
    """The image this order has made already, if any. Raises ImageError where an image of somebody else has its name."""
    with asking("name", order.name, "ec2:DescribeFpgaImages"):
        pages = account.client("ec2").get_paginator("describe_fpga_images")
        named = [{"Name": "name", "Values": [order.name]}]
        found = [_image(image) for page in pages.paginate(Owners=["self"], Filters=named) for image in page["FpgaImages"]]
    mark = f"package {order.package},"
    foreign = [image.afi for image in found if mark not in image.description]
    if foreign:
        remedy = f"choose another --name, or delete it: aws ec2 delete-fpga-image --fpga-image-id {foreign[0]}"
        raise ImageError("name", order.name, f"a name no other image has; {foreign[0]} has it", remedy)
    return next((image for image in found if image.description == order.description), None)


def create(account: Account, order: Order) -> tuple[str, str]:
    """Register; the image's two ids. Answered with the same image however often it is asked. Raises ImageError."""
    with asking("image", order.name, "ec2:CreateFpgaImage"):
        answer = account.client("ec2").create_fpga_image(**_request(order), ClientToken=order.token)
    check_ids(answer["FpgaImageId"], answer["FpgaImageGlobalId"])
    return answer["FpgaImageId"], answer["FpgaImageGlobalId"]


def may_create(account: Account, order: Order) -> None:
    """Asks EC2 whether it would register this. Raises ImageError where it would not."""
    try:
        account.client("ec2").create_fpga_image(**_request(order), DryRun=True)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) != "DryRunOperation":
            raise explained(error, "image", order.name, "ec2:CreateFpgaImage") from None


def _request(order: Order) -> dict[str, Any]:
    return {
        "Name": order.name,
        "Description": order.description,
        "InputStorageLocation": {"Bucket": order.bucket, "Key": order.key},
        "LogsStorageLocation": {"Bucket": order.bucket, "Key": order.logs_key},
    }


def described(account: Account, afi: str, region: str | None = None) -> Image:
    """One image. What boto3 raises is raised."""
    answer = account.client("ec2", region).describe_fpga_images(FpgaImageIds=[afi])
    return _image(answer["FpgaImages"][0])


class Waiting:
    """Waits for one image, through lost connections, throttling, faults of the service and credentials that run out.

    Looks every ``pause`` seconds at first and ever more rarely, at least every five minutes. ``tell`` hears what changes.
    """

    def __init__(
        self,
        account: Account,
        pause: float,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.account, self.pause, self.tell, self.clock, self.sleep = account, pause, tell, clock, sleep

    def until_ready(self, afi: str, region: str | None = None) -> Image:
        """The image when it is available, failed or unavailable. Raises ImageError after an hour without an answer."""
        started = answered = self.clock()
        pause, said = self.pause, ""
        while True:
            try:
                image = described(self.account, afi, region)
                answered = self.clock()
            except (BotoCoreError, ClientError) as error:
                now = self.clock()
                news = self._worth_waiting(error, afi, now - answered, now - started)
            else:
                news = image.state
                if image.state != "pending":
                    return image
            if news != said:
                self.tell(news)
            said = news
            self.sleep(pause)
            pause = min(pause * 1.3, max(_PAUSE_MAX, self.pause))

    def _worth_waiting(self, error: Exception, afi: str, silent: float, waited: float) -> str:
        """What to tell of an error that may pass; raises ImageError for one that won't."""
        kind, code = trouble(error), code_of(error)
        if code == "InvalidFpgaImageID.NotFound" and waited < _APPEARS_WITHIN:
            return "not listed yet"
        if kind is Trouble.expired and self.account.renewable and silent < _SILENCE_MAX:
            # A session that is just being renewed may have none for a moment.
            with suppress(ImageError):
                self.account.renew()
            return f"{kind.value}: renew them, the wait goes on ({code})"
        if kind is Trouble.passing and silent < _SILENCE_MAX:
            return f"{kind.value}, the wait goes on ({code})"
        raise explained(error, "image", afi, "ec2:DescribeFpgaImages")


def failure(account: Account, image: Image, order: Order, directory: Path) -> ImageError:
    """The error for an image that failed, its logs fetched into ``directory``."""
    code, meaning, remedy = explain(image.message)
    try:
        logs = storage.fetch_logs(account, order.bucket, order.logs_key, directory)
        log = f"logs: {', '.join(map(str, logs))}" if logs else f"AWS left no log in s3://{order.bucket}/{order.logs_key}"
    except ImageError as error:
        log = str(error)
    said = f"{code} ({image.message})" if image.message else code
    return ImageError("image", image.afi, f"available, not {image.state}: {said}: {meaning}", f"{remedy}; {log}")


def copy(account: Account, image: Image, name: str, region: str) -> str:
    """The id of the image's copy in ``region``, made once; the global id stays the same. Raises ImageError."""
    token = digest([image.afi, account.region, region])
    with asking("copy_to", region, "ec2:CopyFpgaImage"):
        answer = account.client("ec2", region).copy_fpga_image(
            SourceFpgaImageId=image.afi,
            SourceRegion=account.region,
            Name=name,
            Description=image.description,
            ClientToken=token,
        )
    return str(answer["FpgaImageId"])


def share(account: Account, afi: str, accounts: tuple[str, ...], region: str | None = None) -> None:
    """Let other accounts load the image. Raises ImageError."""
    permitted = {"Add": [{"UserId": number} for number in accounts]}
    with asking("share_with", ", ".join(accounts), "ec2:ModifyFpgaImageAttribute"):
        account.client("ec2", region).modify_fpga_image_attribute(FpgaImageId=afi, LoadPermission=permitted)


def lost(image: Image) -> bool:
    """Whether the image will never be loaded."""
    return image.state in _LOST
