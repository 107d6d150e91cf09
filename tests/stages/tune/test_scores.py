from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray

from dualprune import selection
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.errors import ConfigError
from dualprune.scores import dual_and_mean
from dualprune.scores.score import SCORES
from dualprune.stages.tune.context import draw
from dualprune.stages.tune.scores import ScoreCache, ScoreRequest, check_methods, compute_scores
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(5).random((97, 6)).astype(np.float32)
IDS = [f"id-{i * 7919 % 97}" for i in range(97)]
VALIDATION = np.arange(0, 97, 5)


def settings(**select: object) -> Config:
    return make_config({"score": {"window": 3}, "record": {"epochs": 6}, "train": {"epochs": 6}, "select": select})


def request(window: int, epochs: int | None = None) -> ScoreRequest:
    score = {"window": window, "epochs": epochs}
    return ScoreRequest.of(make_config({"score": score, "record": {"epochs": 6}, "train": {"epochs": 6}}))


def test_scores_of_a_prefix_without_the_validation_samples(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, num_buckets=3)
    table = compute_scores(str(run.root.address), VALIDATION, request(3, epochs=4))
    rest = np.setdiff1d(np.arange(97), VALIDATION)
    expected = dual_and_mean(PROB[rest, :4], 3)
    assert table["position"].to_pylist() == rest.tolist()
    np.testing.assert_allclose(table["score"], expected.score)
    np.testing.assert_allclose(table["mean_prob"], expected.mean_prob)
    assert len(compute_scores(str(run.root.address), None, request(3))) == 97


def test_a_draw_is_the_one_on_arrays(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, ids=IDS)
    config = settings(ratio=0.7, seed=2)
    table = compute_scores(str(run.root.address), VALIDATION, ScoreRequest.of(config))
    rest = np.setdiff1d(np.arange(97), VALIDATION)
    scored = dual_and_mean(PROB[rest], 3)
    expected = selection.beta(scored.score, scored.mean_prob, ratio=0.7, seed=5, sample_ids=np.array(IDS)[rest])
    assert draw(config, table, ("0", "1", "2"), seed=3).tolist() == rest[expected].tolist()
    balanced = settings(method="top_k", ratio=0.7, balance={"quota": {"0": 2, "1": 1, "2": 1}})
    labels = np.arange(97) % 3
    kept = np.bincount(labels[draw(balanced, table, ("0", "1", "2"), seed=0)])
    assert kept.sum() == 23
    assert abs(kept - np.array([11.5, 5.75, 5.75])).max() < 1


def test_each_score_is_computed_once(ray_cluster: None, tmp_path: Path) -> None:
    def compute(folder: Path, request: ScoreRequest) -> str:
        calls = len(list(folder.glob(f"{request.key}-*")))
        (folder / f"{request.key}-{calls}").touch()
        return request.key

    cache = ray.remote(num_cpus=0)(ScoreCache).remote(partial(compute, tmp_path))
    asked = [request(window, epochs) for window in (2, 3) for epochs in (None, 5) for _ in range(3)]
    references = ray.get([cache.get.remote(one) for one in asked])
    assert ray.get([reference for [reference] in references]) == [one.key for one in asked]
    assert len(list(tmp_path.iterdir())) == 4
    assert ray.get(cache.computed.remote()) == {one.key: 1 for one in asked}
    ray.kill(cache)


def test_a_method_whose_statistic_is_not_recorded(make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_dynamics(PROB)
    check_methods(str(run), settings(), ["dual"])
    monkeypatch.setattr(SCORES["dual"], "reads", ("target_prob", "margin"))
    with pytest.raises(
        ConfigError, match=r"select.score: dual needs the statistic 'margin', and .* has recorded: target"
    ):
        check_methods(str(run), settings(), ["dual"])
