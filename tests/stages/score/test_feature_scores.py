"""Scores from features in a run: the same in any buckets and as from arrays, within `score.max_bytes`."""

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
from dualprune.errors import ConfigError, DataError
from dualprune.scores import SCORES, FeatureScore, dual, from_features
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import run_score
from tests.conftest import MakeDynamics

NUM, K = 60, 3
RANDOM = np.random.default_rng(0)
PROB = RANDOM.random((NUM, 5), dtype=np.float32)
VECTORS = RANDOM.normal(size=(NUM, 4)).astype(np.float32)
LABELS = np.arange(NUM) % K
METHODS = [name for name in SCORES.names() if issubclass(SCORES[name], FeatureScore)]
OPTIONS: dict[str, dict[str, Any]] = {"zcore": {"draws": 50}, "d2": {"of": "dual"}, "dual": {"window": 3}}


def settings(*methods: str, **score: Any) -> Config:
    return make_config(
        {
            "score": {"methods": list(methods), "options": OPTIONS, **score},
            "record": {"epochs": 5},
            "train": {"epochs": 5},
        }
    )


def with_columns(run: RunDirectory, **named: np.ndarray) -> RunDirectory:
    columns = ColumnStore(run)
    for name, vectors in named.items():
        bounds = [columns.index.bucket_range(bucket) for bucket in range(columns.index.num_buckets)]
        files = [columns.write(name, bucket, vectors[start:stop]) for bucket, (start, stop) in enumerate(bounds)]
        columns.commit(name, "f", 1 if vectors.ndim == 1 else vectors.shape[1], files)
    with run.stage("record", {}) as stage:
        stage.summary = {"epochs": len(DynamicsStore(run).epochs)}
    return run


def table(run: RunDirectory, method: str) -> pa.Table:
    return pa.concat_tables(read_scores(run, method, b) for b in range(DynamicsStore(run).num_buckets))


def expected(name: str, vectors: np.ndarray = VECTORS, rows: Any = slice(None)) -> np.ndarray:
    more = {"score": dual(PROB[rows], 3)} if name == "d2" else {}
    ids = np.arange(NUM)[rows]
    return from_features(name, vectors[rows], LABELS[rows], sample_ids=ids, **more, **OPTIONS.get(name, {}))


@pytest.mark.parametrize("num_buckets", [1, 4])
def test_scores_of_a_run_are_those_of_arrays(
    make_dynamics: MakeDynamics, num_buckets: int, in_this_process: None
) -> None:
    run = with_columns(make_dynamics(PROB, labels=LABELS, num_buckets=num_buckets), features=VECTORS)
    run_score(run, settings(*METHODS))
    for name in METHODS:
        np.testing.assert_allclose(table(run, name)["score"].to_numpy(), expected(name), atol=1e-9, err_msg=name)
    assert set(table(run, "prototypicality")["cluster"].to_pylist()) == set(range(K))


def test_columns_stand_side_by_side(make_dynamics: MakeDynamics, in_this_process: None) -> None:
    run = with_columns(make_dynamics(PROB, labels=LABELS), one=VECTORS[:, 0], rest=VECTORS[:, 1:])
    options = {"columns": ["one", "rest"]}
    run_score(run, settings("rmd", options={"rmd": options, "dual": {"window": 3}}))
    np.testing.assert_allclose(table(run, "rmd")["score"].to_numpy(), expected("rmd"), atol=1e-9)


def test_memory_is_bounded(make_dynamics: MakeDynamics, in_this_process: None) -> None:
    run = with_columns(make_dynamics(PROB, labels=LABELS, num_buckets=4), features=VECTORS)
    # 16 bytes of features and 8 of the id; a class at a time, and summaries, need less.
    run_score(run, settings("herding", "rmd", max_bytes=NUM // K * 24))
    for name in ("herding", "rmd"):
        np.testing.assert_allclose(table(run, name)["score"].to_numpy(), expected(name), atol=1e-9)
    with pytest.raises(ConfigError, match=r"herding must see class '0' at once, 480 bytes of columns; .* 479;"):
        run_score(run, settings("herding", max_bytes=NUM // K * 24 - 1), force=True)
    with pytest.raises(ConfigError, match=r"score.max_bytes: k_center must see all samples at once, 1,440 bytes"):
        run_score(run, settings("k_center", max_bytes=1439))
    with pytest.raises(ConfigError, match=r"score.max_bytes: d2 must see all samples at once, 1,920 bytes"):
        run_score(run, settings("d2", max_bytes=1919))


def test_samples_without_features(make_dynamics: MakeDynamics, in_this_process: None) -> None:
    vectors = VECTORS.copy()
    vectors[17, 2] = np.nan
    run = with_columns(make_dynamics(PROB, labels=LABELS, num_buckets=4), features=vectors)
    with pytest.raises(DataError, match=r"herding: 1 samples of bucket 1 have a NaN in features, first sample 17; set"):
        run_score(run, settings("herding"))
    run_score(run, settings(*METHODS, on_nan="drop"))
    rest = np.delete(np.arange(NUM), 17)
    for name in METHODS:
        assert table(run, name)["position"].to_pylist() == rest.tolist()
        found = table(run, name)["score"].to_numpy()
        np.testing.assert_allclose(found, expected(name, vectors, rest), atol=1e-9, err_msg=name)
