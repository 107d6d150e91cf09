"""Describes what a selection is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.exchange.kept import kept_place, read_kept_bucket, require_selection
from dualprune.selection.engine.drawing import draw_all
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.engine.spec import Cutoff, DrawSpec, among
from dualprune.selection.engine.survey import all_scores
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, Draw, Ranking
from dualprune.selection.samplers.beta import BetaDraw
from dualprune.stages.select.bucketed import Bucket
from dualprune.stages.select.drawn import drawn_config
from dualprune.stages.select.facts import selection_facts
from dualprune.stages.select.stage import prepare

QUARTILES = 4
BINS = 1 << 16
OTHERS = ("top_k", "random")


def inspect(run: RunDirectory, config: Config, name: str) -> dict[str, Any]:
    """Return what a selection is made of.

    These are its facts, as in `selection.json`, and: `per_quartile`, the numbers kept of each quarter of the scored
    samples from the hardest (lowest mean_prob) to the easiest; `effective`, the effective number of candidates
    (Σw)² / Σw², with `nested` that of the draw alone; and `overlap`, the share of its samples that top-k and another
    random draw of the same number also keep. `samples_per_class` is there for selections of older versions, too.
    """
    require_selection(run, name)
    facts: dict[str, Any] = selection_facts(run, name)
    index = SampleIndex.load(run.index)
    scores, constraints = prepare(run, drawn_config(run, config, name), index)
    excluded = np.setdiff1d(constraints.excluded, constraints.forced)
    edges = _edges(sum(scores.each(_histogram)))
    rules = DrawRules((facts["ratio"],), facts["seed"], stream=facts.get("stream", 1))
    # Noise that no selection has, so that the overlap with the random draw is chance alone.
    apart = replace(rules, stream=2, purpose="baseline/0")
    others = [
        outcome.cutoff
        for method in OTHERS
        for outcome in draw_all(scores.each, SAMPLERS[method](), apart if method == "random" else rules, Constraints())
    ]
    parameters = facts["parameters"]
    draw = BetaDraw(parameters["a"], parameters["b"]) if facts["method"] == "beta" else None
    if draw is not None and parameters.get("weight") == "rank":
        candidates = DrawSpec(draw, np.uint64(0), excluded=constraints.excluded, has_unranked=True)
        draw = replace(draw, ranking=Ranking.of_all(all_scores(scores.each, candidates)))
    kept = partial(_kept_positions, index, kept_place(run, name))
    totals = sum(scores.each_bucket(partial(_of_bucket, kept, edges, others, draw, excluded)))
    quartiles, overlaps, (weight, square) = totals[:QUARTILES], totals[QUARTILES:-2], totals[-2:]
    if "samples_per_class" not in facts:
        sizes = sum(scores.each(partial(_class_sizes, index.num_classes)))
        facts["samples_per_class"] = dict(zip(index.classes, sizes.tolist(), strict=True))
    return {
        **facts,
        "per_quartile": [int(number) for number in quartiles],
        "effective": float(weight**2 / square) if square > 0.0 else float(facts["num_candidates"]),
        "overlap": {method: float(number) / facts["num_kept"] for method, number in zip(OTHERS, overlaps, strict=True)},
    }


def _histogram(blocks: Iterable[Rows]) -> np.ndarray:
    counts = np.zeros(BINS, dtype=np.int64)
    for rows in blocks:
        counts += np.bincount(np.clip(rows.mean_prob * BINS, 0, BINS - 1).astype(np.int64), minlength=BINS)
    return counts


def _class_sizes(num_classes: int, blocks: Iterable[Rows]) -> np.ndarray:
    counts = np.zeros(num_classes, dtype=np.int64)
    for rows in blocks:
        counts += np.bincount(rows.label, minlength=num_classes)
    return counts


def _edges(histogram: Any) -> np.ndarray:
    """Return the three values of mean_prob that cut the samples into quarters, to 2^-16."""
    below = np.cumsum(histogram)
    edges: np.ndarray = (np.searchsorted(below, below[-1] * np.arange(1, QUARTILES) / QUARTILES) + 1) / BINS
    return edges


def _kept_positions(index: SampleIndex, kept: Location, bucket: int) -> np.ndarray:
    return np.asarray(read_kept_bucket(index, kept, bucket, ["position"])["position"])


def _of_bucket(
    kept: Callable[[int], np.ndarray],
    edges: np.ndarray,
    others: list[Cutoff],
    draw: Draw | None,
    excluded: np.ndarray,
    bucket: Bucket,
) -> np.ndarray:
    ours = kept(bucket.number)
    totals = np.zeros(QUARTILES + len(others) + 2)
    for rows in bucket.blocks():
        mask = among(ours, rows)
        if mask is not None:
            quarter = np.searchsorted(edges, rows.mean_prob[mask], side="right")
            totals[:QUARTILES] += np.bincount(quarter, minlength=QUARTILES)
            for number, other in enumerate(others):
                totals[QUARTILES + number] += np.count_nonzero(other.keeps(rows) & mask)
        if draw is not None:
            weight = np.exp(draw.order(rows))
            out = among(excluded, rows)
            weight = weight if out is None else weight[~out]
            totals[-2:] += weight.sum(), (weight**2).sum()
    return totals
