"""Scores from features, vectors [n, d] of each sample: their contract, and scoring of arrays without a run.

Where chance or ties decide, the hashes of the sample ids do, so that neither the order of the samples nor how they are
stored matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import as_array
from dualprune.core.hashing import id_bits, salted, stream_salt
from dualprune.core.plugins import make
from dualprune.core.section import Section
from dualprune.errors import ConfigError, DataError
from dualprune.scores.score import SAMPLE_ID, ColumnScore, Values, split

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
UInts = NDArray[np.uint64]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class FeatureOptions(Section):
    """Options: where the features stand."""

    baseline: ClassVar[Mapping[str, Any]] = {"columns": ["features"]}
    columns: Annotated[list[str], Field(min_length=1)] = Field(
        ["features"], description="The columns whose values are the features, side by side."
    )


class SeededOptions(FeatureOptions):
    """Options: where the features stand, and a seed."""

    baseline: ClassVar[Mapping[str, Any]] = {"columns": ["features"], "seed": 0}
    seed: Seed = Field(0, description="Seed of the hashes of sample ids that decide ties, and of all that is random.")


class FeatureScore(ColumnScore):
    """A score from features; its options derive from `FeatureOptions`."""

    needs_labels: ClassVar[bool] = False
    # Whether ties or chance play a part: then it reads the ids.
    needs_ids: ClassVar[bool] = False

    class Options(FeatureOptions):
        """Where the features stand."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the features, the scores it needs, and the ids where ties or chance play a part."""
        scores = [f"score:{self.score_name}"] if self.score_name else []
        return (*self.options.columns, *scores, *([SAMPLE_ID] if self.needs_ids else []))

    @property
    def score_name(self) -> str:
        """The name of the other score that it reads; empty for none."""
        return ""

    def features(self, columns: Values) -> NDArray[Any]:
        """Return the features of n samples, float [n, d], of the type in which they are stored."""
        parts = [columns[name] for name in self.options.columns]
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def hashes(self, columns: Values, purpose: str = "") -> UInts:
        """Return a hash per sample, uint64 [n], from the noise of the method and its seed; `purpose`: other noise."""
        return salted(columns[SAMPLE_ID], stream_salt(self.options.seed, purpose or f"score/{self.name}"))


def from_features(
    method: str, features: Any, labels: Any = None, *, score: Any = None, sample_ids: Any = None, **options: Any
) -> Floats:
    """Score samples by their features, without a run.

        scores = dualprune.scores.from_features("rmd", features, labels)

    Args:
        method: name of a score method that reads features.
        features: float [n, d]: an array, a tensor, or lists.
        labels: int [n], class numbers from 0 on; None where the method needs none.
        score: float [n], the other score that some methods read, such as d2; high means: keep first.
        sample_ids: int64 or string [n], from which chance and the order of ties follow; None: positions.
        options: of the method, see `dualprune methods NAME`.

    Returns:
        float64 [n]; a high score means: keep first.

    Raises:
        ConfigError: no such method or option, or one that the features do not allow, such as too many clusters.
        DataError: the arrays do not fit together, or a value is NaN or infinite.
    """
    built = make("score method", method, options, f"score.options.{method}")
    if not isinstance(built, FeatureScore):
        raise ConfigError(f"{method} reads {', '.join(built.reads)}, not features; see dualprune.scores.from_probs")
    array = checked_features(features, "features")
    size = len(array)
    columns: dict[str, NDArray[Any]] = {built.options.columns[0]: array}
    for name in built.options.columns[1:]:
        raise ConfigError(f"score.options.{method}.columns: {name!r}: arrays are passed as one, side by side")
    if built.score_name:
        columns[f"score:{built.score_name}"] = _score_of(score, size, method)
    elif score is not None:
        raise ConfigError(f"{method} reads no other score; leave `score` out")
    columns[SAMPLE_ID] = _ids(sample_ids, size)
    classes = None if labels is None else _labels(labels, size)
    if classes is None and (built.needs_labels or built.scope == "class"):
        raise DataError(f"{method} needs labels, int [n], with these options; pass `labels`")
    result = np.empty(size)
    for rows in _groups(built, classes):
        own = {name: values[rows] for name, values in columns.items()}
        result[rows] = split(built.score(own, None if classes is None else classes[rows]))[0]
    return result


def checked_features(features: Any, name: str) -> NDArray[Any]:
    """Return features as floats [n, d]; a DataError where they are not finite numbers of that shape."""
    array = as_array(features, name)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{name} has shape {array.shape}; expected [n, d], a vector of features per sample")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    # A sum costs less than a mask; it is finite unless a value is not, or the values are huge.
    if not np.isfinite(array.sum()):
        finite = np.isfinite(array)
        if not finite.all():
            row, column = (int(place[0]) for place in np.nonzero(~finite))
            raise DataError(
                f"{name}: {int((~finite).sum()):,} values are NaN or infinite, first {array[row, column]} of sample "
                f"{row} at place {column}; leave such samples out"
            )
    return array


def _groups(method: FeatureScore, labels: Ints | None) -> Iterator[Ints | slice]:
    """Yield the samples of each call; all of them as a slice, which copies nothing."""
    if method.scope != "class" or labels is None:
        yield slice(None)
        return
    order = np.argsort(labels, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _labels(labels: Any, size: int) -> Ints:
    array = as_array(labels, "labels")
    if array.shape != (size,):
        raise DataError(f"labels have shape {array.shape}; expected [{size}], a class number per sample")
    wrong = ~((array >= 0) & (array < 1 << 31) & (array == np.floor(array)))
    if wrong.any():
        first = int(wrong.argmax())
        raise DataError(
            f"{int(wrong.sum()):,} labels are not whole numbers from 0 on, first that of sample {first}: "
            f"{array[first]}; number the classes from 0 on"
        )
    return array.astype(np.int64)


def _score_of(score: Any, size: int, method: str) -> Floats:
    if score is None:
        raise DataError(f"{method} reads another score beside the features; pass `score`, float [n]")
    array = as_array(score, "score")
    if array.shape != (size,):
        raise DataError(f"score has shape {array.shape}; expected [{size}], a number per sample")
    bad = np.isnan(array) | (array == np.inf)
    if bad.any():
        raise DataError(
            f"score: {int(bad.sum()):,} values are NaN or +inf, first that of sample {int(bad.argmax())}; leave such "
            "samples out, or score them -inf to keep none of them"
        )
    return array.astype(np.float64)


def _ids(sample_ids: Any, size: int) -> UInts:
    if sample_ids is None:
        return np.arange(size, dtype=np.uint64)
    bits = id_bits(sample_ids)
    if bits.shape != (size,) or len(np.unique(bits)) != size:
        raise DataError(
            f"sample_ids: {len(np.unique(bits))} different ids of shape {bits.shape} for {size} samples; expected an "
            "own id per sample"
        )
    return bits


def by_hash(hashes: UInts) -> Ints:
    """Return the samples in the order of their hashes, int64 [n]; of equal ones, the first then comes first."""
    return np.argsort(hashes, kind="stable")


def picked(order: Ints) -> Floats:
    """Return 1 - (r + 1/2) / n for samples that are picked in this order, r the place in it; float64 [n]."""
    score = np.empty(len(order))
    score[order] = 1.0 - (np.arange(len(order)) + 0.5) / len(order)
    return score
