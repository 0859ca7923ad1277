"""The kill word: one mapped 64-bit word in the store, written by the kill process alone and read before each order.

One aligned word is stored and loaded whole, so a reader sees an old value or a new one and nothing between. Only one
pattern is open: level 0 with its CRC-32. Whatever else is read there, zeros, all ones or a file that is gone, means killed.

Bits 0-7 level, 8-15 trigger, 16-31 generation (one higher at each re-arming), 32-63 CRC-32 over a salt and the bits below.
Beside it stand, for whoever measures and watches: CLOCK_MONOTONIC at which the word was stored, and of the kill process's
last sign of life.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
import zlib
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ControlError
from sentinel.host.store.sync import sync_directory

KILL_WORD_NAME = "kill.word"
#: Touched in the store, it kills; while it is there nothing can be armed.
KILL_FILE_NAME = "KILL"
#: In the kill process's directory. Where it is a kill process has run, and the word must be there too.
LATCH_NAME = "latch.json"
_BYTES = mmap.PAGESIZE
_SALT = b"sentinel kill word 1"
_WORD, _STORED_NS, _ALIVE_NS = 0, 1, 2
MAX_GENERATION = 0xFFFF


class KillLevel(IntEnum):
    """How far a kill goes; each level does what those below it do."""

    OPEN = 0
    STOP_NEW = 1
    CANCEL_ALL = 2
    FLATTEN = 3
    DISCONNECT = 4


class KillTrigger(IntEnum):
    """Who or what asked."""

    NONE = 0
    OPERATOR = 1  # a command, over the kill process's control socket
    FILE = 2  # the file KILL in the store
    SIGNAL = 3
    DAEMON = 4  # a control of the daemon tripped, or its operator's kill
    CARD = 5  # the card gives no permits
    SILENCE = 6  # an armed daemon gave no sign of life
    DAMAGE = 7  # the word, the latch or the daemon's page cannot be read


class KillState(NamedTuple):
    """A word, read."""

    level: KillLevel
    trigger: KillTrigger
    generation: int

    @property
    def is_open(self) -> bool:
        return self.level == KillLevel.OPEN


#: What a word that cannot be read says.
UNREADABLE = KillState(KillLevel.STOP_NEW, KillTrigger.DAMAGE, 0)


def encode_word(state: KillState) -> int:
    low = state.level | state.trigger << 8 | (state.generation & MAX_GENERATION) << 16
    return low | zlib.crc32(low.to_bytes(4, "little"), zlib.crc32(_SALT)) << 32


def decode_word(word: int) -> KillState:
    """What ``word`` says; UNREADABLE for anything this program did not store."""
    level, trigger = word & 0xFF, word >> 8 & 0xFF
    if level > max(KillLevel) or trigger > max(KillTrigger):
        return UNREADABLE
    state = KillState(KillLevel(level), KillTrigger(trigger), word >> 16 & MAX_GENERATION)
    return state if encode_word(state) == word else UNREADABLE


class KillWordWriter:
    """The kill process's end, one at a time.

    ``existed``: whether the word was there before. Raises ControlError where another process holds it, or it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        path = self._path = directory / KILL_WORD_NAME
        try:
            self.existed = not _create(path)
            self._file = open(path, "r+b")  # noqa: SIM115 - held until close
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._file.fileno()).st_size != _BYTES:
                # Zeros: killed, until the caller stores what the latch says.
                os.ftruncate(self._file.fileno(), _BYTES)
            self._mapping = mmap.mmap(self._file.fileno(), _BYTES)
        except BlockingIOError:
            self._file.close()
            raise ControlError(
                "kill word", str(path), "a store without another kill process", "end that one, or use its control socket"
            ) from None
        except OSError as error:
            self._file.close()
            raise _unusable(path, error) from None
        self._words = memoryview(self._mapping).cast("Q")

    def read(self) -> KillState:
        return decode_word(self._words[_WORD])

    @property
    def is_in_place(self) -> bool:
        """Whether the file under the word's name is still the one written here: a daemon maps what it finds there."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        own = os.fstat(self._file.fileno())
        return (found.st_dev, found.st_ino, found.st_size) == (own.st_dev, own.st_ino, _BYTES)

    def put_back(self, state: KillState) -> None:
        """Put a file of this writer, which says ``state``, under the word's name again. Raises ControlError."""
        try:
            temporary = _write_whole(self._path, state)
            file = open(temporary, "r+b")  # noqa: SIM115 - held until close
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mapping = mmap.mmap(file.fileno(), _BYTES)
            os.rename(temporary, self._path)
        except OSError as error:
            raise _unusable(self._path, error) from None
        self._regrow()
        stored_ns, alive_ns = self._words[_STORED_NS], self._words[_ALIVE_NS]
        self.close()
        self._file, self._mapping, self._words = file, mapping, memoryview(mapping).cast("Q")
        self._words[_STORED_NS], self._words[_ALIVE_NS] = stored_ns, alive_ns

    @property
    def stored_ns(self) -> int:
        """CLOCK_MONOTONIC of the last ``store``."""
        return self._words[_STORED_NS]

    def store(self, state: KillState) -> int:
        """Store the word: from its return on no gate pass that begins lets an order out. Returns CLOCK_MONOTONIC, ns."""
        self._regrow()
        self._words[_WORD] = encode_word(state)
        now_ns = time.monotonic_ns()
        self._words[_STORED_NS] = now_ns
        return now_ns

    def _regrow(self) -> None:
        # Of a file that was cut short a look at the mapping would end this process.
        with contextlib.suppress(OSError):
            if os.fstat(self._file.fileno()).st_size < _BYTES:
                os.ftruncate(self._file.fileno(), _BYTES)

    def sync(self) -> None:
        """Have the disk hold what was stored: a power cut does not open it again. Raises OSError."""
        self._mapping.flush()

    def beat(self) -> None:
        """Give a sign of life."""
        self._words[_ALIVE_NS] = time.monotonic_ns()

    def close(self) -> None:
        """Release it; the word stays as it is."""
        self._words.release()
        self._mapping.close()
        self._file.close()


class KillWordReader:
    """The daemon's end.

    Args:
        directory: the store's.
        required: whether a store without the word counts as killed. Where it is not, the word is looked for at each ``look``;
            once seen it must stay.
    """

    def __init__(self, directory: Path, required: bool) -> None:
        self._path = directory / KILL_WORD_NAME
        self._path_text = str(self._path)
        self._required = required
        self._identity: tuple[int, int] | None = None
        self._mapping: mmap.mmap | None = None
        self._words: memoryview | None = None
        self._last = -1
        self._state = UNREADABLE
        self._generation: int | None = None
        self.look()

    @property
    def is_watched(self) -> bool:
        """Whether orders depend on the word."""
        return self._required

    @property
    def is_open(self) -> bool:
        """Whether an order may leave now, as far as the word goes. One load, and a comparison.

        Opened anew since it was last found open it stays closed until ``accept``: a kill may have passed unseen.
        """
        words = self._words
        if words is None:
            return not self._required
        word = words[_WORD]
        if word != self._last:
            self._last, self._state = word, decode_word(word)
            if self._generation is None and self._state.is_open:
                self._generation = self._state.generation
        return self._state.level == KillLevel.OPEN and self._state.generation == self._generation

    def accept(self) -> None:
        """The kill that a re-arming has ended was dealt with: what is open now counts as open."""
        if self._words is not None and self._state.is_open:
            self._generation = self._state.generation

    @property
    def state(self) -> KillState:
        if self.is_open:
            return self._state if self._words is not None else KillState(KillLevel.OPEN, KillTrigger.NONE, 0)
        return self._state if self._words is not None else UNREADABLE

    @property
    def stored_ns(self) -> int:
        """CLOCK_MONOTONIC at which the word was stored; 0 without one."""
        return 0 if self._words is None else self._words[_STORED_NS]

    @property
    def silence_ns(self) -> int | None:
        """Time since the kill process gave a sign of life; None where none ever did, or before the machine's last start."""
        alive_ns = 0 if self._words is None else self._words[_ALIVE_NS]
        silence_ns = time.monotonic_ns() - alive_ns
        return silence_ns if alive_ns and silence_ns >= 0 else None

    def look(self) -> None:
        """See whether the file is still the one that is mapped. Call it at every tick."""
        identity = None
        try:
            found = os.stat(self._path_text)
            # A file of another size is no word, but somebody put it there; so it is with one that cannot be looked at.
            self._required = True
            identity = (found.st_dev, found.st_ino) if found.st_size == _BYTES else None
        except FileNotFoundError:
            pass
        except OSError:
            self._required = True
        if identity == self._identity and (identity is None) == (self._words is None):
            return
        self.close()
        self._identity = identity
        if identity is None:
            return
        with contextlib.suppress(OSError, ValueError), open(self._path, "rb") as file:
            self._mapping = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
            self._words = memoryview(self._mapping).cast("Q")

    def close(self) -> None:
        """Let go of the mapping."""
        self._last = -1
        if self._words is not None and self._mapping is not None:
            self._words.release()
            self._mapping.close()
        self._words = self._mapping = None


def _create(path: Path) -> bool:
    """Make the file, whole under its name from the first moment, and killed. False where there was one."""
    if path.exists():
        return False
    temporary = _write_whole(path, UNREADABLE)
    try:
        # Of two that start at once neither takes the other's away, as a rename would.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_directory(path.parent)
    return True


def _write_whole(path: Path, state: KillState) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(encode_word(state).to_bytes(8, "little").ljust(_BYTES, b"\0"))
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _unusable(path: Path, error: OSError) -> ControlError:
    return ControlError("kill word", str(path), "a file this user can write", f"check the directory and its disk ({error})")
