"""Measurements become columns, bucket by bucket, which column scores read; a finished stage is not repeated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.data.loader import Batch
from dualprune.data.source import open_source
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import RunError
from dualprune.scores import SCORES, ColumnScore
from dualprune.scores.score import Values
from dualprune.stages.measure import run_measure
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
    run, source = RunDirectory(tmp_path / "run"), open_source(config.data)
    with run.stage("index", {"source": source.fingerprint()}) as stage:
        index = SampleIndex.build(
            run.index,
            source.sample_batches(),
            num_samples=NUM,
            num_buckets=NUM_BUCKETS,
            classes=source.classes,
            fingerprint=stage.fingerprint,
        )
    with run.stage("record", {}, [stage.fingerprint]) as stage:
        writer = DynamicsWriter(run.dynamics, index, ("target_prob",), stage.fingerprint)
        values = np.random.default_rng(0).random((1, NUM), dtype=np.float32)
        for epoch in range(3):
            ranges = [np.arange(*index.bucket_range(bucket)) for bucket in range(NUM_BUCKETS)]
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
    tables = [columns.file(name, bucket).read_table() for bucket in range(NUM_BUCKETS)]
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
