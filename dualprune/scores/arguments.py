"""What score functions take from users: arrays, tensors and lists, checked and brought to [n, T] for all of them alike.

Files are held to the same rules when they are imported: values in the statistic's range, the order of axes settled, and
a NaN an error unless the caller says that it stands for a missing value.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arguments import check_choice
from dualprune.core.arrays import IN_WORDS, Axes, as_array, as_axes, check_range
from dualprune.core.plugins import make
from dualprune.errors import DataError
from dualprune.scores.score import EpochScore, split

Missing = Literal["raise", "keep"]
# The values that each statistic can have, as recording declares them.
RANGES = {
    "target_prob": (0.0, 1.0),
    "correct": (0.0, 1.0),
    "margin": (-1.0, 1.0),
    "logit_margin": (-math.inf, math.inf),
    "el2n": (0.0, math.sqrt(2.0)),
    "loss": (0.0, math.inf),
    "entropy": (0.0, math.inf),
    "kl": (0.0, math.inf),
    "class_logits": (-math.inf, math.inf),
}
# Statistics with a value per class.
WIDE = ("class_logits",)
BLOCK = 1 << 13


def is_tensor(values: Any) -> bool:
    """Return whether `values` is a torch tensor, without importing torch."""
    return type(values).__module__.partition(".")[0] == "torch"


def statistic_of(
    values: Any,
    name: str,
    axes: Axes | None = None,
    missing: Missing = "raise",
    low: float = 0.0,
    high: float = 1.0,
    *,
    is_wide: bool = False,
) -> Any:
    """Return a statistic of n samples as [n, T], a view where possible: a tensor for a tensor, else a numpy array.

    Args:
        values: [n, T], or [T, n] with `axes="TN"`: a numpy array, a tensor, a data frame, or nested lists.
        name: what messages call the array.
        axes: the order of the axes; None: [n, T], where more epochs than samples are an error.
        missing: "raise": a NaN is an error; "keep": it stays, and the sample's score is NaN.
        low: the lowest value that the statistic can have.
        high: the highest value; infinite values are refused in any case.
        is_wide: there is a value per class, [n, T, K].

    Raises:
        DataError: not numbers, not two-dimensional, probably transposed, out of range, or missing.
        ConfigError: `axes` or `missing` is not a choice.
    """
    check_choice("missing", missing, Missing)
    array = _numbers(values, name)
    if len(array.shape) != 2 + is_wide:
        by_class = ", with the classes on a third axis" if is_wide else ""
        raise DataError(f"{name} has shape {tuple(array.shape)}; expected {IN_WORDS[_order(axes)]}{by_class}")
    array = as_axes(array, axes, "NT", name)
    if array.shape[1] == 0:
        raise DataError(f"{name} has shape {tuple(array.shape)}, read as {IN_WORDS['NT']}: it has no epochs")
    check_values(array, name, missing, low, high)
    return array


def check_values(values: Any, name: str, missing: Missing, low: float, high: float) -> None:
    """Raise a DataError where values of an array or tensor [n, T, …] are out of range, or NaN and not to be kept."""
    if check_range(values, name, low, high) and missing == "raise":
        gone = values != values
        where = gone.nonzero()
        first = [int(axis[0]) for axis in where] if isinstance(gone, np.ndarray) else where[0].tolist()
        raise DataError(
            f"{int(gone.sum()):,} values of {name} are NaN, first that of sample {first[0]} in epoch {first[1]}; pass "
            'missing="keep" to leave samples that lack a value without a score (NaN)'
        )


def labels_of(labels: Any, num_samples: int, num_classes: int) -> NDArray[np.int64]:
    """Return class labels as int64 [n]; a DataError where they are not one whole number of 0 … K-1 per sample."""
    array = as_array(labels, "labels")
    if array.shape != (num_samples,):
        raise DataError(f"labels have shape {array.shape}; expected [{num_samples}], a class number per sample")
    wrong = ~((array >= 0) & (array < num_classes) & (array == np.floor(array)))
    if wrong.any():
        first = int(wrong.argmax())
        raise DataError(
            f"{int(wrong.sum()):,} labels are not whole numbers in 0 … {num_classes - 1}, first that of sample "
            f"{first}: {array[first]}; number the classes as the last axis of the probabilities does"
        )
    return array.astype(np.int64)


def _numbers(values: Any, name: str) -> Any:
    """Return numbers as an array or a tensor; true and false become 1 and 0."""
    if not is_tensor(values):
        array = as_array(values, name)
        return array.astype(np.float32) if array.dtype.kind == "b" else array
    if values.is_complex() or values.is_sparse:
        raise DataError(f"{name} is a tensor of {values.dtype}, {values.layout}; expected real numbers, dense")
    return values.detach() if values.is_floating_point() else values.detach().float()


def _order(axes: Axes | None) -> Axes:
    if axes is not None:
        check_choice("axes", axes, Axes)
    return axes or "NT"


def score_array(method: type[EpochScore], values: Any, axes: Axes | None, missing: Missing, **options: Any) -> Any:
    """Score samples by a method that reads one statistic, from that statistic's values [n, T], or [n, T, K].

    Returns float64 [n], a tensor on the same device for a tensor. Errors as for `statistic_of`, and a ConfigError for
    wrong options or too few epochs.
    """
    built = make("score method", method.name, options, f"score.options.{method.name}")
    [name] = built.reads
    array = statistic_of(values, name, axes, missing, *RANGES[name], is_wide=name in WIDE)
    built.check_epochs(array.shape[1])
    numbers = as_array(array, name)
    if numbers.dtype.kind in "iu":
        numbers = numbers.astype(np.float64)
    scores = np.empty(len(numbers))
    # In blocks whose epochs stay in a cache while the method passes over them.
    for start in range(0, len(numbers), BLOCK):
        block = slice(start, start + BLOCK)
        scores[block] = split(built.score({name: numbers[block]}))[0]
    if not is_tensor(array):
        return scores
    return sys.modules["torch"].from_numpy(scores).to(array.device)
