from __future__ import annotations

import numpy as np
import pytest

from dualprune.errors import ConfigError
from dualprune.stages.tune.split import validation_positions

LABELS = np.random.default_rng(0).choice(5, 1003, p=[0.5, 0.3, 0.1, 0.08, 0.02])


def test_each_class_gives_its_share() -> None:
    positions = validation_positions(LABELS, 0.2, seed=0)
    assert (np.diff(positions) > 0).all()
    for label in range(5):
        of_class = int((label == LABELS).sum())
        assert (LABELS[positions] == label).sum() == int(0.2 * of_class + 0.5)


def test_the_seed_decides() -> None:
    first = validation_positions(LABELS, 0.2, seed=0)
    assert validation_positions(LABELS, 0.2, seed=0).tolist() == first.tolist()
    assert validation_positions(LABELS, 0.2, seed=1).tolist() != first.tolist()


def test_both_sides_need_samples() -> None:
    with pytest.raises(ConfigError, match=r"validation_fraction: 0.01 of 9 samples leaves 0 to validate on and 9"):
        validation_positions(np.zeros(9, dtype=np.int64), 0.01, seed=0)
