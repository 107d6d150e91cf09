from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ray.data import DataContext, ExecutionResources

from dualprune import selection
from dualprune.cluster import tasks
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import DataError
from dualprune.scores import dual_and_mean
from dualprune.selection.engine import search
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.facts import selection_facts
from dualprune.stages.select.inspect import inspect
from dualprune.stages.select.shares import thin_in_words
from dualprune.stages.select.stage import run_select
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(5).random((997, 6)).astype(np.float32)


def settings(**select: object) -> object:
    return make_config(
        {"score": {"window": 4}, "record": {"epochs": 6}, "train": {"epochs": 6}, "select": {"name": "s", **select}}
    )


def recorded(run: RunDirectory) -> None:
    with run.stage("record", {}) as done:
        done.summary = {"epochs": 6}


@pytest.mark.parametrize("num_buckets", [1, 2, 7])
@pytest.mark.parametrize("few", [10, 100_000])
def test_the_same_as_on_arrays_however_it_is_cut(
    make_dynamics: MakeDynamics, ray_cluster: None, monkeypatch: pytest.MonkeyPatch, num_buckets: int, few: int
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    ids = [f"id-{i * 7919 % 997}" for i in range(997)]
    run = make_dynamics(PROB, ids=ids, num_buckets=num_buckets)
    recorded(run)
    config = settings(method="beta", ratio=0.7, seed=3)
    run_score(run, config)
    run_select(run, config)
    scored = dual_and_mean(PROB, 4)
    expected = selection.beta(scored.score, scored.mean_prob, ratio=0.7, seed=3, sample_ids=np.array(ids))
    kept = (run.selection("s") / "kept.parquet").read_table()
    assert kept.column_names == ["sample_id", "position", "label", "score", "weight", "inclusion"]
    assert kept["position"].to_pylist() == expected.tolist()
    assert kept["sample_id"].to_pylist() == [ids[i] for i in expected]
    facts = (run.selection("s") / "selection.json").read_json()
    assert facts["num_kept"] == len(expected) == 299
    assert sum(facts["kept_per_class"].values()) == 299
    assert (np.asarray(kept["inclusion"]) > 0).all()
    assert facts["parameters"]["a"] + facts["parameters"]["b"] == pytest.approx(16)


def test_the_number_of_workers_does_not_matter(
    make_dynamics: MakeDynamics, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task per bucket, a few tasks at a time, and one task for each of the cluster's CPUs."""
    run = make_dynamics(PROB, num_buckets=7)
    recorded(run)
    config = settings(method="beta", ratio=0.7, seed=3)
    run_score(run, config)
    kept = []
    for cpus, tasks_per_cpu in ((1, 4), (2, 4), (5, 1)):
        monkeypatch.setattr(tasks, "TASKS_PER_CPU", tasks_per_cpu)
        context = DataContext.get_current().copy()
        context.execution_options.resource_limits = ExecutionResources(cpu=cpus)
        with DataContext.current(context):
            run_select(run, config, force=True)
        kept.append((run.selection("s") / "kept.parquet").read_table())
    assert kept[0].num_rows == 299
    assert kept[0].equals(kept[1])
    assert kept[0].equals(kept[2])


def test_the_order_of_rows_does_not_matter(make_dynamics: MakeDynamics, ray_cluster: None, tmp_path: Path) -> None:
    ids = np.array([f"id-{i}" for i in range(997)])
    kept = []
    for number, order in enumerate((np.arange(997), np.random.default_rng(0).permutation(997))):
        run = make_dynamics(PROB[order], ids=ids[order].tolist(), num_buckets=3, place=str(tmp_path / str(number)))
        recorded(run)
        config = settings(method="beta", ratio=0.7)
        run_score(run, config)
        run_select(run, config)
        kept.append(set((run.selection("s") / "kept.parquet").read_table()["sample_id"].to_pylist()))
    assert kept[0] == kept[1]


def test_a_bucket_without_a_score_and_what_an_older_version_left(
    make_dynamics: MakeDynamics, ray_cluster: None
) -> None:
    prob = PROB[:30].copy()
    prob[:10] = np.nan
    run = make_dynamics(prob, num_buckets=3)
    recorded(run)
    config = settings(method="beta", ratio=0.7, anchor_size=25)
    run_score(run, config)
    # What scoring left for selection once.
    (run.scores("dual") / "_survey.parquet").write_bytes(b"of another version")
    run_select(run, config)
    assert (run.selection("s") / "kept.parquet").read_table().num_rows == 6


def test_one_bucket_is_drawn_from_without_ray(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    recorded(run)
    run_score(run, settings())
    program = f"""
import sys
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.select.stage import run_select
run_select(RunDirectory({str(run.root.address)!r}), make_config({{"select": {{"ratio": 0.7, "name": "s"}}}}))
print([name for name in ("ray", "torch", "rich") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
    assert (run.selection("s") / "kept.parquet").read_table().num_rows == 299


def test_a_nan_names_the_sample_and_the_epoch(make_dynamics: MakeDynamics, ray_cluster: None) -> None:
    prob = PROB.copy()
    prob[700, 2] = np.nan
    run = make_dynamics(prob)
    recorded(run)
    with pytest.raises(DataError, match=r"first sample 700 in epoch 2; set score.on_nan to drop"):
        run_score(run, settings())
    config = make_config({"score": {"window": 4, "on_nan": "drop"}, "record": {"epochs": 6}, "train": {"epochs": 6}})
    run_score(run, config)
    assert run.manifest("score.dual")["summary"] == {"samples": 996, "left_out": 1}


def test_a_damaged_file_is_named(make_dynamics: MakeDynamics, ray_cluster: None) -> None:
    run = make_dynamics(PROB)
    recorded(run)
    place = run.dynamics / "epoch=0003" / "bucket=00001.parquet"
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(DataError, match=r"epoch=0003/bucket=00001.parquet is missing or damaged.*record from epoch 3"):
        run_score(run, settings())


def test_a_class_that_all_but_vanishes_is_told(make_dynamics: MakeDynamics, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dualprune").propagate = True
    prob = PROB.copy()
    # Class 2 is learnt at once, so that its scores are the lowest.
    prob[2::3] = 0.999
    run = make_dynamics(prob, num_buckets=1)
    recorded(run)
    run_score(run, settings())
    run_select(run, settings(method="top_k", ratio=0.7))
    facts = selection_facts(run, "s")
    assert facts["samples_per_class"] == {"0": 333, "1": 332, "2": 332}
    # A handler of an earlier test may show each record to caplog a second time.
    [warning] = {
        record.getMessage()
        for record in caplog.records
        if record.name.endswith("select.stage") and record.levelno == logging.WARNING
    }
    assert warning.startswith("s keeps 1 of 3 classes at under a third of their share (2: 0 of 332, its share is 100).")
    assert warning.endswith("select.balance.quota: proportional keeps every class at its share.")
    assert thin_in_words(inspect(run, settings(method="top_k", ratio=0.7), "s")) == [warning]
    caplog.clear()
    balanced = settings(method="top_k", ratio=0.7, name="balanced", balance={"quota": "proportional"})
    run_select(run, balanced)
    assert selection_facts(run, "balanced")["kept_per_class"] == {"0": 100, "1": 100, "2": 99}
    assert "share" not in caplog.text


def test_classes_of_a_selection_of_before_are_counted_when_it_is_inspected(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    recorded(run)
    run_score(run, settings())
    run_select(run, settings(ratio=0.7))
    place = run.selection("s") / "selection.json"
    facts = {key: value for key, value in selection_facts(run, "s").items() if key != "samples_per_class"}
    place.write_json(facts)
    # Nor did the versions before record the files of a stage.
    manifest = run.root / "manifests" / "select.s.json"
    manifest.write_json({key: value for key, value in manifest.read_record().items() if key != "outputs"})
    assert inspect(run, settings(ratio=0.7), "s")["samples_per_class"] == {"0": 333, "1": 332, "2": 332}
