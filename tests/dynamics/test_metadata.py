"""Files name their run, epoch and bucket, commit records their version; files of older runs are still read."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pyarrow.parquet as pq
import pytest

from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.blocks import read_blocks
from dualprune.dynamics.check import check_bucket
from dualprune.dynamics.commit import read_commits
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import DataError, RunError
from dualprune.scores import Dual
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import ScoreJob, score_bucket
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(0).random((24, 5), dtype=np.float32)


def facts(place: Path) -> dict[str, object]:
    return json.loads(pq.read_metadata(place).metadata[b"dualprune"])


def without_facts(place: Path) -> None:
    """Write a file as an earlier version would have written it."""
    pq.write_table(pq.read_table(place).replace_schema_metadata(None), place, compression="none")


def job(run: RunDirectory) -> ScoreJob:
    return ScoreJob(str(run.root), {"dual": Dual(Dual.Options(window=3))}, range(5), "raise")


def test_every_file_says_whose_it_is(make_dynamics: MakeDynamics, tmp_path: Path) -> None:
    run = make_dynamics(PROB)
    score_bucket(job(run), 1)
    common = {"run": "made-up", "bucket": 1, "rows": 12}
    assert facts(tmp_path / "run/index/bucket=00001.parquet") == common
    assert facts(tmp_path / "run/dynamics/epoch=0003/bucket=00001.parquet") == {**common, "epoch": 3}
    assert facts(tmp_path / "run/scores/method=dual/bucket=00001.parquet") == common


def test_equal_runs_have_equal_files(make_dynamics: MakeDynamics, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        score_bucket(job(make_dynamics(PROB, place=str(place))), 0)
    for file in places[0].rglob("*.parquet"):
        assert file.read_bytes() == (places[1] / file.relative_to(places[0])).read_bytes()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("epoch=0001/bucket=00000", "epoch=0001/bucket=00001", r"says that its bucket is 0, expected 1"),
        ("epoch=0002/bucket=00001", "epoch=0001/bucket=00001", r"says that its epoch is 2, expected 1"),
    ],
)
def test_files_that_were_mixed_up(
    make_dynamics: MakeDynamics, tmp_path: Path, source: str, target: str, message: str
) -> None:
    run = make_dynamics(PROB)
    files = [tmp_path / "run/dynamics" / f"{name}.parquet" for name in (source, target)]
    files[1].write_bytes(files[0].read_bytes())
    store = DynamicsStore(run)
    whole = rf"{target}.parquet belongs elsewhere: it {message}; delete the folder epoch=0001 and run"
    with pytest.raises(DataError, match=whole):
        list(read_blocks(store, 1, ["target_prob"], range(5)))
    with pytest.raises(DataError, match=whole):
        store.read_bucket(1)
    # The check reports a wrong checksum first; where the commit has the new one, it reports the content.
    commit = Location.of(files[1].parent / "_commit.json")
    record = commit.read_json()
    record["files"][1] = store.file(1, 1).write_table(pq.read_table(files[0])).to_json()
    commit.write_json(record)
    [finding] = check_bucket(str(run.root), 1)
    assert message.removeprefix("says that ") in finding.what


def test_another_runs_index_and_scores_are_told_apart(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB)
    score_bucket(job(run), 0)
    index = run.index / "_index.json"
    index.write_json(index.read_json() | {"fingerprint": "other"})
    with pytest.raises(
        DataError, match=r"index/bucket=00000.parquet belongs elsewhere: .* run is 'made-up', expected 'o"
    ):
        DynamicsStore(run).index.read_bucket(0)
    with pytest.raises(
        DataError, match=r"method=dual/bucket=00000.parquet belongs elsewhere: .*; score again with force"
    ):
        read_scores(run, "dual", 0)


def test_what_an_older_version_wrote_is_read(make_dynamics: MakeDynamics, tmp_path: Path) -> None:
    run = make_dynamics(PROB)
    score_bucket(job(run), 0)
    expected = read_scores(run, "dual", 0)
    for file in (tmp_path / "run").rglob("*.parquet"):
        without_facts(file)
    for file in (tmp_path / "run/dynamics").rglob("_commit.json"):
        record = json.loads(file.read_text())
        assert (record.pop("version"), record.pop("fence"), record.pop("checksum")) == (2, None, ANY)
        for written in record["files"]:
            del written["modified"]
        file.write_text(json.dumps(record))
    file = tmp_path / "run/index/_index.json"
    known = json.loads(file.read_text())
    del known["files"], known["checksum"]
    file.write_text(json.dumps(known))
    assert read_scores(run, "dual", 0).equals(expected)
    store = DynamicsStore(run)
    assert store.commits[4]["version"] == 1
    np.testing.assert_array_equal(store.read_bucket(0)["target_prob"], PROB[:12])
    score_bucket(job(run), 0)
    assert read_scores(run, "dual", 0).equals(expected)


def test_a_commit_record_of_a_newer_version(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB)
    commit = run.dynamics / "epoch=0002" / "_commit.json"
    commit.write_json(commit.read_json() | {"version": 3})
    with pytest.raises(RunError, match=r"epoch=0002/_commit.json is a commit record of version 3, .* up to 2; upgrade"):
        read_commits(run.dynamics)
