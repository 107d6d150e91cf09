"""Damaged files of a run: what can be made again is, everything else is an error that names the file."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dualprune.api import Run
from dualprune.cli import app
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import DataError, UserError
from dualprune.exchange.importing import import_dynamics
from dualprune.exchange.kept import read_kept
from dualprune.exchange.pruned import PrunedDataset
from dualprune.stages.export import run_export
from dualprune.stages.integrity import check_run
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.stage import run_select
from dualprune.stages.status import stage_states

PROB = np.random.default_rng(0).random((6, 90), dtype=np.float32)
NAME = "beta-0.5"
SCORES, KEPT, MASK = "scores/method=dual/bucket=00000.parquet", f"selections/{NAME}/kept.parquet", f"exports/{NAME}"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with one bucket, so that no cluster is needed."""
    place = tmp_path_factory.mktemp("sound") / "run"
    run = import_dynamics(PROB, place, config={"score": {"options": {"dual": {"window": 3}}}})
    run.save_config(settings(run))
    for stage in (run_score, run_select, run_export):
        stage(run, settings(run))
    return place


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> RunDirectory:
    """Return a copy of the run that may be damaged; it keeps modification times."""
    return RunDirectory(shutil.copytree(sound, tmp_path / "run"))


def settings(run: RunDirectory) -> Config:
    return make_config(run.load_config(["select.ratio=0.5"]).model_dump())


def flipped(file: Path, where: float = 0.3) -> None:
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def noise(file: Path) -> None:
    file.write_bytes(np.random.default_rng(1).bytes(file.stat().st_size))


HARM: dict[str, Callable[[Path], None]] = {
    "flipped": flipped,
    "footer": lambda file: flipped(file, 0.9),
    "cut": cut,
    "emptied": emptied,
    "noise": noise,
    "deleted": Path.unlink,
}


def place(run: RunDirectory, name: str) -> Path:
    return Path(run.root.address) / name


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize(
    ("key", "stage", "name"),
    [
        ("score.dual", run_score, SCORES),
        ("score.dual", run_score, "scores/method=dual/_commit.json"),
        (f"select.{NAME}", run_select, f"{KEPT}/bucket=00000.parquet"),
        (f"select.{NAME}", run_select, f"selections/{NAME}/selection.json"),
        (f"export.{NAME}", run_export, f"{MASK}/kept_mask.npy"),
    ],
)
def test_a_damaged_result_is_made_again(
    run: RunDirectory, caplog: pytest.LogCaptureFixture, harm: str, key: str, stage: Callable[..., None], name: str
) -> None:
    logging.getLogger("dualprune").propagate = True
    expected = place(run, name).read_bytes()
    HARM[harm](place(run, name))
    assert [finding.place for finding in check_run(run)][:1] == [str(place(run, name))]
    stage(run, settings(run))
    assert place(run, name).read_bytes() == expected
    [message] = warned(caplog)
    assert message.startswith(f"{key}: {place(run, name)} ")
    assert message.endswith("it is made again")
    assert not check_run(run)


@pytest.mark.parametrize("harm", HARM)
def test_damaged_scores_are_not_selected_by(run: RunDirectory, harm: str) -> None:
    HARM[harm](place(run, SCORES))
    for read in (lambda: run_select(run, settings(run), force=True), lambda: Run(run).scores("dual")):
        with pytest.raises(
            DataError, match=r"method=dual/bucket=00000.parquet .*; run `dualprune score .*makes it again"
        ):
            read()


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_kept_set_is_not_read(run: RunDirectory, harm: str) -> None:
    HARM[harm](place(run, f"{KEPT}/bucket=00000.parquet"))
    for read in (
        lambda: PrunedDataset(range(90), run, NAME),
        lambda: Run(run).kept(NAME),
        lambda: run_export(run, settings(run), force=True),
    ):
        with pytest.raises(DataError, match=r"kept.parquet/bucket=00000.parquet .*; run `dualprune select "):
            read()


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["index/bucket=00000.parquet", "dynamics/epoch=0003/bucket=00000.parquet"])
def test_a_damaged_recording_is_an_error_that_names_the_file(run: RunDirectory, harm: str, name: str) -> None:
    HARM[harm](place(run, name))
    with pytest.raises(DataError, match=name):
        run_score(run, settings(run), force=True)
    store = DynamicsStore(run)
    with pytest.raises(DataError, match=name):
        store.index.read() if name.startswith("index") else store.read_bucket(0)
    assert any(name.removeprefix("dynamics/") in finding.place for finding in check_run(run))
    result = CliRunner().invoke(app, ["store", "check", str(run)])
    assert isinstance(result.exception, UserError)
    assert "all is well" not in result.output


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dynamics/epoch=0003/bucket=00000.parquet", lambda run: run_score(run, settings(run), force=True)),
        (SCORES, lambda run: read_scores(run, "dual", 0)),
        (SCORES, lambda run: run_select(run, settings(run), force=True)),
        (f"{KEPT}/bucket=00000.parquet", lambda run: read_kept(run, NAME, ["inclusion"])),
    ],
)
def test_rot_that_leaves_size_and_time_is_noticed_on_reading(
    run: RunDirectory, name: str, read: Callable[[RunDirectory], object]
) -> None:
    file = place(run, name)
    group = pq.read_metadata(file).row_group(0)
    # Among the values of the last column, behind the header of its page.
    before, data = file.stat(), group.column(group.num_columns - 1).data_page_offset + 100
    flipped(file, (data + 0.5) / before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=name):
        read(run)
    assert any(name.removeprefix("dynamics/") in finding.place for finding in check_run(run))


def test_a_copy_that_has_other_times_is_whole(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    for file in place(run, "").rglob("*"):
        if file.is_file():
            os.utime(file, (1e9, 1e9))
    for stage in (run_score, run_select, run_export):
        stage(run, settings(run))
    assert not warned(caplog)
    assert not check_run(run)
    assert {row["state"] for row in stage_states(run) if row["summary"]} == {"done"}


def test_status_shows_what_is_missing(run: RunDirectory) -> None:
    place(run, SCORES).unlink()
    cut(place(run, f"{MASK}/kept_mask.npy"))
    states = {row["stage"]: row["state"] for row in stage_states(run)}
    assert (states["score.dual"], states[f"select.{NAME}"], states[f"export.{NAME}"]) == ("damaged", "done", "damaged")
    place(run, "dynamics/epoch=0003/bucket=00000.parquet").unlink()
    assert {row["stage"]: row["state"] for row in stage_states(run)}["record"] == "damaged"


def test_a_manifest_without_outputs_counts_as_before(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    for file in (run.root / "manifests").children():
        file.write_json({key: value for key, value in file.read_record().items() if key != "outputs"})
    place(run, f"{MASK}/kept_mask.npy").unlink()
    run_export(run, settings(run))
    assert not place(run, f"{MASK}/kept_mask.npy").exists()
    assert not check_run(run)
    place(run, f"{KEPT}/bucket=00000.parquet").unlink()
    with pytest.raises(DataError, match=r"bucket=00000.parquet is missing; select again"):
        PrunedDataset(range(90), run, NAME)
    assert [finding.place for finding in check_run(run)] == [f"select.{NAME}"]


def test_the_check_names_what_has_no_manifest(run: RunDirectory) -> None:
    for key in (f"select.{NAME}", "record"):
        place(run, f"manifests/{key}.json").unlink()
    place(run, "config.yaml").unlink()
    assert [finding.what for finding in check_run(run)] == [
        "it is missing",
        "it is missing",
        f"manifests/select.{NAME}.json is missing",
    ]
