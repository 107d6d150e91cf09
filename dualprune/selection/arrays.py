"""Selection of samples in memory: the same draws as for a run, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualprune.core.arguments import check_whole
from dualprune.core.arrays import as_array, check_range
from dualprune.core.plugins import make
from dualprune.core.sections import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.engine.counts import check_ratio
from dualprune.selection.engine.drawing import check_reads, draw_all
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.engine.screen import possibly_kept
from dualprune.selection.rows import BLOCK_ROWS, Rows
from dualprune.selection.sampler import Sampler

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]


def beta(
    score: ArrayLike,
    mean_prob: ArrayLike,
    *,
    ratio: float,
    c_d: float = 4.0,
    seed: int = 0,
    stream: int = 2,
    sample_ids: Any = None,
    **constants: Any,
) -> Positions:
    """Draw the samples to keep by Beta sampling, and return their positions, int64 [k], ascending.

    Args:
        score: float [n]; high means: keep first, -inf: never.
        mean_prob: float [n] in [0, 1], mean target probability.
        ratio: pruning ratio in [0, 1), the share removed.
        c_d: the data set's constant.
        seed: of the draw.
        stream: 2, noise of each sampler's own; 1, noise of the seed that all samplers share, as earlier versions drew.
        sample_ids: int64 or string [n], from which the randomness follows; None: positions.
        constants: `exponent`, `concentration`, `scale`, `anchor_size` and `weight`, the sampler's options.
    """
    return _one(
        "beta", {"c_d": c_d, **constants}, DrawRules((ratio,), seed, stream=stream), score, mean_prob, sample_ids
    )


def top_k(
    score: ArrayLike,
    *,
    ratio: float,
    seed: int = 0,
    stream: int = 2,
    sample_ids: Any = None,
    labels: ArrayLike | None = None,
    **options: Any,
) -> Positions:
    """Keep the highest scores [n], ties by the hash of (seed, id), and return their positions, int64 [k], ascending.

    `options` are `order` ("hardest", "easiest"), `skip`, and `floor`, which needs `labels` [n].
    """
    return _one("top_k", options, DrawRules((ratio,), seed, stream=stream), score, None, sample_ids, labels=labels)


def random(
    num_samples: int, *, ratio: float, seed: int = 0, stream: int = 2, purpose: str = "", sample_ids: Any = None
) -> Positions:
    """Keep samples at random, and return their positions, int64 [k], ascending.

    `purpose` names another stream than the sampler's own, such as "baseline/0" for a baseline.
    """
    rules = DrawRules((ratio,), seed, stream=stream, purpose=purpose)
    return _one("random", {}, rules, np.ones(check_whole("num_samples", num_samples, 1)), None, sample_ids)


def ccs(
    score: ArrayLike,
    *,
    ratio: float,
    aum: ArrayLike | None = None,
    seed: int = 0,
    stream: int = 2,
    sample_ids: Any = None,
    **options: Any,
) -> Positions:
    """Keep samples by coverage-centric selection (arXiv 2210.15809), and return their positions, int64 [k], ascending.

    `options` are `strata`, `drop` and `drop_by`. Where anything is dropped by "aum", that is the score `aum` [n], which
    is high for hard samples.
    """
    more = {} if aum is None else {"aum": aum}
    return _one("ccs", options, DrawRules((ratio,), seed, stream=stream), score, None, sample_ids, columns=more)


def flexrand(
    score: ArrayLike,
    labels: ArrayLike,
    *,
    ratio: float,
    split: float = 0.5,
    seed: int = 0,
    sample_ids: Any = None,
) -> Positions:
    """Keep samples of the easy and the hard pool of each class (arXiv 2402.05356); positions int64 [k], ascending.

    `score` is low for easy samples, and `split` the share of each class that is the easy pool.
    """
    return _one("flexrand", {"split": split}, DrawRules((ratio,), seed), score, None, sample_ids, labels=labels)


def stratified(
    score: ArrayLike,
    *,
    ratio: float,
    seed: int = 0,
    stream: int = 2,
    sample_ids: Any = None,
    strata: int = 50,
    drop_hardest: float = 0.0,
) -> Positions:
    """Keep what `ccs` keeps with `drop_by="score"` and the share `drop_hardest` dropped: its older name."""
    options: dict[str, Any] = {"strata": strata, "drop": drop_hardest, "drop_by": "score"}
    return ccs(score, ratio=ratio, seed=seed, stream=stream, sample_ids=sample_ids, **options)


def select(
    config: SelectConfig,
    score: ArrayLike,
    mean_prob: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    sample_ids: Any = None,
) -> list[Positions]:
    """Select as `config` says, and return for each of its ratios the positions kept, int64 [k], ascending.

    `labels` int [n] are the groups of `config.balance`. Files of ids and de-duplication need a run directory, and are
    ignored here.
    """
    sampler = make("sampler", config.method, config.options.get(config.method, {}), f"select.options.{config.method}")
    return draw(sampler, DrawRules.of(config), score, mean_prob, labels=labels, sample_ids=sample_ids)


def draw(
    sampler: Sampler,
    rules: DrawRules,
    score: ArrayLike,
    mean_prob: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    sample_ids: Any = None,
    more: Mapping[str, ArrayLike] | None = None,
) -> list[Positions]:
    """Return for each ratio the positions that a sampler keeps, int64 [k], ascending; arguments as for `select`.

    `more` are further columns [n] that the sampler reads, by name.
    """
    names: tuple[str, ...] = ("",)
    columns = _columns(score, mean_prob, sample_ids)
    for name, values in (more or {}).items():
        columns[name] = _numbers(values, name, len(columns["score"]))
        if np.isnan(columns[name]).any():
            raise DataError(f"{int(np.isnan(columns[name]).sum())} samples have {name} = NaN; drop them")
    check_reads(sampler, [*([] if mean_prob is None else ["mean_prob"]), *(more or ())])
    if rules.balance.active or sampler.needs_groups:
        if labels is None:
            who = "select.balance sets quotas of groups" if rules.balance.active else f"{sampler.name} looks at classes"
            raise DataError(f"{who}, but no labels were passed; pass labels, or change the select section")
        groups = _plain(labels, "labels")
        _check_length("labels", len(groups), len(columns["score"]))
        values, columns["group"] = np.unique(np.asarray(groups), return_inverse=True)
        names = tuple(str(value) for value in values)

    def blocks() -> Iterator[Rows]:
        size = len(columns["score"])
        for start in range(0, size, BLOCK_ROWS):
            yield Rows(columns.get, start, min(start + BLOCK_ROWS, size))

    def each(function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        yield function(blocks())

    cutoffs = [outcome.cutoff for outcome in draw_all(each, sampler, rules, Constraints(groups=names))]
    kept: list[list[Positions]] = [[] for _ in cutoffs]
    for whole in blocks():
        rows = possibly_kept(whole, cutoffs)
        for cutoff, positions in zip(cutoffs, kept, strict=True):
            positions.append(rows.position[cutoff.keeps(rows)])
    return [np.concatenate(positions) for positions in kept]


def _one(
    name: str,
    options: dict[str, Any],
    rules: DrawRules,
    score: ArrayLike,
    mean_prob: ArrayLike | None,
    sample_ids: Any,
    labels: ArrayLike | None = None,
    columns: Mapping[str, ArrayLike] | None = None,
) -> Positions:
    for ratio in rules.ratios:
        check_ratio(ratio)
    sampler = make("sampler", name, options, f"select.options.{name}")
    return draw(sampler, rules, score, mean_prob, labels=labels, sample_ids=sample_ids, more=columns)[0]


def _columns(score: ArrayLike, mean_prob: ArrayLike | None, sample_ids: Any) -> dict[str, Any]:
    scores = _numbers(score, "score", None)
    size = len(scores)
    means = None if mean_prob is None else _numbers(mean_prob, "mean_prob", size)
    bad = np.flatnonzero(np.isnan(scores) | (scores == np.inf) | (np.isnan(means) if means is not None else False))
    if len(bad):
        raise DataError(
            f"{len(bad)} samples have a score of NaN or +inf, or a mean_prob of NaN, first at position {bad[0]}; drop "
            "them, or score them -inf to keep none of them"
        )
    if means is not None:
        check_range(means, "mean_prob")
    return {
        "sample_id": np.arange(size) if sample_ids is None else _ids(sample_ids, size),
        "score": scores,
        "mean_prob": means,
        "position": np.arange(size),
    }


def _numbers(values: Any, name: str, size: int | None) -> Floats:
    """Return one number per sample as float64 [n]; a DataError where the shape is another."""
    array = as_array(values, name)
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}; expected [n], one number per sample")
    if size is not None:
        _check_length(name, len(array), size)
    return array.astype(np.float64, copy=False)


def _ids(sample_ids: Any, size: int) -> Any:
    """Return ids, int64 or strings [n], as numpy or Arrow; a DataError where they are neither, or not unique."""
    ids = _plain(sample_ids, "sample_ids")
    _check_length("sample_ids", len(ids), size)
    array = ids.to_numpy(zero_copy_only=False) if hasattr(ids, "take") and not isinstance(ids, np.ndarray) else ids
    is_text = array.dtype.kind == "U" or (array.dtype.kind == "O" and all(isinstance(one, str) for one in array))
    if array.ndim != 1 or not (array.dtype.kind in "iu" or is_text):
        raise DataError(
            f"sample_ids have the type {array.dtype} and shape {array.shape}; expected [n] whole numbers or strings"
        )
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < size:
        raise DataError(
            f"{size - len(unique)} sample ids are not unique, such as {unique[counts.argmax()]!s}; "
            "an id stands for one sample"
        )
    return ids


def _plain(values: Any, name: str) -> Any:
    """Return an Arrow array as it is, and everything else, tensors too, as a numpy array."""
    if hasattr(values, "detach"):
        return as_array(values, name)
    is_arrow = hasattr(values, "take") and type(values).__module__.partition(".")[0] == "pyarrow"
    return values if is_arrow else np.asarray(values)


def _check_length(name: str, length: int, size: int) -> None:
    if length != size:
        raise DataError(f"{name} has {length} values, score has {size}; expected one per sample")
