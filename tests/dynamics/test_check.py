from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dualprune.cli import app
from dualprune.core.run import RunDirectory
from dualprune.dynamics.check import check_bucket, check_store
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import DataError
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(0).random((23, 5), dtype=np.float32)


def rewrite(run: RunDirectory, epoch: int, bucket: int, table: pa.Table) -> None:
    """Replace a file and what its commit says of it."""
    file = DynamicsStore(run).file(epoch, bucket)
    commit = (file.parent / "_commit.json").read_json()
    commit["files"][bucket] = file.write_table(table).to_json()
    (file.parent / "_commit.json").write_json(commit)


def test_a_whole_store_has_no_findings(make_dynamics: MakeDynamics, ray_cluster: None) -> None:
    prob = PROB.copy()
    prob[3, 1] = np.nan  # in the store it is missing, not wrong
    run = make_dynamics(prob)
    rewrite(run, 1, 0, pa.table({"target_prob": prob[:12, 1], "valid": ~np.isnan(prob[:12, 1])}))
    assert check_store(run) == []
    result = CliRunner().invoke(app, ["store", "check", str(run)])
    assert result.exit_code == 0
    assert "23 samples, 5 epochs, 2 buckets: all is well" in result.output


def test_every_damage_is_named_with_its_remedy(make_dynamics: MakeDynamics, ray_cluster: None) -> None:
    run = make_dynamics(PROB)
    store = DynamicsStore(run)
    store.file(0, 1).delete()
    cut = Path(store.file(1, 0).path)
    cut.write_bytes(cut.read_bytes()[:-7])
    flipped = Path(store.file(1, 1).path)
    content = bytearray(flipped.read_bytes())
    content[20] ^= 1
    flipped.write_bytes(content)
    rewrite(run, 2, 0, pa.table({"target_prob": PROB[:5, 0]}))
    wrong = PROB[12:, 2].copy()
    wrong[:3] = np.nan, 1.25, -0.5
    rewrite(run, 2, 1, pa.table({"target_prob": wrong}))
    (store.location / "epoch=0003" / "_commit.json").delete()
    commit = (store.location / "epoch=0004" / "_commit.json").read_json()
    (store.location / "epoch=0004" / "_commit.json").write_json(
        commit | {"fingerprint": "other", "files": commit["files"][1:]}
    )
    (run.index / "bucket=00000.parquet").delete()
    found = [str(finding) for finding in check_store(run)]
    expected = [
        "epoch=0003: it has no commit, but later epochs have; delete the folder epoch=0003 and run `dualprune record",
        "epoch=0004: it was recorded under another configuration; delete the folder epoch=0004",
        "epoch=0004: its commit lacks bucket=00000.parquet; delete the folder epoch=0004",
        "index/bucket=00000.parquet: it is missing; restore the file from a copy",
        "epoch=0001/bucket=00000.parquet: it has ",
        "epoch=0002/bucket=00000.parquet: it has 5 rows, its commit says 5, the index 12; delete the folder epoch=0002",
        "epoch=0000/bucket=00001.parquet: it is missing; delete the folder epoch=0000",
        "epoch=0001/bucket=00001.parquet: its checksum is not the one that was committed; delete the folder epoch=0001",
        "epoch=0002/bucket=00001.parquet: 1 values of target_prob are NaN, first nan of sample 12; delete the folder",
        "epoch=0002/bucket=00001.parquet: 2 values of target_prob are not in [0, 1], first 1.25 of sample 13; delete",
    ]
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


def test_the_command_fails_with_the_list(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB, num_buckets=1)
    DynamicsStore(run).file(3, 0).delete()
    result = CliRunner().invoke(app, ["store", "check", str(run)])
    assert result.exit_code != 0
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(f"1 problems in {run}:\nepoch=0003/bucket=00000.parquet: it is missing; ")


def test_a_store_without_epochs(make_dynamics: MakeDynamics) -> None:
    assert "no epoch is committed" in str(check_store(make_dynamics(np.empty((5, 0)), num_buckets=1))[0])


def test_an_object_store(make_dynamics: MakeDynamics, s3: str) -> None:
    run = make_dynamics(PROB, place=s3)
    assert check_bucket(run.root.address, 1) == []
    DynamicsStore(run).file(2, 1).delete()
    assert [finding.what for finding in check_bucket(run.root.address, 1)] == ["it is missing"]


@pytest.mark.parametrize("column", ["el2n", "margin", "something"])
def test_each_statistic_has_its_range(make_dynamics: MakeDynamics, column: str) -> None:
    run = make_dynamics(PROB)
    commit = run.dynamics / "epoch=0000" / "_commit.json"
    commit.write_json(commit.read_json() | {"columns": [column]})
    values = np.full(12, -0.5, np.float32)
    rewrite(run, 0, 0, pa.table({column: values}))
    found = [finding.what for finding in check_bucket(run.root.address, 0) if finding.place.startswith("epoch=0000")]
    assert bool(found) == (column == "el2n")
    values[2] = np.inf
    rewrite(run, 0, 0, pa.table({column: values}))
    found = [finding.what for finding in check_bucket(run.root.address, 0) if finding.place.startswith("epoch=0000")]
    assert f"values of {column} are not in" in found[0]
