"""Recording stops on dynamics that settle, on all ranks alike, and decides the same after a resume."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dualprune.cli.app import app
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.plugins import make_sampler
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import read_epoch
from dualprune.dynamics.store import DynamicsStore
from dualprune.report import facts
from dualprune.report.text import stability_table
from dualprune.scores import dual, dual_and_mean
from dualprune.scores.score import complete
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.stability import chances, measured_select, movement, rank_correlation
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
            for listener in (scores, watch):
                listener.update(epoch, bucket, values, complete(values))
        watch.committed(epoch)
        if watch.stopped_after is not None:
            break
    assert watch.stopped_after == expected


def measured(run: RunDirectory) -> dict[str, Any]:
    return run.stability.read_json()


def test_calm_dynamics_settle_as_soon_as_they_may(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(CALM, num_buckets=3)
    # The newest epochs, those before them, and one more of patience; numbered from 0.
    earliest = WINDOW + WINDOW + 2 - 1 - 1
    watch_rank(0, str(run.root), settings(), earliest)
    found = measured(run)
    assert [row["epoch"] for row in found["epochs"]] == [earliest - 1, earliest]
    assert (found["settled"], found["samples"], found["of_samples"]) == (earliest, NUM_SAMPLES, NUM_SAMPLES)
    run.save_config(settings())
    shown = CliRunner().invoke(app, ["status", str(run.root)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for text in ("dual scores: the newest 3 epochs against older", "beta selections: against 2 epochs before",
                 f"settled by epoch {earliest}"):  # fmt: skip
        assert text in shown.output
    last = found["epochs"][-1]
    rows = [re.findall(r"\d\.\d{3}", line) for line in shown.output.splitlines() if re.match(rf"│ +{earliest} ", line)]
    assert rows == [[f"{value:.3f}" for value in (last["correlation"], *last["overlap"].values())]]


def test_wild_dynamics_do_not_settle(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD)
    watch_rank(0, str(run.root), settings(), None)
    found = measured(run)
    assert (found["version"], found["recent"]) == (2, WINDOW)
    assert len(found["epochs"]) == NUM_EPOCHS - 2 * WINDOW + 1
    # The measurements equal those of scores and selections at these epochs.
    now, before = (dual_and_mean(WILD[:, :epochs], WINDOW) for epochs in (NUM_EPOCHS, NUM_EPOCHS - 2))
    old, new = (dual(WILD[:, epochs], WINDOW) for epochs in (slice(-WINDOW), slice(-WINDOW, None)))
    select = measured_select(settings().select)
    sampler = make_sampler(settings().model_copy(update={"select": select}))
    of_both = (chances(sampler, DrawRules.of(select), *scored, np.arange(NUM_SAMPLES)) for scored in (now, before))
    assert found["epochs"][-1] == movement(NUM_EPOCHS - 1, rank_correlation(old, new), *of_both)


def learning(kind: str, noise: float, seed: int) -> np.ndarray:
    """Return probabilities [N, 30] of a model that learns: by difficulty and volatility, which last or turn over."""
    num, num_epochs, random = 1000, 30, np.random.default_rng(seed)
    difficulty, volatility = random.normal(0, 1.5, (2, num)), noise * np.exp(random.normal(0, 0.5, (2, num)))
    epochs = np.arange(num_epochs)
    angle = {
        "steady": np.zeros(num_epochs),
        # All at once, or from the 5th epoch to the 25th.
        "turned": np.where(epochs < 12, 0.0, np.pi / 2),
        "turning": np.pi / 2 * np.clip((epochs - 5) / 20, 0.0, 1.0),
    }[kind]
    weight = np.cos(angle), np.sin(angle)
    hard, spread = (
        sum(v[:, None] * w for v, w in zip(values, weight, strict=True)) for values in (difficulty, volatility)
    )
    logit = 3 * np.log1p(epochs) / np.log(num_epochs) - 0.5 - hard + spread * random.normal(size=(num, num_epochs))
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_a_steady_ranking_stops_recording_early(make_dynamics: MakeDynamics, noise: float) -> None:
    run = make_dynamics(learning("steady", noise, seed=1))
    watch_rank(0, str(run.root), make_config({"record": {"stop": "stable"}, "select": {"ratio": [0.5, 0.9]}}), 20)


@pytest.mark.parametrize("kind", ["turned", "turning"])
def test_a_ranking_that_turns_over_does_not(make_dynamics: MakeDynamics, kind: str) -> None:
    prob = learning(kind, 1.0, seed=1)
    run = make_dynamics(prob)
    watch_rank(0, str(run.root), make_config({"record": {"stop": "stable"}, "select": {"ratio": [0.5, 0.9]}}), None)
    # Running means agree all the while.
    for epochs in range(16, 31):
        assert rank_correlation(dual(prob[:, :epochs]), dual(prob[:, : epochs - 3])) > 0.95
    assert max(row["correlation"] for row in measured(run)["epochs"]) < 0.7


def test_a_measurement_of_an_older_version_is_shown_as_what_it_was(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(CALM)
    watch_rank(0, str(run.root), settings(), 2 * WINDOW)
    older = {key: value for key, value in measured(run).items() if key not in ("version", "recent")}
    run.stability.write_json(older)
    assert "dual running scores and beta selections against 2 epochs before" in str(stability_table(older).title)
    # It is as done as it was.
    assert enough_recorded(run, settings(), 2 * WINDOW + 1)


def test_score_epochs_are_recorded_whatever_settles(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(CALM)
    config = settings()
    config = config.model_copy(update={"score": config.score.model_copy(update={"epochs": 12})})
    watch_rank(0, str(run.root), config, 11)


def test_ranks_and_resumes_do_not_change_what_is_decided(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD, num_buckets=3)
    # A subsample, and thresholds that these dynamics meet on their way.
    config = settings(max_samples=150, overlap=0.87, correlation=-0.2)
    watch_rank(0, str(run.root), config, 14)
    alone = measured(run)
    assert alone["samples"] <= 150
    # A resume follows the committed epochs again, as here.
    watch_rank(0, str(run.root), config, 14)
    assert measured(run) == alone
    run.stability.delete()
    run_on_ranks(watch_rank, 2, str(run.root), config, 14)
    assert measured(run) == alone


def test_what_opens_a_recording_again_that_has_stopped(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(WILD)
    rule = {"overlap": 0.87, "correlation": -0.2}
    watch_rank(0, str(run.root), settings(**rule), 13)
    assert enough_recorded(run, settings(**rule), 14)
    assert enough_recorded(run, settings(**rule | {"correlation": -0.3}), 14)
    assert not enough_recorded(run, settings(**rule | {"correlation": 0.5}), 14)
    assert not enough_recorded(run, settings(**rule, patience=4), 14)
    assert not enough_recorded(run, settings(**rule, lag=3), 14)
    assert not enough_recorded(run, settings(**rule, max_samples=100), 14)
    fixed = make_config({"record": {"epochs": NUM_EPOCHS}})
    assert not enough_recorded(run, fixed, 14)
    assert enough_recorded(run, fixed, NUM_EPOCHS)


def test_a_run_without_a_curve_has_no_table(make_dynamics: MakeDynamics) -> None:
    assert facts.stability(make_dynamics(WILD)) is None
