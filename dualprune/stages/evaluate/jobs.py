"""The jobs of a pool of workers: a job is one training from scratch, with everything that its result depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory

if TYPE_CHECKING:
    from dualprune.stages.record.decode import ResidentData

Positions = NDArray[np.int64]
# The result of a job: subset, ratio, kept, budget, seed, accuracy, seconds, optimizer steps, visits (samples seen).
Row = dict[str, Any]


class Samples(Protocol):
    """Which samples a job trains on; it is sent to the worker, which asks for the positions."""

    def positions(self, candidates: Positions) -> Positions:
        """Return the positions to train on, int64 [k], ascending, out of those in `candidates`, int64 [n]."""
        ...


@dataclass(frozen=True)
class AllSamples:
    """Every candidate."""

    def positions(self, candidates: Positions) -> Positions:
        """Return all of them."""
        return candidates


@dataclass(frozen=True)
class RandomSamples:
    """A random subset of the candidates, pruned at `ratio`."""

    ratio: float
    seed: int

    def positions(self, candidates: Positions) -> Positions:
        """Draw them."""
        # Imported here: the driver, which only plans, needs no selection.
        from dualprune.selection import random as random_subset

        chosen: Positions = candidates[random_subset(len(candidates), ratio=self.ratio, seed=self.seed)]
        return chosen


@dataclass(frozen=True)
class KeptSamples:
    """The samples that a selection of a run keeps."""

    run: str
    selection: str

    def positions(self, candidates: Positions) -> Positions:
        """Return the kept positions; the selection was drawn from all samples, so `candidates` are ignored."""
        del candidates
        kept = (RunDirectory(self.run).selection(self.selection) / "kept.parquet").read_table(["position"])
        return np.asarray(kept["position"])


@dataclass(frozen=True)
class Job:
    """One training from scratch.

    Attributes:
        subset: the name under which the result is listed.
        samples: which samples it trains on.
        config: the recipe: its `model`, `train` and `evaluate` (`epochs`, `batch_size`) count.
        ratio: the pruning ratio; None where it follows from how many samples are kept.
        seed: added to `train.seed`.
        budget: what it has in common with the full set's training, one of `dualprune.core.budgets.BUDGETS`.
    """

    subset: str
    samples: Samples
    config: Config
    ratio: float | None
    seed: int
    budget: str

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f" at ratio {self.ratio:g}"
        return f"{self.subset}{ratio}, equal {self.budget}, seed {self.seed}"

    @property
    def work(self) -> float:
        """The approximate training time, as a share of a training on the full set."""
        return 1.0 - (self.ratio or 0.0) if self.budget == "epochs" else 1.0


@dataclass(frozen=True)
class TrainingContext:
    """The facts that all jobs of a pool share.

    Attributes:
        data: the decoded samples, in Ray's object store.
        workers: what each worker gets: a GPU, or CPUs alone.
        validation: positions on which accuracy is measured, int64 [v], never trained on; None: the test set is used.
    """

    data: ResidentData
    workers: Workers
    validation: Positions | None = None

    @property
    def candidates(self) -> Positions:
        """The positions that jobs may train on, int64 [n], ascending."""
        everything = np.arange(self.data.num_train)
        return everything if self.validation is None else np.setdiff1d(everything, self.validation)
