"""Selection of samples in memory: the same draws as for a run, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualprune.core.plugins import make
from dualprune.core.sections import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.engine.counts import check_ratio
from dualprune.selection.engine.drawing import Constraints, DrawRules, check_reads, draw_all
from dualprune.selection.engine.screen import possibly_kept
from dualprune.selection.rows import BLOCK_ROWS, Rows
from dualprune.selection.sampler import Sampler

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
        score: float [n]; high means: keep first, -inf: never.
        mean_prob: float [n] in [0, 1], mean target probability.
        ratio: pruning ratio in [0, 1), the share removed.
        c_d: the data set's constant.
        seed: of the draw.
        sample_ids: int64 or string [n], from which the randomness follows; None: positions.
        constants: `exponent`, `concentration`, `scale` and `anchor_size`, the sampler's options.
    """
    return _one("beta", {"c_d": c_d, **constants}, ratio, seed, score, mean_prob, sample_ids)


def top_k(score: ArrayLike, *, ratio: float, seed: int = 0, sample_ids: Any = None, **options: Any) -> Positions:
    """Keep the highest scores [n], ties by the hash of (seed, id), and return their positions, int64 [k], ascending.

    `options` are `order` ("hardest", "easiest") and `skip`.
    """
    return _one("top_k", options, ratio, seed, score, None, sample_ids)


def random(num_samples: int, *, ratio: float, seed: int = 0, sample_ids: Any = None) -> Positions:
    """Keep samples at random, and return their positions, int64 [k], ascending."""
    return _one("random", {}, ratio, seed, np.ones(num_samples), None, sample_ids)


def ccs(score: ArrayLike, *, ratio: float, seed: int = 0, sample_ids: Any = None, **options: Any) -> Positions:
    """Keep samples by coverage-centric selection (arXiv 2210.15809), and return their positions, int64 [k], ascending.

    `options` are `strata`, `drop` and `drop_by`, which must be "score" here where anything is dropped.
    """
    return _one("ccs", options, ratio, seed, score, None, sample_ids)


def stratified(
    score: ArrayLike,
    *,
    ratio: float,
    seed: int = 0,
    sample_ids: Any = None,
    strata: int = 50,
    drop_hardest: float = 0.0,
) -> Positions:
    """Keep what `ccs` keeps with `drop_by="score"` and the share `drop_hardest` dropped: its older name."""
    options = {"strata": strata, "drop": drop_hardest, "drop_by": "score"}
    return ccs(score, ratio=ratio, seed=seed, sample_ids=sample_ids, **options)


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
) -> list[Positions]:
    """Return for each ratio the positions that a sampler keeps, int64 [k], ascending; arguments as for `select`."""
    names: tuple[str, ...] = ("",)
    columns = _columns(score, mean_prob, sample_ids)
    check_reads(sampler, [] if mean_prob is None else ["mean_prob"])
    if rules.balance.active:
        if labels is None:
            raise DataError(
                "select.balance sets quotas of groups, but no labels were passed; pass labels, or unset select.balance"
            )
        values, columns["group"] = np.unique(np.asarray(labels), return_inverse=True)
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
    ratio: float,
    seed: int,
    score: ArrayLike,
    mean_prob: ArrayLike | None,
    sample_ids: Any,
) -> Positions:
    check_ratio(ratio)
    sampler = make("sampler", name, options, f"select.options.{name}")
    return draw(sampler, DrawRules((ratio,), seed), score, mean_prob, sample_ids=sample_ids)[0]


def _columns(score: ArrayLike, mean_prob: ArrayLike | None, sample_ids: Any) -> dict[str, Any]:
    scores = np.asarray(score, dtype=np.float64)
    means = None if mean_prob is None else np.asarray(mean_prob, dtype=np.float64)
    ids = np.arange(len(scores)) if sample_ids is None else sample_ids
    ids = ids if hasattr(ids, "take") else np.asarray(ids)
    for name, values in (("mean_prob", means), ("sample_ids", ids)):
        if values is not None and len(values) != len(scores):
            raise DataError(f"{name} has {len(values)} values, score has {len(scores)}; expected one per sample")
    bad = np.flatnonzero(np.isnan(scores) | (scores == np.inf) | (np.isnan(means) if means is not None else False))
    if len(bad):
        raise DataError(
            f"{len(bad)} samples have a score of NaN or +inf, or a mean_prob of NaN, first at position {bad[0]}; drop "
            "them, or score them -inf to keep none of them"
        )
    return {"sample_id": ids, "score": scores, "mean_prob": means, "position": np.arange(len(scores))}
