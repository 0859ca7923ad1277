"""Row by row, as the papers score: is this chunk of 5, 15 or 25 s the one a pump begins in?

Rows are the chunks with a buy within 24 h of an announcement, as the published matrices have them; the positive row of
an event is the one its label names. Folds are grouped: an event's rows stay together, and so do events of one symbol
within 48 h of each other. The published matrices leave out the time after each onset; "all" keeps every row, as a stream
has them, "dropped" leaves out 30 minutes.

Beside the Random Forest and XGBoost on the 12 features of the literature stands XGBoost on what the engine's vectors
tell by the end of the chunk: the last vector, and how often, in the chunk and in those before it, a slot stepped up. All
three are fitted anew in each fold. A finished model is not: its row, on events it has not seen, says for each chunk
whether one of its alarms fell in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.model.feature_spec import Feature
from sentinel.research.detection.literature import NAMES, WINDOW, change, chunk_features, moving_std
from sentinel.research.detection.recordings import DataCounts, Recordings, Series, read_events, read_trades, utc_ns
from sentinel.research.detection.replay import vectors
from sentinel.units import NS_PER_S
from sentinel.wire import MAX_FEATURES

CHUNKS_S = (25, 15, 5)
FOLDS = 5
#: Columns of chunk_facts.
FACTS = 43
AROUND_S = 86_400
DROPPED_S = 1800
#: Events of one symbol this close together have rows in common.
TOGETHER_S = 2 * AROUND_S
#: Below this surge of trades (standard deviations), or without a rush of buys, a chunk is no onset to our model.
SURGE_MIN = 4.0
#: F1 is highest where the threshold is half of it (Lipton, Elkan and Naryanaswamy, ECML 2014).
THRESHOLD = 0.4
SEED = 1

#: Precision, recall and F1 as printed, by chunk length. ICCCN 2020: La Morgia et al., "Pump and Dumps in the Bitcoin
#: Era", Table III. TOIT 2023: La Morgia et al., "The Doge of Wall Street". Random forests on the released matrices,
#: which leave out the time after each onset.
PUBLISHED: dict[str, dict[int, tuple[float, float, float]]] = {
    "la_morgia_2020": {25: (0.937, 0.913, 0.918), 15: (0.913, 0.844, 0.877), 5: (0.924, 0.784, 0.840)},
    "la_morgia_2023": {25: (0.982, 0.912, 0.945), 15: (0.964, 0.849, 0.900), 5: (0.946, 0.729, 0.824)},
}

Matrix = NDArray[np.float32]
Predict = Callable[[Matrix], NDArray[np.bool_]]
Fit = Callable[[Matrix, NDArray[np.bool_]], Predict]


@dataclass(frozen=True)
class ChunkRows:
    """Rows of all events.

    ``published`` float32[n, 12]; ``ours`` float32[n, 43] of chunk_facts; ``candidate`` bool[n]: a surge of trades with a
    rush of buys; ``positive`` bool[n]; ``group`` int64[n]: events that must share a fold; ``since_s`` int64[n] seconds
    from the event's labelled chunk; ``start_s`` int64[n] of the chunk; ``series`` int64[n] of the recordings; ``event``
    int64[n] its number.
    """

    published: Matrix
    ours: Matrix
    candidate: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    group: NDArray[np.int64]
    since_s: NDArray[np.int64]
    start_s: NDArray[np.int64]
    series: NDArray[np.int64]
    event: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positive)

    def take(self, chosen: NDArray[Any]) -> ChunkRows:
        return ChunkRows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def dropped(self) -> ChunkRows:
        """Without the DROPPED_S after each labelled chunk, as the published matrices are."""
        return self.take((self.since_s <= 0) | (self.since_s > DROPPED_S))


_NO_ROWS = ChunkRows(
    np.zeros((0, len(NAMES)), np.float32), np.zeros((0, FACTS), np.float32), *np.zeros((2, 0), bool), *np.zeros((5, 0), np.int64)
)


@dataclass(frozen=True)
class RowScore:
    """Precision, recall and F1 of the positive class."""

    precision: float
    recall: float
    f1: float

    def as_dict(self) -> dict[str, float]:
        return {"precision": round(self.precision, 4), "recall": round(self.recall, 4), "f1": round(self.f1, 4)}


def row_score(predicted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> RowScore:
    """Score bool[n] predictions against bool[n] truth; 0 where nothing was predicted or nothing is positive."""
    hits = int((predicted & positive).sum())
    said, real = int(predicted.sum()), int(positive.sum())
    return RowScore(
        hits / said if said else 0.0,
        hits / real if real else 0.0,
        2 * hits / (said + real) if said + real else 0.0,
    )


@dataclass(frozen=True)
class ModelAlarms:
    """Alarms of a finished model by series (ns, ascending), and the time from which on it has seen nothing."""

    t_ns: tuple[NDArray[np.int64], ...]
    unseen_from_ns: int


def row_wise(
    data_dir: Path, recordings: Recordings, model: ModelAlarms | None, progress: Callable[[str], object]
) -> dict[str, Any]:
    """Ours, Random Forest and XGBoost on the same rows and folds, by chunk length; published figures beside.

    ``{"25s": {precision, recall, f1, dropped, random_forest, xgboost, published, model, rows, events, without_row}, ...}``:
    the first three are those of XGBoost on the engine's vectors with all rows kept; ``model`` those of the finished
    model's alarms on unseen events, None without; ``without_row`` counts labelled events whose labelled chunk has no row.
    A chunk length with fewer than FOLDS labelled events is left out. Raises CaptureError for unreadable files.
    """
    result = {}
    for chunk_s in CHUNKS_S:
        progress(f"row-wise comparison, chunks of {chunk_s} s")
        rows = chunk_rows(data_dir, recordings, chunk_s)
        if len(np.unique(rows.group)) >= FOLDS:
            result[f"{chunk_s}s"] = {**compared(rows, chunk_s), "model": alarm_score(rows, chunk_s, model)}
    return result


def alarm_score(rows: ChunkRows, chunk_s: int, model: ModelAlarms | None) -> dict[str, Any] | None:
    """Score of a finished model: a chunk is called an onset if an alarm fell in it; on rows of unseen events alone."""
    if model is None:
        return None
    unseen = rows.take((rows.start_s - rows.since_s) * NS_PER_S >= model.unseen_from_ns)
    if not unseen.positive.any():
        return None
    called = np.zeros(len(unseen), bool)
    for number, t_ns in enumerate(model.t_ns):
        mine = unseen.series == number
        called[mine] = np.isin(unseen.start_s[mine] // chunk_s, t_ns // (chunk_s * NS_PER_S))
    return {**row_score(called, unseen.positive).as_dict(), "events": int(unseen.positive.sum())}


def compared(rows: ChunkRows, chunk_s: int) -> dict[str, Any]:
    """Scores of the three models on rows of chunks of ``chunk_s``, all rows kept and 30 minutes dropped."""
    spans = {"all": rows, "dropped": rows.dropped()}
    ours = {name: row_score(our_prediction(span), span.positive).as_dict() for name, span in spans.items()}
    figures: dict[str, Any] = {**ours["all"], "dropped": ours["dropped"]}
    for model, fit in PUBLISHED_FEATURE_MODELS.items():
        figures[model] = {
            name: row_score(grouped_prediction(span.published, span.positive, span.group, fit), span.positive).as_dict()
            for name, span in spans.items()
        }
    figures["published"] = {work: RowScore(*values[chunk_s]).as_dict() for work, values in PUBLISHED.items()}
    figures["rows"] = len(rows)
    figures["events"] = int(rows.positive.sum())
    figures["without_row"] = len(np.unique(rows.event)) - figures["events"]
    return figures


def chunk_rows(data_dir: Path, recordings: Recordings, chunk_s: int) -> ChunkRows:
    """Rows of every event labelled for chunks of ``chunk_s``. Raises CaptureError for unreadable files."""
    index = {one.symbol: number for number, one in enumerate(recordings.series)}
    facts: dict[str, ChunkFacts] = {}
    events = [one for one in _events_with_buys(data_dir, chunk_s) if one.symbol in index]
    parts = [_NO_ROWS]
    for number, (buys, group) in enumerate(zip(events, _groups(events), strict=True)):
        if buys.symbol not in facts:
            facts[buys.symbol] = chunk_facts(recordings.series[index[buys.symbol]], chunk_s)
        known = facts[buys.symbol]
        chunks = chunk_features(buys.t_ms, buys.price, buys.qty, chunk_s)
        near = np.abs(chunks.start_s - buys.announced_s) <= AROUND_S
        near &= np.isfinite(chunks.x).all(axis=1) & np.isin(chunks.start_s, known.start_s)
        start_s = chunks.start_s[near]
        at = np.searchsorted(known.start_s, start_s)
        since_s = start_s - buys.onset_s
        published = chunks.x[near].astype(np.float32)
        same = (np.full(len(at), value, np.int64) for value in (index[buys.symbol], number))
        where = (np.full(len(at), group, np.int64), since_s, start_s, *same)
        parts.append(ChunkRows(published, known.x[at], known.candidate[at], since_s == 0, *where))
    return ChunkRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ChunkRows.__dataclass_fields__))


@dataclass(frozen=True)
class ChunkFacts:
    """Of each chunk with a trade: its start, what our model reads, float32[n, 43], and whether it may be an onset."""

    start_s: NDArray[np.int64]
    x: Matrix
    candidate: NDArray[np.bool_]


def chunk_facts(one: Series, chunk_s: int) -> ChunkFacts:
    """What the engine's vectors of one series tell by the end of each chunk of ``chunk_s``, and of nothing after it.

    The last vector without sentiment (25), then six facts of each of rushes of buys, buys and bought volume, which are
    counted as steps from vector to vector: the count; the count over its root mean square in the 20 and in the 100 chunks
    before; the relative change of its moving standard deviation over chunks with a buy; the count in the adjoining chunk
    before; the largest such change in the 300 s before.
    """
    blocks = [(x.copy(), index.copy()) for x, index in vectors(one, MAX_FEATURES)]
    x, index = (np.concatenate(column) for column in zip(*blocks, strict=True))
    chunk = one.t_ns[index] // (chunk_s * NS_PER_S)
    first = np.flatnonzero(np.append(True, chunk[1:] != chunk[:-1]))
    last = np.append(first[1:], len(x)) - 1
    start_s = chunk[first] * chunk_s
    step = np.diff(x, axis=0, prepend=x[:1])
    flow, flow_step = x[:, Feature.FLOW_IMBALANCE], step[:, Feature.FLOW_IMBALANCE]
    bought = (flow_step >= 0) & (flow > -1.0)
    # Without time passing nothing leaves a window: the surge of rush orders then rises only for a new one.
    rush = (step[:, Feature.RUSH_SURGE] > 0) & (x[:, Feature.SECONDS_SINCE_TRADE] == 0) & ((flow_step > 0) | (flow == 1.0))
    volume = np.where(bought, np.maximum(step[:, Feature.VOLUME_RATIO_5S], 0), 0)
    columns = [x[last][:, [slot for slot in Feature if slot != Feature.SENTIMENT]]]
    with_buy = np.logical_or.reduceat(bought, first)
    for counted, least in ((rush, 1.0), (bought, 1.0), (volume, 10.0)):
        count = np.add.reduceat(counted.astype(np.float64), first)
        columns.append(_count_facts(count, least, with_buy, start_s, chunk_s))
    candidate = (np.maximum.reduceat(x[:, Feature.TRADE_SURGE], first) >= SURGE_MIN) & np.logical_or.reduceat(rush, first)
    return ChunkFacts(start_s, np.concatenate(columns, axis=1).astype(np.float32), candidate)


def _count_facts(
    count: NDArray[np.float64], least: float, with_buy: NDArray[np.bool_], start_s: NDArray[np.int64], chunk_s: int
) -> NDArray[np.float64]:
    """float64[n, 6]; ``least`` keeps ratios finite after chunks without any."""
    squares = np.concatenate(([0.0], np.cumsum(count * count)))
    rows = np.arange(len(count))
    ratios = []
    for window in (20, 100):
        start = np.maximum(rows - window, 0)
        mean_square = (squares[rows] - squares[start]) / np.maximum(rows - start, 1)
        ratios.append(count / np.sqrt(mean_square + least * least))
    spread = np.zeros(len(count))
    spread[with_buy] = np.nan_to_num(change(moving_std(count[with_buy], WINDOW[chunk_s])), posinf=0.0)
    adjoins = np.append(False, np.diff(start_s) == chunk_s)
    before = np.where(adjoins, np.append(0.0, count[:-1]), 0.0)
    recent = np.searchsorted(start_s, start_s - 300)
    # Every second of these spans is the one asked for; an empty one yields the row itself.
    largest = np.maximum.reduceat(spread, np.stack([recent, rows], axis=1).ravel())[::2]
    return np.stack([count, *ratios, spread, before, np.where(recent < rows, largest, 0.0)], axis=1)


@dataclass(frozen=True)
class _Buys:
    symbol: str
    announced_s: int
    onset_s: int
    t_ms: NDArray[np.int64]
    price: NDArray[np.int64]
    qty: NDArray[np.int64]


def _events_with_buys(data_dir: Path, chunk_s: int) -> list[_Buys]:
    place = data_dir / "pump_trades"
    raw = read_trades(place / "trades.parquet", DataCounts())
    raw = raw.take(raw.bought & raw.usable)
    names = {name: number for number, name in enumerate(raw.event_ids)}
    found = []
    for row in read_events(place / "events.csv"):
        label = row.get(f"onset_{chunk_s}s_utc", "")
        if not label or row["event_id"] not in names:
            continue
        mine = raw.take(raw.event == names[row["event_id"]])
        if not len(mine.t_ms):
            continue
        onset_s = utc_ns(label) // NS_PER_S // chunk_s * chunk_s
        announced_s = utc_ns(row["announced_utc"]) // NS_PER_S
        found.append(_Buys(row["symbol"], announced_s, onset_s, mine.t_ms, mine.price, mine.qty))
    return found


def _groups(events: list[_Buys]) -> list[int]:
    """Of each event the number of its group: events of one symbol within TOGETHER_S of one another."""
    order = sorted(range(len(events)), key=lambda i: (events[i].symbol, events[i].announced_s))
    groups = [0] * len(events)
    for before, here in pairwise(order):
        apart = events[here].symbol != events[before].symbol
        apart |= events[here].announced_s - events[before].announced_s > TOGETHER_S
        groups[here] = groups[before] + apart
    return groups


def grouped_prediction(
    x: Matrix, positive: NDArray[np.bool_], group: NDArray[np.int64], fit: Fit, seed: int = 0
) -> NDArray[np.bool_]:
    """What a model says of each row that was fitted without the row's group, bool[n]; groups go to folds by ``seed``."""
    numbers, where = np.unique(group, return_inverse=True)
    fold_of = np.empty(len(numbers), np.int64)
    fold_of[np.random.default_rng(seed).permutation(len(numbers))] = np.arange(len(numbers)) % FOLDS
    fold = fold_of[where]
    predicted = np.zeros(len(x), bool)
    for number in range(FOLDS):
        held_out = fold == number
        predicted[held_out] = fit(x[~held_out], positive[~held_out])(x[held_out])
    return predicted


def our_prediction(rows: ChunkRows, seed: int = 0) -> NDArray[np.bool_]:
    """Our model's out-of-fold predictions, bool[n]; False for every chunk that is no candidate."""
    # All rows take part, so that folds are those of the other models.
    x = np.column_stack([rows.ours, rows.candidate]).astype(np.float32)
    return grouped_prediction(x, rows.positive, rows.group, _on_candidates(_our_xgboost), seed)


def _on_candidates(fit: Fit) -> Fit:
    """A fit on the rows whose last column is set; all others are predicted False."""

    def fit_candidates(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
        chosen = x[:, -1] == 1
        if not positive[chosen].any():
            return lambda x: np.zeros(len(x), bool)
        says = fit(x[chosen, :-1], positive[chosen])

        def predict(x: Matrix) -> NDArray[np.bool_]:
            chosen = x[:, -1] == 1
            predicted = np.zeros(len(x), bool)
            predicted[chosen] = says(x[chosen, :-1])
            return predicted

        return predict

    return fit_candidates


def _our_xgboost(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
    # The few positives lie far out in the tail, where a histogram's usual 256 bins are too wide to split.
    parameters = {
        "tree_method": "hist",
        "max_bin": 1024,
        "max_depth": 4,
        "eta": 0.08,
        "min_child_weight": 2,
        "reg_lambda": 3.0,
        "subsample": 0.8,
        "colsample_bytree": 0.4,
    }
    return _xgboost(x, positive, parameters, 150, THRESHOLD)


def _literature_xgboost(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
    return _xgboost(x, positive, {"tree_method": "hist", "max_depth": 4, "eta": 0.1}, 300, 0.5)


def _xgboost(x: Matrix, positive: NDArray[np.bool_], parameters: dict[str, Any], trees: int, threshold: float) -> Predict:
    import xgboost

    shared = {"objective": "binary:logistic", "nthread": 2, "seed": SEED}
    booster = xgboost.train({**shared, **parameters}, xgboost.DMatrix(x, positive), trees)
    return lambda x: booster.predict(xgboost.DMatrix(x)) >= threshold


def _random_forest(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=200, max_depth=5, random_state=SEED, n_jobs=2).fit(x, positive)
    return lambda x: forest.predict(x).astype(bool)


#: The models on the 12 published features, by their name in the result.
PUBLISHED_FEATURE_MODELS: dict[str, Fit] = {"random_forest": _random_forest, "xgboost": _literature_xgboost}
