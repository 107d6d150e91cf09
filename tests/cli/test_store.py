"""`dualprune store`: messages about users' files name options, not Python arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import dualprune
from tests.cli.conftest import Command

PROB = np.random.default_rng(0).random((12, 100), dtype=np.float32)


def test_import_axes(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", PROB.T)
    refused = command("store", "import", tmp_path / "d.npy", "--run", tmp_path / "run")
    refused.is_user_error(
        "(100, 12)", "100 epochs of 12 samples", "--axes NT if it is transposed, --axes TN if this is r"
    )
    done = command("store", "import", tmp_path / "d.npy", "--run", tmp_path / "run", "--axes", "NT")
    assert done.code == 0
    assert "12 epochs of 100 samples" in " ".join(done.err.split())
    assert dualprune.DynamicsStore(tmp_path / "run").num_samples == 100
    again = command("store", "import", tmp_path / "d.npy", "--run", tmp_path / "run", "--axes", "NT")
    again.is_user_error("is a run directory already", "or pass --force to replace its dynamics")


def test_import_repeated(command: Command, tmp_path: Path) -> None:
    rows = {
        "sample_id": np.append(np.tile(np.arange(20), 10), 3),
        "epoch": np.append(np.repeat(np.arange(10), 20), 7),
        "target_prob": np.append(np.full(200, 0.25), 0.75),
    }
    pq.write_table(pa.table(rows), tmp_path / "d.parquet")
    refused = command("store", "import", tmp_path / "d.parquet", "--run", tmp_path / "run")
    refused.is_user_error("sample 3 in epoch 7 (2 times)", "or pass --repeated first or --repeated mean")
    assert command("store", "import", tmp_path / "d.parquet", "--run", tmp_path / "run", "--repeated", "mean").code == 0
    found = dualprune.DynamicsStore(tmp_path / "run").read_bucket(0)["target_prob"]
    assert found[3].tolist() == [0.25] * 7 + [0.5] + [0.25] * 2


def test_export_force(command: Command, tmp_path: Path) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run")
    np.savez(tmp_path / "mine.npz", target_prob=PROB)
    before = (tmp_path / "mine.npz").read_bytes()
    command("store", "export", run, "--to", tmp_path / "mine.npz").is_user_error(
        "exists", "or pass --force to replace it"
    )
    forced = command("store", "export", run, "--to", tmp_path / "mine.npz", "--force")
    forced.is_user_error("is not an export of dualprune")
    assert (tmp_path / "mine.npz").read_bytes() == before
