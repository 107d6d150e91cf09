"""A pool of workers that trains a list of jobs, some of which fail."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.storage import Location
from dualprune.data.source import open_source
from dualprune.errors import DataError, RunError
from dualprune.stages.evaluate.jobs import AllSamples, Job, Positions, RandomSamples, Samples, TrainingContext
from dualprune.stages.evaluate.pool import TrainingPool
from dualprune.stages.record.decode import load_resident


@dataclass(frozen=True)
class KillsItsWorkerOnce:
    """The first half of the candidates, at the second request; the worker of the first is killed."""

    marker: Path

    def positions(self, candidates: Positions) -> Positions:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return candidates[: len(candidates) // 2]


@dataclass(frozen=True)
class Fails:
    error: Exception
    log: Path

    def positions(self, candidates: Positions) -> Positions:
        with self.log.open("a") as log:
            log.write("x")
        raise self.error


CONFIG = make_config(
    {
        "data": {"max_samples": 120},
        "model": {"name": "small_cnn", "options": {"width": 4}},
        "train": {"epochs": 2, "batch_size": 32, "lr": 0.05, "augment": "none"},
        "record": {"epochs": 2},
        "score": {"window": 2},
        "evaluate": {"epochs": 2},
    }
)


@pytest.fixture(scope="module")
def context(ray_cluster: None) -> TrainingContext:
    return TrainingContext(load_resident(open_source(CONFIG.data)), Workers(2, use_gpu=False, cpus_each=1.0))


def job(name: str, samples: Samples, ratio: float | None = 0.5, config: Config = CONFIG) -> Job:
    return Job(name, samples, config, ratio, seed=1, budget="epochs")


def test_a_killed_worker_loses_nothing_and_the_order_does_not_matter(context: TrainingContext, tmp_path: Path) -> None:
    jobs = [
        job("all", AllSamples(), 0.0),
        job("killed", KillsItsWorkerOnce(tmp_path / "killed"), None),
        *(job(f"random-{seed}", RandomSamples(0.5, seed)) for seed in range(3)),
    ]
    pairs = [(one, Location.of(tmp_path / "first") / f"{one.subset}.json") for one in jobs]
    with TrainingPool(context, size=2, max_failures=1) as pool:
        rows = pool.train(pairs, "test")
        assert (tmp_path / "killed").exists()
        assert [row["subset"] for row in rows] == ["all", "killed", "random-0", "random-1", "random-2"]
        assert [row["kept"] for row in rows] == [120, 60, 60, 60, 60]
        assert [row["ratio"] for row in rows] == pytest.approx([0.0, 0.5, 0.5, 0.5, 0.5])
        before = {file.name: file.read_bytes() for _, file in pairs}
        assert pool.train(pairs, "test") == rows, "a finished training is not repeated"
        again = pool.train([(one, Location.of(tmp_path / "second") / file.name) for one, file in pairs[::-1]], "test")
    assert {file.name: file.read_bytes() for _, file in pairs} == before
    assert [row["accuracy"] for row in again[::-1]] == [row["accuracy"] for row in rows]


def test_a_job_that_always_fails_is_tried_as_often_as_allowed(context: TrainingContext, tmp_path: Path) -> None:
    jobs = [job("odd", Fails(ZeroDivisionError("by nothing"), tmp_path / "log"))]
    message = (
        r"training failed 2 times \(odd at ratio 0.5, equal epochs, seed 1\), .*ZeroDivisionError: by nothing; finished"
    )
    with pytest.raises(RunError, match=message), TrainingPool(context, size=2, max_failures=1) as pool:
        list(pool.results(jobs))
    assert (tmp_path / "log").read_text() == "xx"


def test_a_users_mistake_is_not_tried_again(context: TrainingContext, tmp_path: Path) -> None:
    jobs = [job("wrong", Fails(DataError("no such group"), tmp_path / "log"))]
    with pytest.raises(DataError, match=r"^no such group$"), TrainingPool(context, size=2, max_failures=3) as pool:
        list(pool.results(jobs))
    assert (tmp_path / "log").read_text() == "x"


def test_a_worker_that_cannot_start_says_why(context: TrainingContext) -> None:
    data = replace(context.data, parts={**context.data.parts, "test": []})
    without_test = TrainingContext(data, context.workers)
    with pytest.raises(DataError, match="there is no test set"), TrainingPool(without_test, 1, max_failures=3) as pool:
        list(pool.results([job("all", AllSamples(), 0.0)]))


def test_candidates_are_all_positions_but_those_that_accuracy_is_measured_on(context: TrainingContext) -> None:
    held = TrainingContext(context.data, context.workers, np.array([0, 7]))
    assert len(held.candidates) == context.data.num_train - 2
    assert not np.isin([0, 7], held.candidates).any()
