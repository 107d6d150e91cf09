"""Recording with real training workers stops when the scores have settled, and writes the scores."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.layout import bucket_name
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError
from dualprune.scores import SCORES, dual
from dualprune.stages.pipeline import run_stages
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import run_score
from tests.data.sources.test_parquet import write
from tests.stages.score.test_running import MeanLoss


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    path = write(tmp_path / "train.parquet", num=61)

    def make(record: dict[str, Any], **others: Any) -> Config:
        return make_config(
            {
                "data": {"source": "parquet", "path": path},
                "model": {"name": "small_cnn"},
                "train": {"epochs": 6, "batch_size": 16},
                "record": {"epochs": 6, "stop": "stable", "checkpoint_every": 4, "num_buckets": 3, **record},
                "score": {"window": 2},
                **others,
            }
        )

    return make


def recorded(run: RunDirectory) -> tuple[int, str, list[int]]:
    summary = run.require("record", "record")["summary"]
    return summary["epochs"], summary["stopped_by"], DynamicsStore(run).epochs


def test_a_recording_that_settled_is_done_until_the_thresholds_say_otherwise(
    tmp_path: Path, ray_cluster: None, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDirectory(tmp_path / "run")
    any_move = {"overlap": 0.0, "correlation": -1.0, "lag": 1, "patience": 1}
    logging.getLogger("dualprune").propagate = True
    with caplog.at_level(logging.INFO, logger="dualprune"):
        run_stages(run, settings({"stable": any_move}), ["record", "score"])
    assert recorded(run) == (4, "stable", [0, 1, 2, 3])
    assert "the scores have settled after 4 of at most 6 epochs" in caplog.text
    assert "score.dual: done already, skipped" in caplog.text
    commits = DynamicsStore(run).commits

    # The score stage would have written the same, to the byte.
    other = RunDirectory(tmp_path / "other")
    for name in ("index", "dynamics", "manifests"):
        shutil.copytree(tmp_path / "run" / name, tmp_path / "other" / name)
    (other.root / "manifests" / "score.dual.json").delete()
    run_score(other, settings({"stable": any_move}))
    for bucket in range(3):
        ours, theirs = (place.scores("dual") / bucket_name(bucket) for place in (run, other))
        assert ours.read_bytes() == theirs.read_bytes()
    assert (run.scores("dual") / "_commit.json").read_json() == (other.scores("dual") / "_commit.json").read_json()
    for key in ("fingerprint", "settings", "inputs", "summary", "status"):
        assert run.require("score.dual", "score")[key] == other.require("score.dual", "score")[key]

    # Other samples to keep, or thresholds that it also meets, do not reopen it.
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="dualprune"):
        run_stages(run, settings({"stable": any_move}, select={"ratio": [0.2, 0.8]}), ["record"])
        run_stages(run, settings({"stable": {**any_move, "overlap": 0.01}}), ["record"])
    # A log record counts once, however many handlers it passes.
    said = {id(record) for record in caplog.records if record.getMessage() == "record: done already, skipped"}
    assert len(said) == 2

    # Thresholds that it does not meet reopen it, and recording continues.
    config = settings({"stable": {**any_move, "overlap": 1.0, "correlation": 1.0}})
    run_stages(run, config, ["record"])
    assert recorded(run) == (6, "record.epochs", list(range(6)))
    after = DynamicsStore(run).commits
    assert {epoch: after[epoch] for epoch in commits} == commits
    measured = run.stability.read_json()
    assert [row["epoch"] for row in measured["epochs"]] == [3, 4, 5]
    assert measured["settled"] is None
    assert run.require("score.dual", "score")["settings"]["epochs"] == 6
    # What is recorded stays, whatever rule could not have stopped it.
    run_stages(run, settings({"stable": {**any_move, "patience": 9}}), ["record"])
    assert recorded(run) == (6, "record.epochs", list(range(6)))
    for bucket in range(3):
        expected = dual(DynamicsStore(run).read_bucket(bucket)["target_prob"], 2)
        assert read_scores(run, "dual", bucket)["score"].to_pylist() == expected.tolist()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"lag": 1, "patience": 4},
            r"before 7 epochs: the first measurement is after 4 \(the newest 2 are compared with",
        ),
        (
            {"lag": 4, "patience": 2},
            r"before 7 epochs: the first measurement is after 6 \(the newest 4 are compared with",
        ),
    ],
)
def test_a_recording_that_could_not_stop_is_refused(
    tmp_path: Path, settings: Any, rule: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_stages(RunDirectory(tmp_path / "run"), settings({"stable": rule}), ["record"])
    assert not (tmp_path / "run" / "dynamics").exists()


def test_scores_of_a_statistic_that_is_not_recorded_cannot_be_followed(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCORES._items, "mean_loss", MeanLoss)
    config = settings({"statistics": ["target_prob"], "stable": {"lag": 1}}, select={"score": "mean_loss"})
    with pytest.raises(ConfigError, match=r"record.statistics: 'loss' is not among target_prob, but record.stop"):
        run_stages(RunDirectory(tmp_path / "run"), config, ["record"])
