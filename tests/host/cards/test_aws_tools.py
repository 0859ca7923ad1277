"""AWS's tools, run as programs: what they say is matched whole, and what they refuse comes with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import CardError
from sentinel.host.cards import aws_tools
from sentinel.host.cards.aws_tools import AwsTools, ImageState, SlotState, parse_image
from tests.host.cards.machine.user_card import AGFI, UserCard

MakeCard = Callable[..., UserCard]
LOADED = ImageState(0, AGFI, SlotState.LOADED, 0, 0x10212415, 0x1D0F, 0xF051, "0000:00:1e.0")
TEXT = (
    "Type  FpgaImageSlot  FpgaImageId             StatusName    StatusCode   ErrorName    ErrorCode   ShVersion\n"
    "AFI          0       agfi-0123456789abcdef0  loaded            0        ok               0       0x10212415\n"
    "Type  FpgaImageSlot  VendorId    DeviceId    DBDF\n"
    "AFIDEVICE    0       0x1d0f      0xf051      0000:00:1e.0\n"
)
PLAIN = "".join(line + "\n" for line in TEXT.splitlines() if not line.startswith("Type"))


def test_text_of_the_tools_is_understood() -> None:
    assert parse_image("tool", PLAIN, 0) == LOADED
    for nothing in ("none   ", "No AFI "):
        cleared = PLAIN.replace(AGFI, nothing).replace("loaded            0", "cleared           1")
        assert parse_image("tool", cleared, 0) == replace(LOADED, agfi=None, state=SlotState.CLEARED)


def test_text_with_the_management_function_too_is_the_application_functions() -> None:
    both = PLAIN + "AFIDEVICE    0       0x1d0f      0x9248      0000:00:1e.1\n"
    assert parse_image("tool", both, 0) == LOADED


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT,
        PLAIN.replace("AFIDEVICE", "AFIDEV"),
        PLAIN.replace("loaded", "cleared"),
        PLAIN.replace("  0        ok", "  6        ok"),
        PLAIN.replace("0x10212415", "10212415"),
        PLAIN.replace("AFI          0", "AFI          1"),
        PLAIN + "warning: something new\n",
        PLAIN.splitlines()[0],
        "\n".join(reversed(PLAIN.splitlines()[1:])),
    ],
)
def test_text_that_is_not_theirs_is_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(CardError, match="SDK that fits"):
        parse_image("tool", text, 0)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    with pytest.raises(CardError):
        parse_image("tool", text, 0)


def test_load_and_clear_change_the_slot_and_say_so(bare_card: MakeCard) -> None:
    card = bare_card(loaded=False)
    tools = AwsTools(0)
    assert tools.describe().state == SlotState.CLEARED
    assert tools.load(AGFI) == LOADED
    assert (card.application / "device").read_text() == "0xf051\n"
    assert tools.describe() == LOADED
    assert tools.clear().agfi is None
    assert tools.describe().device == 0x9048


@pytest.mark.parametrize(
    "agfi", ["afi-0123456789abcdef0", "agfi-012", "", "agfi-0123456789abcdef0; reboot", "agfi-0123456789ABCDEF0"]
)
def test_id_that_is_no_agfi_never_reaches_a_tool(agfi: str) -> None:
    with pytest.raises(CardError, match="17 hexadecimal digits"):
        AwsTools(0).load(agfi)


@pytest.mark.parametrize(
    ("code", "remedy"), [(5, "available"), (6, "clear the slot"), (16, "build the image for the shell"), (25, "stop and start")]
)
def test_refused_load_names_its_code_and_the_remedy(bare_card: MakeCard, code: int, remedy: str) -> None:
    bare_card(loaded=False).change(refuse=code)
    with pytest.raises(CardError, match=remedy) as caught:
        AwsTools(0).load(AGFI)
    assert f"({code})" in str(caught.value.value)


def test_other_image_than_asked_for_is_no_load(bare_card: MakeCard) -> None:
    bare_card(loaded=False).change(wrong="agfi-0fffffffffffffff0")
    with pytest.raises(CardError, match="agfi-0fffffffffffffff0"):
        AwsTools(0).load(AGFI)


def test_busy_slot_is_waited_for(bare_card: MakeCard) -> None:
    bare_card().change(busy=2)
    assert AwsTools(0).wait_until_idle() == LOADED


def test_slot_that_stays_busy_is_an_error(bare_card: MakeCard) -> None:
    bare_card(loaded=False).change(busy=1000)
    with pytest.raises(CardError, match="another program is loading"):
        AwsTools(0).load(AGFI, patience_s=0.3)


def test_load_that_never_ends_is_given_up(bare_card: MakeCard, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_card(loaded=False).change(hang=60)
    monkeypatch.setattr(aws_tools, "LOAD_S", 0.5)
    with pytest.raises(CardError, match="an answer in time"):
        AwsTools(0).load(AGFI)


def test_slot_the_tools_do_not_know_is_an_error(bare_card: MakeCard) -> None:
    bare_card()
    with pytest.raises(CardError, match=r"pci-device-missing \(20\)"):
        AwsTools(7).describe()


def test_absent_tools_say_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CardError, match="sdk_setup"):
        AwsTools(0).describe()


def test_metrics_are_the_tools_counters_by_name(bare_card: MakeCard) -> None:
    card = bare_card()
    found = AwsTools(0).metrics()
    assert (found["pcim-write-count"], found["pcim-range-error-addr"], found["ocl-slave-timeout"]) == (17, 0, 0)
    card.change(text="something else entirely")
    with pytest.raises(CardError, match="SDK that fits"):
        AwsTools(0).metrics()


def test_switches_and_lamps_are_sixteen_bits(bare_card: MakeCard) -> None:
    card = bare_card()
    AwsTools(0).set_switches(0x8001)
    assert (card.root / "card/switches").read_text() == str(0x8001)
    (card.root / "card/lamps").write_text(str(0x0105))
    assert AwsTools(0).lamps() == 0x0105
