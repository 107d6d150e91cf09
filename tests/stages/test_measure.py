"""Measurements become columns, bucket by bucket, which column scores read; a finished stage is not repeated."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.sections import MeasureConfig
from dualprune.data.loader import Batch
from dualprune.data.source import open_source
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.scores import SCORES, ColumnScore
from dualprune.scores.score import Values
from dualprune.stages.measure import MeasureJob, measure_bucket, run_measure
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import run_score
from dualprune.stages.status import stage_states
from dualprune.stages.table import STAGES, pruning_stages
from dualprune.training import checkpoint
from dualprune.training.loop import Trainer
from dualprune.training.measurements import MEASUREMENTS, Measurement, TrainedModel
from dualprune.training.models import make_model

NUM, NUM_BUCKETS = 1100, 3


class MeanPixel(Measurement):
    """Mean of the normalised pixels."""

    reads_model = False

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        assert model is None
        return batch.inputs.mean(dim=(1, 2, 3))


class Centred(Measurement):
    """Features less their mean over all samples."""

    def prepare(self, model: TrainedModel | None, batches: Iterator[Batch]) -> Any:
        assert model is not None
        with torch.no_grad():
            parts = [model.features(batch.inputs) for batch in batches]
        assert sum(map(len, parts)) == NUM
        return torch.cat(parts).mean(dim=0)

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        assert model is not None
        assert not model.module.training
        assert model.logits(batch.inputs).shape == (len(batch.inputs), 10)
        return model.features(batch.inputs) - state


class Brightness(ColumnScore):
    """The mean pixel plus the length of the centred features."""

    reads = ("mean_pixel", "centred")

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        return columns["mean_pixel"] + np.linalg.norm(columns["centred"], axis=1)


class OfDual(ColumnScore):
    """Another score, negated."""

    reads = ("score:dual",)

    def score(self, columns: Values, labels: np.ndarray | None, summary: Any = None) -> Any:
        return -columns["score:dual"]


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> None:
    """Register the plug-ins of this file, and process buckets here, for each test alone."""
    for registry, items in (
        (MEASUREMENTS, {"mean_pixel": MeanPixel, "centred": Centred}),
        (SCORES, {"brightness": Brightness}),
    ):
        registry.names()
        monkeypatch.setattr(registry, "_items", dict(registry._items))
        for name, item in items.items():
            registry.register(name)(item)

    def here(function: Any, numbers: Sequence[int], *_: Any, **__: Any) -> Iterator[Any]:
        return map(function, numbers)

    monkeypatch.setattr("dualprune.stages.measure.over_buckets", here)


@pytest.fixture
def config() -> Config:
    return make_config(
        {
            "data": {"source": "digits", "max_samples": NUM},
            "model": {"name": "small_cnn", "options": {"width": 4}},
            "train": {"epochs": 3},
            "record": {"epochs": 3, "num_buckets": NUM_BUCKETS},
            "score": {"methods": ["dual", "brightness"], "options": {"dual": {"window": 2}}},
        }
    )


@pytest.fixture
def run(tmp_path: Path, config: Config) -> RunDirectory:
    """A run as recording leaves it, with a model that never learned."""
    return recorded_run(tmp_path / "run", config, NUM_BUCKETS)


def recorded_run(place: Path, config: Config, num_buckets: int, settings: dict[str, Any] | None = None) -> RunDirectory:
    num_samples = config.data.max_samples or 0
    run, source = RunDirectory(place), open_source(config.data)
    with run.stage("index", {"source": source.fingerprint()}) as stage:
        index = SampleIndex.build(
            run.index,
            source.sample_batches(),
            num_samples=num_samples,
            num_buckets=num_buckets,
            classes=source.classes,
            fingerprint=stage.fingerprint,
        )
    with run.stage("record", settings or {}, [stage.fingerprint]) as stage:
        writer = DynamicsWriter(run.dynamics, index, ("target_prob",), stage.fingerprint)
        values = np.random.default_rng(0).random((1, num_samples), dtype=np.float32)
        for epoch in range(3):
            ranges = [np.arange(*index.bucket_range(bucket)) for bucket in range(num_buckets)]
            files = [writer.write_bucket(epoch, b, rows, values[:, rows]) for b, rows in enumerate(ranges)]
            writer.commit(epoch, files)
        torch.manual_seed(0)
        model = make_model(config.model).build(10, (1, 8, 8))
        trainer = Trainer(model, config.train, 10, torch.device("cpu"))
        with checkpoint.written(trainer, 2) as folder:
            target = Path(run.checkpoints.address) / f"record-{stage.fingerprint}" / checkpoint.checkpoint_name(2)
            shutil.copytree(folder, target)
        stage.summary = {"epochs": 3}
    return run


def column(run: RunDirectory, name: str) -> np.ndarray:
    import pyarrow as pa

    from dualprune.dynamics.writer import to_numpy

    columns = ColumnStore(run)
    tables = [columns.file(name, bucket).read_table() for bucket in range(columns.index.num_buckets)]
    return to_numpy(pa.concat_tables(tables)["value"].combine_chunks())


def test_columns_are_measured_and_scored(run: RunDirectory, config: Config) -> None:
    assert pruning_stages(config)[:3] == ["record", "measure", "score"]
    assert STAGES["measure"].keys(config) == ["measure.mean_pixel", "measure.centred"]
    run_measure(run, config)
    images = np.concatenate([open_source(config.data).read(s).images for s in open_source(config.data).shards("train")])
    pixels = images.reshape(NUM, -1) / 255.0
    expected = ((pixels - pixels.mean()) / pixels.std()).mean(axis=1)
    np.testing.assert_allclose(column(run, "mean_pixel"), expected, atol=1e-5)
    centred = column(run, "centred")
    assert centred.shape == (NUM, 16)
    np.testing.assert_allclose(centred.mean(axis=0), 0.0, atol=1e-5)
    assert run.require("measure.centred", "measure")["summary"] == {"samples": NUM, "width": 16}
    run_score(run, config)
    scores = np.concatenate([read_scores(run, "brightness", b)["score"].to_numpy() for b in range(NUM_BUCKETS)])
    np.testing.assert_allclose(scores, expected + np.linalg.norm(centred, axis=1), atol=1e-5)


def test_what_is_there_is_kept(run: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure, bucket_rows, breaks = MeanPixel.measure, -(-NUM // NUM_BUCKETS), [True]

    def counting(self: Any, model: Any, state: Any, batch: Batch) -> torch.Tensor:
        if breaks[0] and int(batch.positions.max()) >= 2 * bucket_rows:
            raise KeyboardInterrupt
        measured.append(len(batch.inputs))
        return measure(self, model, state, batch)

    monkeypatch.setattr(MeanPixel, "measure", counting)
    with pytest.raises(KeyboardInterrupt):
        run_measure(run, config)
    assert ColumnStore(run).missing("mean_pixel", range(NUM_BUCKETS)) == [2]
    measured.clear()
    breaks[0] = False
    run_measure(run, config)
    assert sum(measured) == NUM - 2 * bucket_rows
    measured.clear()
    run_measure(run, config)
    assert measured == []


def test_what_is_measured_and_scored_from_older_inputs_is_outdated(run: RunDirectory, config: Config) -> None:
    def outdated() -> list[str]:
        return [row["stage"] for row in stage_states(run) if row["state"] == "outdated"]

    run.save_config(config)
    run_measure(run, config)
    run_score(run, config)
    assert outdated() == []
    # The recording ended elsewhere, so that the model is another; pixels are the same.
    with run.stage("record", {}, [run.require("index", "record")["fingerprint"]], reopen=True) as stage:
        stage.summary = {"epochs": 2}
    assert outdated() == ["measure.centred"]
    run_measure(run, config)
    assert outdated() == ["score.brightness"]
    run_score(run, config)
    assert outdated() == []
    # What cannot be compared stands.
    ColumnStore(run).discard("centred")
    assert outdated() == []


def test_a_score_of_older_scores_is_outdated(run: RunDirectory, config: Config) -> None:
    SCORES.register("of_dual")(OfDual)
    config = config.model_copy(update={"score": config.score.model_copy(update={"methods": ["of_dual"]})})
    run.save_config(config)
    run_score(run, config)
    changed = config.model_copy(
        update={"score": config.score.model_copy(update={"options": {"dual": {"window": 3}}, "methods": ["dual"]})}
    )
    run_score(run, changed)
    states = {row["stage"]: row["state"] for row in stage_states(run)}
    assert (states["score.dual"], states["score.of_dual"]) == ("done", "outdated")


def test_a_model_whose_checkpoint_is_gone(run: RunDirectory, config: Config) -> None:
    run.checkpoints.delete()
    with pytest.raises(RunError, match=r"centred measures with the recorded model, and no checkpoint of it is"):
        run_measure(run, config)
    assert ColumnStore(run).names() == ["mean_pixel"]
    with pytest.raises(RunError, match=r"has no column 'centred'; it has: mean_pixel. Run `dualprune measure"):
        run_score(run, config)


AT_REST = ["at_rest", "grand", "puma", "dlc", "rmd"]


@pytest.fixture
def at_rest(config: Config) -> Config:
    """A configuration of every score by a model at rest, cheap."""
    measure = {"dlc": {"passes": 3}, "grand": {"initialisations": 2}, "boundary_distance": {"iterations": 2}}
    fewer = {"source": "digits", "max_samples": 240}
    return make_config(
        {**config.model_dump(), "data": fewer, "score": {"methods": AT_REST}, "measure": {"options": measure}}
    )


def test_every_score_by_a_model_at_rest(tmp_path: Path, at_rest: Config) -> None:
    from dualprune.scores import grand

    run = recorded_run(tmp_path / "run", at_rest, NUM_BUCKETS)
    assert STAGES["measure"].keys(at_rest) == [
        f"measure.{name}" for name in ("log_probs", "grand", "boundary_distance", "dlc", "features")
    ]
    run_measure(run, at_rest)
    run_score(run, at_rest)
    scores = {
        name: np.concatenate([read_scores(run, name, b)["score"].to_numpy() for b in range(NUM_BUCKETS)])
        for name in AT_REST
    }
    labels = np.concatenate(
        [open_source(at_rest.data).read(s).labels for s in open_source(at_rest.data).shards("train")]
    )
    prob = np.exp(column(run, "log_probs").astype(np.float64))
    np.testing.assert_allclose(prob.sum(axis=1), 1.0, atol=1e-5)
    error = prob - np.eye(10)[labels]
    np.testing.assert_allclose(scores["at_rest"], np.linalg.norm(error, axis=1), rtol=1e-6)
    distance = column(run, "boundary_distance")
    np.testing.assert_array_equal(scores["puma"], -distance.astype(np.float64))
    assert ((distance > 0) == (prob.argmax(axis=1) == labels)).mean() > 0.999
    np.testing.assert_array_equal(scores["dlc"], column(run, "dlc").astype(np.float64))
    # The recorded model in place of new ones: the closed form of what two other measurements found.
    options = {**at_rest.measure.options, "grand": {"initialisations": 0}}
    run_measure(run, at_rest.model_copy(update={"measure": MeasureConfig(options=options)}))
    np.testing.assert_allclose(column(run, "grand"), grand(prob, labels, column(run, "features")), rtol=1e-5)
    # One bucket holds what three did.
    whole = recorded_run(tmp_path / "whole", at_rest, 1)
    run_measure(whole, at_rest)
    for name in ("log_probs", "boundary_distance", "dlc", "features"):
        np.testing.assert_allclose(column(whole, name), column(run, name), rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(column(whole, "grand"), scores["grand"], rtol=1e-5)


def test_a_file_of_weights_counts_by_its_content(run: RunDirectory, config: Config, tmp_path: Path) -> None:
    def saved(seed: int) -> Path:
        torch.manual_seed(seed)
        torch.save(make_model(config.model).build(10, (1, 8, 8)).state_dict(), tmp_path / "weights.pt")
        return tmp_path / "weights.pt"

    def states() -> dict[str, str]:
        return {row["stage"]: row["state"] for row in stage_states(run)}

    update = {"score": {"methods": ["at_rest"]}, "measure": {"options": {"log_probs": {"weights": str(saved(0))}}}}
    config = make_config({**config.model_dump(), **update})
    run.save_config(config)
    # Seed 0 is that of the recorded model.
    run_measure(run, config)
    first = column(run, "log_probs")
    recorded = recorded_run(tmp_path / "recorded", config, NUM_BUCKETS)
    run_measure(recorded, make_config({**config.model_dump(), "measure": {"options": {}}}))
    np.testing.assert_array_equal(column(recorded, "log_probs"), first)
    assert states()["measure.log_probs"] == "done"
    moved = (tmp_path / "weights.pt").rename(tmp_path / "moved.pt")
    options = {"log_probs": {"weights": str(moved)}}
    run.save_config(config.model_copy(update={"measure": MeasureConfig(options=options)}))
    assert states()["measure.log_probs"] == "done"
    saved(1)
    run.save_config(config)
    assert states()["measure.log_probs"] == "outdated"
    run_measure(run, config)
    assert np.abs(column(run, "log_probs") - first).max() > 0.1
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(DataError, match=r"weights\.pt: there is no such file of weights"):
        run_measure(run, config)


def test_a_model_other_than_the_recorded_one(tmp_path: Path, config: Config) -> None:
    run = recorded_run(tmp_path / "run", config, 1, {"model": config.identity("model")})
    other = make_config({**config.model_dump(), "model": {"name": "small_cnn", "options": {"width": 5}}})
    with pytest.raises(ConfigError, match=r"config\.model: small_cnn with these options is not the model that the run"):
        run_measure(run, other)


def test_an_imported_column_takes_the_place_of_a_measurement(run: RunDirectory, config: Config) -> None:
    config = make_config({**config.model_dump(), "score": {"methods": ["rmd"]}})
    run.save_config(config)
    columns, vectors = ColumnStore(run), np.random.default_rng(1).normal(size=(NUM, 3)).astype(np.float32)
    bounds = [columns.index.bucket_range(bucket) for bucket in range(NUM_BUCKETS)]
    files = [columns.write("features", bucket, vectors[start:stop]) for bucket, (start, stop) in enumerate(bounds)]
    columns.commit("features", "mine", 3, files)
    for _ in range(2):
        run_measure(run, config)
        np.testing.assert_array_equal(column(run, "features"), vectors)
    assert {row["stage"]: row["state"] for row in stage_states(run)}["measure.features"] == "done"
    run_score(run, config)
    Path(columns.file("features", 1).address).unlink()
    with pytest.raises(DataError, match=r"bucket=00001\.parquet of an imported column is damaged or missing; import"):
        run_measure(run, config)
    assert columns.missing("features", range(NUM_BUCKETS)) == [1]
    run_measure(run, config, force=True)
    assert column(run, "features").shape == (NUM, 16)


KILLED = """
import os, signal, sys
import dualprune.stages.measure as stage
from dualprune.core.run import RunDirectory

def here(function, numbers, scaling, title):
    for number in numbers:
        if title.startswith("measure") and number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield function(number)

run = RunDirectory(sys.argv[1])
stage.over_buckets = here
stage.run_measure(run, run.load_config())
"""


def test_after_a_kill_the_missing_buckets_are_measured(
    at_rest: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded_run(tmp_path / "run", at_rest, NUM_BUCKETS)
    config = at_rest.model_copy(update={"score": at_rest.score.model_copy(update={"methods": ["dlc"]})})
    run.save_config(config)
    done = subprocess.run([sys.executable, "-c", KILLED, str(run.root.address)], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert ColumnStore(run).missing("dlc", range(NUM_BUCKETS)) == [2]
    assert ColumnStore(run).names() == []
    measured: list[int] = []

    def counted(job: MeasureJob, bucket: int) -> None:
        measured.append(bucket)
        measure_bucket(job, bucket)

    monkeypatch.setattr("dualprune.stages.measure.measure_bucket", counted)
    run_measure(run, config)
    assert measured == [2]
    undisturbed = recorded_run(tmp_path / "undisturbed", config, NUM_BUCKETS)
    run_measure(undisturbed, config)
    np.testing.assert_array_equal(column(run, "dlc"), column(undisturbed, "dlc"))
