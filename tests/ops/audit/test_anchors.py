"""Anchors: written where they are told, whole lines only, and again in a bucket where nobody can take them away."""

from __future__ import annotations

import base64
import builtins
import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sentinel.config import AuditConfig
from sentinel.errors import AuditError
from sentinel.ops.audit.anchors import AnchorFile, read_anchors
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.object_lock import ObjectLock, Uploads, open_object_lock
from sentinel.ops.audit.segment import list_segments
from sentinel.ops.audit.signing import RootSigner, is_signed_by, load_public_key
from sentinel.ops.audit.verify import verify_trail
from tests.ops.audit.journals import follow_all, make_trail, open_journal, trail_config, write_records

SETTINGS = AuditConfig(s3_bucket="a-bucket", s3_region="us-east-1")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    (tmp_path / "public.pem").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_roots_and_anchors_are_signed_with_the_key_of_the_settings(tmp_path: Path, key: Path) -> None:
    make_trail(tmp_path / "store", 1, 60, signing_key_file=str(key))
    public = load_public_key(tmp_path / "public.pem")
    result = verify_trail(tmp_path / "store" / "audit", tmp_path / "store" / "anchors.jsonl", public)
    assert result.first_bad is None
    assert result.signed == result.closed == 1
    assert result.anchors >= 1
    for anchor in read_anchors(tmp_path / "store" / "anchors.jsonl").anchors:
        place = anchor.segment, anchor.first_index, anchor.count
        assert is_signed_by(public, bytes.fromhex(anchor.signature), *place, bytes.fromhex(anchor.root))
        assert not is_signed_by(public, bytes.fromhex(anchor.signature), *place, bytes(32))


def test_key_that_others_may_read_is_refused(tmp_path: Path, key: Path) -> None:
    key.chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        RootSigner.from_file(key)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nsecret words\n-----END PRIVATE KEY-----\n"])
def test_file_that_is_no_key_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AuditError) as caught:
        RootSigner.from_file(path)
    assert "secret words" not in str(caught.value)
    with pytest.raises(AuditError, match="public key"):
        load_public_key(path)
    with pytest.raises(AuditError):
        RootSigner.from_file(tmp_path / "absent")


def test_key_is_not_shown(key: Path) -> None:
    signer = RootSigner.from_file(key)
    assert repr(signer).startswith("<sentinel.ops.audit.signing.RootSigner object")


def test_line_that_a_kill_cut_is_cut_off_and_the_rest_stays(tmp_path: Path) -> None:
    make_trail(tmp_path, 1, 60)
    path = tmp_path / "anchors.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    assert len(read_anchors(path).anchors) == whole.count(b"\n")
    AnchorFile(path).close()
    assert path.read_bytes() == whole


def test_anchor_that_cannot_be_written_stops_the_follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 1, 60)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AuditError, match=r"audit\.anchors"):
        follow_all(trail_config(tmp_path))


def test_follower_started_again_after_a_kill_anchors_nothing_twice(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 1, 60)
    for _ in range(3):
        follower = AuditFollower(trail_config(tmp_path))
        follower.catch_up()
        follower.anchors.add(follower.writer)
        follower.abandon()
    follow_all(trail_config(tmp_path))
    said = [(anchor.segment, anchor.count, anchor.closed) for anchor in read_anchors(tmp_path / "anchors.jsonl").anchors]
    assert len(said) == len(set(said))
    assert [closed for *_, closed in said][-2:] == [False, True]


@pytest.mark.parametrize("seed", range(3))
def test_segment_whose_anchor_a_kill_prevented_is_anchored_at_the_next_start(tmp_path: Path, seed: int) -> None:
    with open_journal(tmp_path) as journal:
        for part in range(2):
            write_records(journal, seed + part, 60)
            follower = AuditFollower(trail_config(tmp_path))
            follower.catch_up()
            # Killed between the footer and its anchor.
            follower.writer.close()
            follower.abandon()
    follow_all(trail_config(tmp_path))
    closed = [anchor.segment for anchor in read_anchors(tmp_path / "anchors.jsonl").anchors if anchor.closed]
    assert closed == [0, 1]
    assert verify_trail(tmp_path / "audit", tmp_path / "anchors.jsonl").first_bad is None


class Bucket:
    """S3 with Object Lock, as far as it is used: what is there cannot be put again."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}

    def stub(self, count: int) -> Any:
        """A boto3 client whose answers come from botocore's Stubber, ``count`` puts expected."""
        boto3 = pytest.importorskip("boto3", reason="needs the aws extra")
        from botocore.stub import ANY, Stubber

        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        stubber = Stubber(client)
        for _ in range(count):
            expected = {"Bucket": "a-bucket", "IfNoneMatch": "*", "ObjectLockMode": "COMPLIANCE"}
            names = ("Key", "Body", "ChecksumSHA256", "Metadata", "ObjectLockRetainUntilDate")
            stubber.add_response("put_object", {}, {**expected, **dict.fromkeys(names, ANY)})
        stubber.activate()
        put = client.put_object

        def remember(**request: Any) -> Any:
            answer = put(**request)
            self.objects[request["Key"]] = request
            return answer

        client.put_object = remember
        self.stubber = stubber
        return client


def test_anchors_and_closed_segments_are_put_under_object_lock_once(tmp_path: Path) -> None:
    config = make_trail(tmp_path, 1, 60)
    anchors = read_anchors(config.anchor_file).anchors
    bucket = Bucket()
    client = bucket.stub(len(anchors) + 1)
    uploads = Uploads(config.anchor_file, config.audit_directory, ObjectLock(client, SETTINGS))
    assert uploads.pump() == len(anchors)
    bucket.stubber.assert_no_pending_responses()
    assert uploads.pump() == 0
    assert Uploads(config.anchor_file, config.audit_directory, ObjectLock(client, SETTINGS)).pump() == 0
    _, path = list_segments(config.audit_directory)[0]
    stored = bucket.objects[f"sentinel-audit/{path.name}"]
    assert stored["Body"] == path.read_bytes()
    assert base64.b64decode(stored["ChecksumSHA256"]) == hashlib.sha256(path.read_bytes()).digest()
    assert len(bucket.objects) == len(anchors) + 1


def _refusing(code: str, stored_digest: str = "") -> Any:
    boto3 = pytest.importorskip("boto3", reason="needs the aws extra")
    from botocore.stub import Stubber

    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    stubber = Stubber(client)
    stubber.add_client_error("put_object", code)
    if stored_digest:
        stubber.add_response("head_object", {"Metadata": {"sha256": stored_digest}})
    stubber.activate()
    return client


def test_object_that_is_there_already_is_good_if_it_is_the_same() -> None:
    digest = hashlib.sha256(b"body").hexdigest()
    ObjectLock(_refusing("PreconditionFailed", digest), SETTINGS).put("name", b"body")
    with pytest.raises(AuditError, match="another object"):
        ObjectLock(_refusing("PreconditionFailed", digest), SETTINGS).put("name", b"other")


def test_refused_put_is_a_typed_error_and_is_tried_again(tmp_path: Path) -> None:
    config = make_trail(tmp_path, 1, 60)
    uploads = Uploads(config.anchor_file, config.audit_directory, ObjectLock(_refusing("AccessDenied"), SETTINGS))
    with pytest.raises(AuditError, match="AccessDenied"):
        uploads.pump()
    count = len(read_anchors(config.anchor_file).anchors)
    again = Uploads(config.anchor_file, config.audit_directory, ObjectLock(Bucket().stub(count + 1), SETTINGS))
    assert again.pump() == count


def test_bucket_without_boto3_is_a_typed_error_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_boto3(name: str, *rest: Any) -> Any:
        if name == "boto3":
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_boto3)
    with pytest.raises(AuditError, match="sentinel-trading"):
        open_object_lock(SETTINGS)
    with open_journal(tmp_path) as journal:
        write_records(journal, 1, 5)
    with pytest.raises(AuditError, match="sentinel-trading"):
        follow_all(trail_config(tmp_path, s3_bucket="a-bucket"))
