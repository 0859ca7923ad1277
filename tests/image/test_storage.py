"""Bucket and object: what is there is not sent again, what is in the way is named, what was cut off leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.errors import ImageError
from sentinel.image import storage
from sentinel.image.aws import Account
from sentinel.image.files import sha256
from tests.image.aws_double import Fault, Refusal, client
from tests.image.conftest import Aws

KEY = "sentinel/f2/x.tar"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Some bytes to upload."""
    path = tmp_path / "package.tar"
    path.write_bytes(b"package")
    return path


def _put(aws: Aws, path: Path) -> bool:
    return storage.put(Account(None), aws.bucket, KEY, path, sha256(path))


def _held(aws: Aws) -> bytes:
    return bytes(client(aws.url, "s3").get_object(Bucket=aws.bucket, Key=KEY)["Body"].read())


def test_a_package_is_sent_once(aws: Aws, package: Path) -> None:
    assert _put(aws, package)
    assert not _put(aws, package)
    assert _held(aws) == b"package"
    assert aws.double.count("PutObject") == 1


def test_something_else_under_the_key_is_never_overwritten(aws: Aws, package: Path) -> None:
    client(aws.url, "s3").put_object(Bucket=aws.bucket, Key=KEY, Body=b"theirs", Metadata={"sha256": sha256(package)})
    with pytest.raises(ImageError, match="choose another --prefix"):
        _put(aws, package)
    assert _held(aws) == b"theirs"


def test_a_bucket_in_another_region_is_refused_with_that_region(aws: Aws, package: Path) -> None:
    there = client(aws.url, "s3", "eu-west-2")
    there.create_bucket(Bucket="over-there", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    with pytest.raises(ImageError, match="--region eu-west-2") as caught:
        storage.put(Account(None), "over-there", KEY, package, sha256(package))
    assert caught.value.field == "bucket"
    assert "Contents" not in there.list_objects_v2(Bucket="over-there")


def test_a_bucket_that_is_not_there_is_named_with_the_command_that_makes_it(aws: Aws) -> None:
    with pytest.raises(ImageError, match="aws s3 mb s3://nobodys-bucket --region us-east-1"):
        storage.check_bucket(Account(None), "nobodys-bucket")


@pytest.mark.parametrize("name", ["", "A-Bucket", "a", "s3://bucket", "bucket/path", "x" * 64])
def test_a_name_that_no_bucket_can_have_is_refused_without_asking(aws: Aws, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        storage.check_bucket(Account(None), name)
    assert caught.value.field == "bucket"
    assert not aws.double.calls


@pytest.mark.parametrize(
    ("operation", "permission"), [("HeadBucket", "s3:ListBucket"), ("HeadObject", "s3:GetObject"), ("PutObject", "s3:PutObject")]
)
def test_a_missing_permission_is_named(aws: Aws, package: Path, operation: str, permission: str) -> None:
    aws.double.faults.append(Fault(operation, Refusal("AccessDenied" if operation == "PutObject" else "403", status=403)))
    with pytest.raises(ImageError, match=f"allow {permission}"):
        _put(aws, package)


@pytest.mark.parametrize("what", [Refusal("SlowDown", status=503), Refusal("ExpiredToken"), "reset"])
def test_an_upload_that_was_cut_off_can_be_run_again(aws: Aws, package: Path, what: Refusal | str) -> None:
    aws.double.faults.append(Fault("PutObject", what))
    with pytest.raises(ImageError, match="goes on where it stopped"):
        _put(aws, package)
    assert _put(aws, package)
    assert _held(aws) == b"package"


def test_parts_of_an_upload_that_never_ended_are_taken_away(aws: Aws, package: Path) -> None:
    s3 = client(aws.url, "s3")
    for key in (KEY, "somebody/elses.tar"):
        s3.create_multipart_upload(Bucket=aws.bucket, Key=key)
    assert _put(aws, package)
    assert [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=aws.bucket)["Uploads"]] == ["somebody/elses.tar"]


def test_an_upload_in_parts_that_fails_leaves_none(aws: Aws, package: Path) -> None:
    package.write_bytes(os.urandom(20 << 20))
    aws.double.faults.append(Fault("UploadPart", Refusal("InternalError", status=500), times=9))
    with pytest.raises(ImageError, match="goes on where it stopped"):
        _put(aws, package)
    assert "Uploads" not in client(aws.url, "s3").list_multipart_uploads(Bucket=aws.bucket)
    aws.double.faults.clear()
    assert _put(aws, package)
    assert _held(aws) == package.read_bytes()


def test_without_the_right_to_see_parts_the_upload_goes_on(aws: Aws, package: Path) -> None:
    aws.double.faults.append(Fault("ListMultipartUploads", Refusal("AccessDenied", status=403)))
    assert _put(aws, package)


def test_logs_are_fetched_under_names_that_stay_in_their_directory(aws: Aws, tmp_path: Path) -> None:
    s3 = client(aws.url, "s3")
    for name, body in (("a/../../b.log", b"one"), ("empty.log", b""), ("other.log", b"two")):
        s3.put_object(Bucket=aws.bucket, Key=f"logs/{name}", Body=body)
    s3.put_object(Bucket=aws.bucket, Key="elsewhere.log", Body=b"three")
    written = storage.fetch_logs(Account(None), aws.bucket, "logs/", tmp_path / "logs")
    assert {path.read_bytes() for path in written} == {b"one", b"two"}
    assert {path.parent for path in written} == {tmp_path / "logs"}
