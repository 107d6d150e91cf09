"""Exports of image folders and tar shards: linked and copied images, damage, repetition, and what is not ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.own_folder import MARK
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.data.source import open_source
from dualprune.errors import RunError
from dualprune.exchange.kept import read_kept
from dualprune.stages.integrity import check_run
from dualprune.stages.pipeline import run_stages
from dualprune.stages.status import stage_states
from tests.conftest import MakeDynamics
from tests.data.sources.cases import CASES, items
from tests.reliability.sound import work_in_this_process

NUM, NAME = 40, "beta-0.5"


@pytest.fixture(params=["image_folder", "webdataset"])
def made(request: pytest.FixtureRequest, make_dynamics: MakeDynamics, tmp_path: Path, monkeypatch: Any) -> Any:
    """A run that has selected half of the samples of a folder or of tar shards, and its configuration."""
    work_in_this_process(monkeypatch)
    data = CASES[request.param].write(Location.of(tmp_path / "data"), items(NUM), items(6, first=NUM))
    config = make_config(
        {"data": data.model_dump(mode="json"), "select": {"ratio": 0.5}, "score": {"window": 3}}
        | {"export": {"path": str(tmp_path / "out")}}
    )
    source = open_source(config.data)
    samples = [row for batch in source.sample_batches() for row in batch.to_pylist()]
    prob = np.random.default_rng(0).random((NUM, 5), dtype=np.float32)
    labels = np.array([row["label"] for row in samples])
    run = make_dynamics(prob, ids=[row["sample_id"] for row in samples], labels=labels)
    with run.stage("index", {"data": config.identity("data"), "source": source.fingerprint()}) as stage:
        stage.summary = {"samples": NUM}
    with run.stage("record", {}, [stage.fingerprint]) as stage:
        stage.summary = {"epochs": 5}
    run.save_config(config)
    run_stages(run, config, ["score", "select", "export"])
    return run, config


def kept_ids(run: RunDirectory) -> list[str]:
    ids: list[str] = read_kept(run, NAME, ["sample_id"])["sample_id"].to_pylist()
    return ids


def state(run: RunDirectory) -> str:
    return str({row["stage"]: row["state"] for row in stage_states(run)}[f"export.{NAME}"])


def ids_in(folder: Path, config: Config) -> list[str]:
    found = open_source(config.data.model_copy(update={"path": str(folder / "data"), "test_path": None}))
    return [sample_id for batch in found.sample_batches() for sample_id in batch["sample_id"].to_pylist()]


def test_an_export_is_checked_repeated_and_made_again(made: tuple[RunDirectory, Config], tmp_path: Path) -> None:
    run, config = made
    folder, origin = tmp_path / "out" / NAME, tmp_path / "data"
    before = {path: path.read_bytes() for path in origin.rglob("*") if path.is_file()}
    assert ids_in(folder, config) == kept_ids(run)
    # The run's index is made up, and its recording has no commits of this version: the export has no findings.
    assert not [finding for finding in check_run(run) if str(tmp_path / "out") in str(finding)]
    manifest = run.manifest(f"export.{NAME}")
    run_stages(run, config, ["export"])
    assert run.manifest(f"export.{NAME}") == manifest
    victim = next(path for path in sorted((folder / "data").rglob("*")) if path.is_file())
    victim.unlink()
    assert state(run) == "damaged"
    assert any(f"{victim}: it is missing" in str(finding) for finding in check_run(run))
    run_stages(run, config, ["export"])
    assert (ids_in(folder, config), state(run)) == (kept_ids(run), "done")
    run_stages(run, config, ["export"], force=True)
    assert ids_in(folder, config) == kept_ids(run)
    # What is replaced are links to the source's files, not these.
    assert {path: path.read_bytes() for path in origin.rglob("*") if path.is_file()} == before
    (folder / "data" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"beta-0\.5 holds data/notes\.txt, which was not made by dualprune"):
        run_stages(run, config, ["export"], force=True)


def test_what_an_interrupted_export_left_is_replaced(made: tuple[RunDirectory, Config], tmp_path: Path) -> None:
    run, config = made
    folder = tmp_path / "out" / NAME
    # An object store has no list of the files until all are written.
    (folder / MARK).write_text('{"made_by": "dualprune"}')
    (folder / "kept.json").unlink()
    run_stages(run, config, ["export"], force=True)
    assert ids_in(folder, config) == kept_ids(run)


def test_an_export_to_an_object_store(made: tuple[RunDirectory, Config], s3: str) -> None:
    run, config = made
    place = Location.of(s3.replace("[", "-").replace("]", ""))
    there = make_config(
        {**config.model_dump(mode="json"), "export": {"path": place.address, "lists": ["ids", "indices"]}}
    )
    for _ in range(2):
        run_stages(run, there, ["export"], force=True)
        ids = (place / NAME / "kept_ids.txt").read_bytes().decode().split()
        assert ids == kept_ids(run)
        data = config.data.model_copy(update={"path": (place / NAME / "data").address, "test_path": None})
        batches = list(open_source(data).sample_batches())
        assert [sample_id for batch in batches for sample_id in batch["sample_id"].to_pylist()] == ids
        assert not [finding for finding in check_run(run) if "bucket/" in str(finding)]
    (place / NAME / "kept_indices.npy").delete()
    assert any("kept_indices.npy: it is missing" in str(finding) for finding in check_run(run))


@pytest.mark.parametrize("made", ["image_folder"], indirect=True)
def test_torchvision_reads_what_is_exported(made: tuple[RunDirectory, Config], tmp_path: Path) -> None:
    run, config = made
    folder = tmp_path / "out" / NAME
    found = ImageFolder(str(folder / "data"))
    assert [os.path.relpath(path, folder / "data") for path, _ in found.samples] == kept_ids(run)
    origin = tmp_path / "data" / "train"
    assert all(Path(path).samefile(origin / os.path.relpath(path, folder / "data")) for path, _ in found.samples)
    copied = make_config(
        {**config.model_dump(mode="json"), "export": {"path": str(tmp_path / "out"), "images": "copy"}}
    )
    run_stages(run, copied, ["export"])
    found = ImageFolder(str(folder / "data"))
    assert [os.path.relpath(path, folder / "data") for path, _ in found.samples] == kept_ids(run)
    assert not any(Path(path).samefile(origin / os.path.relpath(path, folder / "data")) for path, _ in found.samples)
