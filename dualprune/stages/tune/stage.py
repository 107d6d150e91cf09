"""The tune stage: searches `tune.space` for the best settings to select by, and checks them on the test set.

tune/_started.json   the settings of the sweep that the trials belong to
"""

from __future__ import annotations

from typing import Any

from dualprune.core.config import Config
from dualprune.core.migration import VERSION, upgraded
from dualprune.core.run import RunDirectory
from dualprune.core.sections import EvaluateConfig
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import RunError
from dualprune.stages.evaluate.plan import tell_of_steps
from dualprune.stages.record.stage import run_record
from dualprune.stages.tune import search
from dualprune.stages.tune.loggers import check_loggers
from dualprune.stages.tune.scores import check_methods
from dualprune.stages.tune.space import Space, check_windows, parse_space
from dualprune.stages.tune.sweep import Sweep
from dualprune.stages.tune.trial_log import TrialLog

STARTED = "_started.json"
# What `evaluate` says about the training of a trial.
TRAINING_KEYS = {"epochs", "batch_size", "budget", "steps"}


def run_tune(
    run: RunDirectory,
    config: Config,
    *,
    resume: bool = False,
    force: bool = False,
    max_trials: int | None = None,
    time_budget_s: float | None = None,
) -> dict[str, Any]:
    """Search the space of `config.tune`, recording first where that is not done; returns what `tune/summary.json` has.

    With `resume`, a sweep that was interrupted or gets more trials continues; with `force`, it begins anew.
    `max_trials` (of the whole sweep) and `time_budget_s` (of this call) stand in for `tune.num_trials` and
    `tune.time_budget_s`.

    Raises:
        ConfigError: the space or the settings are wrong; nothing was begun.
        RunError: an unfinished sweep exists and neither `resume` nor `force` is given, or no trial succeeded.
    """
    space = check_tune(config)
    wanted = search.wanted_trials(config.tune, space, max_trials)
    run_record(run, config)
    store = DynamicsStore(run)
    # Recording may have stopped before record.epochs.
    check_windows(config, space, len(store.epochs))
    check_methods(str(run.root.address), config, _methods(config, space))
    inputs = [run.require("index", "record")["fingerprint"], run.require("record", "record")["fingerprint"]]
    settings = {**_identity(config), "recorded_epochs": len(store.epochs)}
    log = _prepare(run, settings, inputs, resume, force)
    done_before = run.manifest("tune")
    left = _left(config, space, wanted, log)
    test = _test_settings(config)
    known = {} if done_before is None else done_before["summary"]
    reopen = known.get("test") != test or (left > 0 and (resume or known.get("wanted") != wanted))
    with run.stage("tune", settings, inputs, force=force, reopen=reopen) as stage:
        place = run.root / "tune" / "summary.json"
        if stage.done:
            stored: dict[str, Any] = place.read_record()
            return stored
        tell_of_steps(config)
        budget_s = time_budget_s if time_budget_s is not None else config.tune.time_budget_s
        summary = Sweep(run, config, space, store.index, log).run(wanted, budget_s)
        place.write_json(summary)
        best = {"best_validation_accuracy": summary["best"][0]["accuracy"]}
        stage.summary = {"wanted": wanted, **summary["num_trials"], **best, "test": test}
        return summary


def check_tune(config: Config) -> Space:
    """Return the search space; a ConfigError where it, or another setting of the sweep, is wrong."""
    space = parse_space(config)
    search.check_settings(config, space)
    check_loggers(config.tune.loggers)
    return space


def _methods(config: Config, space: Space) -> list[str]:
    values = space["select.score"].extremes if "select.score" in space else (config.select_score,)
    return [name for name in values if name is not None]


def _identity(config: Config) -> dict[str, Any]:
    """Return the settings that trials depend on: with others, they are trials of another sweep."""
    return {
        "model": config.identity("model"),
        "train": config.identity("train"),
        **config.batches_identity(),
        "score": config.identity("score", exclude={"methods"}),
        "select": config.identity("select", exclude={"nested"}),
        "select_score": config.select_score,
        "evaluate": config.identity("evaluate", exclude=EvaluateConfig.model_fields.keys() - TRAINING_KEYS),
        "tune": config.identity("tune"),
    }


def _test_settings(config: Config) -> dict[str, Any]:
    """Return the settings that the check on the test set depends on and trials do not."""
    evaluate = config.evaluate
    return {
        "points": config.tune.test_points,
        "seeds": evaluate.seeds,
        "random": evaluate.random,
        "full": evaluate.full,
    }


def _prepare(run: RunDirectory, settings: dict[str, Any], inputs: list[str], resume: bool, force: bool) -> TrialLog:
    """Return the log to continue, or an empty one."""
    folder = run.root / "tune"
    log, started = TrialLog(folder / "trials"), folder / STARTED
    body = {"version": VERSION, "settings": settings, "inputs": inputs}
    known = upgraded("tune", started.read_record()) if started.exists() else None
    if known == body and not force:
        num = len(log.records())
        if num and not resume and run.manifest("tune") is None:
            raise RunError(
                f"{run}: a sweep with these settings was interrupted after {num} trials; resume=True continues it, "
                "force=True begins anew"
            )
        return log
    if known is not None and log.records() and not force:
        raise RunError(
            f"{run}: the sweep there has other settings, so its trials are not part of this one; "
            "force=True removes them and begins anew, or use another run directory"
        )
    folder.delete()
    started.write_json(body)
    return log


def _left(config: Config, space: Space, wanted: int, log: TrialLog) -> int:
    points = search.remaining_points(config.tune, space, wanted, log)
    return search.remaining_trials(points, wanted, log.records())
