"""An export can be imported, and the result is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import ConfigError, DataError, RunError
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(1).random((23, 5), dtype=np.float32)
NAMES = [f"id-{i:02d}" for i in range(23)]


@pytest.mark.parametrize(("to", "form"), [("d.npz", "wide"), ("d", "wide"), ("d", "long")])
def test_there_and_back(tmp_path: Path, make_dynamics: MakeDynamics, ray_cluster: None, to: str, form: str) -> None:
    prob = PROB.copy()
    prob[4, 2] = np.nan
    run = make_dynamics(prob, ids=NAMES)
    assert dualprune.export_dynamics(run, tmp_path / to, form=form) == 23
    again = dualprune.import_file(tmp_path / to, tmp_path / "again", config={"score": {"window": 3}}, missing="keep")
    first, second = dualprune.DynamicsStore(run), dualprune.DynamicsStore(again)
    assert second.index.read().equals(first.index.read())
    for store in (first, second):
        found = np.concatenate([store.read_bucket(b)["target_prob"] for b in range(store.num_buckets)])
        np.testing.assert_array_equal(found, prob)


def test_the_long_form_leaves_out_what_is_missing(
    tmp_path: Path, make_dynamics: MakeDynamics, ray_cluster: None
) -> None:
    prob = PROB.copy()
    prob[4, 2] = np.nan
    dualprune.export_dynamics(make_dynamics(prob, num_buckets=1), tmp_path / "d", form="long")
    table = pq.read_table(tmp_path / "d")
    assert table.column_names == ["sample_id", "label", "epoch", "target_prob"]
    assert table.num_rows == 23 * 5 - 1


def test_nothing_is_overwritten_without_force(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB)
    np.savez(tmp_path / "d.npz", target_prob=PROB.T)
    mine = (tmp_path / "d.npz").read_bytes()
    with pytest.raises(RunError, match=r"d.npz exists; export to another place, or pass force=True"):
        dualprune.export_dynamics(run, tmp_path / "d.npz")
    with pytest.raises(RunError, match=r"d.npz is not an export of dualprune, and is not replaced; export to another"):
        dualprune.export_dynamics(run, tmp_path / "d.npz", force=True)
    assert (tmp_path / "d.npz").read_bytes() == mine
    dualprune.export_dynamics(run, tmp_path / "e.npz")
    (run.dynamics / "epoch=0004").delete()
    dualprune.export_dynamics(run, tmp_path / "e.npz", force=True)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["target_prob"], PROB.T[:4])


def test_a_run_without_epochs_has_nothing_to_export(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    with pytest.raises(RunError, match="has no recorded epochs"):
        dualprune.export_dynamics(make_dynamics(np.empty((5, 0))), tmp_path / "d.npz")


def test_force_replaces_an_export_and_nothing_else(
    tmp_path: Path, make_dynamics: MakeDynamics, ray_cluster: None
) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"d holds files that were not made by dualprune, such as thesis.tex"):
        dualprune.export_dynamics(run, tmp_path / "d", force=True)
    with pytest.raises(RunError, match="holds files that were not made by dualprune"):
        dualprune.export_dynamics(run, run.root, force=True)
    (tmp_path / "d" / "thesis.tex").rename(tmp_path / "d" / "part-00007.parquet")
    with pytest.raises(RunError, match=r"d holds files .*, such as part-00007.parquet"):
        dualprune.export_dynamics(run, tmp_path / "d", force=True)
    (tmp_path / "d" / "part-00007.parquet").unlink()
    dualprune.export_dynamics(run, tmp_path / "d", force=True)
    for name in ("part-00007.parquet", "thesis.tex"):
        (tmp_path / "d" / name).write_text("mine")
        with pytest.raises(RunError, match=rf"d holds {name}, which was not made by dualprune and would be lost"):
            dualprune.export_dynamics(run, tmp_path / "d", force=True)
        (tmp_path / "d" / name).unlink()
    dualprune.export_dynamics(run, tmp_path / "d", force=True)
    assert sorted(file.name for file in (tmp_path / "d").iterdir()) == ["_made_by.json", "part-00000.parquet"]


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    dualprune.export_dynamics(run, tmp_path / "d")
    before = (tmp_path / "d" / "part-00000.parquet").read_bytes()
    (run.dynamics / "epoch=0004" / "bucket=00000.parquet").write_text("damaged")
    with pytest.raises(DataError):
        dualprune.export_dynamics(run, tmp_path / "d", force=True)
    assert (tmp_path / "d" / "part-00000.parquet").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d", "run"]


def test_a_folder_cannot_take_the_place_of_a_file(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(RunError, match="notes is a file; choose another folder"):
        dualprune.export_dynamics(make_dynamics(PROB, num_buckets=1), tmp_path / "notes", force=True)
    assert (tmp_path / "notes").read_text() == "mine"


class Late(Statistic):
    first_epoch = 1

    def compute(self, forward: Forward) -> Any:
        return forward.loss


@pytest.mark.parametrize(("to", "form"), [("d.npz", "wide"), ("d", "wide"), ("d", "long")])
def test_statistics_that_begin_later_or_have_several_values(
    tmp_path: Path, make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch, to: str, form: Any
) -> None:
    monkeypatch.setitem(STATISTICS._items, "late", Late)
    run = make_dynamics(PROB, num_buckets=1)
    index = SampleIndex.load(run.index)
    vectors = np.random.default_rng(2).random((23, 5, 3), dtype=np.float32)
    writer = DynamicsWriter(run.dynamics, index, ("target_prob", "late", "vectors"), "made-up")
    for epoch in range(5):
        values = {"target_prob": PROB[:, epoch], "late": -PROB[:, epoch], "vectors": vectors[:, epoch]}
        own = {name: column for name, column in values.items() if epoch or name != "late"}
        file = writer.write_dense(epoch, 0, own, np.ones(23, bool))
        writer.commit(epoch, [file], list(own))
    dualprune.export_dynamics(run, tmp_path / to, form=form)
    late = np.where(np.arange(5) > 0, -PROB, np.nan)
    if to == "d.npz":
        with np.load(tmp_path / to) as arrays:
            np.testing.assert_array_equal(arrays["late"], late.T)
            np.testing.assert_array_equal(arrays["vectors"], np.moveaxis(vectors, 1, 0))
        return
    table = pq.read_table(tmp_path / to / "part-00000.parquet")
    found = {name: np.array(table[name].to_pylist(), np.float32) for name in ("late", "vectors")}
    order = (slice(None), slice(None)) if form == "wide" else (table["sample_id"].to_numpy(), table["epoch"].to_numpy())
    np.testing.assert_array_equal(found["late"], late.astype(np.float32)[order])
    np.testing.assert_array_equal(found["vectors"], vectors[order])
    pq.write_table(table.drop(["vectors"]), tmp_path / "scalars.parquet")
    again = dualprune.import_file(tmp_path / "scalars.parquet", tmp_path / "again", config={"score": {"window": 3}})
    np.testing.assert_array_equal(dualprune.DynamicsStore(again).read_bucket(0, ["late"])["late"], -PROB[:, 1:])


def test_an_unknown_form(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    with pytest.raises(ConfigError, match=r"form: 'wied' is not one of 'wide', 'long'; did you mean 'wide'\?"):
        dualprune.export_dynamics(make_dynamics(PROB), tmp_path / "d", form="wied")  # type: ignore[arg-type]
