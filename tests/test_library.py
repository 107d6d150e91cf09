"""The Python examples of the README."""

from __future__ import annotations

import numpy as np

import dualprune
from dualprune.scores import dual_and_mean
from tests.conftest import MakeDynamics


def test_arrays_in_positions_out() -> None:
    target_prob = np.random.default_rng(0).random((1000, 30))
    score = dualprune.scores.dual(target_prob, window=10)
    assert score.shape == (1000,)
    assert score.dtype == np.float64
    mean_prob = target_prob.mean(axis=1)
    kept = dualprune.selection.beta(score, mean_prob, ratio=0.7, c_d=4.0, seed=0)
    assert len(kept) == 300
    assert (np.diff(kept) > 0).all()
    assert 0 <= kept[0] <= kept[-1] < 1000
    assert kept.tolist() == dualprune.selection.beta(score, mean_prob, ratio=0.7, c_d=4.0, seed=0).tolist()
    assert kept.tolist() != dualprune.selection.beta(score, mean_prob, ratio=0.7, c_d=4.0, seed=1).tolist()


def test_a_store_is_opened_by_its_path_and_is_keyed_by_sample_id(
    make_dynamics: MakeDynamics, ray_cluster: None
) -> None:
    prob = np.random.default_rng(1).random((23, 6), dtype=np.float32)
    run = make_dynamics(prob, ids=[f"id-{i}" for i in range(23)])
    rows = dualprune.DynamicsStore(str(run)).dataset().take_all()
    assert {row["sample_id"] for row in rows} == {f"id-{i}" for i in range(23)}
    recorded = {row["sample_id"]: row["target_prob"] for row in rows}
    again = dual_and_mean(np.array([recorded[f"id-{i}"] for i in range(23)]), 3)
    assert again.score.tolist() == dual_and_mean(prob, 3).score.tolist()
