"""Arrays as users have them: tensors and lists become numpy arrays, the order of axes is settled, ranges are checked.

Samples and epochs are easily mixed up, and so are probabilities and their logarithms. Where the values reveal it, the
array is refused here, with a message that says what it seems to be.
"""

from __future__ import annotations

import math
from numbers import Number
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arguments import check_choice
from dualprune.errors import DataError

Axes = Literal["NT", "TN"]
IN_WORDS = {"NT": "[N, T], samples by epochs", "TN": "[T, N], epochs by samples"}
# Float32 rounding may exceed a bound slightly.
SLACK = 1e-5
BLOCK = 1 << 16


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Return numbers as a numpy array, without a copy where numpy can share their memory.

    Takes numpy arrays, tensors on any device (bfloat16 and tensors that require grad, too), data frames, and nested
    lists of numbers, arrays or tensors. None and masked values become NaN. A DataError names what is not numeric.
    """
    try:
        array = _to_numpy(values)
        if array.dtype.kind == "O":
            array = _from_objects(array)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{name} cannot be read as one array of numbers: {reason}") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} has the type {array.dtype}; expected numbers")
    return array


def as_axes(values: Any, axes: Axes | None, expected: Axes, name: str) -> Any:
    """Return an array or tensor whose first two axes are in the `expected` order, as a view.

    Args:
        values: [N, T], [T, N], or either with further axes; numpy or torch.
        axes: the order of the first two axes of `values`; None: as expected.
        expected: the order of the result, NT (samples by epochs) or TN (epochs by samples).
        name: what messages call the array.

    Raises:
        ConfigError: `axes` is not an order of axes.
        DataError: more epochs than samples, unless `axes` says so: the array is more likely transposed.
    """
    if axes is not None:
        check_choice("axes", axes, Axes)
    shape = tuple(values.shape)
    if len(shape) < 2:
        raise DataError(f"{name} has shape {shape}; expected {IN_WORDS[expected]}")
    given = axes or expected
    num_epochs, num_samples = shape[:2] if given == "TN" else shape[1::-1]
    if axes is None and num_epochs > num_samples:
        other = "NT" if expected == "TN" else "TN"
        raise DataError(
            f"{name} has shape {shape}; read as {IN_WORDS[expected]}, it holds {size_text(num_epochs, num_samples)}: "
            f'more epochs than samples. Pass axes="{other}" if it is transposed, axes="{expected}" if this is right'
        )
    return values if given == expected else values.swapaxes(0, 1)


def size_text(num_epochs: int, num_samples: int) -> str:
    """Return how a shape was understood, such as `6 epochs of 100 samples`."""
    epochs = "1 epoch" if num_epochs == 1 else f"{num_epochs:,} epochs"
    return f"{epochs} of {num_samples:,} {'sample' if num_samples == 1 else 'samples'}"


def check_range(values: Any, name: str, low: float = 0.0, high: float = 1.0) -> bool:
    """Raise a DataError where values of an array or tensor are infinite or outside [low, high].

    NaN stands for a missing value. Return whether there is any.
    """
    if 0 in values.shape:
        return False
    # In most arrays all values are right, and this is all that it takes. A NaN fails the test.
    lowest, highest = _extremes(values)
    if -math.inf < lowest and highest < math.inf and low - SLACK <= lowest and highest <= high + SLACK:
        return False
    wrong = (values < low - SLACK) | (values > high + SLACK) | (abs(values) == math.inf)
    if not bool(wrong.any()):
        return bool((values != values).any())
    first = tuple(int(axis[0]) for axis in wrong.nonzero()) if isinstance(wrong, np.ndarray) else None
    such = f"{float(values[wrong][0]):g}" + (f" at {list(first)}" if first is not None else "")
    raise DataError(
        f"{int(wrong.sum()):,} values of {name} are not in [{low:g}, {high:g}], such as {such}; "
        f"{range_remedy(values[values == values], low, high)}"
    )


def _extremes(values: Any) -> tuple[float, float]:
    """Return the lowest and the highest value of an array or tensor; both NaN where any value is."""
    if not isinstance(values, np.ndarray) or not values.flags.forc:
        return float(values.min()), float(values.max())
    # In the order of memory, and in blocks that stay in a cache between the two reads.
    flat = values.ravel(order="K")
    blocks = [flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK)]
    bounds = np.array([(block.min(), block.max()) for block in blocks], dtype=np.float64)
    return float(bounds[:, 0].min()), float(bounds[:, 1].max())


def range_remedy(values: Any, low: float, high: float) -> str:
    """Return what to do about numbers that are not all in [low, high].

    Where probabilities are expected, it says what the values seem to be instead.
    """
    if (low, high) == (0.0, 1.0):
        lowest, highest = float(values.min()), float(values.max())
        if lowest < -SLACK:
            kind = "log-probabilities?" if highest <= 0.0 else "log-probabilities or logits?"
            return f"{kind} Pass the probability itself, from 0 to 1"
        if highest <= 100.0:
            return "percent? Divide by 100"
    return "correct them"


def _to_numpy(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        # numpy has no bfloat16, and none of the 8-bit forms.
        return np.asarray((tensor.float() if _is_narrow(tensor) else tensor).numpy())
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values))
    if isinstance(values, (list, tuple)) and len(values) and not isinstance(values[0], Number):
        return np.stack([_to_numpy(value) for value in values])
    array = np.asarray(values)
    # Packages that add bfloat16 to numpy register its name and its conversions.
    return array.astype(np.float32) if array.dtype.kind == "V" and "float" in array.dtype.name else array


def _is_narrow(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() and tensor.element_size() < 4)


def _from_objects(array: NDArray[Any]) -> NDArray[np.float64]:
    for value in array.flat:
        if isinstance(value, (str, bytes)):
            raise TypeError(f"{value!r} is text")
    return array.astype(np.float64)
