"""Recording, killing, resuming and scoring statistics that compare epochs, have a value per class or are not stored."""

from __future__ import annotations

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
from dualprune.dynamics.check import check_bucket
from dualprune.dynamics.commit import discard_from
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.state import NUM_KEPT, has_state
from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic, make_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import ConfigError, DataError
from dualprune.scores import SCORES, Accumulator, EpochScore
from dualprune.scores.score import Values
from dualprune.stages.methods import epoch_scores, score_methods
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.running import RunningScores
from dualprune.stages.score.stage import ScoreJob, run_score, score_bucket
from dualprune.training.recorder import EpochRecorder
from tests.training.processes import run_on_ranks

NUM_SAMPLES, NUM_EPOCHS, NUM_BUCKETS, K = 53, 6, 3, 4
LOGITS = torch.randn(NUM_EPOCHS, NUM_SAMPLES, K, generator=torch.Generator().manual_seed(0))
STORED = ("target_prob", "class_prob", "movement")
ALL = (*STORED, "raw_logits")


class ClassProb(Statistic):
    """Probability of each class."""

    low, high, width = 0.0, 1.0, "classes"

    def compute(self, forward: Forward) -> torch.Tensor:
        return forward.log_prob.exp()


class Movement(Statistic):
    """How far the probabilities of all classes moved since the last epoch."""

    low, high, width, first_epoch = 0.0, 2.0, "classes", 1

    def compute(self, forward: Forward) -> torch.Tensor:
        return forward.log_prob.exp()

    def combine(self, now: np.ndarray, before: np.ndarray) -> np.ndarray:
        assert now.shape == before.shape == (len(now), K)
        return np.abs(now - before).sum(axis=1)


class RawLogits(Statistic):
    """Logits of all classes: too many to store."""

    width, stored, needs = "classes", False, ("logits",)

    def compute(self, forward: Forward) -> torch.Tensor:
        return forward.logits


class LogitEntropy(EpochScore):
    """Entropy of the softmax of the summed logits, and the class that they favour."""

    reads = ("raw_logits",)

    def accumulator(self, num_samples: int) -> Accumulator:
        return _LogitSum(num_samples)


class _LogitSum(Accumulator):
    def __init__(self, num_samples: int) -> None:
        self.total, self.num_epochs = np.zeros((num_samples, K)), 0

    def update(self, epoch: int, values: Values, seen: np.ndarray) -> None:
        assert epoch == self.num_epochs
        self.total[seen] += values["raw_logits"][seen]
        self.num_epochs += 1

    def result(self) -> np.ndarray:
        prob = np.exp(self.total / self.num_epochs)
        prob /= prob.sum(axis=1, keepdims=True)
        return -(prob * np.log(prob)).sum(axis=1)

    def extras(self) -> dict[str, np.ndarray]:
        return {"favourite": self.total.argmax(axis=1)}


class Restless(EpochScore):
    """Mean movement plus the spread of the first class's probability: reads two statistics of other lengths."""

    reads = ("movement", "class_prob")
    min_epochs = 2

    def accumulator(self, num_samples: int) -> Accumulator:
        return _Restless(num_samples)


class _Restless(Accumulator):
    def __init__(self, num_samples: int) -> None:
        self.total, self.low, self.high = np.zeros(num_samples), np.ones(num_samples), np.zeros(num_samples)

    def update(self, epoch: int, values: Values, seen: np.ndarray) -> None:
        self.total += values["movement"]
        self.low = np.minimum(self.low, values["class_prob"][:, 0])
        self.high = np.maximum(self.high, values["class_prob"][:, 0])

    def result(self) -> np.ndarray:
        return self.total + self.high - self.low


def register() -> None:
    for name, statistic in {"class_prob": ClassProb, "movement": Movement, "raw_logits": RawLogits}.items():
        if name not in STATISTICS._items:
            STATISTICS.register(name)(statistic)
    for name, method in {"logit_entropy": LogitEntropy, "restless": Restless}.items():
        if name not in SCORES._items:
            SCORES.register(name)(method)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the plug-ins of this file for each test alone."""
    for registry in (STATISTICS, SCORES):
        registry.names()
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    register()


def settings(**score: Any) -> Config:
    return make_config(
        {
            "score": {"methods": ["dual", "logit_entropy", "restless"], "options": {"dual": {"window": 3}}, **score},
            "record": {"epochs": NUM_EPOCHS, "checkpoint_every": 2},
            "train": {"epochs": NUM_EPOCHS},
        }
    )


def make_index(run: RunDirectory) -> SampleIndex:
    if not (run.index / "_index.json").exists():
        samples = {"sample_id": pa.array(np.arange(NUM_SAMPLES)), "label": pa.array(np.arange(NUM_SAMPLES) % K)}
        SampleIndex.build(
            run.index,
            [pa.record_batch(samples)],
            num_samples=NUM_SAMPLES,
            num_buckets=NUM_BUCKETS,
            classes=list("abcd"),
            fingerprint="x",
        )
    return SampleIndex.load(run.index)


def record_rank(
    rank: int, world_size: int, folder: str, first: int, last: int, gap: tuple[int, int] = (-1, -1), limit: int = 10**9
) -> None:
    """Record epochs first … last-1, where `gap` is an epoch and a sample that it lacks; write scores at the end."""
    register()
    run, config = RunDirectory(folder), settings(on_nan="drop")
    index = make_index(run)
    writer = DynamicsWriter(run.dynamics, index, STORED, "x")
    scores = RunningScores.from_config(config, index, STORED, ["raw_logits"])
    assert [[*some.methods] for some in scores] == [["dual", "restless"], ["logit_entropy"]]
    recorder = EpochRecorder(writer, make_statistics(ALL), 8, torch.device("cpu"), scores, max_state_bytes=limit)
    recorder.resume(DynamicsStore(run), first)
    for epoch in range(first, last):
        order = torch.randperm(NUM_SAMPLES, generator=torch.Generator().manual_seed(epoch))[rank::world_size]
        if epoch == gap[0]:
            order = order[order != gap[1]]
        for chunk in order.split(10):
            recorder.record(chunk, Forward(logits=LOGITS[epoch, chunk], targets=chunk % K))
        recorder.end_epoch(epoch, keep_state=(epoch + 1) % 2 == 0)
    recorder.close()
    if last == NUM_EPOCHS:
        for some in scores:
            assert some.write(run, config, last)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of an epoch, its state and the scores, commit records apart, which hold a time."""
    files = [*folder.glob("dynamics/epoch=*/bucket=*"), *folder.glob("dynamics/epoch=*/state/*.npz")]
    files += folder.glob("scores/*/bucket=*")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (1, 2)])
def test_a_resumed_recording_is_the_uninterrupted_one_to_the_byte(tmp_path: Path, before: int, after: int) -> None:
    gap = (3, 20)
    record_rank(0, 1, str(tmp_path / "whole"), 0, NUM_EPOCHS, gap)
    killed = RunDirectory(tmp_path / "killed")
    make_index(killed)

    def go(ranks: int, *epochs: int) -> None:
        if ranks == 1:
            record_rank(0, 1, str(killed.root), *epochs, gap)
        else:
            run_on_ranks(record_rank, ranks, ranks, str(killed.root), *epochs, gap)

    go(before, 0, 5)
    # The last state is that of epoch 3: later values are lost with the process.
    assert [has_state(killed.dynamics, epoch) for epoch in range(5)] == [False, True, False, True, False]
    discard_from(killed.dynamics, 4)
    go(after, 4, NUM_EPOCHS)
    found, expected = content(tmp_path / "killed"), content(tmp_path / "whole")
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_what_is_stored_is_what_was_computed(tmp_path: Path) -> None:
    record_rank(0, 1, str(tmp_path), 0, NUM_EPOCHS, gap=(3, 20))
    store = DynamicsStore(tmp_path)
    assert store.columns == STORED
    assert [commit["columns"] for commit in store.commits.values()][:2] == [["target_prob", "class_prob"], [*STORED]]
    read = [store.read_bucket(bucket) for bucket in range(NUM_BUCKETS)]
    prob = np.concatenate([part["class_prob"] for part in read])
    expected = LOGITS.softmax(2).transpose(0, 1).numpy()
    assert prob.shape == (NUM_SAMPLES, NUM_EPOCHS, K)
    assert np.isnan(prob[20, 3]).all()
    seen = np.ones(NUM_SAMPLES, dtype=bool)
    seen[20] = False
    np.testing.assert_allclose(prob[seen], expected[seen], rtol=1e-6)
    movement = np.concatenate([part["movement"] for part in read])
    assert movement.shape == (NUM_SAMPLES, NUM_EPOCHS - 1)
    # The sample that was not seen in epoch 3 cannot be compared in epochs 3 and 4.
    assert np.isnan(movement[20]).tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(movement[seen], np.abs(np.diff(expected[seen], axis=1)).sum(axis=2), rtol=1e-4)
    assert store.bucket_table(0)["class_prob"].type == pa.list_(pa.list_(pa.float32(), K), NUM_EPOCHS)
    assert [check_bucket(str(store.run.root), bucket) for bucket in range(NUM_BUCKETS)] == [[]] * NUM_BUCKETS


def test_scores_of_the_store_and_of_the_kept_state_are_those_written_while_recording(tmp_path: Path) -> None:
    record_rank(0, 1, str(tmp_path / "run"), 0, NUM_EPOCHS, gap=(3, 20))
    run, config = RunDirectory(tmp_path / "run"), settings(on_nan="drop")
    offline = RunDirectory(tmp_path / "offline")
    for name in ("index", "dynamics"):
        shutil.copytree(tmp_path / "run" / name, tmp_path / "offline" / name)
    methods = epoch_scores(score_methods(config))
    for names in (["dual", "restless"], ["logit_entropy"]):
        job = ScoreJob(str(offline.root), {name: methods[name] for name in names}, range(NUM_EPOCHS), "drop")
        for bucket in range(NUM_BUCKETS):
            score_bucket(job, bucket)
            for name in names:
                files = [place.scores(name) / f"bucket={bucket:05d}.parquet" for place in (run, offline)]
                assert files[0].read_bytes() == files[1].read_bytes(), name
    table = pa.concat_tables(read_scores(run, "logit_entropy", bucket) for bucket in range(NUM_BUCKETS))
    assert 20 not in table["position"].to_pylist()
    rows = table["position"].to_numpy()
    np.testing.assert_array_equal(table["favourite"].to_numpy(), LOGITS.sum(0).argmax(1).numpy()[rows])


def test_other_epochs_or_options_than_the_kept_state_has_are_refused(tmp_path: Path) -> None:
    record_rank(0, 1, str(tmp_path), 0, NUM_EPOCHS)
    run = RunDirectory(tmp_path)
    with run.stage("record", {}):
        pass
    with pytest.raises(
        ConfigError, match=r"logit_entropy reads raw_logits, of which only the state after all 6 epochs"
    ):
        run_score(run, settings(methods=["logit_entropy"], epochs=5))
    state = run.dynamics / "epoch=0005" / "state" / "bucket=00001.npz"
    state.write_bytes(state.read_bytes()[:-9])
    job = ScoreJob(str(run.root), {"logit_entropy": LogitEntropy()}, range(NUM_EPOCHS), "raise")
    with pytest.raises(DataError, match=r"state/bucket=00001.npz is damaged; delete the folder epoch=0005"):
        score_bucket(job, 1)


def test_states_are_kept_as_long_as_their_checkpoints(tmp_path: Path) -> None:
    record_rank(0, 1, str(tmp_path), 0, NUM_EPOCHS)
    run = RunDirectory(tmp_path)
    writer = DynamicsWriter(run.dynamics, make_index(run), STORED, "x")
    recorder = EpochRecorder(writer, make_statistics(ALL), 8, torch.device("cpu"))
    assert recorder.needs_state
    recorder.resume(DynamicsStore(run), NUM_EPOCHS)
    positions = torch.arange(NUM_SAMPLES)
    for epoch in range(NUM_EPOCHS, NUM_EPOCHS + 4):
        recorder.record(positions, Forward(logits=LOGITS[epoch % NUM_EPOCHS], targets=positions % K))
        recorder.end_epoch(epoch, keep_state=True)
    recorder.close()
    kept = [epoch for epoch in range(NUM_EPOCHS + 4) if has_state(run.dynamics, epoch)]
    assert kept == [7, 8, 9]
    assert len(kept) == NUM_KEPT


def test_more_state_than_allowed_is_refused_before_the_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"record.max_state_bytes: a worker would hold [\d,]+ bytes beside the store .*raw_logits"
    ):
        record_rank(0, 1, str(tmp_path), 0, 1, limit=1000)
    assert not (tmp_path / "dynamics").exists()


def test_a_step_without_what_a_statistic_needs(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    writer = DynamicsWriter(run.dynamics, make_index(run), STORED, "x")
    recorder = EpochRecorder(writer, make_statistics(ALL), 8, torch.device("cpu"))
    with pytest.raises(
        ConfigError, match=r"record.statistics: class_prob needs log_prob, .* has only: target_prob, loss"
    ):
        recorder.record(torch.arange(3), Forward(target_prob=torch.rand(3)))
