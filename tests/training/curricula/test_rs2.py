"""RS2 and dynamic random: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualprune.errors import ConfigError
from tests.training.curricula.shown import facts, made, weights


def test_rs2_draws_a_new_subset_of_exact_size() -> None:
    curriculum = made("rs2", facts(10), ratio=0.7)
    drawn = [weights(curriculum, epoch) for epoch in range(40)]
    assert [w.sum() for w in drawn] == [3.0] * 40
    assert len({tuple(w) for w in drawn}) > 20
    # Every sample has the same chance.
    counts = np.sum([weights(made("rs2", facts(10, seed=seed), ratio=0.7), 0) for seed in range(2000)], axis=0)
    assert np.abs(counts - 600).max() < 4 * math.sqrt(2000 * 0.3 * 0.7)
    assert made("rs2", facts(10), ratio=0.0).plan(3) is None
    assert weights(made("rs2", facts(5), ratio=0.5), 0).sum() == 3


def test_rs2_without_replacement_takes_pieces_of_a_permutation() -> None:
    curriculum = made("rs2", facts(10), ratio=0.7, replacement="without")
    pieces = [set(np.flatnonzero(weights(curriculum, epoch))) for epoch in range(8)]
    assert [len(piece) for piece in pieces] == [3] * 8
    for first in (0, 4):
        head, *others = pieces[first : first + 4]
        assert set.union(head, *others) == set(range(10))
        assert len(set.union(*pieces[first : first + 3])) == 9
        # The last piece has the one sample that is left, and two of the head.
        assert len(others[-1] & head) == 2
    assert pieces[:4] != pieces[4:]


@pytest.mark.parametrize("replacement", ["with", "without"])
def test_rs2_balances_classes_and_keeps_the_number(replacement: str) -> None:
    labels = np.array([0] * 10 + [1] * 5 + [2] * 5)
    curriculum = made("rs2", facts(20, labels=labels, num_classes=3), ratio=0.7, balance=True, replacement=replacement)
    for epoch in range(9):
        counts = np.bincount(labels, weights=weights(curriculum, epoch))
        # 3, 1.5, 1.5: the authors round each, to 3, 2, 2; six samples are kept here.
        assert counts[0] == 3
        assert counts.sum() == 6
    with pytest.raises(ConfigError, match=r"options\.balance: the data set has no classes"):
        made("rs2", facts(20, labels=None), balance=True)
    with pytest.raises(ConfigError, match=r"options\.ratio: 0\.99 of 10 samples leaves 'rs2' none"):
        made("rs2", facts(10), ratio=0.99)


def test_dynamic_random_is_rs2_under_another_name() -> None:
    one, other = made("rs2", facts(50)), made("dynamic_random", facts(50))
    for epoch in range(5):
        np.testing.assert_array_equal(weights(one, epoch), weights(other, epoch))
    # InfoBatch's settings.
    preset = made("dynamic_random", facts(50), ratio=0.46, reweight=True, delta=0.875)
    assert np.unique(weights(preset, 174)).tolist() == [0.0, np.float32(1 / 0.54)]
    assert preset.plan(175) is None
