"""The built-in statistics with numpy, in float64, and scores from class probabilities recorded elsewhere.

The forms that recording uses, on the device, are tested against these. A package adds the numpy form of its own
statistic with `@numpy_form("name")`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arguments import check_choice
from dualprune.core.arrays import Axes, as_array, as_axes
from dualprune.core.plugins import make
from dualprune.errors import ConfigError, DataError
from dualprune.scores.arguments import Missing, check_values, labels_of
from dualprune.scores.score import EpochScore, Result, ScoreMethod, split

Floats = NDArray[np.float64]
# Probabilities rounded to bfloat16 sum to 1 within this.
SUM_SLACK = 0.02
# TDDS's authors add this within the logarithms.
KL_SLACK = 1e-8
LOWEST_LOG = float(np.log(np.finfo(np.float32).tiny))


class NumpyForm(Protocol):
    """Maps log-probabilities [n, K], labels int64 [n] and the last epoch's log-probabilities, or None, to values."""

    def __call__(self, log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats | None:
        """Return float64 [n] or [n, K]; None in an epoch in which there is no value."""


NUMPY_FORMS: dict[str, NumpyForm] = {}


def numpy_form(name: str) -> Callable[[NumpyForm], NumpyForm]:
    """Return a decorator that registers a function as the numpy form of the statistic `name`."""

    def add(function: NumpyForm) -> NumpyForm:
        NUMPY_FORMS[name] = function
        return function

    return add


def from_probs(
    method: str, probs: Any, labels: Any, *, axes: Axes | None = None, missing: Missing = "raise", **options: Any
) -> Floats:
    """Score samples by the class probabilities of each epoch, without a run.

        scores = dualprune.scores.from_probs("dual", probs, labels, window=5)

    Args:
        method: name of a score method that reads statistics of epochs.
        probs: [n, T, K] probabilities in [0, 1] that sum to 1 over the classes: an array, a tensor, or lists.
        labels: int [n], in 0 … K-1.
        axes: "NT", samples by epochs, or "TN", epochs by samples, of the first two axes; None: [n, T, K], where more
            epochs than samples are an error.
        missing: "raise": a NaN is an error; "keep": it stands for a missing value, and the sample's score is NaN.
        options: of the method, see `dualprune methods NAME`.

    Returns:
        float64 [n]; a high score means: keep first.

    Raises:
        ConfigError: no such method or option, one that reads a statistic without a numpy form, or too few epochs.
        DataError: the arrays do not fit together, or are not probabilities.
    """
    built = make("score method", method, options, f"score.options.{method}")
    needs_numpy_forms(built)
    check_choice("missing", missing, Missing)
    array = as_array(probs, "probs")
    if array.ndim != 3:
        raise DataError(f"probs has shape {array.shape}; expected [n, T, K], samples by epochs by classes")
    array = as_axes(array, axes, "NT", "probs")
    if array.shape[2] < 2:
        raise DataError(f"probs has shape {array.shape}: {array.shape[2]} classes; expected two or more")
    check_values(array, "probs", missing, 0.0, 1.0)
    classes = labels_of(labels, array.shape[0], array.shape[2])
    statistics = _statistics(built.reads, array, classes)
    built.check_epochs(min(values.shape[1] for values in statistics.values()))
    return split(built.score(statistics))[0]


def needs_numpy_forms(method: ScoreMethod) -> None:
    """Raise a ConfigError where a method does not read statistics of epochs, or one that has no numpy form."""
    if not isinstance(method, EpochScore):
        raise ConfigError(f"{method.name} reads columns and other scores, not the probabilities of epochs")
    lacking = [name for name in method.reads if name not in NUMPY_FORMS]
    if lacking:
        raise ConfigError(
            f"{method.name} reads {lacking[0]}, which has no numpy form; there are: {', '.join(sorted(NUMPY_FORMS))}. "
            "Register one with dualprune.scores.statistics.numpy_form"
        )


def from_log_probs(method: EpochScore, log_prob: Floats, labels: NDArray[np.int64]) -> Result:
    """Return the scores of n samples by the log-probabilities [n, K] of a single epoch, and further columns.

    A ConfigError where the method compares epochs.
    """
    values: dict[str, Floats] = {}
    for name in method.reads:
        found = NUMPY_FORMS[name](log_prob, labels, None)
        if found is None:
            raise ConfigError(f"{method.name} reads {name}, which compares two epochs; there is one alone")
        values[name] = found[:, None]
    return method.score(values)


def _statistics(names: tuple[str, ...], probs: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Floats]:
    """Return [n, T], or [n, T, K], per statistic, over the epochs in which all of them have values."""
    columns: dict[str, list[Floats]] = {name: [] for name in names}
    before = None
    for epoch in range(probs.shape[1]):
        # One epoch at a time: probabilities of all may be large, and more so in float64.
        prob = np.asarray(probs[:, epoch], dtype=np.float64)
        _check_sums(prob, epoch)
        gone = np.isnan(prob).any(axis=1)
        with np.errstate(divide="ignore"):
            log_prob = np.log(np.clip(prob, 0.0, 1.0))
        for name in names:
            value = NUMPY_FORMS[name](log_prob, labels, before)
            if value is not None:
                value[gone] = np.nan
                columns[name].append(value)
        before = log_prob
    last = min(map(len, columns.values()))
    shape = (len(labels), 0)
    return {
        name: np.stack(values[len(values) - last :], axis=1) if last else np.empty(shape)
        for name, values in columns.items()
    }


def _check_sums(prob: Floats, epoch: int) -> None:
    """Raise a DataError where the probabilities [n, K] of an epoch do not sum to 1."""
    total = prob.sum(axis=1)
    wrong = np.abs(total - 1.0) > SUM_SLACK
    if wrong.any():
        first = int(wrong.argmax())
        raise DataError(
            f"probs: the {prob.shape[1]} probabilities of sample {first} in epoch {epoch} sum to {total[first]:.4g}, "
            f"those of {int(wrong.sum()):,} samples not to 1; expected softmax outputs, the classes on the last axis"
        )


def _of_target(values: Floats, labels: NDArray[np.int64]) -> Floats:
    found: Floats = values[np.arange(len(labels)), labels]
    return found


@numpy_form("target_prob")
def target_prob(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the probability of the target class."""
    prob: Floats = np.exp(_of_target(log_prob, labels))
    return prob


@numpy_form("loss")
def loss(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the cross-entropy, in nats."""
    return -_finite(_of_target(log_prob, labels))


@numpy_form("margin")
def margin(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the target's probability minus the highest of the others."""
    others: Floats = np.exp(log_prob)
    others[np.arange(len(labels)), labels] = -1.0
    ahead: Floats = np.exp(_of_target(log_prob, labels)) - others.max(axis=1)
    return ahead


@numpy_form("entropy")
def entropy(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the entropy of the prediction, in nats."""
    # A class of probability 0 adds nothing.
    finite: Floats = np.maximum(log_prob, -1e300)
    terms: Floats = (np.exp(log_prob) * finite).sum(axis=1)
    return -terms


@numpy_form("el2n")
def el2n(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the Euclidean norm of the error vector."""
    error = np.exp(log_prob)
    error[np.arange(len(labels)), labels] -= 1.0
    norm: Floats = np.linalg.norm(error, axis=1)
    return norm


@numpy_form("correct")
def correct(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return 1 where the prediction is the target, else 0."""
    right: Floats = (log_prob.argmax(axis=1) == labels).astype(np.float64)
    return right


@numpy_form("logit_margin")
def logit_margin(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the target's logit minus the highest of the others; log-probabilities differ by the same."""
    others = _finite(log_prob)
    target = _of_target(others, labels)
    others[np.arange(len(labels)), labels] = -np.inf
    ahead: Floats = target - others.max(axis=1)
    return ahead


@numpy_form("class_logits")
def class_logits(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats:
    """Return the log-probabilities of all classes, which are logits."""
    return _finite(log_prob)


@numpy_form("kl")
def kl(log_prob: Floats, labels: NDArray[np.int64], before: Floats | None) -> Floats | None:
    """Return the absolute class-wise terms of the KL divergence from the epoch before, summed; None in the first."""
    if before is None:
        return None
    prob = np.exp(log_prob)
    terms: Floats = np.abs(prob * (np.log(prob + KL_SLACK) - np.log(np.exp(before) + KL_SLACK)))
    changed: Floats = terms.sum(axis=1)
    return changed


def _finite(log_prob: Floats) -> Floats:
    """Return log-probabilities with the lowest float32 in place of -inf: a probability of 0 was one too small."""
    return np.maximum(log_prob, LOWEST_LOG)
