"""Scores kept while recording are those that the score stage reads from the store, bit for bit."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import bucket_name
from dualprune.dynamics.statistics import Forward, make_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import DataError
from dualprune.scores import Accumulator, EpochScore
from dualprune.scores.score import Values
from dualprune.stages.methods import epoch_scores, score_methods
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.running import RunningScores
from dualprune.stages.score.stage import ScoreJob, run_score, score_bucket
from dualprune.training.recorder import EpochRecorder
from tests.training.processes import run_on_ranks

NUM_SAMPLES, NUM_EPOCHS, NUM_BUCKETS = 103, 7, 4
LOGITS = torch.randn(NUM_EPOCHS, NUM_SAMPLES, 3, generator=torch.Generator().manual_seed(0))
NEVER_SEEN = 40


def settings(**score: Any) -> Config:
    return make_config(
        {"score": {"window": 3, **score}, "record": {"epochs": NUM_EPOCHS}, "train": {"epochs": NUM_EPOCHS}}
    )


def make_index(run: RunDirectory) -> SampleIndex:
    if not (run.index / "_index.json").exists():
        samples = {"sample_id": pa.array(np.arange(NUM_SAMPLES) * 7), "label": pa.array(np.arange(NUM_SAMPLES) % 3)}
        SampleIndex.build(
            run.index,
            [pa.record_batch(samples)],
            num_samples=NUM_SAMPLES,
            num_buckets=NUM_BUCKETS,
            classes=["a", "b", "c"],
            fingerprint="x",
        )
    return SampleIndex.load(run.index)


def record_rank(
    rank: int, world_size: int, folder: str, first: int, last: int, config: Config, gap: tuple[int, int] = (-1, -1)
) -> bool | None:
    """Record epochs first … last-1, those before from the store; `gap` is an epoch and a sample that it lacks."""
    run = RunDirectory(folder)
    index = make_index(run)
    writer = DynamicsWriter(run.dynamics, index, ("target_prob",), "x")
    [scores] = RunningScores.from_config(config, index, ["target_prob"])
    statistics = make_statistics(["target_prob"])
    recorder = EpochRecorder(writer, statistics, capacity=8, device=torch.device("cpu"), listeners=[scores])
    recorder.resume(DynamicsStore(run), first)
    for epoch in range(first, last):
        order = torch.randperm(NUM_SAMPLES, generator=torch.Generator().manual_seed(epoch))[rank::world_size]
        order = order[order != NEVER_SEEN]
        if epoch == gap[0]:
            order = order[order != gap[1]]
        for chunk in order.split(10):
            recorder.record(chunk, Forward(logits=LOGITS[epoch, chunk], targets=chunk % 3))
        recorder.end_epoch(epoch)
    recorder.close()
    return scores.write(run, config, last) if last == NUM_EPOCHS else None


def record(ranks: int, folder: Path, first: int, last: int, config: Config) -> None:
    if ranks == 1:
        record_rank(0, 1, str(folder), first, last, config)
    else:
        make_index(RunDirectory(folder))
        run_on_ranks(record_rank, ranks, ranks, str(folder), first, last, config)


def copy_without_scores(folder: Path, to: Path) -> RunDirectory:
    for name in ("index", "dynamics"):
        shutil.copytree(folder / name, to / name)
    return RunDirectory(to)


def assert_same_as_offline(folder: Path, config: Config) -> None:
    offline = copy_without_scores(folder, folder.with_name("offline"))
    job = ScoreJob(
        str(offline.root),
        epoch_scores(score_methods(config)),
        range(NUM_EPOCHS),
        config.score.on_nan,
        config.mean_epochs,
    )
    for bucket in range(NUM_BUCKETS):
        score_bucket(job, bucket)
        file = bucket_name(bucket)
        ours = RunDirectory(folder).scores("dual") / file
        assert ours.read_bytes() == (offline.scores("dual") / file).read_bytes()


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (1, 2)])
def test_the_files_are_those_of_the_score_stage_also_after_a_resume_on_another_number_of_ranks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    config = settings()
    record(before, tmp_path / "run", 0, 4, config)
    record(after, tmp_path / "run", 4, NUM_EPOCHS, config)
    assert_same_as_offline(tmp_path / "run", config)

    run = RunDirectory(tmp_path / "run")
    with run.stage("record", {}):
        pass
    logging.getLogger("dualprune").propagate = True
    with caplog.at_level(logging.INFO, logger="dualprune"):
        run_score(run, config)
    assert "score.dual: done already, skipped" in caplog.text
    assert run.require("score.dual", "score")["summary"] == {"samples": NUM_SAMPLES - 1, "left_out": 1}
    assert NEVER_SEEN not in read_scores(run, "dual", 1)["position"].to_pylist()


def test_a_gap_is_left_out_or_left_to_the_score_stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dualprune").propagate = True
    assert record_rank(0, 1, str(tmp_path / "raise"), 0, NUM_EPOCHS, settings(), gap=(5, 70)) is False
    assert "first sample 490 in epoch 5; set score.on_nan to drop" in caplog.text
    assert RunDirectory(tmp_path / "raise").manifest("score.dual") is None

    config = settings(on_nan="drop")
    assert record_rank(0, 1, str(tmp_path / "run"), 0, NUM_EPOCHS, config, gap=(5, 70)) is True
    assert_same_as_offline(tmp_path / "run", config)
    manifest = RunDirectory(tmp_path / "run").require("score.dual", "score")
    assert manifest["summary"] == {"samples": NUM_SAMPLES - 2, "left_out": 2}


def test_a_file_that_is_gone_is_named_when_recording_goes_on(tmp_path: Path) -> None:
    record_rank(0, 1, str(tmp_path), 0, 4, settings())
    DynamicsStore(tmp_path).file(2, 1).delete()
    with pytest.raises(DataError, match=r"epoch=0002/bucket=00001.parquet is missing.*to record from epoch 2 on"):
        record_rank(0, 1, str(tmp_path), 4, NUM_EPOCHS, settings())


def test_where_no_scores_are_kept(tmp_path: Path) -> None:
    index = make_index(RunDirectory(tmp_path))
    [kept] = RunningScores.from_config(settings(), index, ["target_prob"])
    assert RunningScores.from_config(settings(epochs=5), index, ["target_prob"]) == []
    assert RunningScores.from_config(settings(), index, ["loss"]) == []
    off = make_config({"record": {"online": False}})
    assert RunningScores.from_config(off, index, ["target_prob"]) == []
    # With fewer epochs than a window, or another number than configured, the score stage reports the error.
    assert not kept.write(RunDirectory(tmp_path), settings(), 2)
    assert not kept.write(RunDirectory(tmp_path), settings(epochs=5), 6)
    assert not (tmp_path / "scores").exists()


class MeanLoss(EpochScore):
    """A method that reads another statistic, and has no form of its own for all epochs at once."""

    name = "mean_loss"
    reads = ("loss",)

    def accumulator(self, num_samples: int) -> Accumulator:
        return _Sum(num_samples)


class _Sum(Accumulator):
    def __init__(self, num_samples: int) -> None:
        self.total, self.num_epochs = np.zeros(num_samples), 0

    def update(self, epoch: int, values: Values, seen: np.ndarray) -> None:
        assert epoch == self.num_epochs
        self.total += values["loss"]
        self.num_epochs += 1

    def result(self) -> np.ndarray:
        return self.total / self.num_epochs


@pytest.mark.parametrize("block_rows", [5, 1000])
def test_a_method_of_another_statistic_in_any_blocks(tmp_path: Path, block_rows: int) -> None:
    run = RunDirectory(tmp_path / "run")
    index = make_index(run)
    columns = ("target_prob", "loss")
    writer = DynamicsWriter(run.dynamics, index, columns, "x")
    methods = {"mean_loss": MeanLoss()}
    scores = RunningScores(index, methods, block_rows=block_rows)
    statistics = make_statistics(columns)
    recorder = EpochRecorder(writer, statistics, capacity=200, device=torch.device("cpu"), listeners=[scores])
    positions = torch.arange(NUM_SAMPLES)
    for epoch in range(NUM_EPOCHS):
        recorder.record(positions, Forward(logits=LOGITS[epoch], targets=positions % 3))
        recorder.end_epoch(epoch)
    recorder.close()
    assert scores.write(run, settings(), NUM_EPOCHS)
    offline = copy_without_scores(tmp_path / "run", tmp_path / "offline")
    for bucket in range(NUM_BUCKETS):
        score_bucket(ScoreJob(str(offline.root), methods, range(NUM_EPOCHS), "raise"), bucket)
        ours = read_scores(run, "mean_loss", bucket)
        assert ours.equals(read_scores(offline, "mean_loss", bucket))
        rows = np.array([1, 3, 17])
        score, mean_prob = scores.of_rows("mean_loss", bucket, rows)
        np.testing.assert_array_equal(score, ours["score"].to_numpy()[rows])
        np.testing.assert_array_equal(mean_prob, ours["mean_prob"].to_numpy()[rows])
