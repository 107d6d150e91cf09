"""A small finished run, with nothing trained: recorded values are made up, and stages write everything after them.

It has three buckets, six epochs, two selections, and exports with rows, mask and removed ids. Buckets are processed in
this process: starting Ray takes as long as hundreds of trials.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualprune.cluster import tasks
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.data.source import open_source
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.stages.pipeline import run_stages

NUM_SAMPLES, NUM_EPOCHS, NUM_BUCKETS, NUM_CLASSES = 150, 6, 3, 3
SELECTIONS = ("beta-0.5", "beta-0.7")
RUN, DATA = "run", "train.parquet"


def work_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process all buckets here; function and results travel pickled, as between processes."""

    def here(function: Callable[[int], Any], buckets: Sequence[int], light: bool) -> Iterator[Any]:
        sent = cloudpickle.dumps(function)
        for bucket in buckets:
            yield cloudpickle.loads(cloudpickle.dumps(cloudpickle.loads(sent)(bucket)))

    monkeypatch.setattr(tasks, "_with_ray_data", here)
    monkeypatch.setattr(tasks, "ensure_ray", lambda scaling: None)


def settings(data: Path, num_buckets: int = NUM_BUCKETS) -> Config:
    """Return the configuration of the run."""
    return make_config(
        {
            "data": {"source": "parquet", "path": str(data)},
            "train": {"epochs": NUM_EPOCHS},
            "record": {"epochs": NUM_EPOCHS, "num_buckets": num_buckets},
            "score": {"options": {"dual": {"window": 3}}},
            "select": {"ratio": [0.5, 0.7]},
            "export": {"removed": True},
        }
    )


def make(folder: Path, seed: int, num_buckets: int = NUM_BUCKETS) -> None:
    """Make a finished run in `folder`/run, and the training set that it read in `folder`/train.parquet."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    ids = [f"s{seed}-{row:04d}" for row in rng.permutation(NUM_SAMPLES)]
    labels = rng.integers(0, NUM_CLASSES, NUM_SAMPLES)
    labels[:NUM_CLASSES] = range(NUM_CLASSES)
    table = pa.table({"sample_id": ids, "image": [_PIXEL] * NUM_SAMPLES, "label": labels, "note": ids[::-1]})
    pq.write_table(table, folder / DATA)
    config = settings(folder / DATA, num_buckets)
    run = RunDirectory(folder / RUN)
    with run.stage(
        "index", {"data": config.identity("data"), "source": open_source(config.data).fingerprint()}
    ) as stage:
        index = SampleIndex.build(
            run.index,
            table.select(["sample_id", "label"]).to_batches(),
            num_samples=NUM_SAMPLES,
            num_buckets=num_buckets,
            classes=[str(number) for number in range(NUM_CLASSES)],
            fingerprint=stage.fingerprint,
        )
        stage.summary = {"samples": NUM_SAMPLES, "classes": NUM_CLASSES, "buckets": index.num_buckets}
    with run.stage("record", {"seed": seed}, [stage.fingerprint]) as stage:
        _record(run, index, rng, stage.fingerprint)
        stage.summary = {"epochs": NUM_EPOCHS, "statistics": ["target_prob"]}
    run.save_config(config)
    run_stages(run, config, ["score", "select", "export"])


def copy(sound: Path, to: Path) -> Path:
    """Copy a made run to be damaged, and return the copy's run directory; the training set stays where it is."""
    shutil.copytree(sound / RUN, to)
    return to


def _record(run: RunDirectory, index: SampleIndex, rng: np.random.Generator, fingerprint: str) -> None:
    writer = DynamicsWriter(run.dynamics, index, ("target_prob",), fingerprint)
    prob = rng.beta(2, 2, (NUM_EPOCHS, NUM_SAMPLES)).astype(np.float32)
    for epoch in range(NUM_EPOCHS):
        files = []
        for bucket in range(index.num_buckets):
            start, stop = index.bucket_range(bucket)
            files.append(writer.write_bucket(epoch, bucket, np.arange(start, stop), prob[epoch, start:stop][None]))
        writer.commit(epoch, files)


def _pixel() -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "PNG")
    return stream.getvalue()


_PIXEL = _pixel()
