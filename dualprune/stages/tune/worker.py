"""What a process does for trials: it holds the data, draws the samples to keep and trains on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import nn

from dualprune.core.config import Config
from dualprune.data.resident import ResidentSplit
from dualprune.selection import random as random_subset
from dualprune.selection.arrays import Positions, select
from dualprune.selection.sampler import SAMPLERS
from dualprune.stages.record.decode import ResidentData
from dualprune.stages.tune.scores import ScoreRequest
from dualprune.training import collectives
from dualprune.training.process import prepare_process
from dualprune.training.subset import ScratchTraining

FULL, RANDOM, SELECTED = "full", "random", "selected"


@dataclass(frozen=True)
class Workshop:
    """What all trainings of a sweep share.

    `data` lie in the object store, `scores` is a `ScoreCache` of the samples that may be selected. `validation` holds
    the positions that accuracy is measured on, int64 [v]; without them it is the test set.
    """

    config: Config
    data: ResidentData
    scores: Any
    classes: tuple[str, ...]
    num_candidates: int
    validation: np.ndarray | None
    use_gpu: bool


@dataclass(frozen=True)
class Job:
    """One training: on the full set, on a random subset of a ratio, or on what a configuration selects."""

    subset: str
    config: Config
    seed: int


class Worker:
    """Trains jobs, one after the other, on data that it keeps; with `wrap`, as a rank of several."""

    def __init__(
        self,
        shop: Workshop,
        device: torch.device | None = None,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        prepare_process(shop.config.scaling.cpus_per_worker)
        self._shop, self._wrap = shop, wrap
        self._device = device or torch.device("cuda" if shop.use_gpu else "cpu")
        self._split = shop.data.split("train", self._device)
        self._test = self._split if shop.validation is not None else self._test_split()
        everything = np.arange(shop.data.num_train)
        self._candidates = everything if shop.validation is None else np.setdiff1d(everything, shop.validation)

    def _test_split(self) -> ResidentSplit:
        return self._shop.data.split("test", self._device)

    def begin(self, job: Job) -> Training:
        """Draw the samples of a job and return its training, before its first step."""
        kept = self._kept(job)
        ratio = job.config.select.ratios[0]
        if job.subset == FULL:
            ratio = 0.0
        elif job.subset == SELECTED and not SAMPLERS[job.config.select.method].has_ratio:
            ratio = 1.0 - len(kept) / self._shop.num_candidates
        scratch = ScratchTraining(
            job.config,
            self._shop.data,
            self._split,
            self._device,
            positions=kept,
            ratio=ratio,
            seed=job.config.train.seed + job.seed,
            budget=job.config.evaluate.budget,
            full_size=self._shop.num_candidates,
            ranks=(0, 1) if self._wrap is None else (collectives.rank(), collectives.world_size()),
            wrap=self._wrap,
        )
        return Training(scratch, ratio, len(kept))

    def accuracy(self, training: Training) -> float:
        """Return the accuracy on the validation positions, or on the test set."""
        return training.scratch.accuracy(self._test, self._shop.validation)

    def measured(self, training: Training) -> tuple[float, float]:
        """Return the accuracy and the seconds that it took to measure."""
        started = time.monotonic()
        return self.accuracy(training), time.monotonic() - started

    def run(self, job: Job) -> dict[str, Any]:
        """Train a job to its end; returns a row as `evaluate` has it."""
        training = self.begin(job)
        training.scratch.train()
        return {
            "subset": job.subset,
            "ratio": training.ratio,
            "kept": training.kept,
            "budget": job.config.evaluate.budget,
            "seed": job.seed,
            "accuracy": self.accuracy(training),
            "seconds": training.scratch.seconds,
        }

    def _kept(self, job: Job) -> Positions:
        if job.subset == FULL:
            return self._candidates
        if job.subset == RANDOM:
            seed = job.config.select.seed + job.seed
            rows = random_subset(len(self._candidates), ratio=job.config.select.ratios[0], seed=seed)
            return self._candidates[rows]
        [reference] = ray.get(self._shop.scores.get.remote(ScoreRequest.of(job.config)))
        return draw(job.config, ray.get(reference), self._shop.classes, job.seed)


@dataclass(frozen=True)
class Training:
    """A training under way, with the ratio and the number of samples that it trains on."""

    scratch: ScratchTraining
    ratio: float
    kept: int


def draw(config: Config, scores: pa.Table, classes: tuple[str, ...], seed: int) -> Positions:
    """Return the positions that `config.select` keeps of the samples in `scores`, int64 [k], ascending.

    It is the draw of the select stage with `seed` added to its own.
    """
    chosen = config.select.model_copy(update={"seed": config.select.seed + seed})
    ids = scores["sample_id"].combine_chunks()
    ids = np.asarray(ids) if pa.types.is_integer(ids.type) else ids
    labels = np.asarray(classes)[np.asarray(scores["label"])] if chosen.balance.active else None
    [rows] = select(chosen, np.asarray(scores["score"]), np.asarray(scores["mean_prob"]), labels=labels, sample_ids=ids)
    return np.asarray(scores["position"])[rows]
