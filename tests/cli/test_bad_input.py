"""A user's mistake ends with exit code 2 and one clear error, whichever command finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.cli.conftest import Command
from tests.conftest import MakeDynamics
from tests.core.test_lease import HOLD
from tests.data.sources.test_parquet import write

DIGITS = Path(__file__).parents[2] / "pipelines" / "configs" / "digits.yaml"


def settings(tmp_path: Path, **sections: dict[str, Any]) -> Path:
    """Write a configuration of a tiny Parquet set."""
    values: dict[str, Any] = {
        "data": {"source": "parquet", "path": str(tmp_path / "train.parquet")},
        "model": {"name": "small_cnn"},
        "train": {"epochs": 3, "batch_size": 16},
        "record": {"epochs": 3},
        "score": {"window": 2},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("select.ratio=1.2", ["config.select.ratio: 1.2 is not in [0, 1)"]),
        ("select.ratio=1", ["config.select.ratio: 1 is not in [0, 1)"]),
        ("select.ratio=-0.1", ["config.select.ratio: -0.1 is not in [0, 1)"]),
        ("select.ratio=nan", ["config.select.ratio"]),
        (
            "score.window=11",
            ["score.methods: dual needs 11 epochs, which do not fit into 10 recorded epochs", "record more epochs"],
        ),
        ("slect.ratio=0.5", ["config.slect: unknown key", "did you mean 'select'?"]),
        ("select.ratoi=0.5", ["config.select.ratoi: unknown key", "did you mean 'ratio'?"]),
        ("select.method=bta", ["'bta'", "did you mean 'beta'?"]),
        ("score.methods=[dul]", ["'dul'", "did you mean 'dual'?"]),
        ("data.source=digit", ["'digit'", "did you mean 'digits'?"]),
        ("model.name=smal_cnn", ["'smal_cnn'", "did you mean 'small_cnn'?"]),
        ("record.statistics=[los]", ["'los'", "did you mean 'loss'?"]),
        ("data.source=parquet", ["data.path: null; set it to the Parquet file, folder or address"]),
        ("data.source=torchvision", ["data.options.name: null; set it to torchvision's class name of the set"]),
        ("no-value", ["--set no-value: expected section.key=value"]),
    ],
)
def test_a_wrong_setting(command: Command, tmp_path: Path, override: str, parts: list[str]) -> None:
    command("prune", DIGITS, "--run", tmp_path / "run", "--set", override).is_user_error(*parts)
    assert not list(tmp_path.glob("run/dynamics*"))


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"label": [0] * 10}, ["one class only ('0')", "data.options.label_column"]),
        ({"label": ["cat"] * 10}, ["one class only ('cat')", "data.options.label_column"]),
        (
            {"label": [0, 1, 2, -1, *[0] * 6]},
            ["1 labels are out of range, first that of sample 's3': -1 is not in 0 … 2"],
        ),
        ({"label": [0, 1, 10**6, *[0] * 7]}, ["labels are out of range: label goes up to 1000000"]),
        ({"label": [0, 1, None, *[0] * 7]}, ["1 labels are missing in 'label' (train set)"]),
        (
            {"sample_id": ["a", "b", "b", "c", "c", "c", "d", "e", "f", "g"]},
            [
                "2 sample ids are not unique, such as 'b' (2 times), 'c' (3 times)",
                "data.options.id_column to null",
            ],
        ),
        ({"sample_id": [*range(9), 4]}, ["1 sample ids are not unique, such as 4 (2 times)"]),
        ({"sample_id": [None, *"abcdefghi"]}, ["1 sample ids are missing, first in row 0"]),
        ({"label": [0.5] * 10}, ["data.options.label_column: 'label' holds double; expected integers or strings"]),
    ],
)
def test_wrong_data(command: Command, tmp_path: Path, columns: dict[str, Any], parts: list[str]) -> None:
    write(tmp_path / "train.parquet", **columns)
    command("record", settings(tmp_path), "--run", tmp_path / "run").is_user_error(*parts)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"path": "/nowhere.parquet"}, ["data.path: there is no file or folder /nowhere.parquet"]),
        ({"test_path": "/nowhere.parquet"}, ["data.test_path: there is no file or folder /nowhere.parquet"]),
        ({"image_column": "imgae"}, ["no column 'imgae'; it has: sample_id, image, label; did you mean 'image'?"]),
        ({"label_column": "labels"}, ["no column 'labels'", "did you mean 'label'?"]),
        ({"id_column": "sampel_id"}, ["no column 'sampel_id'", "did you mean 'sample_id'?", "row numbers are the ids"]),
    ],
)
def test_a_missing_file_or_column(command: Command, tmp_path: Path, data: dict[str, Any], parts: list[str]) -> None:
    write(tmp_path / "train.parquet")
    command("record", settings(tmp_path, data=data), "--run", tmp_path / "run").is_user_error(*parts)


def test_what_is_no_parquet_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_text("sample_id,label\n")
    command("record", settings(tmp_path), "--run", tmp_path / "run").is_user_error("is not a readable Parquet file")


@pytest.mark.parametrize("data", [{}, {"test_fraction": 0.2}, {"max_samples": 5}])
def test_an_empty_data_set(command: Command, tmp_path: Path, data: dict[str, Any]) -> None:
    schema = pa.schema({"sample_id": pa.int64(), "image": pa.binary(), "label": pa.int64()})
    pq.write_table(schema.empty_table(), tmp_path / "train.parquet")
    place = settings(tmp_path, data=data)
    command("record", place, "--run", tmp_path / "run").is_user_error("the data set is empty")


def test_a_corrupt_image_is_named(command: Command, tmp_path: Path, ray_cluster: None) -> None:
    images = pq.read_table(write(tmp_path / "train.parquet"))["image"].to_pylist()
    write(tmp_path / "train.parquet", image=[*images[:7], b"no image", *images[8:]])
    place = settings(tmp_path)
    command("record", place, "--run", tmp_path / "run").is_user_error("image of sample 's7' cannot be used", "skip")
    write(tmp_path / "train.parquet", image=[b"no image"] * 10)
    skipped = command("record", place, "--run", tmp_path / "run", "--set", "data.on_error=skip")
    skipped.is_user_error("has no image that can be read")


def test_what_was_wrong_can_be_put_right_in_the_same_run_directory(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", label=[0] * 10)
    place = settings(tmp_path)
    command("record", place, "--run", tmp_path / "run").is_user_error("one class only")
    command("record", place, "--run", tmp_path / "run", "--set", "data.label_column=l").is_user_error("no column 'l'")
    write(tmp_path / "train.parquet", sample_id=["a"] * 10)
    command("record", tmp_path / "run").is_user_error("1 sample ids are not unique")


def test_fewer_recorded_epochs_than_the_window(command: Command, tmp_path: Path, make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(np.full((7, 3), 0.5))
    with run.stage("record", {}) as stage:
        stage.summary = {"epochs": 3}
    place = settings(tmp_path, train={"epochs": 9}, record={"epochs": 9}, score={"window": 5})
    command("score", place, "--run", run).is_user_error("3 recorded epochs are fewer than the 5 that it needs")
    extra = ("--set", "score.epochs=7")
    command("score", place, "--run", run, *extra).is_user_error("score.epochs: 7 is more than the 3 epochs recorded")


def test_an_evaluation_without_a_test_set_is_refused_before_recording(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    place = settings(tmp_path, evaluate={"enabled": True})
    command("prune", place, "--run", tmp_path / "run").is_user_error("there is no test set", "data.test_path")
    assert not (tmp_path / "run").exists()


def test_stages_in_a_wrong_order_name_the_one_to_run(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    place, run = settings(tmp_path), tmp_path / "run"
    command("score", place, "--run", run).is_user_error(f"run `dualprune record {run}` first")
    command("select", place, "--run", run).is_user_error(f"run `dualprune score {run}` first")
    command("export", place, "--run", run).is_user_error(f"run `dualprune select {run}` first")
    command("evaluate", place, "--run", run).is_user_error(f"run `dualprune select {run}` first")


@pytest.mark.parametrize("name", ["prune", "record", "score", "select", "export", "evaluate", "status"])
def test_what_is_no_run_directory(command: Command, tmp_path: Path, name: str) -> None:
    command(name, tmp_path / "nowhere").is_user_error("is not a run directory")
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_configuration_and_two_places(command: Command, tmp_path: Path) -> None:
    command("prune", tmp_path / "none.yaml").is_user_error("there is no such configuration file")
    command("score", tmp_path, "--run", tmp_path).is_user_error("give either a configuration and --run")


def test_a_run_directory_that_cannot_be_reached_or_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command("record", DIGITS, "--run", tmp_path / "file").is_user_error("cannot be written", "choose another")
    command("record", DIGITS, "--run", "ftp://host/run").is_user_error("ftp://host cannot be reached")


def test_a_run_directory_that_another_process_writes(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        outcome = command("record", DIGITS, "--run", run)
    finally:
        holder.kill()
        holder.wait()
    outcome.is_user_error(f"{run} is being written by another process (pid {holder.pid} on ")


def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    place = str(tmp_path / "none.yaml")
    ended = subprocess.run([sys.executable, "-m", "dualprune", "prune", place], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: {place}: there is no such configuration file\n"
