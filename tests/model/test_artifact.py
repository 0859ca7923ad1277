from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ModelError
from sentinel.model.artifact import HEADER, ModelArtifact, build_artifact, load_model, save_model
from sentinel.model.forest import LEAVES, NODES, HeapForest
from sentinel.model.rule import pump_rules

RULES = pump_rules(0.02, 3.0, 0.6)


def _heap(trees: int = 5, outputs: int = 1) -> HeapForest:
    random = np.random.default_rng(trees)
    return HeapForest(
        keys=random.integers(1 << 24, 1 << 31, (trees, NODES), dtype=np.uint32),
        features=random.integers(0, 13, (trees, NODES), dtype=np.uint8),
        default_left=random.random((trees, NODES)) < 0.5,
        leaves=random.integers(-1000, 1000, (trees, LEAVES), dtype=np.int32),
        tree_output=(np.arange(trees) % outputs).astype(np.uint8),
        outputs=outputs,
        grid_bits=20,
    )


def _artifact(trees: int = 5, outputs: int = 1) -> ModelArtifact:
    return build_artifact(_heap(trees, outputs), RULES, -300, [(-300, 200), (0, 250), (900, 300)])


def _resealed(data: bytes, offset: int, new: bytes) -> bytes:
    changed = data[:offset] + new + data[offset + len(new) : -4]
    return changed + zlib.crc32(changed).to_bytes(4, "little")


@pytest.mark.parametrize(("trees", "outputs"), [(1, 1), (5, 1), (128, 1), (126, 3)])
def test_a_saved_model_loads_as_it_was(tmp_path: Path, trees: int, outputs: int) -> None:
    saved = save_model(_artifact(trees, outputs), tmp_path / "m.stl")
    loaded = load_model(tmp_path / "m.stl")
    for name in ("keys", "features", "default_left", "leaves", "tree_output"):
        assert (getattr(loaded.heap, name) == getattr(saved.heap, name)).all()
    assert (loaded.rules.conditions == saved.rules.conditions).all()
    assert (loaded.threshold, loaded.grid_bits, loaded.classes, loaded.crc) == (-300, 20, outputs, saved.crc)
    assert loaded.size_margins.tolist() == [-300, 0, 900]
    assert loaded.size_bps.tolist() == [200, 250, 300]
    assert saved.crc != 0


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(_artifact(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sentinel train"):
        load_model(tmp_path / "none.stl")


@given(st.data())
def test_any_cut_or_flipped_bit_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "m.stl"
        save_model(_artifact(2), path)
        whole = path.read_bytes()
        if data.draw(st.booleans(), "cut"):
            damaged = whole[: data.draw(st.integers(0, len(whole) - 1), "length")]
        else:
            position = data.draw(st.integers(0, len(whole) * 8 - 1), "bit")
            changed = bytearray(whole)
            changed[position // 8] ^= 1 << position % 8
            damaged = bytes(changed)
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            load_model(path)


@pytest.mark.parametrize(
    ("field", "new", "named"),
    [
        ("abi", b"\x02\x00\x00\x00", "model.abi"),
        ("spec_hash", b"\x00\x00\x00\x00", "model.spec_hash"),
        ("trees", b"\x04\x00", "model.trees"),
        ("outputs", b"\x02", "model.outputs"),
        ("threshold", b"\x00\x00\x00\x00", "model.size_table"),
        ("magic", b"X", "model"),
    ],
)
def test_a_sound_file_with_a_wrong_header_is_refused(tmp_path: Path, field: str, new: bytes, named: str) -> None:
    path = tmp_path / "m.stl"
    save_model(_artifact(), path)
    assert HEADER.fields is not None
    path.write_bytes(_resealed(path.read_bytes(), HEADER.fields[field][1], new))
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.field == named


@pytest.mark.parametrize(
    "steps", [[], [(-300, 200), (-300, 300)], [(-299, 200)], [(-300, 0)], [(-300, 10_001)], [(-300 + i, 200) for i in range(17)]]
)
def test_a_size_table_out_of_order_or_range_is_refused(steps: list[tuple[int, int]]) -> None:
    with pytest.raises(ModelError, match="size_table"):
        build_artifact(_heap(), RULES, -300, steps)


def test_an_unwritable_path_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="writable"):
        save_model(_artifact(), tmp_path / "no" / "such" / "m.stl")


def test_beats_follow_the_highest_feature() -> None:
    heap = _heap()
    assert build_artifact(heap, RULES, 0, [(0, 200)]).beats == 1
    heap.features[0, 0] = 13
    assert build_artifact(heap, RULES, 0, [(0, 200)]).beats == 2


def test_the_shipped_default_is_sound_and_fits_one_beat() -> None:
    artifact = load_model("default")
    assert artifact.classes == 1
    assert artifact.beats == 1
    assert 1 <= artifact.heap.trees <= 100
    assert artifact.size_bps[0] == 200
