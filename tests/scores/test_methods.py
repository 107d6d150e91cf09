"""The contract of score methods: functions by name, the fold over an accumulator, state, missing values."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import dualprune.scores
from dualprune.scores import SCORES, Accumulator, Dual, EpochScore, MeanProb, mean_prob
from dualprune.scores.score import Values, split

PROB = np.random.default_rng(0).random((50, 12), dtype=np.float32)
FILE = '''
"""Extent of the loss over the epochs."""
import numpy as np
from dualprune.scores.score import SCORES, Accumulator, EpochScore


def extent(loss):
    """Return the range of each row."""
    return loss.max(axis=1) - loss.min(axis=1)


@SCORES.register("extent")
class Extent(EpochScore):
    """Range of the loss."""
    reads = ("loss",)
    def accumulator(self, num_samples): raise NotImplementedError
    def score(self, dynamics): return extent(dynamics["loss"])
'''


def test_a_name_is_the_function_also_after_a_scan() -> None:
    for _ in range(2):
        for name in ("dual", "mean_prob"):
            assert getattr(dualprune.scores, name)(PROB).shape == (50,)
        SCORES.names()
        SCORES["dual"]


def test_a_method_in_a_new_file_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extent.py").write_text(FILE)
    monkeypatch.setattr(dualprune.scores, "__path__", [*dualprune.scores.__path__, str(tmp_path)])
    monkeypatch.setattr(SCORES, "_items", dict(SCORES._items))
    monkeypatch.setattr(SCORES, "_scanned", False)
    try:
        expected = PROB.max(axis=1) - PROB.min(axis=1)
        for _ in range(2):
            np.testing.assert_array_equal(dualprune.scores.extent(PROB), expected)
            SCORES.scan()
        np.testing.assert_array_equal(SCORES["extent"]().score({"loss": PROB}), expected)
    finally:
        sys.modules.pop("dualprune.scores.extent", None)
        vars(dualprune.scores).pop("extent", None)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        dualprune.scores.nothing  # noqa: B018 - the look-up is the test


class Range(EpochScore):
    """Range of a statistic, from an accumulator alone."""

    reads = ("loss",)

    def accumulator(self, num_samples: int) -> Accumulator:
        return _Range(num_samples)


class _Range(Accumulator):
    def __init__(self, num_samples: int) -> None:
        self.low, self.high, self.seen = np.full(num_samples, np.inf), np.full(num_samples, -np.inf), 0

    def update(self, epoch: int, values: Values, seen: np.ndarray) -> None:
        assert epoch == self.seen
        self.seen += 1
        self.low = np.fmin(self.low, values["loss"])
        self.high = np.fmax(self.high, values["loss"])

    def result(self) -> np.ndarray:
        return self.high - self.low

    def extras(self) -> dict[str, np.ndarray]:
        return {"lowest": self.low}


def test_all_epochs_at_once_are_the_fold() -> None:
    loss = PROB.copy()
    loss[7, 3] = np.nan
    score, extras = split(Range().score({"loss": loss}))
    assert np.isnan(score).nonzero()[0].tolist() == [7]
    np.testing.assert_array_equal(np.delete(score, 7), np.delete(PROB.max(axis=1) - PROB.min(axis=1), 7))
    np.testing.assert_array_equal(np.delete(extras["lowest"], 7), np.delete(PROB.min(axis=1), 7))
    folded, none = split(EpochScore.score(Dual(), {"target_prob": PROB}))
    np.testing.assert_array_equal(folded, Dual().score({"target_prob": PROB}))
    assert none == {}


@pytest.mark.parametrize("make", [lambda: Dual().accumulator(50), lambda: MeanProb(50, 7), lambda: _Range(50)])
@pytest.mark.parametrize("stop", [1, 9, 11])
def test_an_accumulator_goes_on_from_its_state(make: object, stop: int) -> None:
    def feed(accumulator: Accumulator, epochs: range) -> Accumulator:
        for epoch in epochs:
            accumulator.update(epoch, dict.fromkeys(("target_prob", "loss"), PROB[:, epoch]), np.ones(50, bool))
        return accumulator

    state = {name: np.asarray(value) for name, value in feed(make(), range(stop)).state_dict().items()}  # type: ignore[operator]
    resumed = make()  # type: ignore[operator]
    resumed.load_state_dict(state)
    whole = feed(make(), range(12))  # type: ignore[operator]
    np.testing.assert_array_equal(feed(resumed, range(stop, 12)).result(), whole.result())


@pytest.mark.parametrize("epochs", [None, 1, 5, 12, 40])
def test_mean_prob_is_one_thing_in_all_its_forms(epochs: int | None) -> None:
    torch = pytest.importorskip("torch")
    expected = PROB[:, :epochs].astype(np.float64).cumsum(axis=1)[:, -1] / PROB[:, :epochs].shape[1]
    online = MeanProb(50, epochs)
    for epoch in range(12):
        online.update(epoch, {"target_prob": PROB[:, epoch]}, np.ones(50, bool))
    for found in (
        mean_prob(PROB, epochs),
        mean_prob(np.ascontiguousarray(PROB.T).T, epochs, num_threads=2),
        mean_prob(torch.from_numpy(PROB), epochs).numpy(),
        online.result(),
    ):
        np.testing.assert_array_equal(found, expected)
