"""The model artifact: one file that holds everything a decision needs, checked end to end.

Layout (little-endian): HEADER, the rule table, the size table, the output of each tree (u8, padded to
8 bytes), per tree 63 node words u64 in level order (the order in which the card's node memories are
written: root, then each level left to right), per tree 64 leaves i32, and the CRC-32 of all before.
A node word is ``key | feature << 32 | default_left << 40``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.model.feature_spec import spec_hash
from sentinel.model.forest import LEAVES, MAX_DEPTH, MAX_TREES, NODES, HeapForest, check_range
from sentinel.model.rule import CONDITION, CONDITIONS, RULES, RuleTable
from sentinel.wire import BEAT_FEATURES, MAX_FEATURES

MAGIC = b"SNTLMODL"
ABI_VERSION = 1
MAX_SIZE_STEPS = 16
DEFAULT_PATH = Path(__file__).resolve().parent / "artifacts" / "default.stl"

HEADER = np.dtype(
    {
        "names": ["magic", "abi", "file_bytes", "spec_hash", "trees", "outputs", "grid_bits", "depth", "size_steps", "threshold"],
        "formats": ["S8", "<u4", "<u4", "<u4", "<u2", "u1", "u1", "u1", "u1", "<i4"],
        "offsets": [0, 8, 12, 16, 20, 22, 23, 24, 25, 28],
        "itemsize": 64,
    }
)
SIZE_STEP = np.dtype([("margin", "<i4"), ("bps", "<i4")])
_REMEDY = 'run `sentinel train` again, or use model = "default"'


@dataclass(frozen=True)
class ModelArtifact:
    """A decision model ready to run.

    ``threshold``: integer margin (units of 2^-grid_bits) from which a binary model acts, or the lead of
    the best class over the second for 3 classes. ``size_margins``/``size_bps`` int32[n]: ascending
    margins, each with the position size in basis points of equity from there on; row 0 lies at the
    threshold and holds the nominal size, so ``size_bps[i] / size_bps[0]`` scales a configured one.
    ``crc``: CRC-32 of the file, 0 before it is saved.
    """

    heap: HeapForest
    rules: RuleTable
    threshold: int
    size_margins: NDArray[np.int32]
    size_bps: NDArray[np.int32]
    spec_hash: int
    crc: int = 0

    @property
    def classes(self) -> int:
        """Margins a decision carries: 1 (binary) or 3."""
        return self.heap.outputs

    @property
    def grid_bits(self) -> int:
        return self.heap.grid_bits

    @property
    def threshold_margin(self) -> float:
        return self.threshold * 2.0**-self.grid_bits

    @property
    def beats(self) -> int:
        """Beats a vector needs for the forest: 1, or 2 with features beyond slot 12."""
        return 1 if self.heap.highest_feature < BEAT_FEATURES else 2


def build_artifact(
    heap: HeapForest, rules: RuleTable, threshold: int, size_steps: list[tuple[int, int]], features_hash: int | None = None
) -> ModelArtifact:
    """An artifact for this build's feature specification (or ``features_hash``); validates every field.

    ``size_steps``: (margin, basis points of equity), margins ascending from the threshold. Raises ModelError.
    """
    margins = np.array([margin for margin, _ in size_steps], np.int32)
    bps = np.array([value for _, value in size_steps], np.int32)
    artifact = ModelArtifact(heap, rules, threshold, margins, bps, spec_hash() if features_hash is None else features_hash)
    _validate(artifact)
    return artifact


def save_model(artifact: ModelArtifact, path: str | Path) -> ModelArtifact:
    """Write the artifact and return it with its ``crc``. Raises ModelError for invalid contents or an unwritable path."""
    _validate(artifact)
    data = _encode(artifact)
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ModelError("model", str(path), "a writable path", f"choose another directory ({error})") from None
    return replace(artifact, crc=int.from_bytes(data[-4:], "little"))


def model_path(name: str | Path) -> Path:
    """The file of a model; ``"default"`` is the one shipped with the package."""
    return DEFAULT_PATH if str(name) == "default" else Path(name)


def load_model(path: str | Path = "default") -> ModelArtifact:
    """Read an artifact file; ``"default"`` is the one shipped with the package.

    Raises ModelError naming the remedy where the file is missing, truncated, damaged, of another ABI,
    or made for another feature specification.
    """
    place = model_path(path)
    try:
        data = place.read_bytes()
    except OSError as error:
        raise ModelError(
            "model", str(place), "a readable artifact file", f"check the path; {_REMEDY} ({error.strerror})"
        ) from None
    artifact = _decode(data, str(place))
    if artifact.spec_hash != spec_hash():
        raise ModelError(
            "model.spec_hash",
            f"{artifact.spec_hash:#010x} in {place}",
            f"{spec_hash():#010x}, the features this build computes",
            _REMEDY,
        )
    return artifact


def _encode(artifact: ModelArtifact) -> bytes:
    heap = artifact.heap
    words = (
        heap.keys.astype("<u8") | heap.features.astype("<u8") << np.uint64(32) | heap.default_left.astype("<u8") << np.uint64(40)
    )
    steps = np.zeros(len(artifact.size_margins), SIZE_STEP)
    steps["margin"], steps["bps"] = artifact.size_margins, artifact.size_bps
    outputs = np.zeros(-(-heap.trees // 8) * 8, np.uint8)
    outputs[: heap.trees] = heap.tree_output
    header = np.zeros(1, HEADER)
    header["magic"], header["abi"], header["spec_hash"] = MAGIC, ABI_VERSION, artifact.spec_hash
    header["trees"], header["outputs"], header["grid_bits"] = heap.trees, heap.outputs, heap.grid_bits
    header["depth"], header["size_steps"], header["threshold"] = MAX_DEPTH, len(steps), artifact.threshold
    parts = [artifact.rules.conditions, steps, outputs, words, heap.leaves.astype("<i4")]
    body = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    header["file_bytes"] = HEADER.itemsize + len(body) + 4
    data = header.tobytes() + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def _decode(data: bytes, name: str) -> ModelArtifact:
    if len(data) < HEADER.itemsize + 4 or data[: len(MAGIC)] != MAGIC:
        raise ModelError("model", f"{len(data)} bytes in {name}", f"a file that starts with {MAGIC!r}", _REMEDY)
    header = np.frombuffer(data, HEADER, 1)[0]
    if int(header["abi"]) != ABI_VERSION:
        raise ModelError("model.abi", int(header["abi"]), str(ABI_VERSION), f"{name} is of another version; {_REMEDY}")
    if int(header["file_bytes"]) != len(data):
        raise ModelError("model.file_bytes", len(data), str(int(header["file_bytes"])), f"{name} is cut or padded; {_REMEDY}")
    crc = int.from_bytes(data[-4:], "little")
    if zlib.crc32(data[:-4]) != crc:
        raise ModelError("model.crc32", f"{zlib.crc32(data[:-4]):#010x}", f"{crc:#010x}", f"{name} is damaged; {_REMEDY}")
    trees, steps = int(header["trees"]), int(header["size_steps"])
    sections = [(CONDITION, RULES * CONDITIONS), (SIZE_STEP, steps), (np.dtype("u1"), -(-trees // 8) * 8)]
    sections += [(np.dtype("<u8"), trees * NODES), (np.dtype("<i4"), trees * LEAVES)]
    expected = HEADER.itemsize + sum(dtype.itemsize * count for dtype, count in sections) + 4
    if expected != len(data):
        raise ModelError("model.trees", trees, f"what fits {len(data)} bytes", f"{name} is inconsistent; {_REMEDY}")
    arrays, offset = [], HEADER.itemsize
    for dtype, count in sections:
        arrays.append(np.frombuffer(data, dtype, count, offset))
        offset += dtype.itemsize * count
    rules, size_table, outputs, words, leaves = arrays
    words = words.reshape(trees, NODES)
    heap = HeapForest(
        keys=(words & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        features=(words >> np.uint64(32)).astype(np.uint8),
        default_left=(words >> np.uint64(40) & np.uint64(1)).astype(bool),
        leaves=leaves.reshape(trees, LEAVES).astype(np.int32),
        tree_output=outputs[:trees].copy(),
        outputs=int(header["outputs"]),
        grid_bits=int(header["grid_bits"]),
    )
    artifact = ModelArtifact(
        heap,
        RuleTable(rules.reshape(RULES, CONDITIONS).copy()),
        int(header["threshold"]),
        size_table["margin"].astype(np.int32),
        size_table["bps"].astype(np.int32),
        int(header["spec_hash"]),
        crc,
    )
    _validate(artifact)
    return artifact


def _validate(artifact: ModelArtifact) -> None:
    heap = artifact.heap
    if not 1 <= heap.trees <= MAX_TREES:
        raise ModelError("model.trees", heap.trees, f"1..{MAX_TREES}", _REMEDY)
    if heap.outputs not in (1, 3) or int(heap.tree_output.max()) >= heap.outputs:
        raise ModelError("model.outputs", heap.outputs, "1 or 3, with every tree in one of them", _REMEDY)
    if max(heap.highest_feature, artifact.rules.highest_feature) >= MAX_FEATURES:
        raise ModelError("model.feature", heap.highest_feature, f"below {MAX_FEATURES}", _REMEDY)
    check_range(heap.leaves.astype(np.int64), heap.tree_output, heap.grid_bits)
    margins, bps = artifact.size_margins, artifact.size_bps
    if not 1 <= len(margins) <= MAX_SIZE_STEPS or len(bps) != len(margins):
        raise ModelError("model.size_table", len(margins), f"1..{MAX_SIZE_STEPS} steps", _REMEDY)
    if (np.diff(margins) <= 0).any() or int(margins[0]) != artifact.threshold:
        raise ModelError("model.size_table", margins.tolist(), f"margins ascending from {artifact.threshold}", _REMEDY)
    if int(bps.min()) < 1 or int(bps.max()) > 10_000:
        raise ModelError("model.size_table", bps.tolist(), "1..10000 basis points", _REMEDY)
