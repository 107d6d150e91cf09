"""KAKURENBO: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualprune.errors import ConfigError
from tests.training.curricula.shown import NOT_SEEN, facts, made, show, step_of, weights


def test_kakurenbo_of_the_example() -> None:
    curriculum = made("kakurenbo", facts(32))
    assert curriculum.plan(0) is None
    loss = np.arange(32) / 32
    prob, correct = np.full(32, 0.9), np.ones(32)
    prob[[1, 4]], correct[7] = 0.69, 0.0
    # Not candidates.
    prob[20], correct[25] = 0.1, 0.0
    show(curriculum, 0, loss, prob=prob, correct=correct)
    choice = curriculum.plan(1)
    hidden = np.flatnonzero(choice.weights(np.arange(32)) == 0)
    assert choice.cap == 9
    assert hidden.tolist() == [0, 2, 3, 5, 6, 8]
    assert choice.refresh(np.arange(32)).nonzero()[0].tolist() == hidden.tolist()
    assert choice.lr_factor == pytest.approx(1 / (1 - 0.3))
    # A hidden sample is moved back when its refreshed prediction is unsure.
    step = step_of(choice.weights(np.arange(32)) > 0)
    step[hidden] = -1
    prob[3] = 0.5
    show(curriculum, 1, loss, prob=prob, correct=correct, step=step)
    assert np.flatnonzero(weights(curriculum, 2) == 0).tolist() == [0, 2, 5, 6, 8]


def test_kakurenbo_lowers_its_cap_and_corrects_the_learning_rate_after_the_warm_up() -> None:
    curriculum = made("kakurenbo", facts(100), warmup=5)
    show(curriculum, 0, np.arange(100) / 1000)
    for epoch, cap, share in (
        (4, 30, 0.0),
        (5, 30, 0.3),
        (60, 24, 0.24),
        (119, 24, 0.24),
        (120, 18, 0.18),
        (160, 12, 0.12),
    ):
        choice = curriculum.plan(epoch)
        assert choice.cap == cap
        assert choice.lr_factor == pytest.approx(1 / (1 - share))
    imagenet = made("kakurenbo", facts(100, epochs=90), drop_at=[0.333, 0.666, 0.888])
    show(imagenet, 0, np.arange(100) / 1000)
    assert [imagenet.plan(epoch).cap for epoch in (29, 30, 59, 60, 79, 80)] == [30, 24, 24, 18, 18, 12]
    for options in ({"factors": [1.0]}, {"drop_at": [0.6, 0.3, 0.8]}):
        with pytest.raises(ConfigError, match="one factor more than shares, and rising shares"):
            made("kakurenbo", facts(100), **options)


def test_kakurenbo_as_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    curriculum = made("kakurenbo", facts(40, epochs=20), tau=0.4)
    lag, last = [math.inf] * 40, [False] * 40
    for epoch in range(20):
        share = 0.3 * (1.0 if epoch < 6 else 0.8 if epoch < 12 else 0.6 if epoch < 16 else 0.4)
        order = sorted(range(40), key=lambda i: lag[i])[: int(share * 40 + 1e-9)]
        expected = [i for i in order if last[i]]
        found = weights(curriculum, epoch)
        assert np.flatnonzero(found == 0).tolist() == sorted(expected)
        loss = rng.gamma(1.0, size=40).astype(np.float32)
        correct = (rng.random(40) < 0.8).astype(float)
        step = step_of(found > 0)
        step[found == 0] = -1
        step[7] = NOT_SEEN
        show(curriculum, epoch, loss, correct=correct, step=step)
        for i in range(40):
            if i != 7:
                lag[i], last[i] = float(loss[i]), bool(correct[i] and math.exp(-loss[i]) >= 0.4)
