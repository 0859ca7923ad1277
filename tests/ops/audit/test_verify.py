"""No change of a trail goes unnoticed, and the first bad record is named: every bit, and thousands of larger changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import AuditError
from sentinel.ops.audit.anchors import AnchorFile, read_anchors
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.records import AUDIT_RECORD, RECORD_BYTES, AuditKind
from sentinel.ops.audit.segment import PAGE, Fault, decode_header, list_segments
from sentinel.ops.audit.signing import RootSigner
from sentinel.ops.audit.verify import CheckedSegment, check_segment, verify_trail
from sentinel.ops.audit.writer import AuditWriter

SYMBOLS = ("BTCUSDT",)
SIZES = (6, 9, 7)
SEGMENT_BYTES = PAGE + 10 * RECORD_BYTES
KEY = RootSigner(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def _records(first: int, count: int) -> np.ndarray:
    records = np.zeros(count, AUDIT_RECORD)
    records["index"] = np.arange(first, first + count)
    records["journal_end"] = records["journal_sequence"] = 10 * records["index"] + 1
    records["kind"], records["version"] = AuditKind.MARK, 1
    records["payload"] = np.random.default_rng(first).integers(0, 256, records["payload"].shape)
    return records


def _write(directory: Path, signer: RootSigner | None = None, leave_open: bool = False) -> None:
    """Three segments of SIZES records, an anchor in the middle of each and one at its end."""
    anchors = AnchorFile(directory / "anchors", signer)
    first = 0
    for k, size in enumerate(SIZES):
        writer = AuditWriter(directory / "trail", SEGMENT_BYTES, signer)
        for count in (size // 2, size - size // 2):
            writer.append(_records(first, count), SYMBOLS)
            first += count
            writer.commit()
            anchors.add(writer)
        if leave_open and k == len(SIZES) - 1:
            writer.abandon()
            break
        footer = writer.close()
        assert footer is not None
        anchors.add_closed(footer)
    anchors.close()


@pytest.fixture(scope="module", params=["closed", "last segment open"])
def trail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trail")
    _write(directory, KEY, leave_open=request.param != "closed")
    return directory


def _raw(directory: Path) -> list[bytes]:
    return [path.read_bytes() for _, path in list_segments(directory / "trail")]


def _check(segments: list[bytes]) -> tuple[int, int, str] | None:
    """(segment, offset, what) of the first fault in these bytes."""
    before: CheckedSegment | None = None
    for k, raw in enumerate(segments):
        try:
            before = check_segment(raw, before, k == len(segments) - 1)
        except Fault as fault:
            return k, fault.offset, fault.what
    return None


def test_whole_trail_is_found_whole(trail: Path) -> None:
    result = verify_trail(trail / "trail", trail / "anchors", KEY.public_key)
    assert result.first_bad is None
    assert result.records == sum(SIZES)
    assert result.segments == 3
    assert result.signed == result.closed


def test_every_single_bit_flip_is_found_where_it_is(trail: Path) -> None:
    segments = _raw(trail)
    assert _check(segments) is None
    for k, raw in enumerate(segments):
        bad = bytearray(raw)
        before = None if k == 0 else check_segment(segments[k - 1], None if k == 1 else _checked(segments[0]), False)
        for bit in range(8 * len(raw)):
            at = bit // 8
            if at < PAGE:
                # A header is checked first, and alone.
                bad[at] ^= 1 << bit % 8
                with pytest.raises(Fault) as caught:
                    decode_header(bytes(bad[:PAGE]))
                assert caught.value.offset == 0
                bad[at] = raw[at]
                if 200 < at < PAGE - 40 and bit % 8 != at % 8:
                    continue
            bad[at] ^= 1 << bit % 8
            with pytest.raises(Fault) as caught:
                check_segment(bytes(bad), before, k == len(segments) - 1)
            start = (at - PAGE) // RECORD_BYTES * RECORD_BYTES + PAGE if at >= PAGE else 0
            assert caught.value.offset in (start, at), f"segment {k}, byte {at}: {caught.value.what}"
            bad[at] = raw[at]


def _checked(raw: bytes) -> CheckedSegment:
    return check_segment(raw, None, False)


def _cut(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Header, records and the rest."""
    count = len(_good(raw))
    end = PAGE + count * RECORD_BYTES
    return raw[:PAGE], [raw[at : at + RECORD_BYTES] for at in range(PAGE, end, RECORD_BYTES)], raw[end:]


def _good(raw: bytes) -> list[int]:
    return [
        at for at in range(PAGE, len(raw), RECORD_BYTES) if raw[at : at + 8] != b"STLAUDTE" and any(raw[at : at + RECORD_BYTES])
    ]


@given(data=st.data())
@settings(max_examples=1500)
def test_records_deleted_doubled_moved_or_spliced_are_found_at_the_first_of_them(trail: Path, data: st.DataObject) -> None:
    segments = _raw(trail)
    k = data.draw(st.integers(0, len(segments) - 1), "segment")
    head, records, rest = _cut(segments[k])
    other = _cut(segments[(k + 1) % len(segments)])[1]
    count = len(records)
    i = data.draw(st.integers(0, count - 1), "record")
    how = data.draw(st.sampled_from(["delete", "double", "swap", "replace", "insert", "zero", "reverse"]), "change")
    changed = list(records)
    if how == "delete":
        del changed[i]
        # Deleted from the end of an open segment nothing is left to tell: that is what anchors are for.
        if i == count - 1 and k == len(segments) - 1 and not rest.startswith(b"STLAUDTE"):
            return
    elif how == "double":
        changed.insert(i, records[i])
        i += 1
    elif how == "swap":
        j = data.draw(st.integers(0, count - 1).filter(lambda j: j != i), "other record")
        changed[i], changed[j] = changed[j], changed[i]
        i = min(i, j)
    elif how == "replace":
        changed[i] = data.draw(st.sampled_from(other), "foreign record")
    elif how == "insert":
        changed.insert(i, data.draw(st.sampled_from(other), "foreign record"))
    elif how == "zero":
        changed[i] = bytes(RECORD_BYTES)
        if i == count - 1 and not rest.startswith(b"STLAUDTE"):
            return
    else:
        j = data.draw(st.integers(0, count - 1).filter(lambda j: j != i), "other record")
        i, j = min(i, j), max(i, j)
        changed[i : j + 1] = changed[i : j + 1][::-1]
    bad = list(segments)
    bad[k] = head + b"".join(changed) + rest
    found = _check(bad)
    assert found is not None
    segment, offset, what = found
    assert segment == k, what
    # A zeroed record with good ones behind it is named by the first byte that should not be there.
    assert offset == PAGE + i * RECORD_BYTES or (how == "zero" and offset > PAGE + i * RECORD_BYTES), what


@given(data=st.data())
@settings(max_examples=500)
def test_random_bytes_written_anywhere_are_found(trail: Path, data: st.DataObject) -> None:
    segments = _raw(trail)
    k = data.draw(st.integers(0, len(segments) - 1))
    raw = segments[k]
    at = data.draw(st.integers(0, len(raw) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=700))[: len(raw) - at]
    bad = [*segments[:k], raw[:at] + junk + raw[at + len(junk) :], *segments[k + 1 :]]
    found = _check(bad)
    if bad[k] == raw:
        assert found is None
        return
    changed = next(n for n in range(len(raw)) if raw[n] != bad[k][n])
    assert found is not None
    assert found[0] == k
    assert found[1] in (0 if changed < PAGE else (changed - PAGE) // RECORD_BYTES * RECORD_BYTES + PAGE, changed)


def _damaged(trail: Path, tmp_path: Path, change: Callable[[list[Path]], None]) -> Path:
    shutil.copytree(trail, tmp_path / "copy")
    change([path for _, path in list_segments(tmp_path / "copy" / "trail")])
    return tmp_path / "copy"


@pytest.mark.parametrize("k", range(3))
def test_segment_that_is_missing_is_found(trail: Path, tmp_path: Path, k: int) -> None:
    copy = _damaged(trail, tmp_path, lambda paths: paths[k].unlink())
    assert verify_trail(copy / "trail", copy / "anchors").first_bad is not None


def test_segments_that_changed_places_are_found(trail: Path, tmp_path: Path) -> None:
    def swap(paths: list[Path]) -> None:
        first, second = paths[0].read_bytes(), paths[1].read_bytes()
        paths[0].write_bytes(second)
        paths[1].write_bytes(first)

    copy = _damaged(trail, tmp_path, swap)
    bad = verify_trail(copy / "trail").first_bad
    assert bad is not None
    assert "moved" in bad.what


@pytest.mark.parametrize("records", range(sum(SIZES)))
def test_truncation_before_the_last_anchor_is_found_and_located(trail: Path, tmp_path: Path, records: int) -> None:
    """The cunning cut: whole segments removed and the last one made to look open."""

    def cut(paths: list[Path]) -> None:
        left = records
        for path, size in zip(paths, SIZES, strict=True):
            if left == 0 and records:
                path.unlink()
                continue
            kept = min(left, size)
            left -= kept
            if kept < size or left == 0:
                path.write_bytes(path.read_bytes()[: PAGE + kept * RECORD_BYTES].ljust(SEGMENT_BYTES, b"\0"))
            if records == 0:
                break
        if records == 0:
            for path in paths[1:]:
                path.unlink()

    copy = _damaged(trail, tmp_path, cut)
    assert verify_trail(copy / "trail").first_bad is None, "the cut trail hangs together: only an anchor can tell"
    bad = verify_trail(copy / "trail", copy / "anchors").first_bad
    assert bad is not None
    assert "cut off" in bad.what
    assert bad.index == records


@pytest.mark.parametrize("behind", [b"\0", b"x", b"\0" * 255, b"\0" * 256, b"\0" * 4096])
def test_bytes_behind_the_footer_are_refused(tmp_path: Path, behind: bytes) -> None:
    _write(tmp_path)
    path = list_segments(tmp_path / "trail")[-1][1]
    path.write_bytes(path.read_bytes() + behind)
    bad = verify_trail(tmp_path / "trail").first_bad
    assert bad is not None
    assert "behind the footer" in bad.what


def test_closing_leaves_no_room_behind_the_footer(tmp_path: Path) -> None:
    _write(tmp_path)
    for (_, path), size in zip(list_segments(tmp_path / "trail"), SIZES, strict=True):
        assert path.stat().st_size == PAGE + (size + 1) * RECORD_BYTES


def test_trail_made_anew_by_somebody_without_the_key_is_found(tmp_path: Path) -> None:
    _write(tmp_path, RootSigner(Ed25519PrivateKey.generate()))
    assert verify_trail(tmp_path / "trail", tmp_path / "anchors").first_bad is None
    bad = verify_trail(tmp_path / "trail", public_key=KEY.public_key).first_bad
    assert bad is not None
    assert "another key" in bad.what


def test_unsigned_trail_is_not_taken_for_a_signed_one(tmp_path: Path) -> None:
    _write(tmp_path)
    bad = verify_trail(tmp_path / "trail", public_key=KEY.public_key).first_bad
    assert bad is not None
    assert "not signed" in bad.what


def test_anchor_of_another_trail_is_found(trail: Path, tmp_path: Path) -> None:
    shutil.copytree(trail, tmp_path / "copy")
    lines = (tmp_path / "copy" / "anchors").read_text().splitlines()
    root = read_anchors(tmp_path / "copy" / "anchors").anchors[2].root
    lines[2] = lines[2].replace(root, "00" * 32)
    (tmp_path / "copy" / "anchors").write_text("\n".join(lines) + "\n")
    bad = verify_trail(tmp_path / "copy" / "trail", tmp_path / "copy" / "anchors").first_bad
    assert bad is not None
    assert "anchor 3" in bad.what
    bad = verify_trail(trail / "trail", tmp_path / "copy" / "anchors", KEY.public_key).first_bad
    assert bad is not None


def test_line_that_is_no_anchor_is_found(trail: Path, tmp_path: Path) -> None:
    (tmp_path / "anchors").write_bytes((trail / "anchors").read_bytes() + b"{}\n")
    bad = verify_trail(trail / "trail", tmp_path / "anchors").first_bad
    assert bad is not None
    assert bad.segment == "anchors"


@given(data=st.data())
@settings(max_examples=60)
def test_records_that_no_follower_writes_are_named_however_well_they_are_chained(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("forged")
    writer = AuditWriter(directory / "trail", SEGMENT_BYTES)
    forged = _records(0, 9)
    at = data.draw(st.integers(1, 8), "record")
    field, values = data.draw(
        st.sampled_from(
            [
                ("index", st.integers(0, 1 << 62).filter(lambda value: value != at)),
                ("kind", st.integers(len(AuditKind) + 1, 255)),
                ("slots", st.integers(3, 255)),
                ("version", st.integers(2, 255)),
                ("settings", st.integers(at + 1, 1 << 62)),
                ("journal_end", st.integers(91, 1 << 62) if at < 8 else st.just(0)),
            ]
        ),
        "field",
    )
    forged[at][field] = data.draw(values, "value")
    writer.append(forged, SYMBOLS)
    writer.close()
    bad = verify_trail(directory / "trail").first_bad
    assert bad is not None
    assert bad.index in (at, at + 1)
    assert bad.what == "a field that no follower writes"
    for row in read_trail(directory / "trail"):
        assert row["segment"] == bad.segment


@pytest.mark.parametrize(
    ("field", "value"), [("root", '"zz"'), ("count", "0"), ("first_index", "-1"), ("signature", '"00"'), ("closed", "2")]
)
def test_anchor_with_a_field_that_is_none_is_no_anchor(trail: Path, tmp_path: Path, field: str, value: str) -> None:
    first = json.loads((trail / "anchors").read_text().splitlines()[0])
    first[field] = json.loads(value)
    (tmp_path / "anchors").write_text(json.dumps(first) + "\n")
    bad = verify_trail(trail / "trail", tmp_path / "anchors").first_bad
    assert bad is not None
    assert "line 1 is no anchor" in bad.what


def test_directory_without_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="a directory with segments"):
        verify_trail(tmp_path)
    with pytest.raises(AuditError, match="a readable directory"):
        verify_trail(tmp_path / "absent")


def _forge(directory: Path, records: int) -> None:
    """What somebody without the key can do: records of their own at the end of the trail, in an open segment."""
    writer = AuditWriter(directory, SEGMENT_BYTES)
    writer.append(_records(0 if writer.last is None else int(writer.last["index"]) + 1, records), SYMBOLS)
    writer.commit()
    writer.abandon()


@pytest.mark.parametrize("with_anchors", [False, True])
def test_trail_that_nobody_signed_yet_is_refused_with_a_key(tmp_path: Path, with_anchors: bool) -> None:
    _forge(tmp_path / "trail", 5)
    anchors = tmp_path / "anchors" if with_anchors else None
    (tmp_path / "anchors").write_bytes(b"")
    assert verify_trail(tmp_path / "trail", anchors).first_bad is None
    result = verify_trail(tmp_path / "trail", anchors, KEY.public_key)
    assert result.first_bad is not None
    assert "signed with the key" in result.first_bad.what
    assert result.unsigned == result.records == 5


def test_open_segment_under_a_signed_anchor_is_whole(tmp_path: Path) -> None:
    writer, anchors = AuditWriter(tmp_path / "trail", SEGMENT_BYTES, KEY), AnchorFile(tmp_path / "anchors", KEY)
    writer.append(_records(0, 4), SYMBOLS)
    writer.commit()
    anchors.add(writer)
    writer.append(_records(4, 2), SYMBOLS)
    writer.commit()
    writer.abandon()
    anchors.close()
    result = verify_trail(tmp_path / "trail", tmp_path / "anchors", KEY.public_key)
    assert result.first_bad is None
    assert (result.records, result.unsigned) == (6, 2)
    assert verify_trail(tmp_path / "trail", tmp_path / "anchors").unsigned == 6


def test_records_behind_the_last_signature_are_counted(tmp_path: Path) -> None:
    _write(tmp_path, KEY)
    assert verify_trail(tmp_path / "trail", public_key=KEY.public_key).unsigned == 0
    _forge(tmp_path / "trail", 3)
    for anchors in (None, tmp_path / "anchors"):
        result = verify_trail(tmp_path / "trail", anchors, KEY.public_key)
        assert result.first_bad is None
        assert (result.records, result.unsigned) == (sum(SIZES) + 3, 3)
