"""Scores from features: rmd, zcore, spread, and what arrays are refused."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

from dualprune import scores
from dualprune.core.hashing import id_bits, salted, stream_salt, uniform
from dualprune.core.plugins import make
from dualprune.errors import ConfigError, DataError
from dualprune.scores import SCORES, FeatureScore
from dualprune.scores.zcore import covered, drawn
from tests.scores import plain

RNG = np.random.default_rng(2)
N, K = 120, 3
LABELS = RNG.integers(K, size=N)
FEATURES = (RNG.normal(size=(N, 4)) + LABELS[:, None]).astype(np.float32)
EXACT = FEATURES.astype(np.float64)
METHODS = [name for name in SCORES.names() if issubclass(SCORES[name], FeatureScore)]


def test_relative_distance_is_that_of_a_plain_loop() -> None:
    found = scores.rmd(FEATURES, LABELS)
    np.testing.assert_allclose(found, plain.rmd(EXACT, LABELS), atol=1e-9)
    np.testing.assert_allclose(scores.rmd(FEATURES, LABELS, ridge=0.1), plain.rmd(EXACT, LABELS, 0.1), atol=1e-9)
    # The distances of all samples sum to n · d under either covariance.
    assert abs(found.sum()) < 1e-2
    np.testing.assert_allclose(scores.rmd(1000 * EXACT + 7, LABELS), found, rtol=1e-6, atol=1e-6)


def test_relative_distance_by_hand() -> None:
    # Classes {0, 2} and {4, 6}: μ = 1 and 5, S_w = 1; μ = 3, S_t = 5. At 0: 1 - 9/5; at 2: 1 - 1/5.
    line, labels = np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    np.testing.assert_allclose(scores.rmd(line, labels), [-0.8, 0.8, 0.8, -0.8], atol=2e-6)
    # One class; all alike; classes of one sample each, which are their own mean.
    np.testing.assert_allclose(scores.rmd(line, np.zeros(4, int)), 0.0, atol=1e-12)
    np.testing.assert_array_equal(scores.rmd(np.ones((4, 2)), labels), 0.0)
    np.testing.assert_allclose(scores.rmd(line, np.arange(4)), [-1.8, -0.2, -0.2, -1.8], atol=5e-6)
    # More features than samples.
    assert np.isfinite(scores.rmd(RNG.normal(size=(6, 30)), np.array([0, 0, 0, 1, 1, 1]))).all()


def test_relative_distance_of_summaries() -> None:
    method = make("score method", "rmd", {}, "x")
    for sizes in ([40, 80], [1, 50, 119]):
        parts = np.split(np.arange(N), sizes)
        summaries = [method.summarise({"features": FEATURES[p]}, LABELS[p]) for p in parts if len(p)]
        merged = reduce(method.merge, summaries)
        found = np.concatenate([method.score({"features": FEATURES[p]}, LABELS[p], merged) for p in parts])
        np.testing.assert_allclose(found, scores.rmd(FEATURES, LABELS), atol=1e-9)
        # Far from the origin nothing is lost to rounding.
        far = EXACT + 1e5
        merged = reduce(method.merge, [method.summarise({"features": far[p]}, LABELS[p]) for p in parts])
        found = np.concatenate([method.score({"features": far[p]}, LABELS[p], merged) for p in parts])
        np.testing.assert_allclose(found, scores.rmd(FEATURES, LABELS), atol=1e-5)


def test_what_a_hit_takes_from_the_nearest_by_hand() -> None:
    line = np.array([[0.0, 1.0, 3.0]])
    salt = stream_salt(0, "x")
    _, points = drawn(line, 1, salt)
    found = covered(line, 1, salt)
    hit = int(np.abs(line[0] - points[0]).argmin())
    away = np.abs(line[0] - line[0, hit]) ** 4
    expected = [1.0 if i == hit else -(1 / away[i]) / sum(1 / away[j] for j in range(3) if j != hit) for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # Sample 0 once: 1, -1 / (1 + 3⁻⁴), and the rest.
    zero = next(c for c in range(200) if covered(line, 1, stream_salt(c, "x"))[0] == 1.0)
    total = covered(line, 1, stream_salt(zero, "x"))
    np.testing.assert_allclose(total, [1, -0.987805, -0.012195], atol=1e-6)
    np.testing.assert_allclose((total - total.min()) / np.ptp(total), [1, 0, 0.490798], atol=1e-6)


@pytest.mark.parametrize("num", [N, 1500])
def test_coverage_is_that_of_a_plain_loop(num: int) -> None:
    features = RNG.normal(size=(num, 5)).astype(np.float32).astype(np.float64)
    features[:, 3] = 2.5
    features[num // 2] = features[num // 2 + 1]
    by_coordinate, salt = np.ascontiguousarray(features.T), stream_salt(3, "score/zcore/draws")
    coordinates, points = drawn(by_coordinate, 40, salt)
    assert (coordinates[:, 0] != coordinates[:, 1]).all()
    assert (points[coordinates == 3] == 2.5).all()
    expected = plain.zcore_hits(features, coordinates, points)
    np.testing.assert_allclose(covered(by_coordinate, 40, salt), expected, atol=1e-9)
    # In the order of the hashes, with the noise of the ids.
    order = np.argsort(salted(id_bits(np.arange(num)), stream_salt(3, "score/zcore")))
    hits = np.zeros(num)
    by_order = np.ascontiguousarray(features[order].T)
    hits[order] = plain.zcore_hits(features[order], *drawn(by_order, 40, salt))
    total = hits + uniform(salted(id_bits(np.arange(num)), stream_salt(3, "score/zcore/noise")))
    found = scores.zcore(features, draws=40, seed=3)
    np.testing.assert_allclose(found, (total - total.min()) / np.ptp(total), atol=1e-9)
    # As the authors' workers do: a tenth of the draws, each ten times.
    hits[order] = 10 * plain.zcore_hits(features[order], *drawn(by_order, 4, salt))
    total = hits + uniform(salted(id_bits(np.arange(num)), stream_salt(3, "score/zcore/noise")))
    found = scores.zcore(features, draws=40, seed=3, preset="authors")
    np.testing.assert_allclose(found, (total - total.min()) / np.ptp(total), atol=1e-9)


def test_draws_of_points_are_triangular() -> None:
    values = np.sort(RNG.gamma(2.0, size=(2, 501)), axis=1)
    coordinates, points = drawn(values, 20_000, stream_salt(0, "x"))
    assert np.bincount(coordinates[:, 0]).min() > 9_500
    low, middle, high = values[0].min(), np.median(values[0]), values[0].max()
    own = points[coordinates == 0]
    assert low < own.min() < own.max() < high
    assert abs(own.mean() - (low + middle + high) / 3) < 0.03
    assert abs((own < middle).mean() - (middle - low) / (high - low)) < 0.01


def test_order_scale_and_constants_of_coverage() -> None:
    found = scores.zcore(FEATURES, draws=200)
    order = RNG.permutation(N)
    np.testing.assert_array_equal(scores.zcore(FEATURES[order], draws=200, sample_ids=order), found[order])
    np.testing.assert_allclose(scores.zcore(4 * EXACT, draws=200), found, atol=1e-12)
    # Distances whose fourth powers vanish or overflow.
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(scores.zcore(scale * EXACT, draws=200), found, atol=1e-6)
    for few in (np.ones((5, 3)), FEATURES[:1], FEATURES[:, :1]):
        found = scores.zcore(few, draws=20)
        assert found.min() == 0.0
        assert found.max() == (1.0 if len(few) > 1 else 0.0)


def test_spread_of_a_kept_set() -> None:
    kept, held_out = EXACT[:50], EXACT[50:]
    nearest = [min(np.linalg.norm(x - k) for k in kept) for x in held_out]
    assert scores.spread(kept, held_out) == pytest.approx(max(nearest), abs=1e-12)
    limit = np.percentile(nearest, 80)
    assert scores.spread(kept, held_out, percentile=80) == pytest.approx(np.mean([d for d in nearest if d >= limit]))
    assert scores.spread([[0.0], [4.0]], [[1.0], [6.0]]) == 2.0
    assert scores.spread(kept, kept) == 0.0
    with pytest.raises(DataError, match=r"kept_features has shape \(0, 4\); expected \[n, d\]"):
        scores.spread(kept[:0], held_out)
    with pytest.raises(DataError, match=r"held_out_features have 3 values per example, kept_features 4"):
        scores.spread(kept, held_out[:, :3])
    with pytest.raises(ConfigError, match=r"percentile: 101 is not in \[0, 100\]"):
        scores.spread(kept, held_out, percentile=101)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_refused(name: str) -> None:
    more = {"score": np.ones(N)} if name == "d2" else {}
    for bad in (np.nan, np.inf):
        features = FEATURES.copy()
        features[17, 2] = bad
        with pytest.raises(DataError, match=rf"features: 1 values are NaN or infinite, first {bad} of sample 17 at pl"):
            scores.from_features(name, features, LABELS, **more)
    with pytest.raises(DataError, match=r"features has shape \(120,\); expected \[n, d\]"):
        scores.from_features(name, FEATURES[:, 0], LABELS, **more)
    with pytest.raises(DataError, match=r"labels have shape \(119,\); expected \[120\]"):
        scores.from_features(name, FEATURES, LABELS[1:], **more)
    with pytest.raises(DataError, match=r"1 labels are not whole numbers from 0 on, first that of sample 3: -1"):
        scores.from_features(name, FEATURES, np.where(np.arange(N) == 3, -1, LABELS), **more)
    with pytest.raises(DataError, match=r"sample_ids: 1 different ids of shape \(120,\) for 120 samples"):
        scores.from_features(name, FEATURES, LABELS, sample_ids=np.zeros(N, int), **more)
    with pytest.raises(ConfigError, match=rf"score.options.{name}.nothing: unknown"):
        scores.from_features(name, FEATURES, LABELS, nothing=1, **more)
    with pytest.raises(ConfigError, match=r"columns: 'b': arrays are passed as one, side by side"):
        scores.from_features(name, FEATURES, LABELS, columns=["a", "b"], **more)


def test_other_scores_and_other_arrays() -> None:
    with pytest.raises(ConfigError, match=r"dual reads target_prob, not features; see dualprune.scores.from_probs"):
        scores.from_features("dual", FEATURES)
    with pytest.raises(DataError, match=r"score: 1 values are NaN or \+inf, first that of sample 5"):
        scores.d2(FEATURES, np.where(np.arange(N) == 5, np.nan, 1.0))
    with pytest.raises(DataError, match=r"score has shape \(3,\); expected \[120\]"):
        scores.d2(FEATURES, np.ones(3))
    expected = scores.rmd(FEATURES, LABELS)
    for same in (torch.from_numpy(FEATURES), FEATURES.tolist(), EXACT):
        np.testing.assert_allclose(scores.rmd(same, torch.from_numpy(LABELS)), expected, atol=1e-9)
    half = scores.rmd(FEATURES.astype(np.float16), LABELS)
    np.testing.assert_allclose(half, scores.rmd(FEATURES.astype(np.float16).astype(float), LABELS), atol=1e-9)
