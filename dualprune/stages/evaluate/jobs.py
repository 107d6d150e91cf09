"""The jobs of a pool of workers: a job is one training from scratch, with everything that its result depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.exchange.kept import read_draw

if TYPE_CHECKING:
    from dualprune.stages.record.decode import ResidentData

Positions = NDArray[np.int64]
# The result of a job: subset, ratio, kept, budget, seed, draw, accuracy, seconds, optimizer steps, visits (samples
# seen).
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
    """A random subset of the candidates, pruned at `ratio`, by the noise of a stream and purpose."""

    ratio: float
    seed: int
    stream: int = 2
    purpose: str = ""

    @classmethod
    def of(cls, config: Config, ratio: float, number: int, plain_seed: int) -> RandomSamples:
        """Return the random baseline of the training with this number, which has noise of its own.

        In a run of stream 1 it has the noise of `plain_seed`, which selections with that seed share.
        """
        if config.select.stream == 1:
            return cls(ratio, plain_seed, stream=1)
        return cls(ratio, config.train.seed, purpose=f"baseline/{number}")

    def positions(self, candidates: Positions) -> Positions:
        """Draw them."""
        # Imported here: the driver, which only plans, needs no selection.
        from dualprune.selection import random as random_subset

        kept = random_subset(
            len(candidates), ratio=self.ratio, seed=self.seed, stream=self.stream, purpose=self.purpose
        )
        chosen: Positions = candidates[kept]
        return chosen


@dataclass(frozen=True)
class KeptSamples:
    """The samples of a selection of a run, or of another draw of it: those in the files of `kept`."""

    run: str
    kept: Location
    num_kept: int

    def positions(self, candidates: Positions) -> Positions:
        """Return the kept positions; the selection was drawn from all samples, so `candidates` are ignored."""
        del candidates
        kept = read_draw(RunDirectory(self.run), self.kept, ["position"], self.num_kept)
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
        draw: which draw of the subset it trains on; 0 is the kept set itself.
    """

    subset: str
    samples: Samples
    config: Config
    ratio: float | None
    seed: int
    budget: str
    draw: int = 0

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
