"""The steps from a checkpoint to an image, resumed, forced and refused, against the double of AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ImageError
from sentinel.host.cards.card_image import read_image
from sentinel.host.cards.registers import MAP_HASH
from sentinel.image import pipeline
from sentinel.image.files import sha256
from sentinel.image.request import Request
from sentinel.image.state import locked
from sentinel.image.targets import F1, F2
from sentinel.model.artifact import ABI_VERSION
from tests.image.aws_double import ACCOUNT, REGION, Fault, Refusal, client
from tests.image.checkpoints import write_checkpoint
from tests.image.conftest import Aws


class Told(list[tuple[str, str]]):
    """What a run says."""

    def __call__(self, step: str, text: str) -> None:
        self.append((step, text))

    def of(self, step: str) -> list[str]:
        return [text for name, text in self if name == step]


def _request(aws: Aws, dcp: Path, directory: Path, /, **changes: Any) -> Request:
    given: dict[str, Any] = {"dcp": dcp, "hdk_version": "2.3.2", "bucket": aws.bucket, "pause": 0.01}
    return Request(target=F2, directory=directory, **(given | changes))


def _record(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "afi.json").read_text()))


def test_a_checkpoint_becomes_an_available_image_with_its_record(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    made = pipeline.run(_request(aws, dcp, tmp_path), Told())
    record = _record(tmp_path)
    (afi,) = aws.double.images
    assert (record["afi"], record["agfi"]) == (afi, aws.double.images[afi]["agfi"])
    assert (record["account"], record["region"], record["target"]) == (ACCOUNT, REGION, "f2")
    assert (record["shell_version"], record["hdk_version"], record["tool_version"]) == ("0x10212415", "2.3.2", "v2025.2")
    assert int(record["register_map_hash"], 16) == MAP_HASH
    assert record["model_abi"] == ABI_VERSION
    assert record["timing_violated"] is False
    assert record["dcp_sha256"] == sha256(dcp)
    assert record["package_sha256"] == sha256(Path(made["package"]["package"]))
    assert aws.double.count("CreateFpgaImage") == 1
    # What loads the card reads the same file.
    image = read_image(tmp_path / "afi.json")
    assert (image.agfi, image.timing_violated) == (record["agfi"], False)


def test_a_second_run_does_nothing_again(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    pipeline.run(_request(aws, dcp, tmp_path), Told())
    before = (tmp_path / "afi.json").read_bytes()
    again = pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert again["unchanged"] == ["package", "upload", "register", "wait"]
    assert (tmp_path / "afi.json").read_bytes() == before
    assert (aws.double.count("CreateFpgaImage"), aws.double.count("PutObject")) == (1, 1)


def test_another_checkpoint_is_another_image(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    pipeline.run(_request(aws, dcp, tmp_path), Told())
    first = _record(tmp_path)["afi"]
    write_checkpoint(dcp, payload=b"another netlist")
    assert pipeline.run(_request(aws, dcp, tmp_path), Told())["unchanged"] == []
    assert _record(tmp_path)["afi"] != first
    assert len(aws.double.images) == 2


def test_what_was_lost_on_disk_or_in_the_bucket_is_made_again_without_a_second_image(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    made = pipeline.run(_request(aws, dcp, tmp_path), Told())
    Path(made["package"]["package"]).unlink()
    client(aws.url, "s3").delete_object(Bucket=aws.bucket, Key=made["upload"]["key"])
    (tmp_path / "afi.json").unlink()
    again = pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert again["unchanged"] == ["register"]
    assert again["package"]["sha256"] == made["package"]["sha256"]
    assert _record(tmp_path)["afi"] == made["register"]["afi"]
    assert len(aws.double.images) == 1


@pytest.mark.parametrize("gone", ["state.json", "all"])
def test_a_lost_state_finds_what_is_at_aws(aws: Aws, dcp: Path, tmp_path: Path, gone: str) -> None:
    first = pipeline.run(_request(aws, dcp, tmp_path / "a"), Told())
    (tmp_path / "a" / "state.json").unlink()
    again = pipeline.run(_request(aws, dcp, tmp_path / ("a" if gone == "state.json" else "b")), Told())
    assert again["register"]["afi"] == first["register"]["afi"]
    assert (len(aws.double.images), aws.double.count("PutObject")) == (1, 1)


def test_from_forces_a_step_and_those_after_it_but_no_second_image(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    pipeline.run(_request(aws, dcp, tmp_path), Told())
    again = pipeline.run(_request(aws, dcp, tmp_path, start_from="upload"), Told())
    assert again["unchanged"] == ["package"]
    assert len(aws.double.images) == 1


def test_a_failed_image_ends_the_run_and_only_from_register_tries_again(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    aws.double.outcome = ("failed", "UNKNOWN_BITSTREAM_GENERATE_ERROR: internal")
    for _ in range(2):
        with pytest.raises(ImageError, match="UNKNOWN_BITSTREAM_GENERATE_ERROR"):
            pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert len(aws.double.images) == 1
    assert not (tmp_path / "afi.json").exists()
    aws.double.images["afi-00000000000000001"]["fails"] = aws.double.outcome[1]
    aws.double.outcome = ("available", "")
    made = pipeline.run(_request(aws, dcp, tmp_path, start_from="register"), Told())
    assert made["register"]["afi"] == "afi-00000000000000002"
    assert _record(tmp_path)["afi"] == "afi-00000000000000002"


def test_the_logs_of_a_failed_image_are_fetched(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    aws.double.outcome = ("failed", "UNSUPPORTED_DESIGN_LOGIC")
    with pytest.raises(ImageError, match="AWS left no log"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    request = next(given for name, given in aws.double.calls if name == "CreateFpgaImage" and not given.get("DryRun"))
    key = request["LogsStorageLocation"]["Key"] + "afi-1/vivado.log"
    client(aws.url, "s3").put_object(Bucket=aws.bucket, Key=key, Body=b"ERROR: combinational loop")
    with pytest.raises(ImageError, match=r"combinational loop, or a primitive.*afi-1_vivado\.log"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert [path.read_bytes() for path in (tmp_path / "logs").iterdir()] == [b"ERROR: combinational loop"]


def test_copies_and_permissions_are_recorded(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    wanted = {"copy_to": ("eu-west-2",), "share_with": ("210987654321",)}
    for _ in range(2):
        pipeline.run(_request(aws, dcp, tmp_path, **wanted), Told())
    record = _record(tmp_path)
    assert set(record["regions"]) == {REGION, "eu-west-2"}
    assert {aws.double.images[afi]["agfi"] for afi in record["regions"].values()} == {record["agfi"]}
    assert aws.double.permitted == {afi: ["210987654321"] for afi in record["regions"].values()}
    assert (record["shared_with"], len(aws.double.images)) == (["210987654321"], 2)


def test_a_dry_run_writes_nothing_anywhere(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    told = Told()
    pipeline.plan(_request(aws, dcp, tmp_path / "f2", copy_to=("eu-west-2",)), told)
    assert [step for step, _ in told] == ["doctor", "package", "upload", "register", "wait", "share"]
    assert not (tmp_path / "f2").exists()
    assert not aws.double.images
    assert client(aws.url, "s3").list_objects_v2(Bucket=aws.bucket)["KeyCount"] == 0


def test_a_dry_run_tells_of_a_missing_permission(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    aws.double.faults.append(Fault("CreateFpgaImage", Refusal("UnauthorizedOperation", status=403), times=9))
    with pytest.raises(ImageError, match="allow ec2:CreateFpgaImage"):
        pipeline.plan(_request(aws, dcp, tmp_path), Told())


def test_a_missing_permission_is_found_before_anything_is_made(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    aws.double.faults.append(Fault("CreateFpgaImage", Refusal("UnauthorizedOperation", status=403), times=9))
    with pytest.raises(ImageError, match="allow ec2:CreateFpgaImage"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert aws.double.count("PutObject") == 0
    assert not (tmp_path / "packages").exists()


def test_a_violated_checkpoint_is_refused_unless_allowed_and_then_marked(aws: Aws, tmp_path: Path) -> None:
    dcp = write_checkpoint(tmp_path / "cl_sentinel.2026_11_01-120000.post_route.VIOLATED.dcp")
    with pytest.raises(ImageError, match="whose timing is met"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert not aws.double.images
    pipeline.run(_request(aws, dcp, tmp_path, allow_timing_violation=True), Told())
    assert _record(tmp_path)["timing_violated"] is True
    with pytest.raises(ImageError, match="whose timing is met"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())


def test_a_package_from_elsewhere_is_checked_and_its_timing_unknown(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    made = pipeline.run(_request(aws, dcp, tmp_path / "a", stop_after="package"), Told())
    tar = Path(made["package"]["package"])
    told = Told()
    pipeline.run(_request(aws, dcp, tmp_path / "b", dcp=None, hdk_version=None, tar=tar), told)
    record = _record(tmp_path / "b")
    assert (record["package_sha256"], record["dcp_sha256"]) == (sha256(tar), sha256(dcp))
    assert (record["timing_violated"], record["rtl_sha256"]) == (None, None)
    assert "nothing tells whether its timing is met" in told.of("package")[0]


def test_a_package_beside_its_checkpoint_tells_its_timing(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    made = pipeline.run(_request(aws, dcp, tmp_path / "a", stop_after="package"), Told())
    tar = Path(made["package"]["package"])
    beside = Path(tar.parent / "cl_sentinel.2026_11_01-120000.post_route.VIOLATED.dcp")
    beside.write_bytes(dcp.read_bytes())
    with pytest.raises(ImageError, match="whose timing is met"):
        pipeline.run(_request(aws, dcp, tmp_path / "b", dcp=None, tar=tar), Told())


def test_a_damaged_package_is_never_uploaded(aws: Aws, tmp_path: Path) -> None:
    tar = tmp_path / "some.tar"
    tar.write_bytes(b"no tar at all")
    told = Told()
    with pytest.raises(ImageError, match="CORRUPT_ARCHIVE"):
        pipeline.run(_request(aws, tar, tmp_path, dcp=None, tar=tar), told)
    assert aws.double.count("PutObject") == 0
    assert told.of("package")[0].startswith("CORRUPT_ARCHIVE: package = ")


def test_a_corrupted_checkpoint_is_never_packaged(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    dcp.write_bytes(dcp.read_bytes().replace(b"netlist", b"nutlist"))
    with pytest.raises(ImageError, match=r"top\.edf is damaged"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert not (tmp_path / "packages").exists()


def test_a_checkpoint_inside_the_project_takes_the_projects_hash(aws: Aws, tmp_path: Path) -> None:
    root = tmp_path / "cl_sentinel"
    dcp = write_checkpoint(root / "build/checkpoints/cl_sentinel.2026_11_01-120000.post_route.dcp")
    (root / "design").mkdir()
    (root / "design" / "cl_sentinel.sv").write_text("module cl_sentinel; endmodule\n")
    pipeline.run(_request(aws, dcp, tmp_path), Told())
    assert len(_record(tmp_path)["rtl_sha256"]) == 64


@pytest.mark.parametrize("step", ["synthesise", "package", "upload", "share"])
def test_f1_can_only_be_written_and_linted(tmp_path: Path, step: str) -> None:
    given: dict[str, Any] = {"bucket": "sentinel-test", "copy_to": ("eu-west-2",)}
    with pytest.raises(ImageError, match="AWS retired F1 on 2025-12-20"):
        pipeline.run(Request(target=F1, directory=tmp_path, stop_after=step, **given), Told())
    assert Request(target=F1, directory=tmp_path, stop_after="lint").steps() == ("doctor", "emit", "lint")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bucket": None}, "bucket"),
        ({"tar": Path("nowhere.tar"), "dcp": None}, "tar"),
        ({"dcp": Path("nowhere.dcp")}, "dcp"),
        ({"start_from": "emit"}, "from"),
        ({"start_from": "share"}, "from"),
        ({"region": "mars"}, "region"),
        ({"copy_to": ("us-east-1 ",)}, "region"),
        ({"share_with": ("12345",)}, "share_with"),
        ({"name": "a\nb"}, "name"),
        ({"prefix": "/a//b"}, "prefix"),
        ({"hdk_version": "2.3"}, "hdk_version"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_before_anything_happens(
    aws: Aws, dcp: Path, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ImageError) as caught:
        pipeline.run(_request(aws, dcp, tmp_path / "f2", **changes), Told())
    assert caught.value.field == field
    assert caught.value.remedy
    assert not (tmp_path / "f2").exists()
    assert not aws.double.calls


def test_a_checkpoint_and_a_package_at_once_are_refused(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not both"):
        pipeline.run(_request(aws, dcp, tmp_path, tar=dcp), Told())


def test_the_kit_a_checkpoint_was_built_with_must_be_known(
    aws: Aws, dcp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_FPGA_REPO_DIR", "HDK_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ImageError, match="--hdk-version"):
        pipeline.run(_request(aws, dcp, tmp_path, hdk_version=None), Told())


def test_two_builds_at_once_in_one_directory_are_refused(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ImageError, match="no other build is at work"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())
    pipeline.run(_request(aws, dcp, tmp_path), Told())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 9}', '{"done": 1}'])
def test_a_state_that_cannot_be_read_is_named_with_the_remedy(aws: Aws, dcp: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ImageError, match="delete it: every step runs again"):
        pipeline.run(_request(aws, dcp, tmp_path), Told())


def test_a_damaged_record_is_written_anew(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    pipeline.run(_request(aws, dcp, tmp_path), Told())
    whole = (tmp_path / "afi.json").read_text()
    (tmp_path / "afi.json").write_text(whole[:40])
    assert pipeline.run(_request(aws, dcp, tmp_path), Told())["unchanged"] == ["package", "upload", "register"]
    assert (tmp_path / "afi.json").read_text() == whole


def test_an_image_of_somebody_else_with_the_same_name_is_never_taken(aws: Aws, dcp: Path, tmp_path: Path) -> None:
    pipeline.run(_request(aws, dcp, tmp_path / "a", name="the card"), Told())
    write_checkpoint(dcp, payload=b"another netlist")
    with pytest.raises(ImageError, match="choose another --name") as caught:
        pipeline.run(_request(aws, dcp, tmp_path / "b", name="the card"), Told())
    assert caught.value.field == "name"
    assert len(aws.double.images) == 1
