"""Recording stops on dynamics that settle, on all ranks alike, and decides the same after a resume."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from typer.testing import CliRunner

from dualprune.cli.app import app
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.plugins import make_sampler
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import read_epoch
from dualprune.dynamics.store import DynamicsStore
from dualprune.report import facts
from dualprune.scores import dual_and_mean
from dualprune.scores.score import complete
from dualprune.selection.engine.drawing import DrawRules
from dualprune.selection.stability import measured_select, movement, snapshot
from dualprune.stages.record.stability_watch import StabilityWatch
from dualprune.stages.record.stage import enough_recorded
from dualprune.stages.score.running import RunningScores
from dualprune.training.collectives import owned_buckets
from tests.conftest import MakeDynamics
from tests.training.processes import run_on_ranks

NUM_SAMPLES, NUM_EPOCHS, WINDOW = 400, 20, 3
RANDOM = np.random.default_rng(0)
# Each epoch varies as much as the first.
WILD = RANDOM.random((NUM_SAMPLES, NUM_EPOCHS)).astype(np.float32)
# A sample behaves alike in every epoch: its spread is its own.
LEVEL, WAVE = RANDOM.random((2, NUM_SAMPLES, 1))
CALM = (LEVEL + 0.3 * WAVE * np.resize([1.0, -1.0], NUM_EPOCHS) * (1 - 0.5 * LEVEL)).clip(0, 1).astype(np.float32)


def settings(**stable: Any) -> Config:
    return make_config(
        {
            "train": {"epochs": NUM_EPOCHS},
            "record": {"epochs": NUM_EPOCHS, "stop": "stable", "stable": {"lag": 2, "patience": 2, **stable}},
            "score": {"window": WINDOW},
            "select": {"ratio": [0.5, 0.9]},
        }
    )


def watch_rank(rank: int, folder: str, config: Config, expected: int | None) -> None:
    """Follow the epochs of the store, until the scores have settled."""
    store = DynamicsStore(folder)
    [scores] = RunningScores.from_config(config, store.index, store.columns)
    watch = StabilityWatch(store.run, config, store.index, scores)
    for epoch in store.epochs:
        for bucket in owned_buckets(store.index):
            values = read_epoch(store, bucket, scores.reads, epoch)
            scores.update(epoch, bucket, values, complete(values))
        watch.committed(epoch)
        if watch.stopped_after is not None:
            break
    assert watch.stopped_after == expected


def measured(run: RunDirectory) -> dict[str, Any]:
    return run.stability.read_json()


def test_calm_dynamics_settle_as_soon_as_they_may(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(CALM, num_buckets=3)
    earliest = WINDOW + 2 + 2 - 1 - 1
    watch_rank(0, str(run.root), settings(), earliest)
    found = measured(run)
    assert [row["epoch"] for row in found["epochs"]] == [earliest - 1, earliest]
    assert (found["settled"], found["samples"], found["of_samples"]) == (earliest, NUM_SAMPLES, NUM_SAMPLES)
    run.save_config(settings())
    shown = CliRunner().invoke(app, ["status", str(run.root)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for text in ("dual scores and beta selections against 2 epochs before", f"settled by epoch {earliest}"):
        assert text in shown.output
    last = found["epochs"][-1]
    rows = [re.findall(r"\d\.\d{3}", line) for line in shown.output.splitlines() if re.match(rf"│ +{earliest} ", line)]
    assert rows == [[f"{value:.3f}" for value in (last["correlation"], *last["overlap"].values())]]


def test_wild_dynamics_do_not_settle(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD)
    watch_rank(0, str(run.root), settings(), None)
    found = measured(run)
    assert len(found["epochs"]) == NUM_EPOCHS - WINDOW + 1 - 2
    # The measurements equal those of scores and selections at these epochs.
    now, before = (dual_and_mean(WILD[:, :epochs], WINDOW) for epochs in (NUM_EPOCHS, NUM_EPOCHS - 2))
    select = measured_select(settings().select)
    sampler = make_sampler(settings().model_copy(update={"select": select}))
    shots = (snapshot(sampler, DrawRules.of(select), *scored, np.arange(NUM_SAMPLES)) for scored in (now, before))
    expected = movement(NUM_EPOCHS - 1, *shots)
    assert found["epochs"][-1] == expected


def test_score_epochs_are_recorded_whatever_settles(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(CALM)
    config = settings()
    config = config.model_copy(update={"score": config.score.model_copy(update={"epochs": 12})})
    watch_rank(0, str(run.root), config, 11)


def test_ranks_and_resumes_do_not_change_what_is_decided(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD, num_buckets=3)
    # A subsample, and thresholds that these dynamics meet on their way.
    config = settings(max_samples=150, overlap=0.5, correlation=0.93)
    watch_rank(0, str(run.root), config, 15)
    alone = measured(run)
    assert alone["samples"] <= 150
    # A resume follows the committed epochs again, as here.
    watch_rank(0, str(run.root), config, 15)
    assert measured(run) == alone
    run.stability.delete()
    run_on_ranks(watch_rank, 2, str(run.root), config, 15)
    assert measured(run) == alone


def test_what_opens_a_recording_again_that_has_stopped(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD)
    rule = {"overlap": 0.5, "correlation": 0.93}
    watch_rank(0, str(run.root), settings(**rule), 13)
    assert enough_recorded(run, settings(**rule), 14)
    assert enough_recorded(run, settings(**rule | {"correlation": 0.9}), 14)
    assert not enough_recorded(run, settings(**rule | {"correlation": 0.99}), 14)
    assert not enough_recorded(run, settings(**rule, patience=4), 14)
    assert not enough_recorded(run, settings(**rule, lag=3), 14)
    assert not enough_recorded(run, settings(**rule, max_samples=100), 14)
    fixed = make_config({"record": {"epochs": NUM_EPOCHS}})
    assert not enough_recorded(run, fixed, 14)
    assert enough_recorded(run, fixed, NUM_EPOCHS)


def test_a_run_without_a_curve_has_no_table(make_dynamics: MakeDynamics) -> None:
    assert facts.stability(make_dynamics(WILD)) is None
