"""The context that all trainings of a sweep share, and the draw of the samples that a point keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from dualprune.core.config import Config
from dualprune.core.plugins import make_sampler
from dualprune.selection import arrays
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.sampler import SAMPLERS
from dualprune.stages.evaluate.jobs import Job, Positions, TrainingContext
from dualprune.stages.tune.scores import ScoreRequest

SELECTED = "selected"


@dataclass(frozen=True)
class SweepContext:
    """The context of all trainings of a sweep; `scores` is a `ScoreCache` of the samples that may be selected."""

    config: Config
    training: TrainingContext
    scores: Any
    classes: tuple[str, ...]

    def selected(self, config: Config, seed: int, subset: str = SELECTED) -> Job:
        """Return the training on what `config` selects, drawn and trained with `seed` added to its own seeds."""
        # A sampler without a ratio decides itself how many samples it keeps.
        ratio = config.select.ratios[0] if SAMPLERS[config.select.method].has_ratio else None
        samples = DrawnSamples(config, seed, self.scores, self.classes)
        return Job(subset, samples, config, ratio, seed, config.evaluate.budget[0], draw=seed)


@dataclass(frozen=True)
class DrawnSamples:
    """The samples that a configuration selects from a `ScoreCache`."""

    config: Config
    seed: int
    scores: Any
    classes: tuple[str, ...]

    def positions(self, candidates: Positions) -> Positions:
        """Draw the positions; the cache holds the scores of the candidates alone."""
        del candidates
        [reference] = ray.get(self.scores.get.remote(ScoreRequest.of(self.config)))
        return draw(self.config, ray.get(reference), self.classes, self.seed)


def draw(config: Config, scores: pa.Table, classes: tuple[str, ...], seed: int) -> Positions:
    """Return the positions that `config.select` keeps of the samples in `scores`, int64 [k], ascending.

    It is the draw of the select stage with `seed` added to `select.seed`.
    """
    rules = replace(DrawRules.of(config.select), seed=config.select.seed + seed)
    ids = scores["sample_id"].combine_chunks()
    ids = np.asarray(ids) if pa.types.is_integer(ids.type) else ids
    labels = np.asarray(classes)[np.asarray(scores["label"])] if rules.balance.active else None
    columns = np.asarray(scores["score"]), np.asarray(scores["mean_prob"])
    [rows] = arrays.draw(make_sampler(config), rules, *columns, labels=labels, sample_ids=ids)
    return np.asarray(scores["position"])[rows]
