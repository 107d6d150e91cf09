"""Runs of an older version (tests/runs) continue with this one, and keep their meaning."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from dualprune.core import config as config_module
from dualprune.core import config_file
from dualprune.core.config import Config
from dualprune.core.config_file import load_config
from dualprune.core.run import RunDirectory
from dualprune.core.sections import TrainConfig
from dualprune.dynamics.store import DynamicsStore
from dualprune.stages.pipeline import run_stages

RUNS = Path(__file__).parents[1] / "runs"
STAGES = ["record", "score", "select", "export", "evaluate"]
KEYS = {
    "index",
    "record",
    "score.dual",
    "select.beta-0.5",
    "select.beta-0.7",
    "export.beta-0.5",
    "export.beta-0.7",
    "evaluate",
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with tarfile.open(RUNS / "9e3f2f6.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def kept(run: RunDirectory, name: str) -> list[Any]:
    files = sorted((Path(run.root.address) / "selections" / name / "kept.parquet").iterdir())
    return [sample_id for file in files for sample_id in pq.read_table(file)["sample_id"].to_pylist()]


def skipped(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {r.getMessage().partition(":")[0] for r in caplog.records if "done already, skipped" in r.getMessage()}


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    # The command line may have turned it off in another test.
    logging.getLogger("dualprune").propagate = True
    caplog.set_level(logging.INFO, logger="dualprune")
    return caplog


def test_all_stages_are_done_and_nothing_is_rewritten(runs: Path, messages: pytest.LogCaptureFixture) -> None:
    run, before = RunDirectory(runs / "finished"), files_of(runs / "finished")
    run_stages(run, load_config(RUNS / "finished.yaml"), STAGES)
    assert skipped(messages) == KEYS
    assert files_of(runs / "finished") == before


def test_the_stored_configuration_is_the_one_that_made_it(runs: Path, messages: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(runs / "finished")
    stored = run.load_config(["select.method=beta"])
    # What belongs to the run is the run's own, where the file leaves it out.
    written = run.settled_config(load_config(RUNS / "finished.yaml"))
    for section in ("data", "model", "train", "score", "select", "evaluate"):
        assert stored.identity(section) == written.identity(section)
    # Fields that the older version did not have get their baseline, not today's default.
    assert stored.mean_epochs is None
    assert (stored.select.stream, stored.evaluate.redraw) == (1, False)
    run_stages(run, stored, STAGES)
    assert skipped(messages) == KEYS


def test_the_same_samples_are_kept_when_they_are_drawn_again(runs: Path, ray_cluster: None) -> None:
    run = RunDirectory(runs / "finished")
    names = ["beta-0.5", "beta-0.7", "top_k-0.5", "top_k-0.7"]
    before = {name: kept(run, name) for name in names}
    for method in ("beta", "top_k"):
        run_stages(run, run.load_config([f"select.method={method}"]), ["select"], force=True)
    assert {name: kept(run, name) for name in names} == before


def test_options_of_one_sampler_do_not_stand_in_the_way_of_another(
    runs: Path, messages: pytest.LogCaptureFixture
) -> None:
    run = RunDirectory(runs / "finished")
    config = run.load_config(["select.method=top_k"])
    assert config.select.options == {"beta": {"c_d": 3.0}}
    run_stages(run, config, ["select"])
    assert skipped(messages) == {"select.top_k-0.5", "select.top_k-0.7"}


def test_imported_dynamics_are_scored_and_selected_from(runs: Path, messages: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(runs / "imported")
    run_stages(run, run.load_config(), ["score", "select"])
    assert skipped(messages) == {"score.dual", "select.beta-0.7"}


def test_a_finished_sweep_is_found(runs: Path) -> None:
    from dualprune.stages.tune import run_tune

    run = RunDirectory(runs / "finished")
    summary = run_tune(run, run.load_config(), max_trials=3)
    assert summary["num_trials"]["finished"] == 3
    assert set(summary["best"][0]["parameters"]) == {"select.c_d", "select.ratio"}


def test_a_new_field_and_a_new_default_change_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch, messages: pytest.LogCaptureFixture
) -> None:
    class LaterTrain(TrainConfig):
        baseline: ClassVar[dict[str, Any]] = {**TrainConfig.baseline, "ema": 0.0}

        ema: float = 0.999
        weight_decay: float = 1e-2

    class LaterConfig(Config):
        train: LaterTrain = LaterTrain()

    for module in (config_module, config_file):
        monkeypatch.setattr(module, "Config", LaterConfig)
    run = RunDirectory(runs / "finished")
    config = run.load_config(["select.method=beta"])
    assert (config.train.ema, config.train.weight_decay) == (0.0, 5e-4)
    run_stages(run, config, STAGES)
    assert skipped(messages) == KEYS
    # A user's file without these fields asks for today's defaults, which are another recipe.
    with pytest.raises(ValueError, match=r"train\.ema: 0\.0 there, 0\.999 now"):
        run_stages(run, load_config(RUNS / "finished.yaml"), ["record"])


@pytest.mark.slow
def test_an_unfinished_recording_goes_on(runs: Path, ray_cluster: None, messages: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(runs / "unfinished")
    began = run.manifests()["record"]["fingerprint"]
    assert DynamicsStore(run).epochs == [0, 1, 2, 3, 4]
    run_stages(run, run.load_config(["record.epochs=8"]), ["record"])
    store = DynamicsStore(run)
    assert store.epochs == list(range(8))
    assert {commit["fingerprint"] for commit in store.commits.values()} == {began}
    assert run.manifest("record")["fingerprint"] == began
    assert not store.mismatched_epochs
