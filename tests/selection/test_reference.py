"""The samplers against the plainest implementations: one sample at a time, Python numbers, one sort of everything."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dualprune import selection
from dualprune.core.sections import SelectConfig

WORD = (1 << 64) - 1
RNG = np.random.default_rng(21)
NUM = 3000
SCORE, MEAN = RNG.gamma(2.0, 0.05, NUM), RNG.random(NUM)
LABEL = RNG.choice(4, NUM, p=[0.6, 0.3, 0.09, 0.01])
IDS = {
    "int64": RNG.permutation(NUM) * 7919 - 5_000_000,
    "string": np.array([f"shard-{i % 7}/bild-{i:05d}-ü" for i in RNG.permutation(NUM)]),
}


def splitmix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def fnv1a(text: str) -> int:
    bits = 0xCBF29CE484222325
    for byte in text.encode():
        bits = ((bits ^ byte) * 0x100000001B3) & WORD
    return bits


def noise(sample_id: Any, seed: int, purpose: str) -> float:
    """Return the Gumbel noise of one id in the stream of a purpose; "": in the one that all share."""
    salt = splitmix64(splitmix64(seed) ^ fnv1a(purpose)) if purpose else splitmix64(seed)
    bits = fnv1a(sample_id) if isinstance(sample_id, str) else sample_id & WORD
    uniform = ((splitmix64(bits ^ salt) >> 12) + 0.5) / (1 << 52)
    return -math.log(-math.log(uniform))


def best(rows: list[int], key: dict[int, float], count: int) -> list[int]:
    return sorted(rows, key=lambda row: -key[row])[:count]


def random_keys(ids: list[Any], seed: int, purpose: str) -> dict[int, float]:
    return {row: noise(sample_id, seed, purpose) for row, sample_id in enumerate(ids)}


def beta_keys(ids: list[Any], seed: int, purpose: str, ratio: float, c_d: float) -> dict[int, float]:
    """Return log(BetaPDF(μ; a, b) · score) + noise of each row."""
    hardest = sorted(range(NUM), key=lambda row: (-SCORE[row], ids[row]))[:10]
    anchor = sum(MEAN[row] for row in hardest) / 10
    b = 15 * (1 - anchor) * (1 - ratio**c_d)
    a = 16 - b
    constant = math.lgamma(a) + math.lgamma(b) - math.lgamma(16)
    return {
        row: (a - 1) * math.log(MEAN[row])
        + (b - 1) * math.log(1 - MEAN[row])
        - constant
        + math.log(SCORE[row])
        + noise(ids[row], seed, purpose)
        for row in range(NUM)
    }


def strata_by_plain_rules(count: int, strata: int, drop: float) -> dict[int, tuple[list[int], int]]:
    """Return the rows of each stratum and how many of them are kept."""
    rows = sorted(range(NUM), key=lambda row: -SCORE[row])[round(drop * NUM) :]
    low, high = min(SCORE[rows]), max(SCORE[rows])
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(min(strata - 1, int((SCORE[row] - low) / (high - low) * strata)), []).append(row)
    result, left = {}, count
    in_order = sorted(members, key=lambda stratum: (len(members[stratum]), stratum))
    for done, stratum in enumerate(in_order):
        number = min(len(members[stratum]), left // (len(in_order) - done))
        result[stratum] = members[stratum], number
        left -= number
    return result


@pytest.mark.parametrize("kind", list(IDS))
@pytest.mark.parametrize("ratio", [0.3, 0.9])
@pytest.mark.parametrize("stream", [1, 2])
def test_each_sampler_keeps_what_the_plain_one_keeps(kind: str, ratio: float, stream: int) -> None:
    ids = IDS[kind].tolist()
    count, rows, seed = round((1 - ratio) * NUM), list(range(NUM)), 5
    given = {"sample_ids": IDS[kind], "ratio": ratio, "seed": seed, "stream": stream}
    purpose = {name: "" if stream == 1 else f"select/{name}" for name in ("beta", "random", "ccs")}
    assert selection.beta(SCORE, MEAN, c_d=5.5, **given).tolist() == sorted(
        best(rows, beta_keys(ids, seed, purpose["beta"], ratio, 5.5), count)
    )
    assert selection.random(NUM, **given).tolist() == sorted(
        best(rows, random_keys(ids, seed, purpose["random"]), count)
    )
    score = dict(enumerate(SCORE.tolist()))
    assert selection.top_k(SCORE, **given).tolist() == sorted(best(rows, score, count))
    if ratio > 0.5:
        ccs = strata_by_plain_rules(count, strata=50, drop=0.1).values()
        keys = random_keys(ids, seed, purpose["ccs"])
        expected = sorted(row for members, number in ccs for row in best(members, keys, number))
        assert selection.stratified(SCORE, drop_hardest=0.1, **given).tolist() == expected


@pytest.mark.parametrize("method", ["beta", "random", "top_k"])
def test_a_quota_a_class_is_a_draw_in_each_class(method: str) -> None:
    ids = IDS["string"].tolist()
    keys = {
        "beta": beta_keys(ids, 0, "select/beta", 0.9, 4.0),
        "random": random_keys(ids, 0, "select/random"),
        "top_k": dict(enumerate(SCORE.tolist())),
    }[method]
    balance = {"quota": "equal", "short": "redistribute"}
    config = SelectConfig(method=method, ratio=0.9, balance=balance)
    [kept] = selection.select(config, SCORE, MEAN, labels=LABEL, sample_ids=IDS["string"])
    sizes = np.bincount(LABEL)
    # The smallest class is kept whole, the others share the rest.
    rest = 300 - int(sizes[3])
    quotas = [rest // 3 + (label < rest % 3) for label in range(3)] + [int(sizes[3])]
    expected = [
        row for label, quota in enumerate(quotas) for row in best(np.flatnonzero(label == LABEL).tolist(), keys, quota)
    ]
    assert kept.tolist() == sorted(expected)
