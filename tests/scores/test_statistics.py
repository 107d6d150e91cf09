"""The numpy forms of the statistics agree with those on the device; scores from probabilities alone."""

from __future__ import annotations

import numpy as np
import pytest

import dualprune.scores
from dualprune.dynamics.statistics import STATISTICS, Forward
from dualprune.errors import ConfigError, DataError
from dualprune.scores import dual, from_probs
from dualprune.scores.arguments import RANGES, WIDE
from dualprune.scores.statistics import NUMPY_FORMS

RANDOM = np.random.default_rng(0)
LOGITS = 3 * RANDOM.normal(size=(40, 12, 5))
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)
LABELS = np.arange(40) % 5


@pytest.mark.parametrize("name", sorted(NUMPY_FORMS))
def test_each_built_in_statistic_has_both_forms(name: str) -> None:
    torch = pytest.importorskip("torch")
    forward = Forward(logits=torch.from_numpy(LOGITS[:, 0]), targets=torch.from_numpy(LABELS))
    found = STATISTICS[name]().compute(forward).numpy()
    if name == "kl":
        assert NUMPY_FORMS[name](np.log(PROBS[:, 0]), LABELS, None) is None
        before = Forward(logits=torch.from_numpy(LOGITS[:, 1]), targets=torch.from_numpy(LABELS))
        found = STATISTICS[name]().combine(found, STATISTICS[name]().compute(before).numpy())
    expected = NUMPY_FORMS[name](np.log(PROBS[:, 0]), LABELS, np.log(PROBS[:, 1]))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert {*NUMPY_FORMS} == {*STATISTICS.names()}


def test_the_ranges_are_those_that_recording_declares() -> None:
    assert {name: (STATISTICS[name].low, STATISTICS[name].high) for name in STATISTICS.names()} == RANGES
    by_class = [name for name in STATISTICS.names() if STATISTICS[name].width == "classes"]
    assert [name for name in by_class if not STATISTICS[name].combines()] == [*WIDE]


def test_scores_from_probabilities() -> None:
    target = PROBS[np.arange(40), :, LABELS]
    np.testing.assert_allclose(from_probs("dual", PROBS, LABELS, window=4), dual(target, 4))
    certain = np.zeros((3, 12, 5))
    certain[:, :, 1] = 1.0
    assert not dualprune.scores.from_probs("dual", certain, np.array([0, 1, 2]), axes="NT").any()


def test_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="unknown score method 'duel'"):
        from_probs("duel", PROBS, LABELS)
    with pytest.raises(ConfigError, match=r"score.options.dual.windw: unknown key"):
        from_probs("dual", PROBS, LABELS, windw=3)
    with pytest.raises(
        DataError, match=r"probs has shape \(40, 5\); expected \[n, T, K\], samples by epochs by classes"
    ):
        from_probs("dual", PROBS[:, 0], LABELS)
    with pytest.raises(DataError, match=r"8 labels are not whole numbers in 0 … 4, first that of sample 4: 5"):
        from_probs("dual", PROBS, LABELS + 1)
    with pytest.raises(ConfigError, match=r"dual: 12 recorded epochs are fewer than the 13 that it needs"):
        from_probs("dual", PROBS, LABELS, window=13)
