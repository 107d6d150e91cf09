"""Each source from its files to an export, which can be read again, through a real recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dualprune.api import Run
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.data.source import open_source
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.store import DynamicsStore
from dualprune.stages.pipeline import run_stages
from tests.data.sources.cases import CASES, items

NUM = 40


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_from_index_to_export(name: str, tmp_path: Path, ray_cluster: None) -> None:
    case = CASES[name]
    train = items(NUM)
    if case.damage:
        train[7] = train[7]._replace(content=b"no image")
    data = case.write(Location.of(tmp_path / "data"), train, items(6, first=NUM))
    config = make_config(
        {
            "data": data.model_dump(mode="json") | {"on_error": "skip"},
            "model": {"name": "mlp" if name == "array" else "small_cnn"},
            "train": {"epochs": 2, "batch_size": 16},
            "record": {"epochs": 2, "num_buckets": 2},
            "score": {"options": {"dual": {"window": 2}}},
            "select": {"ratio": 0.5},
            "scaling": {"num_workers": 1},
        }
    )
    run = RunDirectory(tmp_path / "run")
    run_stages(run, config, ["record", "score", "select", "export"])
    index = SampleIndex.load(run.index)
    known = index.read()["sample_id"].to_pylist()
    assert known == case.ids(train)
    store = DynamicsStore(run)
    seen = np.concatenate([np.isfinite(store.read_bucket(bucket)["target_prob"]).all(axis=1) for bucket in range(2)])
    bad = [] if not case.damage else [known.index(case.ids(train[7:8])[0])]
    assert np.flatnonzero(~seen).tolist() == bad
    kept = Run(run).kept("beta-0.5")
    assert len(kept.positions) == NUM / 2
    assert [known[position] for position in kept.positions] == list(kept.sample_ids)
    export = tmp_path / "run" / "exports" / "beta-0.5"
    assert np.flatnonzero(np.load(export / "kept_mask.npy")).tolist() == kept.positions.tolist()
    if name == "torchvision":
        assert not (export / "data").exists()
        return
    # What was exported is a source of the same kind, of the kept samples.
    options = data.options | ({"root": str(tmp_path / "data")} if name == "manifest" else {})
    again = open_source(data.model_copy(update={"path": str(export / "data"), "test_path": None, "options": options}))
    assert pa.Table.from_batches(again.sample_batches())["sample_id"].to_pylist() == list(kept.sample_ids)
    images = [image for shard in again.shards("train") for image in again.read(shard).images]
    values = {sample_id: int(item.name[1:]) for item in train for sample_id in case.ids([item])}
    assert [int(image.flat[0]) for image in images] == [values[sample_id] for sample_id in kept.sample_ids]
