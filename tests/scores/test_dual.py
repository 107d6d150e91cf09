from __future__ import annotations

import numpy as np
import pytest

from dualprune.errors import ConfigError, DataError
from dualprune.scores import DualAccumulator, MeanProb, dual, dual_and_mean


def direct(prob: np.ndarray, window: int) -> np.ndarray:
    """Return DUAL by a loop over windows, two passes each."""
    total = np.zeros(len(prob))
    for k in range(prob.shape[1] - window + 1):
        part = prob[:, k : k + window].astype(np.float64)
        total += (1.0 - part.mean(axis=1)) * part.std(axis=1, ddof=1)
    return total / (prob.shape[1] - window + 1)


RANDOM = np.random.default_rng(0)
INPUTS = {
    "random": RANDOM.random((777, 30)),
    "float32": RANDOM.random((777, 30)).astype(np.float32),
    "near 0": RANDOM.random((777, 30)) * 1e-9,
    "near 1": 1.0 - RANDOM.random((777, 30)) * 1e-7,
    "epoch-major": RANDOM.random((30, 777)).T,
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("window", [2, 10, 30])
def test_equals_the_direct_loop(name: str, window: int) -> None:
    np.testing.assert_allclose(dual(INPUTS[name], window), direct(INPUTS[name], window), rtol=1e-6)


def test_constant_input_scores_exactly_zero() -> None:
    for value in (0.0, 0.1, 1.0):
        assert not dual(np.full((100, 30), value), 10).any()


def test_one_epoch_at_a_time_gives_the_same_bits() -> None:
    prob = INPUTS["float32"]
    online, mean = DualAccumulator(len(prob), window=10), MeanProb(len(prob))
    everyone = np.ones(len(prob), dtype=bool)
    for epoch in range(prob.shape[1]):
        online.update(epoch, {"target_prob": prob[:, epoch]}, everyone)
        mean.update(epoch, {"target_prob": prob[:, epoch]}, everyone)
    whole = dual_and_mean(prob, 10)
    assert np.array_equal(online.result(), whole.score)
    assert np.array_equal(mean.result(), whole.mean_prob)
    np.testing.assert_allclose(whole.mean_prob, prob.mean(axis=1, dtype=np.float64))


def test_a_tensor_and_threads_give_the_same() -> None:
    torch = pytest.importorskip("torch")
    prob = INPUTS["float32"]
    assert np.array_equal(dual(torch.from_numpy(prob), 10).numpy(), dual(prob, 10))
    assert np.array_equal(dual(prob, 10, num_threads=2), dual(prob, 10))


def test_errors() -> None:
    with pytest.raises(ConfigError, match="5 recorded epochs are fewer than the window of 10"):
        dual(np.zeros((7, 5)), 10)
    with pytest.raises(ConfigError, match="window: 1 is not a whole number of 2 or more"):
        dual(np.zeros((7, 5)), 1)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        dual(np.zeros(3), 2)
