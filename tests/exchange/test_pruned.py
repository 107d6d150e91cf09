"""The kept samples of a torch data set are those that the selection names, by position or by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualprune
from dualprune.errors import DataError, RunError
from dualprune.stages.pipeline import run_stages

RANDOM = np.random.default_rng(0)
PROB = RANDOM.random((6, 40), dtype=np.float32)
IDS = [f"s{number:02d}" for number in RANDOM.permutation(40)]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", sample_ids=IDS, config={"score": {"window": 3}})
    run_stages(run, run.load_config(["select.ratio=0.5"]), ["score", "select"])
    return run


def test_by_position_and_by_id(run: Any) -> None:
    kept = (run.selection("beta-0.5") / "kept.parquet").read_table()["sample_id"].to_pylist()
    dataset = dualprune.PrunedDataset(IDS, run, "beta-0.5")
    assert [dataset[i] for i in range(len(dataset))] == kept
    shuffled = ["new", *RANDOM.permutation(IDS).tolist()]
    again = dualprune.PrunedDataset(shuffled, run, "beta-0.5", sample_ids=shuffled)
    assert [again[i] for i in range(len(again))] == kept
    np.testing.assert_array_equal(again.weights, dataset.weights)
    np.testing.assert_array_equal(again.inclusion, dataset.inclusion)


def test_a_data_set_that_does_not_fit(run: Any) -> None:
    for dataset, ids, message in (
        (
            IDS[1:],
            None,
            "the data set has 39 samples, but .* recorded 40; .* or sample_ids to find the kept ones by id",
        ),
        (IDS, IDS[1:], "the data set has 40 samples, but there are 39 sample_ids"),
        (IDS, list(range(40)), "sample_ids are of the type int64, but the run's of string"),
        (IDS, [IDS[0], *IDS[:39]], "sample_ids are not unique"),
        (IDS, [f"t{i}" for i in range(40)], "20 kept samples are not among sample_ids, such as 's"),
    ):
        with pytest.raises(DataError, match=message):
            dualprune.PrunedDataset(dataset, run, "beta-0.5", sample_ids=ids)
    with pytest.raises(RunError, match=r"has no selection 'beta-0.6'; there are: beta-0.5"):
        dualprune.PrunedDataset(IDS, run, "beta-0.6")


def test_a_selection_of_an_earlier_recording(run: Any) -> None:
    for ids in (IDS[::-1], IDS[:20], range(40)):
        prob = PROB[:, : len(ids)]
        dualprune.import_dynamics(prob, run, sample_ids=ids, config={"score": {"window": 3}}, force=True)
        with pytest.raises(RunError, match=r"selection 'beta-0.5' was drawn from an earlier recording; select again"):
            dualprune.PrunedDataset(IDS[: len(ids)], run, "beta-0.5")


def test_bytes_are_hexadecimal_ids_or_text(tmp_path: Path) -> None:
    raw = [bytes([number, 255]) for number in range(40)]
    for ids, given in (([value.hex() for value in raw], raw), (IDS, [sample_id.encode() for sample_id in IDS])):
        run = dualprune.import_dynamics(
            PROB, tmp_path / "bytes", sample_ids=ids, config={"score": {"window": 3}}, force=True
        )
        run_stages(run, run.load_config(["select.ratio=0.5"]), ["score", "select"])
        expected = dualprune.PrunedDataset(ids, run, "beta-0.5").positions
        found = dualprune.PrunedDataset(ids, run, "beta-0.5", sample_ids=given)
        np.testing.assert_array_equal(found.positions, expected)
    with pytest.raises(DataError, match="20 kept samples are not among sample_ids"):
        dualprune.PrunedDataset(IDS, run, "beta-0.5", sample_ids=[b"x%d" % number for number in range(40)])
