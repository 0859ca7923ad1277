"""Opening a slot: each thing that can be wrong with it has its error and its remedy, and nothing stays open."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.errors import CardError
from sentinel.host.cards.card_image import read_image
from sentinel.host.cards.huge_ring import HugeRing
from sentinel.host.cards.opened import OpenedCard, SlotLock, pin_near, wait_for_magic
from sentinel.host.cards.slots import Slot, Tree, find_slot
from sentinel.host.cards.sysfs import SysfsBus
from tests.host.cards.machine.user_card import AGFI, UserCard

MakeCard = Callable[..., UserCard]


def _slot(card: UserCard) -> tuple[Slot, Tree]:
    tree = Tree(card.root)
    return find_slot(tree, 0), tree


def _refused(card: UserCard, **afi: object) -> CardError:
    slot, tree = _slot(card)
    with pytest.raises(CardError) as caught:
        OpenedCard(slot, tree, read_image(card.afi(**afi)))
    SlotLock(tree, 0).close()  # nothing stays open
    return caught.value


def test_cleared_slot_is_refused(bare_card: MakeCard) -> None:
    error = _refused(bare_card(loaded=False))
    assert (error.value, error.allowed, error.remedy) == ("cleared", "loaded", "sentinel card load --slot 0")


def test_other_image_is_refused(bare_card: MakeCard) -> None:
    error = _refused(bare_card(), agfi="agfi-0aaaaaaaaaaaaaaa0")
    assert (error.field, error.value, error.allowed) == ("slot 0 agfi", AGFI, "agfi-0aaaaaaaaaaaaaaa0")


def test_other_shell_is_refused(bare_card: MakeCard) -> None:
    card = bare_card()
    card.change(shell="0x10212416")
    assert "another shell" in _refused(card).remedy


def test_ids_that_the_kernel_did_not_scan_again_are_refused(bare_card: MakeCard) -> None:
    card = bare_card()
    (card.application / "device").write_text("0x9048\n")
    assert "no image is loaded" in _refused(card).remedy


def test_second_daemon_on_one_slot_is_refused_and_told_who_has_it(bare_card: MakeCard) -> None:
    card = bare_card()
    slot, tree = _slot(card)
    first = SlotLock(tree, 0)
    with pytest.raises(CardError, match=f"in use by process {os.getpid()}"):
        OpenedCard(slot, tree, None)
    SlotLock(tree, 1).close()
    first.close()
    SlotLock(tree, 0).close()


def test_machine_without_huge_pages_says_how_to_get_some(bare_card: MakeCard) -> None:
    card = bare_card()
    (card.root / "proc/mounts").write_text("tmpfs /run tmpfs rw 0 0\n")
    error = _refused(card)
    assert error.field == "huge pages"
    assert "mount -t hugetlbfs" in error.remedy


@pytest.mark.parametrize("name", ["resource0", "resource4_wc"])
def test_window_that_is_not_there_is_a_named_error(bare_card: MakeCard, name: str) -> None:
    card = bare_card()
    (card.application / name).unlink()
    with pytest.raises(CardError, match="scan the bus again") as caught:
        SysfsBus(_slot(card)[0])
    assert caught.value.field == name


def test_window_without_memory_is_a_named_error(bare_card: MakeCard) -> None:
    card = bare_card()
    os.truncate(card.management / "resource4", 0)
    with pytest.raises(CardError, match="at least 4096 bytes"):
        SysfsBus(_slot(card)[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_window_that_may_not_be_opened_says_who_may(bare_card: MakeCard) -> None:
    card = bare_card()
    (card.application / "resource0").chmod(0)
    with pytest.raises(CardError, match="run as root"):
        SysfsBus(_slot(card)[0])


def test_window_that_is_no_memory_says_who_may(bare_card: MakeCard) -> None:
    card = bare_card()
    (card.application / "resource0").unlink()
    (card.application / "resource0").mkdir()
    with pytest.raises(CardError, match="run as root"):
        SysfsBus(_slot(card)[0])


def test_registers_and_beats_land_at_their_offsets_in_the_files(bare_card: MakeCard) -> None:
    card = bare_card()
    bus = SysfsBus(_slot(card)[0])
    bus.ocl_write(0x18, 0x12345678)
    bus.sda_write(0x8, 0xDEADBEEF)
    assert bus.pcis_write64(64, bytes(range(64)))
    assert not bus.pcis_write64(4096, bytes(64))
    assert (bus.ocl_read(0x18), bus.sda_read(0x8)) == (0x12345678, 0xDEADBEEF)
    assert (card.application / "resource0").read_bytes()[0x18:0x1C] == bytes.fromhex("78563412")
    assert (card.management / "resource4").read_bytes()[8:12] == bytes.fromhex("efbeadde")
    assert (card.application / "resource4_wc").read_bytes()[64:128] == bytes(range(64))
    bus.close()
    bus.close()
    assert not bus.pcis_write64(0, bytes(64))


@pytest.mark.parametrize("offset", [-4, 2, 4096, 1 << 32])
def test_register_outside_the_window_is_refused(bare_card: MakeCard, offset: int) -> None:
    bus = SysfsBus(_slot(bare_card())[0])
    with pytest.raises(CardError, match="register"):
        bus.ocl_read(offset)
    with pytest.raises(CardError, match="register"):
        bus.sda_write(offset, 0)
    bus.close()


def test_image_that_never_answers_is_given_up(bare_card: MakeCard) -> None:
    bus = SysfsBus(_slot(bare_card())[0])
    with pytest.raises(CardError, match="does not answer"):
        wait_for_magic(bus, patience_s=0.1)
    bus.close()


def test_thread_is_kept_near_the_card(bare_card: MakeCard) -> None:
    card = bare_card()
    slot, tree = _slot(card)
    before = os.sched_getaffinity(0)
    first = min(before)
    try:
        (card.root / "sys/devices/system/node/node0/cpulist").write_text(f"{first},4000\n")
        assert pin_near(slot, tree) == {first}
        assert os.sched_getaffinity(0) == {first}
        (card.application / "numa_node").write_text("-1\n")
        assert pin_near(slot, tree) == set()
        assert os.sched_getaffinity(0) == {first}
    finally:
        os.sched_setaffinity(0, before)


def test_image_file_is_read(bare_card: MakeCard) -> None:
    image = read_image(bare_card().afi(timing_violated=True))
    assert (image.agfi, image.timing_violated) == (AGFI, True)
    with pytest.raises(CardError, match="met its timing"):
        image.need_clean_timing()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"register_map_hash": "0x00000001"}, "register_map_hash"),
        ({"register_map_hash": 7}, "register_map_hash"),
        ({"agfi": "afi-0123456789abcdef0"}, "agfi"),
        ({"agfi": None}, "agfi"),
        ({"timing_violated": "no"}, "timing_violated"),
    ],
)
def test_image_file_with_a_wrong_value_is_refused_by_name(bare_card: MakeCard, fields: dict[str, object], named: str) -> None:
    with pytest.raises(CardError) as caught:
        read_image(bare_card().afi(**fields))
    assert caught.value.field == named


@pytest.mark.parametrize("text", [None, "", "{", "[]", json.dumps({"afi": "afi-0"})])
def test_absent_or_damaged_image_file_says_where_it_comes_from(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "afi.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CardError, match="sentinel build-afi"):
        read_image(path)


def test_ring_without_its_memory_is_refused_before_anything_is_mapped(bare_card: MakeCard) -> None:
    card = bare_card()
    # Nobody tells physical addresses here.
    with pytest.raises(CardError, match="pagemap"):
        HugeRing(Tree(card.root), 0)
    (card.root / "dev/hugepages").rename(card.root / "dev/elsewhere")
    with pytest.raises(CardError, match="reserve some"):
        HugeRing(Tree(card.root), 0)
    (card.root / "proc/mounts").write_text("tmpfs /run tmpfs rw 0 0\n")
    with pytest.raises(CardError, match="mount -t hugetlbfs"):
        HugeRing(Tree(card.root), 0)
