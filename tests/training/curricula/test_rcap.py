"""RCAP: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualprune.errors import ConfigError
from dualprune.training.curricula.rcap import class_shares
from tests.training.curricula.shown import facts, made, show, step_of, weights


def test_rcap_divides_by_class() -> None:
    shares = class_shares(np.ones(2), np.array([6, 2]), 4)
    assert shares == pytest.approx([2.5359, 1.4641], abs=1e-4)
    # The authors round up, to five of four; ours is the exact number.
    assert np.ceil(shares).tolist() == [3, 2]
    labels = np.array([0] * 6 + [1] * 2)
    found = weights(made("rcap", facts(8, labels=labels)), 0)
    assert np.bincount(labels, weights=found).tolist() == [3, 1]
    with pytest.raises(ConfigError, match="'rcap' divides samples by class"):
        made("rcap", facts(8, labels=None))


def test_rcap_as_a_plain_loop() -> None:
    rng = np.random.default_rng(8)
    labels = np.arange(40) % 3
    curriculum = made("rcap", facts(40, labels=labels, num_classes=3), beta=0.5)
    lag, picks = [math.log(3)] * 40, None
    for epoch in range(8):
        exp = [math.exp(min(max(loss, 0.0), math.log(3)) / 0.5) for loss in lag]
        total = [sum(exp[i] for i in range(40) if labels[i] == c) for c in range(3)]
        prob = [exp[i] / total[labels[i]] for i in range(40)]
        hard = [1.0 if picks is None else sum(prob[i] for i in picks if labels[i] == c) for c in range(3)]
        sizes = [14, 13, 13]
        roots = [math.sqrt(hard[c] * sizes[c] / 40) for c in range(3)]
        found = weights(curriculum, epoch)
        counts = np.bincount(labels, weights=found)
        assert counts.sum() == 20
        for c in range(3):
            assert abs(counts[c] - min(20 * roots[c] / sum(roots), sizes[c])) < 2
        picks = np.flatnonzero(found).tolist()
        loss = (rng.gamma(1.0, size=40) * (1 + labels)).astype(np.float32)
        show(curriculum, epoch, loss, step=step_of(found > 0))
        lag = [float(loss[i]) if i in picks else lag[i] for i in range(40)]
    # A weighted draw: of two samples per class, with p 0.8 and 0.2, the harder one comes four times as often.
    hits = 0
    for seed in range(1000):
        two = made("rcap", facts(4, seed=seed), beta=0.5)
        two.loss = np.array([math.log(2), math.log(2), 0.0, 0.0], dtype=np.float32)
        hits += int((weights(two, 0)[:2] > 0).sum())
    assert hits / 2000 == pytest.approx(0.8, abs=0.03)
