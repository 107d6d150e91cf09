"""What later stages need of the data is checked before the first epoch, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError, DataError
from dualprune.stages.checks import check_before
from dualprune.stages.pipeline import run_stages
from tests.conftest import MakeDynamics
from tests.data.sources.test_parquet_sets import rows, write

STAGES = ["record", "score", "select", "export"]


def config(folder: Path, **select: Any) -> Config:
    data = {"source": "parquet", "path": str(folder)}
    return make_config({"data": data, "select": select, "record": {"epochs": 5}, "score": {"window": 3}})


def check(folder: Path, run: RunDirectory, stages: list[str] = STAGES, **select: Any) -> None:
    check_before(stages, run, config(folder, **select))


@pytest.mark.parametrize(
    ("second", "select", "message"),
    [
        ({"note": ["x"] * 4}, {}, "the column 'note' holds int64 in .* but string in"),
        (
            {},
            {"balance": {"by": "country", "quota": "equal"}},
            r"select\.balance\.by: the source has no column 'country'",
        ),
        (
            {},
            {"balance": {"by": "tags", "quota": "equal"}},
            r"select\.balance\.by: 'tags' holds list<.*; expected one text",
        ),
        ({}, {"always_keep": "nowhere.txt"}, r"select\.always_keep: there is no file .*nowhere\.txt"),
        ({}, {"never_keep": "ids.parquet"}, r"select\.never_keep: .*ids\.parquet has no column 'sample_id'"),
    ],
)
def test_later_stages_are_sure_of_their_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_dynamics: MakeDynamics,
    second: dict[str, Any],
    select: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "ids.parquet", pa.table({"id": ["a"]}))
    write(tmp_path / "data" / "a.parquet", rows(0, 4, note=[1] * 4, tags=[["x"]] * 4))
    write(tmp_path / "data" / "b.parquet", rows(4, 4, **({"note": [1] * 4} | second)))
    with pytest.raises((ConfigError, DataError), match=message):
        check(tmp_path / "data", RunDirectory(tmp_path / "run"), **select)
    # Once epochs are recorded, nothing is left to save: the stage itself says what is wrong.
    check(tmp_path / "data", make_dynamics(np.full((8, 5), 0.5, np.float32)), **select)


def test_a_test_set_must_have_the_classes_of_training(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", rows(0, 8))
    write(tmp_path / "test.parquet", rows(0, 2, label=["1", "4"]))
    with pytest.raises(DataError, match="label '4' of the test set in 'label' is out of range"):
        check(tmp_path, RunDirectory(tmp_path.parent / "run"))
    (tmp_path / "test.parquet").unlink()
    check(tmp_path, RunDirectory(tmp_path.parent / "run"))
    with pytest.raises(DataError, match="there is no test set to measure accuracy on"):
        check(tmp_path, RunDirectory(tmp_path.parent / "run"), [*STAGES, "evaluate"])


def test_every_path_of_a_list_is_kept_apart_from_the_run(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", rows(0, 4))
    write(tmp_path / "run" / "b.parquet", rows(4, 4))
    data = {"source": "parquet", "path": [str(tmp_path / "data"), str(tmp_path / "run" / "*.parquet")]}
    with pytest.raises(ConfigError, match=r"data\.path: .*run lies inside the run directory"):
        check_before(STAGES, RunDirectory(tmp_path / "run"), make_config({"data": data}))


@pytest.mark.parametrize(
    ("pattern", "reads_run"), [("*.parquet", False), ("t*/*.parquet", False), ("r*", True), ("**/*.parquet", True)]
)
def test_a_run_beside_the_files_of_a_glob(tmp_path: Path, pattern: str, reads_run: bool) -> None:
    for name in ("a.parquet", "train/a.parquet", "r.parquet"):
        write(tmp_path / name, rows(0, 4))
    made = make_config({"data": {"source": "parquet", "path": str(tmp_path / pattern)}})
    if not reads_run:
        check_before(STAGES, RunDirectory(tmp_path / "run"), made)
        exported = make_config({**made.model_dump(mode="json"), "export": {"path": str(tmp_path)}})
        check_before(STAGES, RunDirectory(tmp_path / "run"), exported)
        return
    with pytest.raises(ConfigError, match=r"the run directory: .*run lies inside data\.path"):
        check_before(STAGES, RunDirectory(tmp_path / "run"), made)


@pytest.mark.parametrize("stage", ["record", "evaluate"])
def test_a_model_that_torchvision_does_not_have(stage: str, tmp_path: Path) -> None:
    config = make_config({"model": {"name": "torchvision/resnet5O"}})
    message = r"config\.model\.name: torchvision has no classification model 'resnet5O'; did you mean 'resnet50'"
    with pytest.raises(ConfigError, match=message):
        run_stages(RunDirectory(tmp_path / "run"), config, [stage])
    assert not (tmp_path / "run").exists()
