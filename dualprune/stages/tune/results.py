"""The result files of a sweep.

tune/trials.parquet   a row per point: its parameters by key, state, accuracy, stderr, ratio, kept, seconds, …
tune/best.yaml        the configuration of the best point, ready for `dualprune prune`
tune/summary.json     the best points, counts, the check on the test set, importance of each key, what it cost
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import median
from typing import Any

import optuna
import pyarrow as pa

from dualprune.core.config import Config
from dualprune.core.config_file import dump_config
from dualprune.core.sections import TuneConfig
from dualprune.stages.tune.space import Space, config_at
from dualprune.stages.tune.trial_log import FINISHED, Record

COLUMNS: dict[str, pa.DataType] = {
    "key": pa.string(),
    "state": pa.string(),
    "accuracy": pa.float64(),
    "stderr": pa.float64(),
    "accuracies": pa.list_(pa.float64()),
    "ratio": pa.float64(),
    "kept": pa.int64(),
    "objective": pa.float64(),
    "progress": pa.float64(),
    "seconds": pa.float64(),
    "overhead_s": pa.float64(),
    "suggested": pa.int64(),
    "error": pa.string(),
    "ended_at": pa.float64(),
}


def trials_table(records: Sequence[Record], space: Space) -> pa.Table:
    """Return the trials, one row each; a key whose values are of several types is a column of strings."""
    parameters = {}
    for key in space:
        values = [record["point"][key] for record in records]
        if (
            len(
                {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in values if v is not None}
            )
            > 1
        ):
            values = [None if value is None else str(value) for value in values]
        parameters[key] = pa.array(values)
    rest = {name: pa.array([record[name] for record in records], type=kind) for name, kind in COLUMNS.items()}
    return pa.table({**parameters, **rest})


def best_config(config: Config, best: Record) -> str:
    """Return the best point's configuration as YAML, with the defaults of `tune` instead of the search."""
    return dump_config(config_at(config, best["point"]).model_copy(update={"tune": TuneConfig()}))


def best_points(best: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the best points as the summary lists them."""
    return [
        {
            "parameters": record["point"],
            "accuracy": record["accuracy"],
            "stderr": record["stderr"],
            "seeds": len(record["accuracies"]),
            "ratio": record["ratio"],
            "kept": record["kept"],
            "objective": record["objective"],
        }
        for record in best
    ]


def importance(records: Sequence[Record], space: Space, of: str) -> dict[str, float] | None:
    """Return how much each key matters to the value `of` (accuracy, objective), in shares of 1, or None.

    By PED-ANOVA (arXiv 2304.10255): how far the settings of the best tenth differ from those of all trials. Trials that
    were stopped early do not count. None where there are fewer than ten trials, or all are alike.
    """
    finished = [record for record in records if record["state"] == FINISHED]
    varied = [key for key in space if len({repr(record["point"][key]) for record in finished}) > 1]
    if len(finished) < 10 or not varied or len({record[of] for record in finished}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize")
        for record in finished:
            study.add_trial(
                optuna.trial.create_trial(
                    params={key: record["point"][key] for key in varied},
                    distributions={key: space[key].distribution() for key in varied},
                    value=record[of],
                )
            )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(found.get(key, 0.0)) for key in space}


def costs(records: Sequence[Record]) -> dict[str, Any]:
    """Return seconds of training and overhead per trial, without the first trial of each actor, which starts it."""
    trained = [record["seconds"] for record in records if record["seconds"] is not None]
    beyond = [record["overhead_s"] for record in records if record["overhead_s"] is not None]
    return {
        "trained_s": sum(trained),
        "trained_s_median": median(trained) if trained else None,
        "overhead_s_median": median(beyond) if beyond else None,
        "overhead_s_max": max(beyond) if beyond else None,
    }
