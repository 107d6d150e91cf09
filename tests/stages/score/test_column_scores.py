"""Scores from columns and from other scores, for each scope, in any buckets; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.scores import SCORES, ColumnScore, dual
from dualprune.scores.score import Values
from dualprune.stages.methods import score_methods
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import run_score
from tests.conftest import MakeDynamics

NUM, K = 60, 3
RANDOM = np.random.default_rng(0)
PROB = RANDOM.random((NUM, 5), dtype=np.float32)
VECTORS = RANDOM.normal(size=(NUM, 4)).astype(np.float32)
LABELS = np.arange(NUM) % K


class Norm(ColumnScore):
    """Length of the vector, times the DUAL score."""

    reads = ("features", "score:dual")

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        assert summary is None
        norm = np.linalg.norm(columns["features"].astype(float), axis=1)
        return norm * columns["score:dual"], {"norm": norm}


class Centre(ColumnScore):
    """Distance from the mean of the class; needs a class at once."""

    reads = ("features",)
    scope = "class"
    signed = True

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        assert labels is not None
        assert len(set(labels.tolist())) == 1
        vectors = columns["features"].astype(float)
        centre = vectors.mean(axis=0) if summary is None else summary[0] / summary[1]
        return np.linalg.norm(vectors - centre, axis=1)


class SummedCentre(Centre):
    """The same from sums that any rows add to."""

    def summarise(self, columns: Values, labels: np.ndarray | None) -> Any:
        return columns["features"].astype(float).sum(axis=0), len(columns["features"])

    def merge(self, first: Any, second: Any) -> Any:
        return first[0] + second[0], first[1] + second[1]


class Rank(ColumnScore):
    """Rank of the first coordinate among all; a tenth is never kept."""

    reads = ("features",)
    scope = "all"

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        rank = columns["features"][:, 0].argsort().argsort().astype(float)
        rank[rank < NUM // 10] = -np.inf
        return rank


class Twice(ColumnScore):
    """Another score from a score."""

    reads = ("score:norm",)

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        return 2 * columns["score:norm"]


class Loop(ColumnScore):
    """A score that reads itself."""

    reads = ("score:loop",)

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        raise AssertionError


METHODS = {"norm": Norm, "centre": Centre, "summed": SummedCentre, "rank": Rank, "twice": Twice, "loop": Loop}


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the methods of this file for each test alone."""
    SCORES.names()
    monkeypatch.setattr(SCORES, "_items", dict(SCORES._items))
    for name, method in METHODS.items():
        SCORES.register(name)(method)


def settings(*methods: str, **score: Any) -> Config:
    return make_config(
        {
            "score": {"methods": list(methods), "options": {"dual": {"window": 3}}, **score},
            "record": {"epochs": 5},
            "train": {"epochs": 5},
        }
    )


def with_features(run: RunDirectory, vectors: np.ndarray = VECTORS) -> RunDirectory:
    columns = ColumnStore(run)
    files = []
    for bucket in range(columns.index.num_buckets):
        start, stop = columns.index.bucket_range(bucket)
        files.append(columns.write("features", bucket, vectors[start:stop]))
    columns.commit("features", "f", vectors.shape[1], files)
    with run.stage("record", {}) as stage:
        stage.summary = {"epochs": len(DynamicsStore(run).epochs)}
    return run


def scores(run: RunDirectory, method: str) -> pa.Table:
    return pa.concat_tables(read_scores(run, method, b) for b in range(DynamicsStore(run).num_buckets))


def expected_centre(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    centres = np.stack([vectors[labels == k].astype(float).mean(axis=0) for k in range(K)])
    return np.linalg.norm(vectors - centres[labels], axis=1)


@pytest.mark.parametrize("num_buckets", [1, 4])
def test_each_scope_sees_what_it_needs(make_dynamics: MakeDynamics, num_buckets: int, in_this_process: None) -> None:
    run = with_features(make_dynamics(PROB, labels=LABELS, num_buckets=num_buckets))
    run_score(run, settings("twice", "centre", "summed", "rank"))
    norm = np.linalg.norm(VECTORS.astype(float), axis=1)
    # A method that another reads is scored first, whether or not the configuration names it.
    np.testing.assert_array_equal(scores(run, "dual")["score"], dual(PROB, 3))
    np.testing.assert_allclose(scores(run, "norm")["score"], norm * dual(PROB, 3))
    np.testing.assert_allclose(scores(run, "norm")["norm"], norm)
    np.testing.assert_allclose(scores(run, "twice")["score"], 2 * norm * dual(PROB, 3))
    for name in ("centre", "summed"):
        np.testing.assert_allclose(scores(run, name)["score"], expected_centre(VECTORS, LABELS))
    rank = VECTORS[:, 0].argsort().argsort().astype(float)
    np.testing.assert_array_equal(scores(run, "rank")["score"], np.where(rank < NUM // 10, -np.inf, rank))
    for name in ("twice", "rank"):
        np.testing.assert_array_equal(scores(run, name)["mean_prob"], scores(run, "dual")["mean_prob"])
        assert run.require(f"score.{name}", "score")["summary"] == {"samples": NUM, "left_out": 0}
    # A finished stage stays done until its inputs change.
    files = [run.scores(name) / "_commit.json" for name in ("norm", "centre")]
    before = [file.read_bytes() for file in files]
    run_score(run, settings("twice", "centre"))
    assert [file.read_bytes() for file in files] == before
    columns = ColumnStore(run)
    columns.commit("features", "other", 4, [])
    run_score(run, settings("twice", "centre"))
    assert all(now.read_bytes() != then for now, then in zip(files, before, strict=True))


def test_memory_is_bounded(make_dynamics: MakeDynamics, in_this_process: None) -> None:
    run = with_features(make_dynamics(PROB, labels=LABELS, num_buckets=4))
    class_bytes = NUM // K * 16
    run_score(run, settings("centre", max_bytes=class_bytes))
    np.testing.assert_allclose(scores(run, "centre")["score"], expected_centre(VECTORS, LABELS))
    with pytest.raises(ConfigError, match=r"score.max_bytes: centre must see class '0' at once, 320 bytes .* 319;"):
        run_score(run, settings("centre", max_bytes=class_bytes - 1), force=True)
    with pytest.raises(ConfigError, match=r"score.max_bytes: rank must see all samples at once, 960 bytes of columns"):
        run_score(run, settings("rank", max_bytes=900))
    run_score(run, settings("summed", max_bytes=1))
    np.testing.assert_allclose(scores(run, "summed")["score"], expected_centre(VECTORS, LABELS))


def test_samples_without_a_value(make_dynamics: MakeDynamics, in_this_process: None) -> None:
    vectors, prob = VECTORS.copy(), PROB.copy()
    vectors[17, 2] = np.nan
    prob[31] = np.nan
    run = with_features(make_dynamics(prob, labels=LABELS, num_buckets=4), vectors)
    with pytest.raises(DataError, match=r"norm: 1 samples of bucket 1 have a NaN in features, first sample 17; set"):
        run_score(run, settings("norm"))
    run_score(run, settings("norm", "centre", on_nan="drop"))
    rest = np.setdiff1d(np.arange(NUM), [17, 31])
    for name in ("norm", "centre"):
        assert scores(run, name)["position"].to_pylist() == rest.tolist()
    np.testing.assert_allclose(scores(run, "centre")["score"], expected_centre(vectors[rest], LABELS[rest]))


def test_what_is_refused(make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> None:
    with pytest.raises(ConfigError, match=r"score.methods: loop reads loop, but a score cannot depend on itself"):
        score_methods(settings("loop"))
    run = make_dynamics(PROB, labels=LABELS)
    with run.stage("record", {}):
        pass
    with pytest.raises(RunError, match=r"has no column 'features'; it has: none. Run `dualprune measure"):
        run_score(run, settings("centre"))
    with_features(run)
    monkeypatch.setattr(Rank, "score", lambda *_: np.where(np.arange(NUM) == 5, np.nan, 1.0))
    with pytest.raises(DataError, match=r"score method rank: 1 scores are NaN or infinite, first of sample 5, whose"):
        run_score(run, settings("rank"))
    monkeypatch.setattr(Rank, "score", lambda *_: (np.ones(NUM), {"label": np.ones(NUM)}))
    with pytest.raises(ConfigError, match=r"score method rank adds a column 'label', which each score file has"):
        run_score(run, settings("rank"))
