"""Scores within clusters of features: k-means, prototypicality, semdedup, d4."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dualprune import scores, selection
from dualprune.core.hashing import id_bits, salted, stream_salt
from dualprune.errors import ConfigError
from dualprune.scores.kmeans import Clusters, distances, kmeans, unit
from dualprune.scores.semdedup import likeness
from tests.scores import plain

RNG = np.random.default_rng(1)
N, K = 180, 6
FEATURES = (RNG.normal(size=(K, 4))[RNG.integers(K, size=N)] + 0.4 * RNG.normal(size=(N, 4))).astype(np.float32)
EXACT = FEATURES.astype(np.float64)
LABELS = np.arange(N) % K


def first(seed: int = 0, of: np.ndarray | None = None) -> np.ndarray:
    """Return the samples with which clusters begin."""
    ids = np.arange(N) if of is None else of
    return ids[np.argsort(salted(id_bits(ids), stream_salt(seed, "kmeans")))[:K]]


def angles(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


def test_clusters_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    order = np.concatenate([first(), np.setdiff1d(np.arange(N), first())])
    found = kmeans(unit(FEATURES[order]), K)
    of, centroids = plain.kmeans(EXACT[order], EXACT[first()])
    np.testing.assert_array_equal(found.of, of)
    np.testing.assert_allclose(found.centroids, centroids, atol=1e-12)
    # Whenever it ends, every sample is with its nearest centroid.
    monkeypatch.setattr(sys.modules["dualprune.scores.kmeans"], "MOST_ROUNDS", 2)
    short = kmeans(unit(FEATURES[order]), K)
    assert not np.allclose(short.centroids, found.centroids)
    np.testing.assert_array_equal(short.of, (unit(FEATURES[order]) @ short.centroids.T).argmax(axis=1))
    # Of equal centroids the first has the samples; the other stays, without any.
    found = kmeans(angles(90, 90, 90), 2)
    assert found.of.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(found.centroids, angles(90, 90))


def test_unit_vectors_of_any_size() -> None:
    huge = np.array([[3e300, 4e300], [3e-300, 4e-300], [0.0, 0.0], [3.0, -4.0]])
    np.testing.assert_allclose(unit(huge), [[0.6, 0.8], [0.6, 0.8], [0, 0], [0.6, -0.8]], rtol=1e-15)


@pytest.mark.parametrize("seed", [0, 3])
def test_prototypicality_is_that_of_a_plain_loop(seed: int) -> None:
    of, centroids = plain.kmeans(EXACT, EXACT[first(seed)])
    expected = [1 - x / np.linalg.norm(x) @ centroids[c] for x, c in zip(EXACT, of, strict=True)]
    np.testing.assert_allclose(scores.prototypicality(FEATURES, LABELS, seed=seed), expected, atol=1e-12)
    np.testing.assert_allclose(scores.prototypicality(FEATURES, clusters=K, seed=seed), expected, atol=1e-12)


def test_the_cosine_of_a_centroid_by_hand() -> None:
    clusters = Clusters(np.array([0, 0, 1]), angles(0, 90))
    np.testing.assert_allclose(distances(angles(60, 0, 120), clusters), [0.5, 0.0, 1 - np.sqrt(0.75)], atol=1e-15)
    # Clusters of one sample.
    np.testing.assert_allclose(scores.prototypicality(angles(0, 60, 120), clusters=3), 0.0, atol=1e-15)


def test_near_duplicates_by_hand() -> None:
    circle = angles(0, 8, 20, 60)
    # The centroid lies at 21.6°; by distance from it: 60°, 0°, 8°, 20°.
    found = scores.semdedup(circle, clusters=1)
    np.testing.assert_allclose(1 - found, [0.5, np.cos(np.deg2rad(8)), np.cos(np.deg2rad(12)), 0.0], atol=1e-12)
    np.testing.assert_allclose(1 - found, [0.5, 0.990268, 0.978148, 0.0], atol=1e-6)
    for epsilon, kept in ((0.01, [0, 2, 3]), (0.03, [0, 3])):
        assert np.flatnonzero(found >= epsilon).tolist() == kept
    assert selection.top_k(found, ratio=0.5).tolist() == [0, 3]
    easy = scores.semdedup(circle, clusters=1, keep="easy")
    # 20°, 8°, 0°, 60°.
    np.testing.assert_allclose(1 - easy, np.cos(np.deg2rad([8, 12, 90, 40])) * [1, 1, 0, 1], atol=1e-12)


def test_near_duplicates_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    of, centroids = plain.kmeans(EXACT, EXACT[first()])
    expected = plain.likeness(EXACT, of, centroids)
    np.testing.assert_allclose(scores.semdedup(FEATURES, clusters=K), 1 - expected, atol=1e-12)
    easy = plain.likeness(EXACT, of, centroids, sign=-1)
    np.testing.assert_allclose(scores.semdedup(FEATURES, clusters=K, keep="easy"), 1 - easy, atol=1e-12)
    monkeypatch.setattr(sys.modules["dualprune.scores.semdedup"], "BLOCK", 7)
    np.testing.assert_allclose(scores.semdedup(FEATURES, clusters=K), 1 - expected, atol=1e-12)
    hashes = RNG.integers(1 << 60, size=N).astype(np.uint64)
    found = likeness(unit(FEATURES), Clusters(np.zeros(N, int), centroids), "random", hashes)
    order = np.argsort(hashes)
    cosines = unit(FEATURES)[order] @ unit(FEATURES)[order].T
    np.testing.assert_allclose(found[order], [max(0.0, *cosines[j, :j], 0.0) for j in range(N)], atol=1e-12)


def test_d4_is_both_in_turn() -> None:
    of, centroids = plain.kmeans(EXACT, EXACT[first()])
    alike = plain.likeness(EXACT, of, centroids)
    found = scores.d4(FEATURES, clusters=K)
    removed = np.isneginf(found)
    assert removed.sum() == N // 4
    assert alike[removed].min() >= alike[~removed].max()
    left = np.flatnonzero(~removed)
    of, centroids = plain.kmeans(EXACT[left], EXACT[first(of=left)])
    expected = [1 - x / np.linalg.norm(x) @ centroids[c] for x, c in zip(EXACT[left], of, strict=True)]
    np.testing.assert_allclose(found[left], expected, atol=1e-12)
    # A keep of .3 is a share of .4 of those that are left.
    assert len(selection.top_k(found, ratio=0.7)) == 54 == round(0.4 * len(left))
    with pytest.raises(ConfigError, match=r"ratio: 0.2 of 180 samples keeps 144, but only 135 may be kept"):
        selection.top_k(found, ratio=0.2)
    assert np.isfinite(scores.d4(FEATURES, clusters=K, r_dedup=1.0)).all()


@pytest.mark.parametrize("name", ["prototypicality", "semdedup", "d4"])
def test_neither_order_nor_scale_matter(name: str) -> None:
    found = scores.from_features(name, FEATURES, clusters=K)
    order = RNG.permutation(N)
    again = scores.from_features(name, FEATURES[order], sample_ids=order, clusters=K)
    np.testing.assert_array_equal(again, found[order])
    np.testing.assert_array_equal(scores.from_features(name, 8 * FEATURES, clusters=K), found)
    texts = [f"x{number}" for number in range(N)]
    assert scores.from_features(name, FEATURES, sample_ids=texts, clusters=K).shape == (N,)
    # All alike, of length 0, and a single sample.
    for same in (np.ones((12, 3)), np.zeros((12, 3))):
        assert not np.isnan(scores.from_features(name, same, clusters=3)).any()
    assert np.isfinite(scores.from_features(name, FEATURES[:1], clusters=1)).all()
    with pytest.raises(ConfigError, match=rf"score.options.{name}.clusters: 13 clusters of 12 samples; expected at m"):
        scores.from_features(name, np.ones((12, 3)), clusters=13)


def test_the_number_of_clusters_follows_from_labels_or_the_number_of_samples() -> None:
    np.testing.assert_array_equal(scores.semdedup(FEATURES), scores.semdedup(FEATURES, clusters=13))
    with pytest.raises(ConfigError, match=r"prototypicality.clusters: null is the number of classes; pass labels"):
        scores.prototypicality(FEATURES)
