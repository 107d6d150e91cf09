"""The evaluate stage: trains from scratch on the full set, on random subsets and on selections, and compares them."""

from __future__ import annotations

from typing import Any

from dualprune.cluster.session import ensure_ray
from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.run import RunDirectory
from dualprune.exchange.kept import require_selection
from dualprune.stages.evaluate.cost import pruning_cost
from dualprune.stages.evaluate.jobs import Row, TrainingContext
from dualprune.stages.evaluate.plan import DRAWS, Training, plan_trainings, tell_of_steps
from dualprune.stages.evaluate.pool import TrainingPool
from dualprune.stages.evaluate.summary import comparison_of, stored_comparison
from dualprune.stages.evaluate.together import train_together
from dualprune.stages.inputs import selection_inputs
from dualprune.stages.record.decode import load_resident
from dualprune.stages.recorded_source import recorded_source
from dualprune.stages.select.drawn import redraw
from dualprune.stages.select.names import selection_names


def run_evaluate(run: RunDirectory, config: Config, *, force: bool = False) -> dict[str, Any]:
    """Compare the selections of the configuration, and return what `evaluation.json` holds.

    Each training writes its result to `evaluation/` as soon as it ends, so that an interrupted comparison can continue.
    """
    names = config.evaluate.selections or selection_names(config)
    inputs = selection_inputs(run, names)
    settings = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        **config.batches_identity(),
        "evaluate": config.identity("evaluate"),
        "selections": names,
        **({} if config.select.stream == 1 else {"stream": config.select.stream}),
    }
    with run.stage("evaluate", settings, inputs, force=force) as stage:
        if stage.done:
            return stored_comparison(run)
        for name in names:
            require_selection(run, name)
        if force:
            (run.root / "evaluation").delete()
        tell_of_steps(config)
        trainings = plan_trainings(run, config, names, inputs)
        num_missing = sum(not training.file(run).exists() for training in trainings)
        rows = _train(run, config, trainings)
        comparison = comparison_of(rows, pruning_cost(run, config, names))
        run.evaluation.write_json(comparison)
        stage.outputs = [Output.of(run.root, run.evaluation)]
        stage.summary = {"trainings": len(rows), "trained_now": num_missing}
        return comparison


def _train(run: RunDirectory, config: Config, trainings: list[Training]) -> list[Row]:
    """Return the rows of all trainings, in order, after training those without a file."""
    jobs = [(training.job(run, config), training.file(run)) for training in trainings]
    if all(file.exists() for _, file in jobs):
        return [{**file.read_record(), "draw": job.draw} for job, file in jobs]
    ensure_ray(config.scaling)
    draws = run.root / "evaluation" / DRAWS
    missing = [training for training in trainings if training.draw and not training.file(run).exists()]
    for training in {(training.selection, training.draw): training for training in missing}.values():
        redraw(run, config, training.selection, training.draw, training.place(run))
    workers, max_failures = Workers.of(config.scaling), config.scaling.max_failures
    context = TrainingContext(load_resident(recorded_source(run, config)), workers)
    if config.evaluate.parallel == "data" and workers.count > 1:
        rows = train_together(context, jobs, run.root / "evaluation" / "ray", "evaluate", max_failures)
    else:
        with TrainingPool(context, workers.count, max_failures) as pool:
            rows = pool.train(jobs, "evaluate")
    draws.delete()
    return rows
