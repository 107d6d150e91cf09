"""Draws for different purposes share no noise: their overlaps are those of chance, over 200 seeds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from dualprune import selection
from dualprune.core.config_file import make_config
from dualprune.core.hashing import hash_ids, salted, seed_salt, stream_salt
from dualprune.errors import ConfigError
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.sampler import SAMPLERS

NUM, SEEDS, RATIOS = 400, range(200), (0.5, 0.7, 0.9)
RNG = np.random.default_rng(8)
MEAN = RNG.random(NUM)
SCORE = 0.3 * MEAN * (1.0 - MEAN) * RNG.random(NUM)
OPTIONS = {"threshold": {"min_score": float(np.median(SCORE))}, "ccs": {"drop": 0.05, "drop_by": "score"}}


def kept_by(method: str, seed: int, **select: object) -> NDArray[np.bool_]:
    """Return who is kept at each ratio, bool [ratios, NUM]; ids are row numbers."""
    options = {method: OPTIONS[method]} if method in OPTIONS else {}
    config = make_config(
        {"select": {"method": method, "ratio": list(RATIOS), "seed": seed, "options": options} | select}
    )
    kept = np.zeros((len(RATIOS), NUM), dtype=bool)
    drawn = selection.select(config.select, SCORE, MEAN, labels=np.arange(NUM) % 3)
    for mask, positions in zip(kept, drawn * (1 if len(drawn) > 1 else len(RATIOS)), strict=True):
        mask[positions] = True
    return kept


def baseline(seed: int, number: int = 0) -> NDArray[np.bool_]:
    """Return who is kept at each ratio by a random baseline, bool [ratios, NUM]."""
    kept = np.zeros((len(RATIOS), NUM), dtype=bool)
    for mask, ratio in zip(kept, RATIOS, strict=True):
        mask[selection.random(NUM, ratio=ratio, seed=seed, purpose=f"baseline/{number}")] = True
    return kept


def deviations(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how many standard deviations of chance the overlap of two sets differs from its mean; over the last axis.

    One of the sets is random, so that their overlap is hypergeometric.
    """
    first, second = one.sum(-1), other.sum(-1)
    mean = first * second / NUM
    variance = mean * (1 - first / NUM) * (NUM - second) / (NUM - 1)
    return ((one & other).sum(-1) - mean) / np.sqrt(variance)


def assert_is_chance(found: NDArray[np.float64], what: object) -> None:
    """Check that deviations over the seeds have the mean 0 and the variance 1, each within 4.5 standard errors."""
    count = len(found)
    assert abs(found.mean()) < 4.5 / np.sqrt(count), (what, found.mean())
    assert abs(found.var() - 1.0) < 4.5 * np.sqrt(2.0 / count), (what, found.var())


RANDOM = np.stack([kept_by("random", seed) for seed in SEEDS])
BASELINES = np.stack([baseline(seed) for seed in SEEDS])


@pytest.mark.parametrize("method", SAMPLERS.names())
def test_random_draws_overlap_with_every_sampler_by_chance(method: str) -> None:
    kept = RANDOM if method == "random" else np.stack([kept_by(method, seed) for seed in SEEDS])
    others = {"a baseline": BASELINES} | ({} if method == "random" else {"the sampler random": RANDOM})
    for name, other in others.items():
        found = deviations(kept, other)
        for number, ratio in enumerate(RATIOS):
            assert_is_chance(found[:, number], (name, method, ratio))


def test_in_stream_1_they_shared_half_of_the_kept_samples() -> None:
    """The measure finds what it is there to find."""
    shared = [
        len(
            np.intersect1d(
                selection.beta(SCORE, MEAN, ratio=0.9, seed=seed, stream=1),
                selection.random(NUM, ratio=0.9, seed=seed, stream=1, purpose="baseline/0"),
            )
        )
        for seed in range(20)
    ]
    assert np.mean(shared) / 40 > 0.25


def test_no_two_purposes_share_noise() -> None:
    purposes = [f"select/{name}" for name in SAMPLERS.names()]
    purposes += ["select/ccs/cut0", "baseline/0", "baseline/1", "baseline/10", "stability", "plan", "augment"]
    ids = np.arange(NUM, dtype=np.uint64)
    hashes = {purpose: np.stack([salted(ids, stream_salt(seed, purpose)) for seed in SEEDS]) for purpose in purposes}
    # What splits off a test set, and what all draws of stream 1 share.
    hashes["the seed alone"] = np.stack([salted(ids, seed_salt(seed)) for seed in SEEDS])
    # Counting seeds on must not lead into the noise of another purpose.
    hashes["baseline/0 of the next seed"] = np.stack(
        [salted(ids, stream_salt(seed + 1, "baseline/0")) for seed in SEEDS]
    )
    for ratio in RATIOS:
        count = selection.num_kept(NUM, ratio)
        kept = {name: found >= np.sort(found, axis=1)[:, -count, None] for name, found in hashes.items()}
        for one, other in combinations(kept, 2):
            assert_is_chance(deviations(kept[one], kept[other]), (one, other, ratio))
    for one, other in combinations(hashes, 2):
        ranks = [scipy.stats.rankdata(hashes[name], axis=1).ravel() for name in (one, other)]
        assert abs(np.corrcoef(*ranks)[0, 1]) < 5 / np.sqrt(NUM * len(SEEDS)), (one, other)


@pytest.mark.parametrize("stream", [1, 2])
def test_functions_of_arrays_draw_what_a_configuration_draws(stream: int) -> None:
    given: dict[str, Any] = {"ratio": 0.7, "seed": 3, "stream": stream}
    # Rounded, so that ties are broken, too.
    score = np.round(SCORE, 3)
    drawn = {
        "beta": selection.beta(score, MEAN, **given),
        "random": selection.random(NUM, **given),
        "top_k": selection.top_k(score, **given),
        "ccs": selection.ccs(score, **given),
    }
    for method, found in drawn.items():
        config = make_config({"select": {"method": method, **given}})
        [expected] = selection.select(config.select, score, MEAN)
        assert found.tolist() == expected.tolist()
    assert selection.stratified(score, **given).tolist() == drawn["ccs"].tolist()


def test_the_plain_stream_is_the_hash_of_the_seed() -> None:
    ids = np.arange(50)
    assert DrawRules((0.5,), 7, stream=1, purpose="baseline/0").salt("beta") == seed_salt(7)
    assert salted(ids.astype(np.uint64), seed_salt(7)).tolist() == hash_ids(ids, 7).tolist()
    assert DrawRules((0.5,), 7).salt("beta") == stream_salt(7, "select/beta")


def test_streams_and_seeds_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"select.stream: 3 is not one of 1, 2"):
        selection.random(10, ratio=0.5, stream=3)
    with pytest.raises(ConfigError, match=r"seed: 18446744073709551616 is not in 0 … 2\^64 - 1"):
        selection.random(10, ratio=0.5, seed=1 << 64)
    with pytest.raises(ConfigError, match=r"select.stream"):
        make_config({"select": {"stream": 3}})
