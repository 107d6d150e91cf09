from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import copy_files

from dualprune.core.config_file import load_config
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError, RunError
from dualprune.stages.tune import run_tune
from dualprune.stages.tune.trial_log import TrialLog
from tests.stages.tune.conftest import MakeSweep, settings

C_D = "select.options.beta.c_d"
GRID = {C_D: {"choice": [2.0, 6.0]}, "select.ratio": {"choice": [0.3, 0.8]}}


def test_a_grid_leaves_its_trials_the_best_configuration_and_a_summary(make_sweep: MakeSweep) -> None:
    run, config = make_sweep(GRID, tune={"search": "grid", "seeds": 2, "test_points": 1})
    summary = run_tune(run, config)
    assert summary == (run.root / "tune" / "summary.json").read_json()
    assert summary["num_trials"] == {"finished": 4, "stopped": 0, "failed": 0, "repeated": 0}
    assert summary["scores_computed"] == 1
    assert summary["validation_samples"] + summary["candidates"] == 300
    trials = (run.root / "tune" / "trials.parquet").read_table().to_pylist()
    assert {(t[C_D], t["select.ratio"]) for t in trials} == {(2, 0.3), (6, 0.3), (2, 0.8), (6, 0.8)}
    for trial in trials:
        assert trial["kept"] == round((1 - trial["ratio"]) * summary["candidates"])
        assert trial["accuracy"] == pytest.approx(sum(trial["accuracies"]) / 2)
        assert trial["stderr"] == pytest.approx(abs(trial["accuracies"][0] - trial["accuracies"][1]) / 2)
    assert summary["best"][0]["accuracy"] == max(trial["accuracy"] for trial in trials)
    best = load_config(run.root / "tune" / "best.yaml")
    assert best.select.options["beta"]["c_d"] == summary["best"][0]["parameters"][C_D]
    assert best.select.ratios == [summary["best"][0]["ratio"]]
    assert not best.tune.space
    subsets = {row["subset"]: row for row in summary["test"]}
    assert set(subsets) == {"full", "random", "best-0"}
    assert subsets["full"]["kept"] == 300
    assert subsets["random"]["kept"] == subsets["best-0"]["kept"] == round((1 - best.select.ratios[0]) * 300)
    assert all(row["seeds"] == 2 for row in subsets.values())
    assert list((run.root / "tune" / "logs" / "session-0").children())
    before = (run.root / "tune" / "summary.json").read_bytes()
    assert run_tune(run, config) == summary
    assert (run.root / "tune" / "summary.json").read_bytes() == before


def test_optuna_looks_for_the_largest_ratio_and_goes_on_for_more_trials(make_sweep: MakeSweep) -> None:
    space = {"select.ratio": {"uniform": [0.0, 0.95]}}
    run, config = make_sweep(space, tune={"objective": "largest_ratio", "epsilon": 0.2, "num_trials": 3})
    summary = run_tune(run, config)
    assert summary["num_trials"]["finished"] == 3
    kept = {record["key"]: record for record in TrialLog(run.root / "tune" / "trials").records()}
    good = [r["ratio"] for r in kept.values() if r["accuracy"] >= summary["full_accuracy"] - 0.2]
    assert summary["best"][0]["ratio"] == max(good, default=summary["best"][0]["ratio"])
    more = run_tune(run, config, resume=True, max_trials=5)
    assert more["num_trials"]["finished"] == 5
    after = {record["key"]: record for record in TrialLog(run.root / "tune" / "trials").records()}
    assert {key: after[key] for key in kept} == kept
    assert len({record["ratio"] for record in after.values()}) == 5


def test_asha_stops_trials_and_optuna_finds_a_front(make_sweep: MakeSweep) -> None:
    run, config = make_sweep(
        {"select.ratio": {"choice": [0.1, 0.5, 0.9, 0.95]}},
        tune={"search": "grid", "scheduler": "asha", "grace_epochs": 1, "reduction_factor": 2, "max_concurrent": 1},
        evaluate={"epochs": 4},
    )
    summary = run_tune(run, config)
    assert summary["num_trials"]["finished"] + summary["num_trials"]["stopped"] == 4
    assert summary["num_trials"]["stopped"] >= 1
    stopped = [r for r in TrialLog(run.root / "tune" / "trials").records() if r["state"] == "stopped"]
    assert all(record["progress"] < 4 for record in stopped)
    run, config = make_sweep({"select.ratio": {"choice": [0.1, 0.9]}}, tune={"objective": "pareto", "num_trials": 4})
    with pytest.raises(RunError, match="the sweep there has other settings"):
        run_tune(run, config)
    front = run_tune(run, config, force=True)
    assert front["num_trials"]["finished"] <= 2
    assert sum(front["num_trials"].values()) == 4
    assert max(point["ratio"] for point in front["best"]) == 0.9


@pytest.mark.slow
def test_a_trial_of_two_workers_comes_to_what_one_does(make_sweep: MakeSweep) -> None:
    space = {"select.ratio": {"grid": [0.2]}}
    accuracies = []
    for workers in (1, 2):
        run, config = make_sweep(
            space, tune={"search": "grid", "workers_per_trial": workers}, evaluate={"epochs": 6, "batch_size": 16}
        )
        summary = run_tune(run, config, force=True)
        assert summary["num_trials"]["finished"] == 1
        accuracies.append({point["ratio"]: point["accuracy"] for point in summary["best"]})
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.1)


@pytest.mark.slow
def test_median_stopping_on_an_object_store(make_sweep: MakeSweep, s3: str) -> None:
    local, config = make_sweep(
        {"select.ratio": {"grid": [0.1, 0.2, 0.3, 0.4, 0.9, 0.95]}},
        tune={"search": "grid", "scheduler": "median", "grace_epochs": 1, "max_concurrent": 1, "loggers": ["csv"]},
        evaluate={"epochs": 5},
    )
    run = RunDirectory(s3)
    copy_files(local.root.path, run.root.path, destination_filesystem=run.root.filesystem)
    summary = run_tune(run, config)
    assert summary["num_trials"]["finished"] + summary["num_trials"]["stopped"] == 6
    assert summary["num_trials"]["stopped"] >= 1
    assert len(TrialLog(run.root / "tune" / "trials").records()) == 6
    assert load_config(run.root / "tune" / "best.yaml").select.ratios == [summary["best"][0]["ratio"]]
    assert "session-0" in [place.name for place in (run.root / "tune" / "logs").children()]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"tune": {"scheduler": "asha", "objective": "pareto"}}, "asha stops trials by their accuracy"),
        ({"tune": {"objective": "largest_ratio"}}, "has no select.ratio, which objective largest_ratio needs"),
        ({"select": {"ratio": [0.3, 0.5]}}, r"config.select.ratio: \[0.3, 0.5\] are several"),
        ({"select": {"deduplicate": True}}, "config.select.deduplicate: a sweep does not support it"),
        ({"select": {"balance": {"by": "place", "quota": "equal"}}}, "balances by label alone"),
        ({"evaluate": {"budget": "both"}}, r"budget: \[epochs, samples\]; a trial trains once, so set it to one"),
        ({"tune": {"scheduler": "median", "grace_epochs": 2}}, "grace_epochs: 2 leaves nothing to stop in .* 2 epochs"),
        ({"tune": {"search": "grid"}}, "a grid search cannot go through"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        run_tune(run, settings({"select.c_d": {"uniform": [1, 12]}}, **sections))
    assert not run.root.exists(), "nothing was begun"


def test_trials_that_fail_are_tried_again_and_then_told(make_sweep: MakeSweep) -> None:
    run, config = make_sweep({"select.c_d": {"choice": [2.0, 6.0]}}, select={"balance": {"minimum": 900}})
    with pytest.raises(RunError, match=r"no trial succeeded; 2 of 2 failed, the first with: .*minimum"):
        run_tune(run, config, max_trials=2)
    with pytest.raises(RunError, match=r"interrupted after 2 trials; resume=True continues it, force=True begins anew"):
        run_tune(run, config, max_trials=2)
    other = config.model_copy(update={"select": config.select.model_copy(update={"ratio": 0.5})})
    with pytest.raises(RunError, match="the sweep there has other settings"):
        run_tune(run, other, resume=True)


def test_a_time_budget_in_which_nothing_is_measured(make_sweep: MakeSweep) -> None:
    run, config = make_sweep({"select.c_d": {"uniform": [1, 12]}})
    with pytest.raises(RunError, match=r"no trial finished within the time budget of 0.001 s, so that no accuracy was"):
        run_tune(run, config, time_budget_s=0.001)
