"""What one Ray Train worker does in an evaluation: train its share of the trainings from scratch and test them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray.train.torch
import torch

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location, fingerprint
from dualprune.data.resident import ResidentSplit
from dualprune.stages.record.decode import ResidentData
from dualprune.training import collectives
from dualprune.training.process import prepare_process
from dualprune.training.subset import ScratchTraining


@dataclass(frozen=True)
class Training:
    """One training from scratch on a subset; `fingerprint` stands for what the subset was drawn from."""

    subset: str
    ratio: float
    kept: int
    seed: int
    budget: str
    fingerprint: str
    selection: str

    def result_place(self, run: RunDirectory) -> Location:
        """Return where its result lies."""
        name = f"{self.subset}-{self.ratio:g}-{self.budget}-{self.seed}-{fingerprint(asdict(self))}.json"
        return run.root / "evaluation" / name

    def positions(self, run: RunDirectory, num_samples: int) -> np.ndarray | None:
        """Return the kept positions, or None for the full set."""
        if self.selection:
            kept = (run.selection(self.selection) / "kept.parquet").read_table(["position"])
            return np.asarray(kept["position"])
        if self.subset == "random":
            # Imported here, as the compiler behind selection takes a second to import.
            from dualprune.selection import random as random_subset

            return random_subset(num_samples, ratio=self.ratio, seed=self.seed)
        return None


@dataclass(frozen=True)
class EvaluateJob:
    """All that an evaluation worker needs to know."""

    config: Config
    run: str
    trainings: tuple[Training, ...]
    data: ResidentData
    board: Any

    def name(self) -> str:
        """Return a name that no other evaluation has."""
        return f"evaluate-{uuid.uuid4().hex[:8]}"


def evaluate_worker(arguments: dict[str, Any]) -> dict[str, Any]:
    """Train and test; each result is written as soon as it is there."""
    job: EvaluateJob = arguments["job"]
    run = RunDirectory(job.run)
    device = ray.train.torch.get_device()
    prepare_process(job.config.scaling.cpus_per_worker)
    train_split = job.data.split("train", device)
    test_split = job.data.split("test", device)
    alone = job.config.evaluate.parallel != "data" or collectives.world_size() == 1
    # A restart after a failure finds what is done; every rank must see the same list.
    todo = collectives.from_rank_zero([t for t in job.trainings if not t.result_place(run).exists()])
    mine = share_out(todo, collectives.world_size())[collectives.rank()] if alone else todo
    for training in mine:
        result = _train_one(job, training, run, train_split, test_split, device, alone)
        if alone or collectives.rank() == 0:
            training.result_place(run).write_json(result)
            job.board.add.remote(f"{training.subset} {training.ratio:g}: {result['accuracy']:.1%}")
    return {"trainings": len(todo)}


def share_out(trainings: Sequence[Training], parts: int) -> list[list[Training]]:
    """Return the trainings in `parts` shares of about the same work, the largest first."""
    shares: list[list[Training]] = [[] for _ in range(parts)]
    loads = [0] * parts
    largest = max((training.kept for training in trainings), default=0)
    for training in sorted(trainings, key=lambda t: -t.kept):
        lightest = loads.index(min(loads))
        shares[lightest].append(training)
        loads[lightest] += training.kept if training.budget == "epochs" else largest
    return shares


def _train_one(
    job: EvaluateJob,
    training: Training,
    run: RunDirectory,
    train_split: ResidentSplit,
    test_split: ResidentSplit,
    device: torch.device,
    alone: bool,
) -> dict[str, Any]:
    positions = training.positions(run, job.data.num_train)
    scratch = ScratchTraining(
        job.config,
        job.data,
        train_split,
        device,
        positions=positions,
        ratio=training.ratio,
        seed=job.config.train.seed + training.seed,
        budget=training.budget,
        full_size=job.data.num_train,
        ranks=(0, 1) if alone else (collectives.rank(), collectives.world_size()),
        wrap=None if alone else ray.train.torch.prepare_model,
    )
    scratch.train()
    accuracy = scratch.accuracy(test_split)
    return {
        "subset": training.subset,
        "ratio": training.ratio,
        "kept": training.kept if positions is None else len(positions),
        "budget": training.budget,
        "seed": training.seed,
        "accuracy": accuracy,
        "seconds": scratch.seconds,
        "steps": scratch.num_steps,
    }
