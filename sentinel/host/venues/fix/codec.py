"""FIX tag=value messages from and to bytes: framing, BodyLength, CheckSum, fields in their order.

A message that cannot be framed or whose checksum is wrong is *garbled*: it is reported, skipped, and by
the FIX session rules counts as never received. A framed message with a field that cannot be read is
delivered with its ``fault`` named: it has a sequence number and must be answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sentinel.errors import ParseError, VenueError

_SOH = b"\x01"
_MAX_MESSAGE_BYTES = 1 << 16
_MAX_LENGTH_DIGITS = 10
_MIN_BODY_BYTES = len(b"35=0\x01")
_TRAILER_BYTES = len(b"10=000\x01")
_KEPT_BYTES = 4096
_FRAMING_TAGS = frozenset({8, 9, 10})
# A data field may hold any byte, SOH too; its length field stands directly before it.
_LENGTH_OF_DATA = {91: 90, 89: 93, 96: 95, 213: 212, 349: 348, 351: 350, 353: 352, 355: 354, 357: 356, 359: 358, 361: 360}

Field = tuple[int, str | int | bytes]


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that are no message: why, how many, and the first 4 KiB of them."""

    reason: str
    size: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class FixMessage:
    """A framed message. ``fields`` are (tag, value) in their order, without 8, 9, 35 and 10.

    ``fault`` names the first field that cannot be read; such fields are left out.
    """

    msg_type: str
    fields: tuple[tuple[int, bytes], ...]
    raw: bytes
    fault: str = ""
    _by_tag: dict[int, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A report is asked for some twenty fields.
        object.__setattr__(self, "_by_tag", dict(self.fields))

    def find(self, tag: int) -> str | None:
        """The value of a field that may stand once; None without it. Raises ParseError when it stands twice."""
        value = self._by_tag.get(tag)
        if value is None:
            return None
        if len(self._by_tag) < len(self.fields):
            found = [one for name, one in self.fields if name == tag]
            if len(found) > 1:
                raise ParseError(f"tag {tag}", found, "one value", "keep the message and tell the venue")
        return _text(tag, value)

    def text(self, tag: int) -> str:
        """As ``find`` for a required field. Raises ParseError without it."""
        value = self.find(tag)
        if value is None:
            raise ParseError(f"tag {tag}", None, "a value: the field is required", "keep the message and tell the venue")
        return value

    def find_number(self, tag: int) -> int | None:
        """A whole number; None without it. Raises ParseError for anything else."""
        value = self.find(tag)
        return None if value is None else _number(tag, value)

    def number(self, tag: int) -> int:
        """As ``find_number`` for a required field. Raises ParseError without it."""
        return _number(tag, self.text(tag))

    def group(self, count_tag: int, members: tuple[int, ...]) -> list[dict[int, str]]:
        """The entries of a repeating group; each begins with the first of ``members``. [] without the group.

        Raises ParseError when the entries are not as many as ``count_tag`` says.
        """
        wanted = self.find_number(count_tag)
        if wanted is None:
            return []
        entries: list[dict[int, str]] = []
        after = [name for name, _ in self.fields].index(count_tag) + 1
        for tag, value in self.fields[after:]:
            if tag not in members or (tag != members[0] and (not entries or tag in entries[-1])):
                break
            if tag == members[0]:
                entries.append({})
            entries[-1][tag] = _text(tag, value)
        if len(entries) != wanted:
            raise ParseError(
                f"tag {count_tag}", wanted, f"the {len(entries)} entries found", "keep the message and tell the venue"
            )
        return entries


class Decoder:
    """Finds messages in a byte stream however it is cut. ``begin_string`` such as ``FIX.4.4`` is the only one taken."""

    def __init__(self, begin_string: str, max_message_bytes: int = _MAX_MESSAGE_BYTES) -> None:
        self._start = b"8=" + begin_string.encode() + b"\x019="
        self._max_bytes = max_message_bytes
        self._buffer = bytearray()
        self._junk = bytearray()
        self._junk_size = 0
        self._junk_reason = ""

    def feed(self, data: bytes) -> list[FixMessage | Garbled]:
        """Take the next bytes; everything that is complete with them, in its order. Never raises for what is in them."""
        self._buffer += data
        found: list[FixMessage | Garbled] = []
        while self._align(found):
            outcome = self._frame()
            if outcome is None:
                break
            if isinstance(outcome, str):
                # What follows the false start may hold a whole message.
                self._to_junk(len(self._start), outcome)
            else:
                found.append(outcome)
        return found

    def _align(self, found: list[FixMessage | Garbled]) -> bool:
        """Drop what stands before the next start of a message; False while there is no whole start."""
        at = self._buffer.find(self._start)
        if at < 0:
            self._to_junk(max(len(self._buffer) - self._overlap(), 0), "no message begins here")
            return False
        self._to_junk(at, "no message begins here")
        if self._junk_size:
            found.append(Garbled(self._junk_reason, self._junk_size, bytes(self._junk)))
            self._junk.clear()
            self._junk_size, self._junk_reason = 0, ""
        return True

    def _overlap(self) -> int:
        """How many of the last bytes may be the beginning of a start."""
        sizes = range(min(len(self._start) - 1, len(self._buffer)), 0, -1)
        return next((size for size in sizes if self._buffer.endswith(self._start[:size])), 0)

    def _to_junk(self, size: int, reason: str) -> None:
        if size:
            self._junk += self._buffer[: min(size, _KEPT_BYTES - len(self._junk))]
            self._junk_size += size
            self._junk_reason = self._junk_reason or reason
            del self._buffer[:size]

    def _frame(self) -> FixMessage | Garbled | str | None:
        """The message at the buffer's start; None while it is incomplete, a reason when none can begin here."""
        buffer, first = self._buffer, len(self._start)
        soh = buffer.find(_SOH, first, first + _MAX_LENGTH_DIGITS + 1)
        if soh < 0:
            return None if len(buffer) - first <= _MAX_LENGTH_DIGITS else "BodyLength is no number"
        digits = bytes(buffer[first:soh])
        if not digits.isdigit():
            return "BodyLength is no number"
        length = int(digits)
        if not _MIN_BODY_BYTES <= length <= self._max_bytes:
            return f"BodyLength is not {_MIN_BODY_BYTES} to {self._max_bytes}"
        end = soh + 1 + length
        size = end + _TRAILER_BYTES
        if len(buffer) < size:
            return None
        raw = bytes(buffer[:size])
        trailer = raw[end:]
        if raw[end - 1 : end] != _SOH or trailer[:3] != b"10=" or not trailer[3:6].isdigit() or trailer[6:] != _SOH:
            return "no CheckSum where BodyLength ends"
        del buffer[:size]
        if sum(raw[:end]) & 0xFF != int(trailer[3:6]):
            return Garbled("CheckSum is wrong", size, raw[:_KEPT_BYTES])
        body = raw[soh + 1 : end]
        if not body.startswith(b"35=") or body.startswith(b"35=\x01"):
            return Garbled("MsgType is not the third field", size, raw[:_KEPT_BYTES])
        fields, fault = _read_fields(body)
        msg_type = fields.pop(0)[1].decode("latin-1")
        return FixMessage(msg_type, tuple(fields), raw, fault)


def encode(begin_string: str, msg_type: str, fields: Iterable[Field]) -> bytes:
    """A whole message: BodyLength and CheckSum are added. Data fields are bytes, directly after their length field.

    Raises VenueError for a value no message can carry.
    """
    parts = [f"35={msg_type}\x01"]
    last: tuple[int, str | int | bytes] = (35, msg_type)
    for tag, value in fields:
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        is_data = isinstance(value, bytes) and last == (_LENGTH_OF_DATA.get(tag), len(value))
        if tag in _FRAMING_TAGS or not text or not (is_data or (text.isascii() and text.isprintable())):
            raise VenueError(f"FIX tag {tag}", "(not shown)", "printable ASCII, not empty", "correct it where it comes from")
        parts.append(f"{tag}={text}\x01")
        last = (tag, value)
    body = "".join(parts).encode("latin-1")
    whole = b"8=%b\x019=%d\x01%b" % (begin_string.encode(), len(body), body)
    return b"%b10=%03d\x01" % (whole, sum(whole) & 0xFF)


def _read_fields(body: bytes) -> tuple[list[tuple[int, bytes]], str]:
    """The fields of a body and the first fault; ``body`` ends with SOH and its first field is sound."""
    fields: list[tuple[int, bytes]] = []
    fault = ""
    at = 0
    while at < len(body):
        soh = body.index(_SOH, at)
        name, equals, value = body[at:soh].partition(b"=")
        tag = int(name) if name.isdigit() and len(name) < 10 and not name.startswith(b"0") else 0
        length_tag = _LENGTH_OF_DATA.get(tag)
        if length_tag is not None and fields and fields[-1][0] == length_tag and fields[-1][1].isdigit():
            start = at + len(name) + 1
            end = start + int(fields[-1][1][:_MAX_LENGTH_DIGITS])
            if body[end : end + 1] == _SOH:
                soh, value = end, body[start:end]
            else:
                fault, tag = fault or f"tag {tag} is not as long as tag {length_tag} says", 0
        if tag and equals and value and tag not in _FRAMING_TAGS:
            fields.append((tag, value))
        else:
            fault = fault or f"no field: {body[at : min(soh, at + 40)]!r}"
        at = soh + 1
    return fields, fault


def _text(tag: int, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ParseError(f"tag {tag}", value, "UTF-8 text", "keep the message and tell the venue") from None


def _number(tag: int, value: str) -> int:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise ParseError(f"tag {tag}", value, "a whole number of at most 19 digits", "keep the message and tell the venue")
    return int(value)
