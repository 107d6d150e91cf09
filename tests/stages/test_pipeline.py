"""The whole pipeline, on real engines."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.errors import RunError
from dualprune.stages.pipeline import run_stages
from tests.data.sources.test_parquet import write

DATA = Path(__file__).parents[3] / "shared" / "data"


Pruned = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Pruned:
    """Prune 61 images once; return the configuration and the run directory."""
    folder = tmp_path_factory.mktemp("pruned")
    config = {
        "data": {"source": "parquet", "path": write(folder / "train.parquet", num=61)},
        "model": {"name": "small_cnn"},
        "train": {"epochs": 4, "batch_size": 16},
        "record": {"epochs": 3},
        "score": {"window": 2},
        "select": {"ratio": 0.5},
        "export": {"removed": True},
    }
    dualprune.prune(config, folder / "run")
    return config, folder / "run"


def copy_of(run: Path, place: Path) -> dualprune.RunDirectory:
    shutil.copytree(run, place)
    return dualprune.RunDirectory(place)


def test_a_parquet_set_is_pruned_and_only_what_changed_is_done_again(
    tmp_path: Path, pruned: Pruned, caplog: pytest.LogCaptureFixture
) -> None:
    config, run = pruned[0], copy_of(pruned[1], tmp_path / "run")
    store = dualprune.DynamicsStore(run)
    assert store.epochs == [0, 1, 2]
    for bucket in range(store.num_buckets):
        assert np.isfinite(store.read_bucket(bucket)["target_prob"]).all()
    kept = (run.selection("beta-0.5") / "kept.parquet").read_table()
    assert kept.num_rows == 31
    exported = pq.read_table(f"{run.export('beta-0.5')}/data")
    assert exported.column_names == ["sample_id", "image", "label", "inclusion"]
    assert exported["sample_id"].to_pylist() == kept["sample_id"].to_pylist()
    mask = np.load(f"{run.export('beta-0.5')}/kept_mask.npy")
    assert np.flatnonzero(mask).tolist() == kept["position"].to_pylist()
    removed = (run.export("beta-0.5") / "removed.parquet").read_table()
    assert removed.num_rows == 30
    dataset = dualprune.PrunedDataset(list(range(61)), run, "beta-0.5")
    assert [dataset[i] for i in range(len(dataset))] == kept["position"].to_pylist()

    logging.getLogger("dualprune").propagate = True
    with caplog.at_level(logging.INFO, logger="dualprune"):
        dualprune.prune({**config, "select": {"ratio": 0.7}}, run)
    for stage in ("index", "record", "score.dual"):
        assert f"{stage}: done already, skipped" in caplog.text
    assert "select.beta-0.7: done in" in caplog.text

    # The remedy that the error about a damaged file names.
    (run.dynamics / "epoch=0001").delete()
    run_stages(run, run.load_config(), ["record"])
    assert dualprune.DynamicsStore(run).epochs == [0, 1, 2]

    with pytest.raises(RunError, match=r"belongs to another configuration .*train.lr"):
        dualprune.prune({**config, "train": {"epochs": 4, "batch_size": 16, "lr": 0.01}}, run)


OUTPUTS = {"score.dual": "scores", "select.beta-0.5": "selections", "export.beta-0.5": "exports"}


@pytest.mark.parametrize("in_the_middle", [False, True])
@pytest.mark.parametrize("stage", list(OUTPUTS))
def test_what_was_interrupted_is_finished_and_nothing_else_is_done(
    tmp_path: Path, pruned: Pruned, caplog: pytest.LogCaptureFixture, stage: str, in_the_middle: bool
) -> None:
    config, run = pruned[0], copy_of(pruned[1], tmp_path / "run")
    keys = list(OUTPUTS)
    rest = keys[keys.index(stage) :]
    for key in rest:
        manifest = run.root / "manifests" / f"{key}.json"
        if in_the_middle and key == stage:
            # As a kill leaves it: begun, with a part of the output.
            manifest.write_json({**manifest.read_json(), "status": "running", "summary": {}})
            files = sorted(Path(f"{run}/{OUTPUTS[key]}").rglob("*.*"))
            files[-1].unlink()
        else:
            manifest.delete()
            (run.root / OUTPUTS[key]).delete()
    logging.getLogger("dualprune").propagate = True
    with caplog.at_level(logging.INFO, logger="dualprune"):
        dualprune.prune(config, run)
    done = [record.getMessage().partition(":") for record in caplog.records if ": done " in record.getMessage()]
    assert [key for key, _, text in done if "skipped" in text] == ["index", "record", *keys[: keys.index(stage)]]
    assert [key for key, _, text in done if "skipped" not in text] == rest
    for file in Path(pruned[1]).rglob("*.parquet"):
        again = Path(str(run)) / file.relative_to(pruned[1])
        assert pq.read_table(again).equals(pq.read_table(file)), file


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="CIFAR-10 is not here")
def test_cifar10(tmp_path: Path, ray_cluster: None) -> None:
    config = {
        "data": {
            "source": "parquet",
            "path": str(DATA / "cifar10_train.parquet"),
            "test_path": str(DATA / "cifar10_test.parquet"),
            "id_column": None,
            "max_samples": 5000,
        },
        "model": {"name": "small_cnn"},
        "train": {"epochs": 20},
        "record": {"epochs": 5},
        "score": {"window": 3},
        "select": {"ratio": 0.9},
    }
    result = dualprune.prune(config, tmp_path / "run")
    assert result.run.manifest("record")["summary"]["train_accuracy"] > 0.2
    store = dualprune.DynamicsStore(result.run)
    assert (store.num_samples, store.epochs) == (5000, [0, 1, 2, 3, 4])
    prob = np.concatenate([store.read_bucket(bucket)["target_prob"] for bucket in range(store.num_buckets)])
    assert prob.shape == (5000, 5)
    assert np.isfinite(prob).all()
    # The model learns: right answers become more probable.
    assert prob[:, 4].mean() > prob[:, 0].mean() + 0.05
    kept = (result.run.selection("beta-0.9") / "kept.parquet").read_table()
    assert kept.num_rows == 500
    assert len(set(kept["label"].to_pylist())) >= 5
    exported = pq.read_table(f"{result.run.export('beta-0.9')}/data")
    source = pq.read_table(DATA / "cifar10_train.parquet")
    # The ids are row numbers; each class has its share of the 5,000.
    assert exported.drop_columns("inclusion").equals(source.take(kept["sample_id"]))
    labels = source["label"].take(store.index.read()["sample_id"])
    assert set(np.bincount(labels)) == {500}


@pytest.mark.slow
def test_digits_with_evaluation(tmp_path: Path, ray_cluster: None) -> None:
    config = {
        "model": {"name": "small_cnn"},
        "train": {"epochs": 8, "batch_size": 64, "lr": 0.05, "augment": "none"},
        "record": {"epochs": 6},
        "score": {"window": 3},
        "evaluate": {"enabled": True, "seeds": 2, "epochs": 3, "budget": ["epochs", "samples", "steps"]},
    }
    result = dualprune.prune(config, tmp_path / "run")
    assert result.evaluation is not None
    rows = {(row["subset"], row["budget"]): row for row in result.evaluation["summary"]}
    budgets = ("epochs", "samples", "steps")
    assert set(rows) == {("full", "epochs"), *((name, b) for name in ("random", "beta-0.7") for b in budgets)}
    assert rows["full", "epochs"]["accuracy"] > 0.5
    assert {rows[name, b]["kept"] for name in ("random", "beta-0.7") for b in budgets} == {431}
    assert {row["seeds"] for row in rows.values()} == {2}
    assert all(row["accuracy_std"] is not None for row in rows.values())
    trainings = result.evaluation["trainings"]
    assert len(trainings) == 14
    # 1 438 samples are 23 steps of 64, 431 are 7. Three times 1 438 are ten passes over 431 and a step.
    expected = {"full": (69, 4314), "epochs": (21, 1293), "samples": (71, 4374), "steps": (69, 4263)}
    for training in trainings:
        budget = "full" if training["subset"] == "full" else training["budget"]
        assert (training["steps"], training["visits"]) == expected[budget]
    for subset in ("random", "beta-0.7"):
        assert rows[subset, "steps"]["accuracy"] > rows[subset, "epochs"]["accuracy"]
