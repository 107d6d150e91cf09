"""Several scores as one: means and mean ranks, of methods and of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import dualprune
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.scores import combine, confidence, dual
from dualprune.stages.pipeline import run_stages
from dualprune.stages.score.files import read_scores

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = [random.integers(0, 8, 30) / 4, random.normal(size=30), np.full(30, 0.5)]
    np.testing.assert_allclose(combine(scores, "mean"), np.mean(scores, axis=0))
    ranks = [(scipy.stats.rankdata(score) - 0.5) / 30 for score in scores]
    np.testing.assert_allclose(combine(scores), np.mean(ranks, axis=0))
    # A monotone change of a score leaves its ranks.
    np.testing.assert_array_equal(combine([np.exp(scores[0]), *scores[1:]]), combine(scores))


def test_by_hand_and_never_kept() -> None:
    assert combine([[1, 2, 3], [30, 10, 20]], "mean").tolist() == [15.5, 6.0, 11.5]
    # Ranks 1 2 3 and 3 1 2, as (rank - 1/2) / 3.
    np.testing.assert_allclose(combine([[1, 2, 3], [30, 10, 20]]), [1.5 / 3, 1 / 3, 2 / 3])
    for how in ("mean", "rank_mean"):
        assert combine([[1, -np.inf, 3], [1, 2, 3]], how).tolist()[1] == -np.inf  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([], DataError, r"scores have the shapes \[\]; expected \[n\]"),
        ([[1, 2], [1]], DataError, r"shapes \[\(2,\), \(1,\)\]"),
        ([[[1, 2]]], DataError, r"shapes \[\(1, 2\)\]"),
        ([[1, 2], [np.nan, 1]], DataError, "score 1 has 1 values of NaN or .inf, first at position 0"),
        ([[1, np.inf]], DataError, "score 0 has 1 values of NaN"),
    ],
)
def test_scores_that_are_wrong(scores: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        combine(scores)
    with pytest.raises(ConfigError, match="how: 'median' is not one of 'mean', 'rank_mean'"):
        combine([[1.0, 2.0]], "median")  # type: ignore[arg-type]


PROB = RANDOM.random((2, 4, 40), dtype=np.float32)


def imported(place: Path, seed: int, **options: Any) -> RunDirectory:
    score = {"methods": ["dual", "confidence"], "options": {"dual": {"window": 3}, **options}}
    run = dualprune.import_dynamics(PROB[seed], place, sample_ids=np.arange(40), config={"score": score})
    run_stages(run, run.load_config(), ["score"])
    return run


def combined(run: RunDirectory, **options: Any) -> np.ndarray:
    values = run.load_config().model_dump(mode="json")
    values["score"]["methods"] = ["dual", "confidence", "combine"]
    values["score"]["options"]["combine"] = options
    run_stages(run, make_config(values), ["score"])
    scores: np.ndarray = read_scores(run, "combine", 0)["score"].to_numpy()
    return scores


def test_methods_and_runs_of_one_data_set(tmp_path: Path) -> None:
    first, second = imported(tmp_path / "a", 0), imported(tmp_path / "b", 1)
    duals = [dual(PROB[seed].T, 3) for seed in (0, 1)]
    np.testing.assert_array_equal(
        combined(first, of=["dual", "confidence"]), combine([duals[0], confidence(PROB[0].T)])
    )
    runs = [str(second.root)]
    np.testing.assert_array_equal(combined(first, runs=runs, how="mean"), combine(duals, "mean"))
    # Outdated as soon as the other run's scores change.
    before = first.require("score.combine", "score")["fingerprint"]
    run_stages(second, second.load_config(["score.options.dual.window=2"]), ["score"])
    found = combined(first, runs=runs, how="mean")
    np.testing.assert_array_equal(found, combine([duals[0], dual(PROB[1].T, 2)], "mean"))
    assert first.require("score.combine", "score")["fingerprint"] != before


def test_runs_that_do_not_fit(tmp_path: Path) -> None:
    first = imported(tmp_path / "a", 0)
    other = dualprune.import_dynamics(PROB[1][:, :30], tmp_path / "b", config={"score": {"window": 3}})
    assert DynamicsStore(other).num_samples == 30
    with pytest.raises(RunError, match=r"b.* has no finished score|score\.dual"):
        combined(first, runs=[str(other.root)])
    run_stages(other, other.load_config(), ["score"])
    with pytest.raises(DataError, match=r"has other samples or buckets than .*: 30 samples in 1 buckets, not 40 in 1"):
        combined(first, runs=[str(other.root)])
    with pytest.raises(ConfigError, match="combine reads combine, but a score cannot depend on itself"):
        combined(first, of=["combine"])
