"""Anchors and closed segments in an S3 bucket with Object Lock: in COMPLIANCE mode nobody deletes them, root included."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from sentinel.config import AuditConfig
from sentinel.errors import AuditError
from sentinel.ops.audit.anchors import Anchor, read_anchors
from sentinel.ops.audit.segment import segment_name

_THERE = ("PreconditionFailed", "412")


class ObjectLock:
    """Puts objects that cannot be overwritten or deleted.

    Args:
        client: boto3's for S3.
        settings: bucket, prefix and retention.
    """

    def __init__(self, client: Any, settings: AuditConfig) -> None:
        self._client = client
        self._bucket = settings.s3_bucket
        self._prefix = settings.s3_prefix.strip("/")
        self._retention = datetime.timedelta(days=settings.s3_retention_days)

    def put(self, name: str, body: bytes) -> None:
        """Store ``body``; nothing to do where it is there already. Raises AuditError, also for another body under that name."""
        from botocore.exceptions import BotoCoreError, ClientError

        digest = hashlib.sha256(body)
        place = {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}"}
        try:
            self._client.put_object(
                **place,
                Body=body,
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata={"sha256": digest.hexdigest()},
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=datetime.datetime.now(datetime.UTC) + self._retention,
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code not in _THERE:
                raise self._error(name, f"{code}: allow s3:PutObject and s3:PutObjectRetention") from None
            self._compare(place, name, digest.hexdigest())
        except BotoCoreError as error:
            raise self._error(name, type(error).__name__) from None

    def _compare(self, place: dict[str, str], name: str, digest: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._client.head_object(**place)["Metadata"].get("sha256")
        except (BotoCoreError, ClientError) as error:
            raise self._error(name, f"{type(error).__name__}: allow s3:GetObject") from None
        if found != digest:
            raise self._error(name, "another object is under that key: keep both as evidence")

    def _error(self, name: str, reason: str) -> AuditError:
        return AuditError(
            "audit.s3_bucket", f"s3://{self._bucket}/{self._prefix}/{name}", "an object that can be put with Object Lock", reason
        )


def open_object_lock(settings: AuditConfig) -> ObjectLock:
    """With boto3's own chain of credentials. Raises AuditError where boto3 or a region is missing."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError:
        raise AuditError(
            "audit.s3_bucket", settings.s3_bucket, 'the extra "aws" installed', 'pip install "sentinel-trading[aws]"'
        ) from None
    try:
        return ObjectLock(boto3.client("s3", region_name=settings.s3_region or None), settings)
    except (BotoCoreError, ValueError) as error:
        raise AuditError("audit.s3_region", settings.s3_region, "a region of AWS", f"set it ({type(error).__name__})") from None


class Uploads:
    """Follows an anchor file: puts each anchor, and each segment that one says is closed.

    How many lines are done is kept beside the file, so that a restart goes on where it stopped; putting one twice is harmless.
    """

    def __init__(self, anchors: Path, directory: Path, lock: ObjectLock) -> None:
        self._anchors = anchors
        self._directory = directory
        self._lock = lock
        self._cursor = anchors.with_name(anchors.name + ".uploaded")
        try:
            self._done = int(self._cursor.read_text())
        except (FileNotFoundError, ValueError):
            self._done = 0

    def pump(self) -> int:
        """Put everything new; how many anchors that were. Raises AuditError; what was put before stays noted."""
        fresh = read_anchors(self._anchors).anchors[self._done :]
        for anchor in fresh:
            self._put(anchor)
            self._done += 1
            temporary = self._cursor.with_name(self._cursor.name + ".tmp")
            try:
                temporary.write_text(str(self._done))
                os.replace(temporary, self._cursor)
            except OSError as error:
                raise AuditError(
                    "audit anchors", str(self._cursor), "a writable file", f"check its disk ({error.strerror})"
                ) from None
        return len(fresh)

    def _put(self, anchor: Anchor) -> None:
        if anchor.closed:
            path = self._directory / segment_name(anchor.first_index)
            try:
                self._lock.put(path.name, path.read_bytes())
            except OSError as error:
                raise AuditError("audit segment", str(path), "a readable file", f"restore it ({error.strerror})") from None
        end = "closed" if anchor.closed else str(anchor.count)
        self._lock.put(f"anchors/{anchor.first_index:020d}-{end}.json", msgspec.json.encode(anchor))
