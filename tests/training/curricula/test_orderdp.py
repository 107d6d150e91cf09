"""OrderDP: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualprune.errors import ConfigError
from tests.training.curricula.shown import facts, made, show, weights


def test_orderdp_has_the_exact_ratio() -> None:
    curriculum = made("orderdp", facts(50_000, num_classes=100))
    assert curriculum.loss[0] == np.float32(math.log(100))
    assert weights(curriculum, 0).sum() == 15_000
    assert made("orderdp", facts(10), first_loss=3.0).loss[0] == 3.0
    with pytest.raises(ConfigError, match=r"options\.top: 0\.1 of 8 drawn samples is none"):
        made("orderdp", facts(10), top=0.1)


def test_orderdp_takes_the_highest_losses_of_a_random_part() -> None:
    loss = np.random.default_rng(3).permutation(40) / 10
    everything = made("orderdp", facts(40), pool=1.0, top=0.25)
    show(everything, 0, loss)
    assert sorted(loss[weights(everything, 1) > 0]) == sorted(loss)[-10:]
    curriculum = made("orderdp", facts(40))
    show(curriculum, 0, loss)
    chosen = [np.flatnonzero(weights(curriculum, epoch)) for epoch in range(1, 400)]
    assert {len(rows) for rows in chosen} == {12}
    # The highest loss is taken whenever it is drawn, and the lowest 20 can never be among the 12 highest of 32.
    shares = np.bincount(np.concatenate(chosen), minlength=40) / 399
    assert shares[loss.argmax()] == pytest.approx(0.8, abs=0.08)
    assert shares[np.argsort(loss)[:20]].sum() == 0.0
