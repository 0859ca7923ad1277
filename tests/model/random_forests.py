"""Random forests to test exactness on: trained by XGBoost, some with thresholds replaced by awkward floats."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

AWKWARD = np.array(
    [
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1.1754942e-38,
        -1.1754944e-38,
        3.4028235e38,
        -3.4028235e38,
        1.0,
        np.nextafter(np.float32(1), np.float32(2)),
    ],
    np.float32,
)


def train_booster(seed: int, trees: int, depth: int, features: int = 13, classes: int = 2, rows: int = 3000) -> Any:
    """A trained ``xgboost.Booster``; for 3 classes ``trees`` counts rounds of 3 trees. About a tenth of the inputs is missing."""
    import xgboost

    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, features)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    score = np.nansum(x[:, : max(1, features // 2)], axis=1) + random.normal(size=rows)
    parameters: dict[str, Any] = {"max_depth": depth, "seed": seed, "nthread": 2, "min_child_weight": 0, "colsample_bynode": 0.7}
    if classes == 2:
        parameters["objective"] = "binary:logistic"
        label = score > 0.4
    else:
        parameters |= {"objective": "multi:softprob", "num_class": classes}
        label = np.digitize(score, [-0.7, 0.9])
    return xgboost.train(parameters, xgboost.DMatrix(x, label), trees)


def parsed(booster: Any) -> dict[str, Any]:
    return dict(json.loads(bytes(booster.save_raw("json"))))


def load_parsed(model: dict[str, Any]) -> Any:
    import xgboost

    return xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))


def with_awkward_thresholds(booster: Any, seed: int) -> Any:
    """The same trees with half the thresholds replaced by zeros of both signs, denormals and the largest floats."""
    random = np.random.default_rng(seed)
    model = parsed(booster)
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            if left >= 0 and random.random() < 0.5:
                tree["split_conditions"][node] = float(random.choice(AWKWARD))
    return load_parsed(model)


def adversarial_vectors(thresholds: NDArray[np.float32], count: int, features: int, seed: int) -> NDArray[np.float32]:
    """float32[count, features]: numbers, thresholds, one ulp either side of them, NaN, zeros, infinities, denormals, any bits."""
    random = np.random.default_rng(seed)
    shape = (count, features)
    exact = random.choice(thresholds, shape)
    infinity = np.float32(np.inf)
    special = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)
    with np.errstate(over="ignore"):
        above, below = np.nextafter(exact, infinity), np.nextafter(exact, -infinity)
    kinds = [
        random.normal(size=shape).astype(np.float32),
        exact,
        above,
        below,
        random.choice(special, shape),
        random.integers(0, 1 << 32, shape, dtype=np.uint32).view(np.float32),
    ]
    return np.choose(random.integers(0, len(kinds), shape), kinds).astype(np.float32)
