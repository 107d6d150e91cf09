"""Selection of samples that are in memory: the same draws as at scale, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualprune.core.config import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.engine.drawing import Constraints, draw_all
from dualprune.selection.engine.ranking import BLOCK_ROWS, Part
from dualprune.selection.engine.screen import possibly_kept

Positions = NDArray[np.int64]


def beta(
    score: ArrayLike,
    mean_prob: ArrayLike,
    *,
    ratio: float,
    c_d: float = 4.0,
    seed: int = 0,
    sample_ids: Any = None,
    **constants: Any,
) -> Positions:
    """Draw the samples to keep by Beta sampling, and return their positions, int64 [k], ascending.

    Args:
        score: float [n], not NaN; high means: keep first.
        mean_prob: float [n] in [0, 1], mean target probability.
        ratio: pruning ratio in [0, 1), the share removed.
        c_d: the data set's constant.
        seed: of the draw.
        sample_ids: int64 or string [n], from which the randomness follows; positions where none are given.
        constants: `exponent`, `concentration`, `scale` and `anchor_size`, as in `config.select`.
    """
    config = SelectConfig(method="beta", ratio=ratio, c_d=c_d, seed=seed, **constants)
    return select(config, score, mean_prob, sample_ids=sample_ids)[0]


def top_k(score: ArrayLike, *, ratio: float, seed: int = 0, sample_ids: Any = None, **options: Any) -> Positions:
    """Keep the highest scores [n], ties by the hash of (seed, id), and return their positions, int64 [k], ascending.

    `options` are `order` ("hardest", "easiest") and `skip`, as in `config.select`.
    """
    config = _config("top_k", ratio, seed, options)
    return select(config, score, sample_ids=sample_ids)[0]


def random(num_samples: int, *, ratio: float, seed: int = 0, sample_ids: Any = None) -> Positions:
    """Keep samples by chance alone, and return their positions, int64 [k], ascending."""
    return select(_config("random", ratio, seed, {}), np.ones(num_samples), sample_ids=sample_ids)[0]


def stratified(score: ArrayLike, *, ratio: float, seed: int = 0, sample_ids: Any = None, **options: Any) -> Positions:
    """Keep samples by coverage-centric selection (arXiv 2210.15809), and return their positions, int64 [k], ascending.

    `options` are `strata` and `drop_hardest`, as in `config.select`.
    """
    return select(_config("stratified", ratio, seed, options), score, sample_ids=sample_ids)[0]


def select(
    config: SelectConfig,
    score: ArrayLike,
    mean_prob: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    sample_ids: Any = None,
) -> list[Positions]:
    """Select as `config` says, and return for each of its ratios the positions kept, int64 [k], ascending.

    `labels` int [n] are the groups of `config.balance`. The files and the de-duplication of `config` belong to a run
    directory, and are left out here.
    """
    names: tuple[str, ...] = ("",)
    columns = _columns(score, mean_prob, sample_ids)
    if config.balance.active:
        if labels is None:
            raise DataError("config.balance asks for quotas of groups, but no labels are given")
        values, columns["group"] = np.unique(np.asarray(labels), return_inverse=True)
        names = tuple(str(value) for value in values)

    def parts() -> Iterator[Part]:
        size = len(columns["score"])
        for start in range(0, size, BLOCK_ROWS):
            yield Part(columns.get, start, min(start + BLOCK_ROWS, size))

    def each(function: Callable[[Iterable[Part]], Any]) -> Iterator[Any]:
        yield function(parts())

    drawn = draw_all(each, config, config.ratios, Constraints(groups=names))
    decisions = [one.decision for one in drawn]
    kept: list[list[Positions]] = [[] for _ in decisions]
    for whole in parts():
        part = possibly_kept(whole, decisions)
        for one, pieces in zip(decisions, kept, strict=True):
            pieces.append(part.position[one.keeps(part)])
    return [np.concatenate(pieces) for pieces in kept]


def _config(method: str, ratio: float, seed: int, options: dict[str, Any]) -> SelectConfig:
    from dualprune.selection.engine.counts import check_ratio

    check_ratio(ratio)
    return SelectConfig(method=method, ratio=ratio, seed=seed, **options)


def _columns(score: ArrayLike, mean_prob: ArrayLike | None, sample_ids: Any) -> dict[str, Any]:
    scores = np.asarray(score, dtype=np.float64)
    means = None if mean_prob is None else np.asarray(mean_prob, dtype=np.float64)
    ids = np.arange(len(scores)) if sample_ids is None else sample_ids
    ids = ids if hasattr(ids, "take") else np.asarray(ids)
    for name, values in (("mean_prob", means), ("sample_ids", ids)):
        if values is not None and len(values) != len(scores):
            raise DataError(f"{name} has {len(values)} values, score has {len(scores)}; expected one a sample")
    bad = np.flatnonzero(~np.isfinite(scores) | (np.isnan(means) if means is not None else False))
    if len(bad):
        raise DataError(f"{len(bad)} samples have a NaN score or mean_prob, first at position {bad[0]}; drop them")
    return {"sample_id": ids, "score": scores, "mean_prob": means, "position": np.arange(len(scores))}
