"""Framing and fields: any chunking, any single damage, any order of fields."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError, VenueError
from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage, Garbled, encode

BEGIN = "FIX.4.4"
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
TAGS = st.integers(11, 99_999).filter(lambda tag: tag not in (35, 91, 89, 96, 213, 349, 351, 353, 355, 357, 359, 361))
DATA = st.binary(min_size=1, max_size=30)
FIELDS = st.lists(st.tuples(TAGS, PLAIN), max_size=12)
TYPES = st.sampled_from(["0", "8", "D", "XCN", "j"])


def message(msg_type: str, fields: list[tuple[int, str]], data: bytes | None = None) -> bytes:
    all_fields: list[Field] = list(fields)
    if data is not None:
        all_fields += [(95, len(data)), (96, data)]
    return encode(BEGIN, msg_type, all_fields)


MESSAGES = st.builds(message, TYPES, FIELDS, st.none() | DATA)


def in_pieces(stream: bytes, cuts: list[int]) -> list[FixMessage | Garbled]:
    decoder = Decoder(BEGIN)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [found for a, b in itertools.pairwise(edges) for found in decoder.feed(stream[a:b])]


@given(TYPES, FIELDS, st.none() | DATA)
def test_what_is_encoded_is_decoded_in_its_order(msg_type: str, fields: list[tuple[int, str]], data: bytes | None) -> None:
    raw = message(msg_type, fields, data)
    (found,) = Decoder(BEGIN).feed(raw)
    assert isinstance(found, FixMessage)
    expected = [(tag, value.encode()) for tag, value in fields]
    if data is not None:
        expected += [(95, b"%d" % len(data)), (96, data)]
    assert (found.msg_type, found.fields, found.raw, found.fault) == (msg_type, tuple(expected), raw, "")


@given(st.lists(MESSAGES | DATA | st.just(b"8=FIX.4.4\x019="), max_size=5), st.lists(st.integers(0, 2000), max_size=20))
def test_any_chunking_gives_the_same_messages_and_the_same_garbage(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts) + message("0", [])
    assert in_pieces(stream, cuts) == Decoder(BEGIN).feed(stream) == in_pieces(stream, list(range(len(stream))))


@given(MESSAGES, st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_never_becomes_another_message_and_the_stream_goes_on(raw: bytes, at: int, change: int) -> None:
    damaged = bytearray(raw)
    damaged[at % len(raw)] ^= change
    after = [message("0", [(112, str(k))]) for k in range(3)]
    # Enough follows for even the longest BodyLength to be found wrong.
    found = Decoder(BEGIN, 1024).feed(bytes(damaged) + b"".join(after) + b"x" * 1100)
    messages = [one.raw for one in found if isinstance(one, FixMessage)]
    assert raw not in messages
    assert set(messages) <= set(after)
    assert messages[-1:] == after[-1:]
    assert any(isinstance(one, Garbled) for one in found)


def test_no_damage_to_any_one_byte_goes_unnoticed() -> None:
    raw = message("8", [(11, "STL-1"), (14, "1.5"), (39, "1"), (150, "F")])
    for at in range(len(raw)):
        for value in set(range(256)) - {raw[at]}:
            found = Decoder(BEGIN, 256).feed(raw[:at] + bytes([value]) + raw[at + 1 :])
            assert not any(isinstance(one, FixMessage) for one in found)


@given(st.binary(max_size=300))
def test_garbage_is_reported_whole_and_the_next_message_found(garbage: bytes) -> None:
    whole = message("0", [])
    found = Decoder(BEGIN).feed(garbage + whole)
    assert isinstance(found[-1], FixMessage)
    assert b"".join(one.raw for one in found) == garbage + whole


def test_garbage_without_end_is_counted_and_only_its_beginning_kept() -> None:
    decoder = Decoder(BEGIN)
    for _ in range(1000):
        assert decoder.feed(b"\x00" * 10_000) == []
    (garbled, _) = decoder.feed(message("0", []))
    assert isinstance(garbled, Garbled)
    assert (garbled.size, len(garbled.raw)) == (10_000_000, 4096)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"8=FIX.4.4\x019=5\x0135=0\x0110=160\x01", "CheckSum is wrong"),
        (b"8=FIX.4.4\x019=x\x0135=0\x0110=161\x01", "BodyLength is no number"),
        (b"8=FIX.4.4\x019=\x0135=0\x0110=161\x01", "BodyLength is no number"),
        (b"8=FIX.4.4\x019=00000000005\x0135=0\x0110=161\x01", "BodyLength is no number"),
        (b"8=FIX.4.4\x019=4\x0135=0\x0110=161\x01", "BodyLength is not 5 to 65536"),
        (b"8=FIX.4.4\x019=10000000\x0135=0\x01", "BodyLength is not 5 to 65536"),
        (b"8=FIX.4.4\x019=6\x0135=0\x0110=161\x01xx", "no CheckSum where BodyLength ends"),
        (b"8=FIX.4.2\x019=5\x0135=0\x0110=161\x01", "no message begins here"),
        (b"8=FIX.4.4\x019=6\x0134=12\x0110=%03d\x01", "MsgType is not the third field"),
    ],
)
def test_garbled_message_is_named_and_skipped(raw: bytes, reason: str) -> None:
    if b"%03d" in raw:
        raw = raw % (sum(raw[: raw.index(b"10=%")]) & 0xFF)
    whole = message("0", [])
    found = Decoder(BEGIN).feed(raw + whole)
    assert isinstance(found[0], Garbled)
    assert found[0].reason == reason
    assert isinstance(found[-1], FixMessage)
    assert found[-1].raw == whole


def test_documented_logon_has_its_documented_length_and_checksum() -> None:
    signature = b"4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    key = "sBRXrJx2DsOraMXOaUovEhgVRcjOvCtQwnWj8VxkOh1xqboS02SPGfKi2h8spZJb"
    header: list[Field] = [(34, 1), (49, "EXAMPLE"), (52, "20240627-11:17:25.223"), (56, "SPOT")]
    body: list[Field] = [(95, 88), (96, signature), (98, 0), (108, 30), (141, "Y"), (553, key), (25035, 2)]
    raw = encode(BEGIN, "A", [*header, *body])
    assert raw.startswith(b"8=FIX.4.4\x019=247\x0135=A\x0134=1\x01")
    assert raw.endswith(b"\x0110=227\x01")


def test_leading_zeros_of_body_length_are_taken() -> None:
    # The venue's own News sample has 9=0000113.
    raw = b"8=FIX.4.4\x019=0000005\x0135=0\x01"
    (found,) = Decoder(BEGIN).feed(raw + b"10=%03d\x01" % (sum(raw) & 0xFF))
    assert isinstance(found, FixMessage)


@pytest.mark.parametrize(
    ("body", "fault", "left"),
    [
        (b"58=a\x01x=1\x0111=b\x01", "no field: b'x=1'", {58: b"a", 11: b"b"}),
        (b"58=\x0111=b\x01", "no field: b'58='", {11: b"b"}),
        (b"58\x0111=b\x01", "no field: b'58'", {11: b"b"}),
        (b"058=a\x0111=b\x01", "no field: b'058=a'", {11: b"b"}),
        (b"10=000\x0111=b\x01", "no field: b'10=000'", {11: b"b"}),
        (b"95=9\x0196=ab\x0111=b\x01", "tag 96 is not as long as tag 95 says", {95: b"9", 11: b"b"}),
    ],
)
def test_unreadable_field_is_named_and_the_others_stay_readable(body: bytes, fault: str, left: dict[int, bytes]) -> None:
    head = b"8=FIX.4.4\x019=%d\x0135=8\x01%b" % (len(body) + 5, body)
    (found,) = Decoder(BEGIN).feed(head + b"10=%03d\x01" % (sum(head) & 0xFF))
    assert isinstance(found, FixMessage)
    assert (found.fault, dict(found.fields)) == (fault, left)


@pytest.mark.parametrize("field", [(58, ""), (58, "a\x01b"), (58, "é"), (10, "000"), (96, b"a\x01b"), (58, "a\nb")])
def test_value_no_message_can_carry_is_refused_without_showing_it(field: Field) -> None:
    with pytest.raises(VenueError, match=r"FIX tag \d+ = '\(not shown\)'"):
        encode(BEGIN, "D", [field])


def read(*fields: Field) -> FixMessage:
    (found,) = Decoder(BEGIN).feed(encode(BEGIN, "8", fields))
    assert isinstance(found, FixMessage)
    return found


def test_groups_keep_their_entries_apart_and_in_order() -> None:
    found = read((136, 2), (137, "1"), (138, "A"), (137, "2"), (138, "B"), (139, 4), (58, "x"), (137, "3"))
    assert found.group(136, (137, 138, 139)) == [{137: "1", 138: "A"}, {137: "2", 138: "B", 139: "4"}]
    assert read((58, "x")).group(136, (137,)) == []


@pytest.mark.parametrize("count", [0, 1, 3, "x"])
def test_group_of_another_size_than_announced_is_refused(count: int | str) -> None:
    with pytest.raises(ParseError, match="tag 136"):
        read((136, count), (137, "1"), (137, "2")).group(136, (137, 138, 139))


def test_single_field_that_stands_twice_is_refused() -> None:
    with pytest.raises(ParseError, match="tag 14"):
        read((14, "1"), (14, "2")).find(14)


@pytest.mark.parametrize("value", ["x", "1.5", "+1", "1" * 20, "-"])
def test_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ParseError, match="tag 34"):
        read((34, value)).number(34)


def test_missing_required_field_is_refused() -> None:
    with pytest.raises(ParseError, match="tag 55 = None"):
        read().text(55)
    assert read().find_number(55) is None
