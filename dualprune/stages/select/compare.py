"""Says how two selections of a run differ, and what a selection is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.registry import nearest
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import bucket_name
from dualprune.errors import RunError
from dualprune.selection.engine.drawing import Constraints, draw_all
from dualprune.selection.engine.question import Decision
from dualprune.selection.engine.ranking import Part
from dualprune.stages.score.surveys import known_survey
from dualprune.stages.select.bucketed import Scores
from dualprune.stages.select.stage import KEPT, prepare

EXAMPLES = 5
QUARTILES = 4
BINS = 1 << 16


@dataclass(frozen=True)
class Overlap:
    """Two selections against each other: numbers of samples, and the first few that only one of them keeps."""

    names: tuple[str, str]
    in_both: int
    only_first: int
    only_second: int
    first_examples: list[Any]
    second_examples: list[Any]

    @property
    def jaccard(self) -> float:
        """Samples in both over samples in either, 0 … 1."""
        return self.in_both / max(1, self.in_both + self.only_first + self.only_second)


def compare(run: RunDirectory, config: Config, first: str, second: str) -> Overlap:
    """Compare two selections of a run, bucket by bucket."""
    for name in (first, second):
        _require(run, name)
    buckets = range(SampleIndex.load(run.index).num_buckets)
    counts, examples = np.zeros(3, dtype=np.int64), ([], [])  # type: tuple[Any, tuple[list[Any], list[Any]]]
    work = partial(_compare_bucket, str(run.root.address), (first, second))
    for found, ids in over_buckets(work, buckets, config.scaling, light=True):
        counts += found
        for known, more in zip(examples, ids, strict=True):
            known += more[: EXAMPLES - len(known)]
    both, one, other = (int(number) for number in counts)
    return Overlap((first, second), both, one, other, *examples)


def _require(run: RunDirectory, name: str) -> None:
    known = run.selection_names()
    if name not in known:
        raise RunError(
            f"{run} has no selection {name!r}; there are: {', '.join(known) or 'none'}{nearest(name, known)}"
        )


def _compare_bucket(run: str, names: tuple[str, str], bucket: int) -> tuple[np.ndarray, list[list[Any]]]:
    folder = RunDirectory(run)
    tables = [
        (folder.selection(name) / KEPT / bucket_name(bucket)).read_table(["sample_id", "position"]) for name in names
    ]
    one, other = (np.asarray(table["position"]) for table in tables)
    only = [~np.isin(one, other, assume_unique=True), ~np.isin(other, one, assume_unique=True)]
    examples = [
        table["sample_id"].take(np.flatnonzero(mask)[:EXAMPLES]).to_pylist()
        for table, mask in zip(tables, only, strict=True)
    ]
    counts = [len(one) - int(only[0].sum()), int(only[0].sum()), int(only[1].sum())]
    return np.array(counts, dtype=np.int64), examples


def explain(run: RunDirectory, config: Config, name: str) -> dict[str, Any]:
    """Return what a selection is made of.

    Its facts, as in `selection.json`, and: `per_quartile`, the numbers kept of each quarter of the scored samples from
    the hardest (lowest mean_prob) to the easiest; `effective`, the effective number of candidates (Σw)² / Σw², with
    `nested` that of the draw alone; and `overlap`, the share of its samples that top-k and a random draw of the same
    number keep, too.
    """
    _require(run, name)
    facts: dict[str, Any] = (run.selection(name) / "selection.json").read_json()
    index = SampleIndex.load(run.index)
    plain = {"score": config.select.score, "seed": facts["seed"], "ratio": facts["ratio"]}
    scores, excluded = _candidates(run, config, index, facts)
    histogram = sum(scores.each(_histogram))
    edges = _edges(histogram)
    others: list[Decision] = []
    known = known_survey(run.scores(scores.method))
    for method in ("top_k", "random"):
        select = config.select.__class__(method=method, **plain)
        others += [one.decision for one in draw_all(scores.each, select, [facts["ratio"]], Constraints(), known)]
    draw = _weights_of(facts, config)
    kept = run.selection(name) / KEPT
    totals = sum(scores.each_bucket(partial(_explain_bucket, str(kept.address), edges, others, draw, excluded)))
    quartiles, overlaps, (weight, square) = totals[:QUARTILES], totals[QUARTILES : QUARTILES + 2], totals[-2:]
    return {
        **facts,
        "per_quartile": [int(number) for number in quartiles],
        "effective": float(weight**2 / square) if square > 0.0 else float(facts["num_candidates"]),
        "overlap": {
            method: float(number) / facts["num_kept"]
            for method, number in zip(("top_k", "random"), overlaps, strict=True)
        },
    }


def _candidates(
    run: RunDirectory, config: Config, index: SampleIndex, facts: dict[str, Any]
) -> tuple[Scores, np.ndarray]:
    """Return the scores of a selection and the positions that took no part in it, int64 ascending."""
    names = ("always_keep", "never_keep", "deduplicate")
    given = {name: facts["constraints"][name] for name in names if name in facts["constraints"]}
    select = config.select.__class__(score=facts["score_method"], **given)
    scores, constraints = prepare(run, config.model_copy(update={"select": select}), index)
    return scores, np.setdiff1d(constraints.excluded, constraints.forced)


def _weights_of(facts: dict[str, Any], config: Config) -> Any:
    if facts["method"] != "beta":
        return None
    from dualprune.selection.samplers.beta import BetaDraw

    return BetaDraw(facts["parameters"]["a"], facts["parameters"]["b"], facts["seed"])


def _histogram(parts: Iterable[Part]) -> np.ndarray:
    counts = np.zeros(BINS, dtype=np.int64)
    for part in parts:
        counts += np.bincount(np.clip(part.mean_prob * BINS, 0, BINS - 1).astype(np.int64), minlength=BINS)
    return counts


def _edges(histogram: Any) -> np.ndarray:
    """Return the three values of mean_prob that cut the samples into quarters, to 2^-16."""
    below = np.cumsum(histogram)
    edges: np.ndarray = (np.searchsorted(below, below[-1] * np.arange(1, QUARTILES) / QUARTILES) + 1) / BINS
    return edges


def _explain_bucket(
    kept: str, edges: np.ndarray, others: list[Decision], draw: Any, excluded: np.ndarray, bucket: Any
) -> np.ndarray:
    from dualprune.core.storage import Location

    ours = np.asarray((Location(kept) / bucket_name(bucket.number)).read_table(["position"])["position"])
    totals = np.zeros(QUARTILES + len(others) + 2)
    for part in bucket.parts():
        first, last = np.searchsorted(ours, [part.position[0], part.position[-1] + 1]) if len(part) else (0, 0)
        mask = np.isin(part.position, ours[first:last], assume_unique=True)
        quarter = np.searchsorted(edges, part.mean_prob[mask], side="right")
        totals[:QUARTILES] += np.bincount(quarter, minlength=QUARTILES)
        for number, other in enumerate(others):
            totals[QUARTILES + number] += np.count_nonzero(other.keeps(part) & mask)
        if draw is not None:
            weight = draw.weight(part)[~np.isin(part.position, excluded, assume_unique=True)]
            totals[-2:] += weight.sum(), (weight**2).sum()
    return totals
