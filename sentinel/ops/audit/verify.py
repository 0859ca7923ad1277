"""Is the trail whole? Every digest, link, index, footer, signature and anchor, up to the first one that is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import AuditError
from sentinel.ops.audit.anchors import Anchor, read_anchors
from sentinel.ops.audit.journal_check import JournalCheck
from sentinel.ops.audit.records import AUDIT_RECORD, DIGEST_BYTES, MAX_SLOTS, RECORD_BYTES, RECORD_VERSION, AuditKind
from sentinel.ops.audit.segment import (
    NO_ROOT,
    AuditFooter,
    AuditHeader,
    Fault,
    decode_footer,
    decode_header,
    is_chained,
    list_segments,
)
from sentinel.ops.audit.signing import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, is_signed_by


@dataclass(frozen=True)
class Finding:
    """The first thing that is wrong: ``index`` of the record, None where it is not one; ``offset`` of it in the file."""

    segment: str
    index: int | None
    offset: int
    what: str


@dataclass
class Verification:
    """What was checked, and what was found: ``first_bad`` is None for a trail that is whole.

    ``unsigned`` records are behind the last checked signature; those of anchors are checked with a key only. ``journal`` says
    what was compared with the journal, None where nobody asked for it.
    """

    segments: int = 0
    closed: int = 0
    signed: int = 0
    records: int = 0
    unsigned: int = 0
    anchors: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    journal: JournalCheck | None = None
    first_bad: Finding | None = None


@dataclass(frozen=True)
class CheckedSegment:
    """A good segment. ``footer`` is None while it is open; ``root`` is what the next one must name."""

    header: AuditHeader
    header_bytes: int
    records: NDArray[Any]
    footer: AuditFooter | None
    root: bytes


def check_segment(raw: bytes, before: CheckedSegment | None, is_last: bool, public_key: bytes | None = None) -> CheckedSegment:
    """Check one segment's bytes against the one ``before`` it. Raises Fault with the offset of the first bad part.

    ``public_key``: the raw key that every closed segment must be signed with. Only the last segment may be open.
    """
    header, size = decode_header(raw)
    number, first, root = (0, 0, NO_ROOT)
    if before is not None:
        number, first, root = before.header.segment + 1, before.header.first_index + len(before.records), before.root
    if (header.segment, header.first_index) != (number, first):
        what = f"segment {header.segment} from record {header.first_index}, where segment {number} from record {first} belongs"
        raise Fault(0, f"{what}: one is missing, doubled or moved")
    if header.previous_root != root:
        raise Fault(0, "does not follow the root of the segment before it")
    count, footer = 0, None
    for offset in range(size, len(raw), RECORD_BYTES):
        if len(raw) - offset < RECORD_BYTES:
            raise Fault(offset, f"{len(raw) - offset} bytes, which are no record")
        if not is_chained(raw, offset):
            _check_end(raw, offset, first + count, is_last)
            break
        footer = decode_footer(raw[offset : offset + RECORD_BYTES])
        if footer is not None:
            _check_footer(footer, raw, offset, header, count, public_key)
            break
        count += 1
    else:
        if not is_last:
            raise Fault(len(raw), "ends without a footer: its end was cut off")
    records = np.frombuffer(raw, AUDIT_RECORD, count=count, offset=size)
    _check_fields(records, before, first, size)
    end = size + count * RECORD_BYTES
    return CheckedSegment(header, size, records, footer, raw[end - DIGEST_BYTES : end])


def _check_end(raw: bytes, offset: int, index: int, is_last: bool) -> None:
    """What is no good record must be the untouched room behind the last segment's records."""
    rest = np.frombuffer(raw, np.uint8, offset=offset)
    used = np.flatnonzero(rest)
    if not used.size:
        if not is_last:
            raise Fault(offset, "no record and no footer: its end was cut off")
        return
    if int(used[0]) >= RECORD_BYTES:
        raise Fault(offset + int(used[0]), "bytes behind the last record")
    own = int.from_bytes(raw[offset : offset + 8], "little")
    linked = decode_footer(raw[offset : offset + RECORD_BYTES]) is not None
    if own != index and not linked:
        raise Fault(offset, f"record {own} where record {index} belongs: one is missing, doubled, moved or changed")
    raise Fault(offset, "its digest is wrong: it, or the link to what is before it, was changed")


def _check_footer(
    footer: AuditFooter, raw: bytes, offset: int, header: AuditHeader, count: int, public_key: bytes | None
) -> None:
    if len(raw) != offset + RECORD_BYTES:
        raise Fault(offset + RECORD_BYTES, f"{len(raw) - offset - RECORD_BYTES} bytes behind the footer")
    root = raw[offset - DIGEST_BYTES : offset]
    if (footer.segment, footer.first_index, footer.count, footer.root) != (header.segment, header.first_index, count, root):
        raise Fault(offset, "the footer is another segment's")
    signed = footer.signature != bytes(SIGNATURE_BYTES) or footer.public_key != bytes(PUBLIC_KEY_BYTES)
    if public_key is not None and footer.public_key != public_key:
        raise Fault(offset, "the root is signed with another key" if signed else "the root is not signed")
    if signed and not is_signed_by(footer.public_key, footer.signature, footer.segment, footer.first_index, count, root):
        raise Fault(offset, "the root's signature is wrong")


def _check_fields(records: NDArray[Any], before: CheckedSegment | None, first: int, size: int) -> None:
    """What a well-linked record may still not say."""
    count = len(records)
    if not count:
        return
    expected = np.arange(first, first + count, dtype=np.uint64)
    ends = records["journal_end"]
    known = before.records["journal_end"][-1] if before is not None and len(before.records) else np.uint64(0)
    wrong = (
        (records["index"] != expected)
        | (records["version"] != RECORD_VERSION)
        | (records["slots"] > MAX_SLOTS)
        | ~np.isin(records["kind"], [int(kind) for kind in AuditKind])
        | (records["settings"] > records["index"])
        | (ends < np.concatenate([[known], ends[:-1]]))
    )
    if wrong.any():
        raise Fault(size + int(np.flatnonzero(wrong)[0]) * RECORD_BYTES, "a field that no follower writes")


def verify_trail(
    directory: Path, anchors: Path | None = None, public_key: bytes | None = None, store: Path | None = None
) -> Verification:
    """Check a whole directory; ``public_key`` also for the anchors; against the journal in ``store``, where one is given.

    Raises AuditError and JournalError only for what cannot be read. With a key something must be signed with it: what nobody
    signed, anybody may have made.
    """
    result = Verification(journal=None if store is None else JournalCheck(store))
    listed = list_segments(directory)
    if not listed:
        raise AuditError("audit directory", str(directory), "a directory with segments", "check the path")
    read = read_anchors(anchors) if anchors is not None else None
    wanted = {anchor.last_index for anchor in read.anchors} if read is not None else set()
    roots: dict[int, tuple[int, bytes]] = {}
    before: CheckedSegment | None = None
    path = listed[0][1]
    for k, (_, path) in enumerate(listed):
        try:
            raw = path.read_bytes()
            before = check_segment(raw, before, k == len(listed) - 1, public_key)
            if path.name != f"{before.header.first_index:020d}.audit":
                raise Fault(0, "the file has another segment's name")
            if result.journal is not None:
                result.journal.take(before.records, before.header_bytes)
        except OSError as error:
            raise AuditError("audit segment", str(path), "a readable file", f"restore it ({error.strerror})") from None
        except Fault as fault:
            result.first_bad = _finding(path, raw, fault)
            return result
        _count(result, before)
        first = before.header.first_index
        for index in wanted:
            if first <= index < first + len(before.records):
                roots[index] = before.header.segment, before.records[index - first]["digest"].tobytes()
    if read is not None and before is not None:
        result.first_bad = _check_anchors(read.anchors, read.bad_line, roots, path, before, public_key)
        result.anchors = len(read.anchors)
        if public_key is not None and result.first_bad is None and read.anchors:
            signed = 1 + max(anchor.last_index for anchor in read.anchors)
            result.unsigned = min(result.unsigned, result.records - signed)
    if public_key is not None and result.first_bad is None and result.unsigned == result.records:
        result.first_bad = Finding(listed[0][1].name, None, 0, "no root of it, and no anchor given, is signed with the key")
    return result


def _count(result: Verification, checked: CheckedSegment) -> None:
    result.segments += 1
    result.records += len(checked.records)
    result.unsigned += len(checked.records)
    if checked.footer is not None:
        result.closed += 1
        is_signed = checked.footer.signature != bytes(SIGNATURE_BYTES)
        result.signed += is_signed
        if is_signed:
            # The chain leads from a signed root to every record before it.
            result.unsigned = 0
    for kind, count in zip(*np.unique(checked.records["kind"], return_counts=True), strict=True):
        result.kinds[AuditKind(int(kind)).name] += int(count)


def _finding(path: Path, raw: bytes, fault: Fault) -> Finding:
    try:
        header, size = decode_header(raw)
    except Fault:
        return Finding(path.name, None, fault.offset, fault.what)
    inside = fault.offset - size
    return Finding(path.name, header.first_index + inside // RECORD_BYTES if inside >= 0 else None, fault.offset, fault.what)


def _check_anchors(
    anchors: list[Anchor],
    bad_line: int,
    roots: dict[int, tuple[int, bytes]],
    path: Path,
    last: CheckedSegment,
    public_key: bytes | None,
) -> Finding | None:
    for number, anchor in enumerate(anchors, 1):
        found = roots.get(anchor.last_index)
        end = last.header_bytes + len(last.records) * RECORD_BYTES
        if found is None:
            what = f"anchor {number} names record {anchor.last_index}: the trail was cut off before it"
            return Finding(path.name, last.header.first_index + len(last.records), end, what)
        root = bytes.fromhex(anchor.root)
        if found != (anchor.segment, root):
            return _at_anchor(anchor, f"its digest is not the root that anchor {number} names")
        if public_key is not None and not (
            anchor.public_key == public_key.hex()
            and is_signed_by(public_key, bytes.fromhex(anchor.signature), anchor.segment, anchor.first_index, anchor.count, root)
        ):
            return _at_anchor(anchor, f"anchor {number} is not signed with the key")
    if bad_line:
        return Finding("anchors", None, bad_line, f"line {bad_line} is no anchor")
    return None


def _at_anchor(anchor: Anchor, what: str) -> Finding:
    return Finding(f"{anchor.first_index:020d}.audit", anchor.last_index, -1, what)
