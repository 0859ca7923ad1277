"""``sentinel doctor fpga`` against the double of AWS and a sysfs of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import CardError
from sentinel.image import record
from sentinel.image.targets import F2
from sentinel.ops import doctor, instance
from sentinel.ops.checks import Check, Outcome
from tests.image.aws_double import Fault, Refusal
from tests.image.conftest import BUCKET, Aws, aws

__all__ = ["aws"]

_ADDRESS = "0000:34:00.0"


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A card's application function as files: bus mastering on, both windows there."""
    card = tmp_path / "sys/bus/pci/devices" / _ADDRESS
    card.mkdir(parents=True)
    for name, content in (
        ("vendor", b"0x1d0f\n"),
        ("device", b"0xf051\n"),
        ("config", bytes([0x0F, 0x1D, 0x51, 0xF0, 6, 0]) + bytes(58)),
    ):
        (card / name).write_bytes(content)
    for name in ("resource0", "resource4_wc"):
        (card / name).write_bytes(b"")
    other = card.with_name("0000:35:00.0")
    other.mkdir()
    (other / "vendor").write_text("0x8086\n")
    (other / "device").write_text("0xf051\n")
    return tmp_path / "sys"


def _rows(tmp_path: Path, sysfs: Path | None = None, bucket: str | None = None, slot: int = 0) -> dict[str, Check]:
    root = sysfs or tmp_path / "nothing"
    rows = doctor.fpga(F2, tmp_path / "f2", hdk=None, region=None, bucket=bucket, slot=slot, sys_root=root)
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.remedy for row in rows if row.outcome is not Outcome.ok)
    return {row.name: row for row in rows}


def test_a_good_account_passes_every_row(aws: Aws, tmp_path: Path) -> None:
    rows = _rows(tmp_path, bucket=BUCKET)
    assert {rows[name].outcome for name in doctor.ACCOUNT} == {Outcome.ok}
    assert rows["offers"].found == "f2.48xlarge, f2.6xlarge"
    assert not aws.double.images


def test_a_new_account_has_no_quota_and_is_told_the_request(aws: Aws, tmp_path: Path) -> None:
    aws.double.vcpus = 0.0
    row = _rows(tmp_path, bucket=BUCKET)["quota"]
    assert row.outcome is Outcome.failed
    assert "request-service-quota-increase --service-code ec2 --quota-code L-74FC7D96" in row.remedy


def test_a_region_without_the_cards_is_named(aws: Aws, tmp_path: Path) -> None:
    aws.double.offered = ()
    row = _rows(tmp_path, bucket=BUCKET)["offers"]
    assert (row.outcome, row.found) == (Outcome.failed, "region = us-east-1")


@pytest.mark.parametrize(
    ("operation", "row", "permission"),
    [
        ("CreateFpgaImage", "permissions", "ec2:CreateFpgaImage"),
        ("DescribeFpgaImages", "permissions", "ec2:DescribeFpgaImages"),
        ("DescribeInstanceTypeOfferings", "offers", "ec2:DescribeInstanceTypeOfferings"),
        ("GetServiceQuota", "quota", "servicequotas:GetServiceQuota"),
    ],
)
def test_a_missing_permission_is_named_in_its_row(aws: Aws, tmp_path: Path, operation: str, row: str, permission: str) -> None:
    code = "AccessDeniedException" if operation == "GetServiceQuota" else "UnauthorizedOperation"
    aws.double.faults.append(Fault(operation, Refusal(code, status=403)))
    rows = _rows(tmp_path, bucket=BUCKET)
    assert rows[row].outcome is Outcome.failed
    assert f"allow {permission}" in rows[row].remedy
    assert rows["account"].outcome is Outcome.ok


def test_without_a_bucket_its_rows_do_not_apply(aws: Aws, tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert {rows[name].outcome for name in ("bucket", "permissions")} == {Outcome.not_applicable}
    assert rows["account"].outcome is Outcome.ok


def test_without_credentials_every_row_of_the_account_says_so(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    rows = _rows(tmp_path, bucket=BUCKET)
    assert {rows[name].found for name in doctor.ACCOUNT} == {"credentials = None"}


def test_without_a_card_its_rows_do_not_apply(aws: Aws, tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert {rows[name].outcome for name in instance.NAMES} == {Outcome.not_applicable}
    assert "no FPGA in this machine" in rows["slot"].remedy


def test_a_slot_that_is_not_there_does_not_apply(aws: Aws, tmp_path: Path, sysfs: Path) -> None:
    assert "no slot 3 here, 1 in all" in _rows(tmp_path, sysfs, slot=3)["slot"].remedy


def test_a_card_is_found_by_its_ids_and_other_devices_are_not(sysfs: Path) -> None:
    assert [card.path.name for card in instance.functions(sysfs)] == [_ADDRESS]


def test_a_card_that_may_not_write_to_memory_is_told_the_command(aws: Aws, tmp_path: Path, sysfs: Path) -> None:
    assert _rows(tmp_path, sysfs)["bus mastering"].outcome is Outcome.ok
    (sysfs / "bus/pci/devices" / _ADDRESS / "config").write_bytes(bytes([0x0F, 0x1D, 0x51, 0xF0, 2, 0]) + bytes(58))
    row = _rows(tmp_path, sysfs)["bus mastering"]
    assert row.outcome is Outcome.failed
    assert f"setpci -s {_ADDRESS} 4.w=6" in row.remedy


def test_a_window_that_cannot_be_mapped_is_named(aws: Aws, tmp_path: Path, sysfs: Path) -> None:
    assert _rows(tmp_path, sysfs)["resource files"].outcome is Outcome.ok
    (sysfs / "bus/pci/devices" / _ADDRESS / "resource4_wc").unlink()
    assert _rows(tmp_path, sysfs)["resource files"].found.endswith("resource4_wc")


def test_without_awss_tools_the_slot_says_how_to_get_them(
    aws: Aws, tmp_path: Path, sysfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = _rows(tmp_path, sysfs)
    for name in ("slot", "loaded image"):
        assert (rows[name].outcome, "sdk_setup.sh" in rows[name].remedy) == (Outcome.failed, True)


@pytest.mark.parametrize(("free", "passes"), [(0, False), (3, True)])
def test_huge_pages_are_counted(tmp_path: Path, free: int, passes: bool) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nHugePages_Total: 8\nHugePages_Free:  {free}\n")
    if passes:
        assert instance.huge_pages(tmp_path) == "3 free"
    else:
        with pytest.raises(CardError, match="nr_hugepages"):
            instance.huge_pages(tmp_path)


LOADED = (
    "Type  FpgaImageSlot  FpgaImageId             StatusName    StatusCode   ErrorName    ErrorCode  ShVersion\n"
    "AFI          0       agfi-0123456789abcdef0  loaded            0        ok               0       0x10212415\n"
    "Type  FpgaImageSlot  VendorId    DeviceId    DBDF\n"
    "AFIDEVICE    0       0x1d0f      0xf051      0000:34:00.0\n"
)
CLEARED = "AFI          0       No AFI                  cleared           1        ok               0       0x10212415\n"


def test_the_tools_output_is_read_with_and_without_headers_and_image() -> None:
    assert instance.parse_slot(LOADED) == ("agfi-0123456789abcdef0", "loaded", "ok", "0x10212415", "0000:34:00.0")
    assert instance.parse_slot(CLEARED)[:3] == ("", "cleared", "ok")
    with pytest.raises(CardError, match="sdk_setup"):
        instance.parse_slot("Error: (19) hardware-busy\n")


def test_a_damaged_record_of_the_image_does_not_stop_the_doctor(aws: Aws, tmp_path: Path, sysfs: Path) -> None:
    (tmp_path / "f2").mkdir()
    (tmp_path / "f2" / record.NAME).write_text("{")
    assert "loaded image" in _rows(tmp_path, sysfs)
