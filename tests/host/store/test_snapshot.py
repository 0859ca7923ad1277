from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import JournalError
from sentinel.host.store.snapshot import KEPT, load_latest_snapshot, load_snapshot, save_snapshot
from sentinel.wire import CARD_BEAT, DECISION, MARKET_EVENT

NESTED = np.dtype([("a", "<u2"), ("inner", [("x", "<i8", (2, 3)), ("y", "u1")]), ("z", "<f4")], align=True)


def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    arrays: dict[str, np.ndarray] = {
        "features.sums": rng.integers(-(2**62), 2**62, (5, 7)),
        "book/levels": np.asfortranarray(rng.integers(0, 9, (3, 4)).astype(np.int32)),
        "vector": np.array([1.5, np.nan, -0.0, np.inf], np.float32),
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.uint8),
        "flag": np.array([True, False]),
    }
    for name, dtype in (("beats", CARD_BEAT), ("decision", DECISION), ("market", MARKET_EVENT), ("nested", NESTED)):
        arrays[name] = np.frombuffer(rng.bytes(3 * dtype.itemsize), dtype).copy()
    return arrays


def test_arrays_and_meta_come_back_bit_for_bit(tmp_path: Path) -> None:
    arrays = sample()
    save_snapshot(tmp_path, 17, arrays, {"hash": "ab", "last_trade_ids": [1, 2]})
    loaded = load_latest_snapshot(tmp_path)
    assert loaded is not None
    assert (loaded.sequence, loaded.meta, loaded.skipped) == (17, {"hash": "ab", "last_trade_ids": [1, 2]}, ())
    assert list(loaded.arrays) == list(arrays)
    for name, array in arrays.items():
        got = loaded.arrays[name]
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert got.reshape(-1).view(np.uint8).tobytes() == np.ascontiguousarray(array).reshape(-1).view(np.uint8).tobytes()
        assert got.flags.writeable


def test_the_newest_three_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    assert load_latest_snapshot(tmp_path / "absent") is None
    assert load_latest_snapshot(tmp_path) is None
    for sequence in (5, 9, 30, 200, 1000):
        save_snapshot(tmp_path, sequence, {"a": np.arange(sequence)}, {})
    assert len(list(tmp_path.glob("*.stls"))) == KEPT
    loaded = load_latest_snapshot(tmp_path)
    assert loaded is not None
    assert loaded.sequence == 1000


def test_every_flipped_byte_and_truncation_falls_back_to_the_previous_one(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 1, {"a": np.arange(4)}, {})
    path = save_snapshot(tmp_path, 2, {"a": np.arange(5)}, {"m": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x04
        for content in (damaged, whole[:position]):
            path.write_bytes(content)
            loaded = load_latest_snapshot(tmp_path)
            assert loaded is not None
            assert (loaded.sequence, loaded.skipped) == (1, (path,))
    path.write_bytes(whole)
    assert load_snapshot(path).sequence == 2


def test_leftovers_of_a_killed_save_are_ignored(tmp_path: Path) -> None:
    path = save_snapshot(tmp_path, 1, {"a": np.arange(4)}, {})
    (tmp_path / "snapshot-00000000000000000002.tmp").write_bytes(path.read_bytes()[:50])
    loaded = load_latest_snapshot(tmp_path)
    assert loaded is not None
    assert loaded.sequence == 1


def test_objects_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="dtype without objects"):
        save_snapshot(tmp_path, 1, {"a": np.array([None], object)}, {})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JournalError, match="room to write"):
        save_snapshot(tmp_path / "file", 1, {"a": np.arange(3)}, {})
