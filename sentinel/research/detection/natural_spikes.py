"""What natural spikes do to precision: rises and falls of large coins that nobody organised, as rows of no pump.

``DIR/natural_spikes/features_{5,15,25}S.parquet`` holds the 12 features of the literature around spikes and drawdowns of
BTC, ETH and XRP (Reibel 2024); no trades, so that only models on those features can be compared. The rows join the
pumps' rows, 30 minutes after each onset dropped as in the published matrices, in training and in test folds; the rows of
one spike stay in one fold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CaptureError
from sentinel.research.detection.literature import NAMES
from sentinel.research.detection.recordings import Recordings
from sentinel.research.detection.row_wise import PUBLISHED_FEATURE_MODELS, chunk_rows, grouped_prediction, row_score

#: Precision and recall as printed for chunks of 15 s: Reibel's thesis, 2024.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "random_forest": {"without": (0.968, 0.855), "with": (0.629, 0.782)},
    "c_lstm": {"without": (0.961, 0.803), "with": (0.819, 0.768)},
    "anomaly_transformer": {"without": (0.850, 0.890), "with": (0.374, 0.892)},
    "autoencoder": {"without": (0.952, 0.931), "with": (0.601, 0.637)},
    "variational_autoencoder": {"without": (0.785, 0.978), "with": (0.325, 0.959)},
}
CHUNK_S = 15


def natural_spikes(
    data_dir: Path, recordings: Recordings, without: dict[str, Any], progress: Callable[[str], object]
) -> dict[str, Any] | None:
    """Precision, recall and F1 with natural spikes among the rows, beside those ``without``, the result of ``row_wise``.

    ``{chunk_s, spikes, spike_rows, random_forest: {without, with}, xgboost: {...}, published}``, for chunks of 15 s, the only
    ones published; None where DIR/natural_spikes or the pumps' own figures are absent. Raises CaptureError for unreadable files.
    """
    place, name = data_dir / "natural_spikes", f"{CHUNK_S}s"
    if not place.is_dir() or name not in without:
        return None
    progress(f"natural spikes, chunks of {CHUNK_S} s")
    spikes, spike = spike_rows(place / f"features_{CHUNK_S}S.parquet")
    rows = chunk_rows(data_dir, recordings, CHUNK_S).dropped()
    x = np.concatenate([rows.published, spikes])
    positive = np.concatenate([rows.positive, np.zeros(len(spikes), bool)])
    group = np.concatenate([rows.group, rows.group.max() + 1 + spike])
    figures: dict[str, Any] = {"chunk_s": CHUNK_S, "spikes": len(np.unique(spike)), "spike_rows": len(spikes)}
    for model, fit in PUBLISHED_FEATURE_MODELS.items():
        score = row_score(grouped_prediction(x, positive, group, fit), positive)
        figures[model] = {"without": without[name][model]["dropped"], "with": score.as_dict()}
    figures["published"] = {
        work: {rows: {"precision": p, "recall": r} for rows, (p, r) in values.items()} for work, values in PUBLISHED.items()
    }
    return figures


def spike_rows(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The features, float32[n, 12], and the number of the spike each row lies near, int64[n]. Raises CaptureError."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=[*NAMES, "pump_index"])
        x = np.stack([table[name].to_numpy().astype(np.float32) for name in NAMES], axis=1)
        number = table["pump_index"].to_numpy()
    except (KeyError, ValueError, OSError) as error:
        allowed = "a Parquet file of the 12 features and pump_index"
        raise CaptureError("natural_spikes", str(path), allowed, f"check the file ({error!r})") from None
    known = np.isfinite(x).all(axis=1)
    return x[known], np.unique(number[known], return_inverse=True)[1].astype(np.int64)
