"""The package in S3, and the logs AWS leaves there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sentinel.errors import ImageError
from sentinel.image.aws import Account, Trouble, asking, code_of, explained, trouble

_ABSENT = ("404", "NoSuchKey", "NotFound")
#: A log worth reading is smaller; the rest are reports.
_LOG_BYTES, _LOGS = 4 << 20, 8


def check_bucket(account: Account, bucket: str) -> None:
    """Raises ImageError for a name that is none, a bucket that is absent, somebody else's or in another region."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ImageError("bucket", bucket, "3 to 63 lower-case letters, digits, dots and hyphens", "name an S3 bucket of yours")
    try:
        answer = account.client("s3").head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) in (*_ABSENT, "NoSuchBucket"):
            remedy = f"create it: aws s3 mb s3://{bucket} --region {account.region}"
            raise ImageError("bucket", bucket, "a bucket that exists", remedy) from None
        raise explained(error, "bucket", bucket, "s3:ListBucket") from None
    region = answer.get("BucketRegion") or _header(answer, "x-amz-bucket-region") or account.region
    if region != account.region:
        remedy = f"use a bucket in {account.region}, or --region {region}"
        raise ImageError("bucket", bucket, f"a bucket in {account.region}; AWS reads packages in the image's region only", remedy)


def _header(answer: dict[str, Any], name: str) -> str:
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get(name, ""))


def holds(account: Account, bucket: str, key: str, size: int, digest: str) -> bool:
    """Whether the object is there and is this package; raises ImageError where something else is under its key."""
    try:
        answer = account.client("s3").head_object(Bucket=bucket, Key=key)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) in _ABSENT:
            return False
        raise explained(error, "object", f"s3://{bucket}/{key}", "s3:GetObject and s3:ListBucket") from None
    if answer["ContentLength"] == size and answer["Metadata"].get("sha256") == digest:
        return True
    remedy = "choose another --prefix, or delete that object"
    raise ImageError("object", f"s3://{bucket}/{key}", f"free, or our package {digest[:12]}", remedy)


def put(account: Account, bucket: str, key: str, path: Path, digest: str) -> bool:
    """Upload the package unless it is there; whether it had to be.

    Raises ImageError; a failed upload leaves no parts behind, and those of a killed one are taken away first.
    """
    check_bucket(account, bucket)
    size = path.stat().st_size
    if holds(account, bucket, key, size, digest):
        return False
    s3 = account.client("s3")
    _abandon_parts(s3, bucket, key)
    with asking("object", f"s3://{bucket}/{key}", "s3:PutObject"):
        s3.upload_file(str(path), bucket, key, ExtraArgs={"Metadata": {"sha256": digest}})
    if not holds(account, bucket, key, size, digest):
        raise ImageError("object", f"s3://{bucket}/{key}", "there after its upload", "run the same command again")
    return True


def _abandon_parts(s3: Any, bucket: str, key: str) -> None:
    """Parts of an upload that never ended are stored and charged; without the right to see them they stay."""
    try:
        listed = s3.list_multipart_uploads(Bucket=bucket, Prefix=key)
        for upload in listed.get("Uploads", []):
            if upload["Key"] == key:
                s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
    except (BotoCoreError, ClientError) as error:
        if trouble(error) is not Trouble.forbidden:
            raise explained(error, "object", f"s3://{bucket}/{key}", "s3:ListBucketMultipartUploads") from None


def fetch_logs(account: Account, bucket: str, prefix: str, directory: Path) -> list[Path]:
    """The youngest logs under ``prefix``, written into ``directory``. Raises ImageError where they cannot be fetched."""
    s3 = account.client("s3")
    written: list[Path] = []
    with asking("logs", f"s3://{bucket}/{prefix}", "s3:ListBucket and s3:GetObject"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [entry for page in pages for entry in page.get("Contents", []) if 0 < entry["Size"] <= _LOG_BYTES]
        for entry in sorted(found, key=lambda entry: entry["LastModified"], reverse=True)[:_LOGS]:
            # A key is AWS's to choose: nothing of its folders is taken over.
            path = directory / re.sub(r"[^\w.-]", "_", entry["Key"].removeprefix(prefix))
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            try:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
            except OSError as error:
                raise ImageError("logs", str(path), "a file that can be written", str(error)) from None
            written.append(path)
    return written
