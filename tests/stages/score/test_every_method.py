"""Every score of recorded dynamics in a run: recorded, killed, resumed, scored again, selected from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import dualprune
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.commit import discard_from
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.state import commit_state, read_state, write_state
from dualprune.dynamics.statistics import STATISTICS, Forward, make_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import ConfigError
from dualprune.scores import SCORES, ColumnScore, EpochScore, from_probs
from dualprune.scores.statistics import NUMPY_FORMS
from dualprune.stages.methods import epoch_scores, score_methods
from dualprune.stages.pipeline import run_stages
from dualprune.stages.record.stage import statistics_of
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.kept import check_kept
from dualprune.stages.score.running import RunningScores
from dualprune.stages.score.stage import ScoreJob, score_bucket
from dualprune.training.recorder import EpochRecorder

NUM_SAMPLES, NUM_EPOCHS, NUM_BUCKETS, K = 53, 8, 3, 4
LOGITS = torch.randn(NUM_EPOCHS, NUM_SAMPLES, K, generator=torch.Generator().manual_seed(0))
METHODS = [name for name in SCORES.names() if issubclass(SCORES[name], EpochScore)]
OPTIONS: dict[str, dict[str, Any]] = {
    "dual": {"window": 3},
    "dyn_unc": {"window": 3, "last_window": False},
    "tdds": {"window": 4},
    "el2n": {"last_epoch": 4},
    "aum": {"space": "logit"},
    "logit_history": {"outlier": 0.95},
}
CONFIG = make_config(
    {
        "score": {"methods": METHODS, "options": OPTIONS},
        "record": {"epochs": NUM_EPOCHS, "checkpoint_every": 2},
        "train": {"epochs": NUM_EPOCHS},
    }
)


def make_index(run: RunDirectory) -> SampleIndex:
    samples = {"sample_id": pa.array(np.arange(NUM_SAMPLES) * 3), "label": pa.array(np.arange(NUM_SAMPLES) % K)}
    return SampleIndex.build(
        run.index,
        [pa.record_batch(samples)],
        num_samples=NUM_SAMPLES,
        num_buckets=NUM_BUCKETS,
        classes=list("abcd"),
        fingerprint="x",
    )


def record(folder: Path, first: int, last: int) -> None:
    run = RunDirectory(folder)
    index = make_index(run) if first == 0 else SampleIndex.load(run.index)
    statistics = make_statistics(statistics_of(CONFIG))
    stored = tuple(statistic.name for statistic in statistics if statistic.stored)
    others = [statistic.name for statistic in statistics if not statistic.stored]
    listeners = RunningScores.from_config(CONFIG, index, stored, others)
    writer = DynamicsWriter(run.dynamics, index, stored, "x")
    recorder = EpochRecorder(writer, statistics, 8, torch.device("cpu"), listeners)
    recorder.resume(DynamicsStore(run), first)
    for epoch in range(first, last):
        order = torch.randperm(NUM_SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for chunk in order.split(10):
            recorder.record(chunk, Forward(logits=LOGITS[epoch, chunk], targets=chunk % K))
        recorder.end_epoch(epoch, keep_state=epoch % 2 == 1)
    recorder.close()
    if last == NUM_EPOCHS:
        for some in listeners:
            assert some.write(run, CONFIG, last)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of every method's statistics, with the scores made meanwhile."""
    folder = tmp_path_factory.mktemp("whole")
    record(folder, 0, NUM_EPOCHS)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of dynamics, scores and lists; commit records hold a time."""
    files = [*folder.glob("dynamics/epoch=*/bucket=*"), *folder.glob("scores/**/bucket=*")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_killed_recording_ends_with_the_scores_of_an_undisturbed_one(tmp_path: Path, whole: Path) -> None:
    record(tmp_path, 0, 5)
    discard_from(RunDirectory(tmp_path).dynamics, 4)
    record(tmp_path, 4, NUM_EPOCHS)
    found, expected = content(tmp_path), content(whole)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert {name.split("/")[1] for name in found if name.startswith("scores/")} == {
        f"method={name}" for name in METHODS
    }


def test_scores_made_while_recording_are_those_of_the_stage(tmp_path: Path, whole: Path) -> None:
    for name in ("index", "dynamics"):
        shutil.copytree(whole / name, tmp_path / name)
    methods = epoch_scores(score_methods(CONFIG))
    for names in ([name for name in METHODS if name != "logit_history"], ["logit_history"]):
        job = ScoreJob(str(tmp_path), {name: methods[name] for name in names}, range(NUM_EPOCHS), "raise", 30)
        for bucket in range(NUM_BUCKETS):
            score_bucket(job, bucket)
    found, expected = content(tmp_path), content(whole)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.parametrize("name", METHODS)
def test_a_run_has_the_scores_of_the_class_probabilities(whole: Path, name: str) -> None:
    probs = LOGITS.double().softmax(2).transpose(0, 1)
    expected = from_probs(name, probs, np.arange(NUM_SAMPLES) % K, **OPTIONS.get(name, {}))
    found = pa.concat_tables(read_scores(RunDirectory(whole), name, bucket) for bucket in range(NUM_BUCKETS))
    np.testing.assert_allclose(found["score"].to_numpy(), expected, rtol=1e-5, atol=1e-6)


def test_lists_of_mislabelled_samples_and_outliers(whole: Path) -> None:
    folder = whole / "scores" / "method=logit_history"
    mean = LOGITS.double().log_softmax(2).mean(0).numpy()
    labels = np.arange(NUM_SAMPLES) % K
    relabel, outliers = (pq.read_table(folder / "_lists" / f"{name}.parquet") for name in ("relabel", "outliers"))
    assert relabel["position"].to_pylist() == np.flatnonzero(mean.argmax(1) != labels).tolist()
    assert relabel["mean_label"].to_pylist() == mean.argmax(1)[mean.argmax(1) != labels].tolist()
    assert relabel["sample_id"].to_pylist() == [3 * position for position in relabel["position"].to_pylist()]
    prob = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    high = -(prob * np.log(prob)).sum(1) >= 0.95 * np.log(K)
    assert outliers["position"].to_pylist() == np.flatnonzero(high).tolist()
    assert 0 < outliers.num_rows < NUM_SAMPLES
    # Whoever reads the folder of scores gets scores alone.
    assert pq.read_table(folder).num_rows == NUM_SAMPLES


def test_imported_statistics_are_scored_by_every_method_that_reads_them(tmp_path: Path) -> None:
    probs, labels = LOGITS.double().softmax(2).transpose(0, 1).numpy(), np.arange(NUM_SAMPLES) % K
    epochs = [np.log(probs[:, t]) for t in range(NUM_EPOCHS)]
    arrays: dict[str, np.ndarray] = {}
    for name, form in NUMPY_FORMS.items():
        values = [form(now, labels, before) for before, now in zip([None, *epochs[:-1]], epochs, strict=True)]
        if name != "class_logits":
            # What compares two epochs has nothing to say about the first.
            arrays[name] = np.stack([np.full(NUM_SAMPLES, np.nan) if value is None else value for value in values])
    methods = [name for name in METHODS if name != "logit_history"]
    run = dualprune.import_dynamics(
        arrays.pop("target_prob"), tmp_path / "run", labels=labels, statistics=arrays,
        config={"score": {"methods": methods, "options": OPTIONS}},
    )  # fmt: skip
    run_stages(run, run.load_config(), ["score"])
    for name in methods:
        expected = from_probs(name, probs, labels, **OPTIONS.get(name, {}))
        np.testing.assert_allclose(read_scores(run, name, 0)["score"].to_numpy(), expected, rtol=1e-5, atol=1e-6)
    message = "logit_history reads class_logits, .*; imported dynamics have none; .* dualprune.scores.from_probs"
    with pytest.raises(ConfigError, match=message):
        run_stages(run, run.load_config(["score.methods=[logit_history]"]), ["score"])


def test_a_recording_that_kept_no_sums_of_logits(tmp_path: Path, whole: Path) -> None:
    run = RunDirectory(shutil.copytree(whole, tmp_path / "run"))
    job = ScoreJob(str(run.root), {"logit_history": SCORES["logit_history"]()}, range(NUM_EPOCHS), "raise")  # type: ignore[dict-item]
    message = "logit_history reads class_logits, .*; this recording kept none of them; record again with logit_history"
    # A recording of other methods keeps what kl needs of the last epoch.
    state = read_state(run.dynamics, NUM_EPOCHS - 1, "bucket=00000")
    others = {key: value for key, value in state.items() if key.startswith("last_epoch/")}
    commit_state(run.dynamics, NUM_EPOCHS - 1, [write_state(run.dynamics, NUM_EPOCHS - 1, "bucket=00000", others)])
    with pytest.raises(ConfigError, match=message):
        score_bucket(job, 0)
    (run.dynamics / f"epoch={NUM_EPOCHS - 1:04d}" / "state").delete()
    with pytest.raises(ConfigError, match=message):
        check_kept(DynamicsStore(run), job)


EVERY = {
    "model": {"name": "small_cnn"},
    "train": {"epochs": 12, "batch_size": 64, "augment": "none"},
    "record": {"epochs": 12, "statistics": STATISTICS.names(), "num_buckets": 1},
    "scaling": {"num_workers": 1},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The digits pruned by every method's scores of one recording."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    dualprune.prune({**EVERY, "score": {"methods": METHODS}, "select": {"method": "top_k", "ratio": 0.5}}, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_digits_are_pruned_by_each_method(tmp_path: Path, digits: Path, name: str) -> None:
    run = RunDirectory(shutil.copytree(digits, tmp_path / "run"))
    select = {"score": name, "method": "top_k", "ratio": [0.3, 0.7], "never_keep": None}
    if name == "logit_history":
        select["never_keep"] = str(run.scores(name) / "_lists" / "relabel.parquet")
    recorded = run.manifest("record")
    dualprune.prune({**EVERY, "score": {"methods": METHODS}, "select": select}, run)
    assert run.manifest("record") == recorded
    scores = read_scores(run, name, 0)
    assert scores.num_rows == 1438
    values = scores["score"].to_numpy()
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 1
    positions = scores["position"].to_numpy()
    for ratio, count in ((0.3, 1007), (0.7, 431)):
        kept = (run.selection(f"top_k-{ratio:g}") / "kept.parquet").read_table()["position"].to_numpy()
        if name == "logit_history":
            mislabelled = scores["mean_label"].to_numpy() != scores["label"].to_numpy()
            assert not np.isin(kept, positions[mislabelled]).any()
        else:
            assert len(kept) == count
            assert values[kept].min() >= values[np.setdiff1d(positions, kept)].max()


COLUMN_METHODS = [name for name in SCORES.names() if issubclass(SCORES[name], ColumnScore)]
COLUMNS = {
    **EVERY,
    "score": {"methods": COLUMN_METHODS, "options": {"zcore": {"draws": 1000}}, "epochs": 12},
    "measure": {
        "options": {
            "boundary_distance": {"iterations": 3},
            "dlc": {"passes": 5},
            "grand": {"initialisations": 2},
        }
    },
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """The same recording, scored by every method that reads what was measured once per sample."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    run = RunDirectory(shutil.copytree(digits, folder))
    recorded = run.manifest("record")
    dualprune.prune({**COLUMNS, "select": {"method": "top_k", "ratio": 0.5}}, folder)
    assert run.manifest("record") == recorded
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMN_METHODS)
def test_the_digits_are_pruned_by_each_method_that_reads_columns(tmp_path: Path, measured: Path, name: str) -> None:
    run = RunDirectory(shutil.copytree(measured, tmp_path / "run"))
    select = {"score": name, "method": "top_k", "ratio": [0.3, 0.7]}
    dualprune.prune({**COLUMNS, "select": select}, run)
    assert run.manifest(f"score.{name}") == RunDirectory(measured).manifest(f"score.{name}")
    scores = read_scores(run, name, 0)
    assert scores.num_rows == 1438
    values = scores["score"].to_numpy()
    assert not np.isnan(values).any()
    assert len(np.unique(values)) > 1
    # D4 never keeps what its first step removed as duplicates.
    assert np.isneginf(values).sum() == (1438 - 1079 if name == "d4" else 0)
    for ratio, count in ((0.3, 1007), (0.7, 431)):
        kept = (run.selection(f"top_k-{ratio:g}") / "kept.parquet").read_table()["position"].to_numpy()
        assert len(kept) == count
        assert values[kept].min() >= np.delete(values, kept).max()
