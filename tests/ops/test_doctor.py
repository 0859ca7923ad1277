"""``sentinel doctor fpga`` against the double of AWS and a sysfs of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.host.cards.registers import MAP_HASH
from sentinel.host.cards.slots import ROOT_VARIABLE, Tree, find_slot
from sentinel.image import record
from sentinel.image.targets import F2
from sentinel.ops import doctor, instance
from sentinel.ops.checks import Check, Outcome
from tests.host.cards.conftest import core_library, user_card
from tests.host.cards.machine.user_card import AGFI, UserCard
from tests.image.aws_double import Fault, Refusal
from tests.image.conftest import BUCKET, Aws, aws

__all__ = ["aws", "core_library", "user_card"]


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCard:
    """A machine with one F2 slot and an image in it, as files and tools; behind the windows is nothing."""
    card = UserCard(tmp_path / "machine")
    for name in ("PATH", ROOT_VARIABLE):
        monkeypatch.setenv(name, card.environment[name])
    (card.root / "proc/meminfo").write_text("MemTotal: 1 kB\nHugePages_Total: 8\nHugePages_Free:  3\n")
    return card


def _rows(tmp_path: Path, bucket: str | None = None, slot: int = 0) -> dict[str, Check]:
    rows = doctor.fpga(F2, tmp_path / "f2", hdk=None, region=None, bucket=bucket, slot=slot)
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


def test_a_slot_that_is_not_there_does_not_apply(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    assert "no slot 3 here, 1 in all" in _rows(tmp_path, slot=3)["slot"].remedy


def test_a_card_that_is_ready_passes_but_for_what_only_a_core_can_answer(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    find_slot(Tree(card.root), 0).enable_bus_mastering()
    rows = _rows(tmp_path)
    found = {name: rows[name].found for name in instance.NAMES if rows[name].outcome is Outcome.ok}
    assert found == {
        "slot": "0: loaded, shell 0x10212415",
        "loaded image": AGFI,
        "bus mastering": "on",
        "resource files": "resource0, resource4_wc, resource4",
        "huge pages": "3 free",
    }
    # The windows of this machine are plain files of zeros.
    assert (rows["magic register"].found, rows["magic register"].outcome) == ("MAGIC = 0x0", Outcome.failed)


def test_image_of_another_build_is_told_how_to_load_ours(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    (tmp_path / "f2").mkdir()
    record.write(tmp_path / "f2", {"agfi": "agfi-0aaaaaaaaaaaaaaa0"})
    row = _rows(tmp_path)["loaded image"]
    assert (row.outcome, "sentinel card load --slot 0" in row.remedy) == (Outcome.failed, True)


def test_a_cleared_slot_is_well_but_has_no_image(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    card.change(state="cleared", agfi=None)
    rows = _rows(tmp_path)
    assert (rows["slot"].outcome, rows["loaded image"].outcome) == (Outcome.ok, Outcome.failed)


def test_a_card_that_may_not_write_to_memory_is_told_the_command(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    row = _rows(tmp_path)["bus mastering"]
    assert row.outcome is Outcome.failed
    assert f"setpci -s {card.application.name} COMMAND=6:6" in row.remedy


def test_a_window_that_cannot_be_mapped_is_named(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    (card.application / "resource4_wc").unlink()
    rows = _rows(tmp_path)
    assert rows["resource files"].found.endswith("resource4_wc")
    assert rows["magic register"].outcome is Outcome.failed


def test_without_awss_tools_the_slot_says_how_to_get_them(
    aws: Aws, tmp_path: Path, card: UserCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = _rows(tmp_path)
    for name in ("slot", "loaded image"):
        assert (rows[name].outcome, "sdk_setup.sh" in rows[name].remedy) == (Outcome.failed, True)


def test_a_free_huge_page_or_the_slots_own_is_needed(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    (card.root / "proc/meminfo").write_text("HugePages_Free:  0\n")
    assert "nr_hugepages" in _rows(tmp_path)["huge pages"].remedy
    (card.root / "dev/hugepages/sentinel-card-0").write_bytes(b"")
    assert _rows(tmp_path)["huge pages"].found == "0 free, one kept for this slot"


def test_a_damaged_record_of_the_image_does_not_stop_the_doctor(aws: Aws, tmp_path: Path, card: UserCard) -> None:
    (tmp_path / "f2").mkdir()
    (tmp_path / "f2" / record.NAME).write_text("{")
    assert _rows(tmp_path)["loaded image"].outcome is Outcome.ok


def test_the_core_behind_a_card_answers_the_doctor(user_card: UserCard) -> None:
    shown = user_card.sentinel("doctor", "fpga", status=1)
    rows = {row["name"]: row for row in shown["checks"]}
    assert rows["magic register"]["state"] == "ok"
    assert f"{MAP_HASH:#010x}" in rows["magic register"]["found"]
