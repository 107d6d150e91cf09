"""Each source from its files to an export, through a real recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dualprune.api import Run
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
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
            "model": {"name": "small_cnn"},
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
    assert np.flatnonzero(np.load(export / "mask.npy")).tolist() == kept.positions.tolist()
    rows = export / "data"
    if name in ("parquet", "manifest"):
        column = "sample_id" if name == "parquet" else "name"
        assert Location.of(rows).read_table()[column].to_pylist() == list(kept.sample_ids)
    else:
        assert not rows.exists()
