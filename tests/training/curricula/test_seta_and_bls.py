"""SeTa, and BLS around it or InfoBatch: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dualprune.core.config_file import make_config
from dualprune.errors import ConfigError
from dualprune.training.curricula.seta import groups
from tests.training.curricula.shown import facts, made, show, step_of, weights


def test_seta_groups() -> None:
    values = np.sort([0.1, 0.11, 0.12, 1.0, 1.1, 5.0, 5.1, 5.2])
    assert groups(values, 3).tolist() == [0, 3, 5, 8]
    assert groups(np.full(10, 2.0), 5).tolist() == [0, 2, 4, 6, 8, 10]
    # No value is nearer to another group's mean.
    values = np.sort(np.random.default_rng(4).gamma(1.0, size=500))
    ends = groups(values, 5)
    means = [values[start:stop].mean() for start, stop in pairwise(ends)]
    own = np.repeat(np.arange(5), np.diff(ends))
    assert (np.abs(values[:, None] - np.array(means)).argmin(axis=1) == own).all()


def test_seta_slides_a_window_of_four_of_five_groups() -> None:
    curriculum = made("seta", facts(100))
    assert weights(curriculum, 0).sum() == 90
    loss = np.repeat(np.arange(5.0), 20)
    show(curriculum, 0, loss)
    left_out = []
    for epoch in range(1, 5):
        found = weights(curriculum, epoch)
        [group] = set(range(5)) - set(loss[found > 0].astype(int))
        left_out.append(group)
        # The other groups have all that was drawn of them.
        assert 90 - 20 <= found.sum() <= 90 - 10
    # o = 1 0 1 0: the first or the last group is outside.
    assert left_out == [0, 4, 0, 4]
    assert weights(curriculum, 174).sum() < 90
    assert weights(curriculum, 175).sum() == 90
    with pytest.raises(ConfigError, match=r"options\.groups: 5 groups of 3 drawn samples"):
        made("seta", facts(4))


def test_bls_knows_the_mean_loss_of_batches() -> None:
    curriculum = made("bls", facts(8), inside="infobatch")
    assert curriculum.plan(0) is None
    for epoch, loss in enumerate((2.0, 1.0)):
        # Two batches of four; the losses of a batch differ around its mean.
        show(curriculum, epoch, np.array([loss - 0.5, loss + 0.5] * 2 + [9.0] * 4))
        assert curriculum.mean[:4] == pytest.approx([(0.6, 0.72)[epoch]] * 4)
    assert curriculum.mean[4:] == pytest.approx([0.3 * 9 * 1.7] * 4)
    # The first batch looks well learned: two of its four stay.
    assert np.count_nonzero(weights(curriculum, 2)[:4]) == 2
    assert made("bls", facts(8), alpha=0.9).options.alpha == 0.9


def test_bls_as_a_plain_loop_around_seta() -> None:
    rng = np.random.default_rng(6)
    curriculum = made("bls", facts(40), inside="seta", options={"ratio": 0.2})
    inner = made("seta", facts(40), ratio=0.2)
    mean_loss = np.zeros(40)
    for epoch in range(8):
        inner.loss = mean_loss
        found = weights(curriculum, epoch)
        assert found.tolist() == (weights(inner, epoch) if epoch else np.ones(40)).tolist()
        loss = rng.gamma(1.0, size=40).astype(np.float32)
        step = step_of(found > 0)
        show(curriculum, epoch, loss, step=step)
        mean_loss = mean_loss.copy()
        for i in range(40):
            if step[i] >= 0:
                batch = [float(loss[j]) for j in range(40) if step[j] == step[i]]
                mean_loss[i] = 0.7 * mean_loss[i] + 0.3 * sum(batch) / len(batch)
    with pytest.raises(ConfigError, match=r"config\.train\.curriculum\.options\.options\.window: unknown key"):
        make_config({"train": {"curriculum": {"name": "bls", "options": {"options": {"window": 0.5}}}}})
