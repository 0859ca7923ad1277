"""A search for better parameters: each trial is judged, cross-fitted, on symbols its models have not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sentinel.research.detection.threshold import within_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentinel.research.detection.train import Trial

#: Budgets of false alarms per coin-day at which a trial is judged, and the deadlines in seconds.
BUDGETS = (0.005, 0.01, 0.02)
DEADLINES_S = (15, 60)


def search_parameters(trial: Trial, parameters: dict[str, Any], trials: int, progress: Callable[[str], object]) -> dict[str, Any]:
    """The best of ``trials`` sets of parameters by ``quality``; the given ones are the first. Reproducible by their seed."""
    import optuna

    def objective(attempt: optuna.Trial) -> float:
        chosen = {
            **parameters,
            "max_depth": attempt.suggest_int("max_depth", 3, 6),
            "eta": attempt.suggest_float("eta", 0.05, 0.3, log=True),
            "min_child_weight": attempt.suggest_float("min_child_weight", 0.5, 20.0, log=True),
            "reg_lambda": attempt.suggest_float("reg_lambda", 0.5, 20.0, log=True),
            "subsample": attempt.suggest_float("subsample", 0.4, 1.0),
            "colsample_bytree": attempt.suggest_float("colsample_bytree", 0.4, 1.0),
        }
        attempt.set_user_attr("parameters", chosen)
        value = quality(trial, chosen)
        progress(f"trial {attempt.number + 1} of {trials}: {value:.4f}")
        return value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=parameters["seed"]))
    study.enqueue_trial(
        {
            name: parameters[name]
            for name in ("max_depth", "eta", "min_child_weight", "reg_lambda", "subsample", "colsample_bytree")
        }
    )
    study.optimize(objective, n_trials=trials)
    best: dict[str, Any] = study.best_trial.user_attrs["parameters"]
    return best


def quality(trial: Trial, parameters: dict[str, Any]) -> float:
    """Mean share of pumps detected over BUDGETS and DEADLINES_S, by cross-fitted leads."""
    points = trial.curve(trial.cross_fit([parameters] * trial.folds).leads)
    scores = [within_budget(points, budget).score for budget in BUDGETS]
    return float(np.mean([score.detected(seconds) for score in scores for seconds in DEADLINES_S]))
