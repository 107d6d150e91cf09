"""Scores that pick samples one after the other by their features: herding, k_center, moderate, d2."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from dualprune import scores, selection
from dualprune.core.hashing import id_bits, salted, stream_salt
from dualprune.errors import ConfigError, DataError
from dualprune.scores.neighbours import neighbours
from tests.scores import plain

RNG = np.random.default_rng(0)
N = 150
FEATURES = RNG.normal(size=(N, 5)).astype(np.float32)
LABELS = RNG.choice(3, N, p=[0.6, 0.3, 0.1])
HARD = RNG.random(N)
EXACT = FEATURES.astype(np.float64)
PICKS: dict[str, dict[str, Any]] = {
    "herding": {},
    "k_center": {},
    "moderate": {},
    "d2": {"score": HARD},
}


def by_class(function: Any, *per_sample: np.ndarray) -> np.ndarray:
    result = np.zeros(N)
    for label in range(3):
        rows = label == LABELS
        result[rows] = function(EXACT[rows], *(values[rows] for values in per_sample))
    return result


def test_they_equal_plain_loops() -> None:
    np.testing.assert_allclose(scores.herding(FEATURES, LABELS), by_class(plain.herding), atol=1e-12)
    np.testing.assert_allclose(scores.herding(FEATURES, per_class=False), plain.herding(EXACT), atol=1e-12)
    np.testing.assert_allclose(scores.k_center(FEATURES), plain.k_center(EXACT), atol=1e-12)
    np.testing.assert_allclose(scores.k_center(FEATURES, LABELS, per_class=True), by_class(plain.k_center), atol=1e-12)
    for options in ({}, {"k": 1, "gamma": 1.0}, {"k": 40}):
        np.testing.assert_allclose(scores.d2(FEATURES, HARD, **options), plain.d2(EXACT, HARD, **options), atol=1e-12)
    np.testing.assert_allclose(scores.d2(FEATURES, HARD, LABELS, per_class=True), by_class(plain.d2, HARD), atol=1e-12)
    score = scores.moderate(FEATURES, LABELS)
    for kept in (1, 2, 7, 75, 100, 149):
        assert np.sort(np.argsort(-score)[:kept]).tolist() == plain.moderate_kept(EXACT, LABELS, kept)


def test_herding_keeps_the_mean_and_its_reverse_does_not() -> None:
    kept = np.argsort(-scores.herding(FEATURES, per_class=False))[:8]
    assert np.linalg.norm(EXACT[kept].mean(axis=0) - EXACT.mean(axis=0)) < 0.25
    # By hand: μ = 1.5; |1.5 - x| is least for 1 (before 2 only by the hash, so 1.1 here), then |3 - 1.1 - x| for 2, …
    line = np.array([[0.0], [1.1], [2.0], [2.9]])
    assert np.argsort(-scores.herding(line, per_class=False)).tolist() == [1, 2, 0, 3]


def test_k_center_by_hand() -> None:
    # Mean 4: first 3, then 11 (8 away), then 0 (3 away), then 2 (1 away).
    line = np.array([[0.0], [2.0], [3.0], [11.0]])
    assert np.argsort(-scores.k_center(line)).tolist() == [2, 3, 0, 1]
    # After one pick the others follow by their distance from it.
    assert np.argsort(-scores.k_center(line, picks=0.25)).tolist() == [2, 3, 0, 1]
    far = scores.k_center(FEATURES, picks=0.1)
    kept = np.argsort(-scores.k_center(FEATURES))[:15]
    assert np.argsort(-far)[:15].tolist() == kept.tolist()
    nearest = ((EXACT[:, None] - EXACT[kept]) ** 2).sum(axis=2).min(axis=1)
    rest = np.argsort(-far)[15:]
    assert (np.diff(nearest[rest]) <= 0).all()


def test_k_center_as_deepcore_begins() -> None:
    first = salted(id_bits(np.arange(N)), stream_salt(7, "score/k_center")).argmin()
    random = scores.k_center(FEATURES, start="random", seed=7)
    assert random.argmax() == first != scores.k_center(FEATURES, seed=7).argmax()


def test_moderate_by_hand() -> None:
    # Distances from the medians 1 and 10: 1 0 1.5 and 5 0 2; of six, the middle two are ranks 2 and 3.
    line = np.array([[0.0], [1.0], [2.5], [5.0], [10.0], [12.0]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert np.sort(np.argsort(-scores.moderate(line, labels))[:2]).tolist() == [0, 2]
    kept = selection.top_k(scores.moderate(FEATURES, LABELS), ratio=0.5)
    # Not the same share of each class, as the window is one over all.
    assert len(set((np.bincount(LABELS[kept]) / np.bincount(LABELS)).round(2).tolist())) == 3


def test_d2_by_hand() -> None:
    # Neighbours (k = 1) of 0, 1 and 3: 1, 0 and 1. Forward: 1 + 2/e, 2 + 1/e, 1 + 2/e².
    line, hard = np.array([[0.0], [1.0], [3.0]]), np.array([1.0, 2.0, 1.0])
    e = np.e
    first = [1 + 2 / e, 2 + 1 / e, 1 + 2 / e**2]
    # The pick of 1 leaves 0 at 1.7358 - 2.3679/e^0.1 < 0, so that 3 is next.
    assert first[0] - first[1] * np.exp(-0.1) < first[2]
    assert np.argsort(-scores.d2(line, hard, k=1)).tolist() == [1, 2, 0]
    # With γ = 30 a pick hardly lowers its neighbours.
    assert np.argsort(-scores.d2(line, hard, k=1, gamma=30.0)).tolist() == [1, 0, 2]
    never = np.array([1.0, -np.inf, 1.0])
    assert scores.d2(line, never, k=1)[1] == -np.inf
    with pytest.raises(DataError, match=r"d2: 1 scores of forgetting are negative, the lowest -2; .*how: rank_mean"):
        scores.d2(line, np.array([1.0, -2.0, 0.0]))


@pytest.mark.parametrize("name", PICKS)
def test_neither_order_nor_scale_matter_and_ties_are_decided_by_ids(name: str) -> None:
    options = PICKS[name]
    found = scores.from_features(name, FEATURES, LABELS, **options)
    order = RNG.permutation(N)
    turned = {key: values[order] for key, values in options.items()}
    again = scores.from_features(name, FEATURES[order], LABELS[order], sample_ids=order, **turned)
    np.testing.assert_array_equal(again, found[order])
    if name != "d2":  # its kernel has a scale
        np.testing.assert_array_equal(scores.from_features(name, 4 * FEATURES, LABELS, **options), found)
    # All samples alike: the order is that of the hashes, in each class.
    same = {key: np.ones(N) for key in options}
    tied = scores.from_features(name, np.full((N, 3), 0.3, np.float32), np.zeros(N, int), seed=5, **same)
    hashes = salted(id_bits(np.arange(N)), stream_salt(5, f"score/{name}"))
    if name == "moderate":
        assert sorted(np.argsort(-tied)[:2].tolist()) == sorted(np.argsort(hashes)[74:76].tolist())
    elif name != "d2":  # whose picks lower their neighbours
        assert np.argsort(-tied).tolist() == np.argsort(hashes).tolist()
    assert len(set(tied.tolist())) == N
    assert not np.array_equal(tied, scores.from_features(name, np.full((N, 3), 0.3), np.zeros(N, int), **same))
    # One sample, and a class of one.
    alone = {key: values[:1] for key, values in options.items()}
    assert scores.from_features(name, FEATURES[:1], LABELS[:1], **alone).tolist() == [0.5]


def test_neighbours_are_exact_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Duplicates, which products in float32 cannot tell apart, and one sample far from the others.
    points = np.concatenate([FEATURES, FEATURES[:40], np.full((60, 5), 2.5, np.float32), [[1e4] * 5]])
    squares = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :5]
    module = sys.modules["dualprune.scores.neighbours"]
    for rows, columns in ((1024, 8192), (7, 13)):
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(module, "COLUMNS", columns)
        found = neighbours(points, points, 5, itself=False)
        np.testing.assert_array_equal(found.points, expected)
        np.testing.assert_allclose(found.distances, np.sqrt(np.take_along_axis(squares, expected, 1)), atol=1e-12)
    for scale in (1e-30, 1e30):
        np.testing.assert_array_equal(
            neighbours(scale * points.astype(float), scale * points.astype(float), 5, itself=False).points, expected
        )


def test_labels_are_asked_for_where_they_are_needed() -> None:
    for name in ("herding", "moderate"):
        with pytest.raises(DataError, match=rf"{name} needs labels, int \[n\], with these options; pass `labels`"):
            scores.from_features(name, FEATURES)
    with pytest.raises(DataError, match=r"d2 reads another score beside the features; pass `score`"):
        scores.from_features("d2", FEATURES)
    with pytest.raises(ConfigError, match=r"k_center reads no other score; leave `score` out"):
        scores.from_features("k_center", FEATURES, score=HARD)
