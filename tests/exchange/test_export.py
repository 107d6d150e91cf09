"""What is exported can be imported, and is the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.errors import RunError
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
    (tmp_path / "d.npz").write_bytes(b"mine")
    with pytest.raises(RunError, match=r"d.npz exists; export to another place, or --force"):
        dualprune.export_dynamics(run, tmp_path / "d.npz")
    dualprune.export_dynamics(run, tmp_path / "d.npz", force=True)
    with np.load(tmp_path / "d.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["target_prob"], PROB.T)


def test_a_run_without_epochs_has_nothing_to_export(tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    with pytest.raises(RunError, match="has no recorded epochs"):
        dualprune.export_dynamics(make_dynamics(np.empty((5, 0))), tmp_path / "d.npz")


def test_force_replaces_an_export_and_nothing_else(
    tmp_path: Path, make_dynamics: MakeDynamics, ray_cluster: None
) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("mine")
    with pytest.raises(
        RunError, match=r"d holds more than an export, such as thesis.tex; export to a folder of its own"
    ):
        dualprune.export_dynamics(run, tmp_path / "d", force=True)
    with pytest.raises(RunError, match="holds more than an export"):
        dualprune.export_dynamics(run, run.root, force=True)
    (tmp_path / "d" / "thesis.tex").unlink()
    (tmp_path / "d" / "part-00007.parquet").write_text("of an earlier export")
    dualprune.export_dynamics(run, tmp_path / "d", force=True)
    assert [file.name for file in (tmp_path / "d").iterdir()] == ["part-00000.parquet"]
