"""What a machine's files say of its FPGA slots."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.errors import CardError
from sentinel.host.cards.slots import F1, F2, IMAGE_IDS, Tree, cpu_list, find_slot, find_slots
from sentinel.image import project, targets
from tests.host.cards.machine.user_card import UserCard

MakeCard = Callable[..., UserCard]


def test_image_and_shell_are_those_that_build_afi_builds() -> None:
    assert IMAGE_IDS == (project.ID_VENDOR, project.ID_DEVICE, project.ID_SUBSYSTEM_VENDOR, project.ID_SUBSYSTEM)
    for generation, target in ((F2, targets.F2), (F1, targets.F1)):
        assert generation.name == target.name
        assert f"0x{generation.shell_version:08x}" == target.shell_version


def test_slots_are_numbered_by_their_pcie_addresses(bare_card: MakeCard) -> None:
    card = bare_card(slots=("f2", "f2", "f1"))
    slots = find_slots(Tree(card.root))
    assert [slot.number for slot in slots] == [0, 1, 2]
    assert [slot.application.name for slot in slots] == ["0000:00:1e.0", "0000:00:20.0", "0000:00:21.0"]
    assert [slot.management.name for slot in slots] == ["0000:00:1e.1", "0000:00:20.1", "0000:00:22.0"]
    assert [slot.generation for slot in slots] == [F2, F2, F1]
    assert slots[0].ids == IMAGE_IDS
    assert slots[0].numa_node == 0


def test_other_devices_are_no_slots(bare_card: MakeCard) -> None:
    card = bare_card()
    devices = card.application.parent
    for name, ids in {"0000:00:03.0": ("0x8086\n", "0x9248\n"), "0000:00:05.0": ("0x1d0f\n", "0xec20\n")}.items():
        (devices / name).mkdir()
        (devices / name / "vendor").write_text(ids[0])
        (devices / name / "device").write_text(ids[1])
    (devices / "0000:00:04.0").mkdir()
    assert len(find_slots(Tree(card.root))) == 1


def test_machine_without_a_card_says_what_to_do(tmp_path: Path) -> None:
    assert find_slots(Tree(tmp_path)) == []
    with pytest.raises(CardError, match="start an f2 instance, or use the simulated card"):
        find_slot(Tree(tmp_path), 0)


@pytest.mark.parametrize("number", [-1, 1, 8])
def test_slot_that_does_not_exist_is_refused(bare_card: MakeCard, number: int) -> None:
    with pytest.raises(CardError, match=r"allowed is 0\.\.0"):
        find_slot(Tree(bare_card().root), number)


def test_slot_whose_application_function_is_gone_says_how_to_get_it_back(bare_card: MakeCard) -> None:
    card = bare_card()
    shutil.rmtree(card.application)
    with pytest.raises(CardError, match="scan the bus again"):
        find_slots(Tree(card.root))


@pytest.mark.parametrize(
    ("name", "value", "why"), [("device", "0x9048\n", "no image is loaded"), ("subsystem_device", "0x0001\n", "another design")]
)
def test_ids_of_another_image_are_refused(bare_card: MakeCard, name: str, value: str, why: str) -> None:
    card = bare_card()
    (card.application / name).write_text(value)
    with pytest.raises(CardError, match=f"{why}.*sentinel card load"):
        find_slot(Tree(card.root), 0).need_image()


def test_bus_mastering_is_one_bit_and_the_rest_of_the_configuration_stays(bare_card: MakeCard) -> None:
    card = bare_card()
    before = bytearray((card.application / "config").read_bytes())
    slot = find_slot(Tree(card.root), 0)
    assert not slot.bus_mastering
    slot.enable_bus_mastering()
    assert slot.bus_mastering
    before[4] |= 4
    assert (card.application / "config").read_bytes() == before


def test_configuration_that_cannot_be_read_is_a_named_error(bare_card: MakeCard) -> None:
    card = bare_card()
    (card.application / "config").unlink()
    with pytest.raises(CardError, match="run as root"):
        find_slot(Tree(card.root), 0).enable_bus_mastering()


def test_list_of_cpus() -> None:
    assert cpu_list("0-3,8\n") == {0, 1, 2, 3, 8}
    assert cpu_list("\n") == set()
    assert Tree(Path("/nowhere")).node_cpus(0) == set()
