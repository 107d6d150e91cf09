"""Commands that work: `prune`, and one a stage."""

from __future__ import annotations

from typing import Annotated

import typer

from dualprune.cli.app import Force, Overrides, Place, Run, app, console, resolve
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import STAGES, run_stages


@app.command()
def prune(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    run: Run = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Do all stages: record, score, select, export and, where evaluate.enabled, evaluate."""
    directory, settings = resolve(config, run, overrides)
    run_stages(directory, settings, STAGES if settings.evaluate.enabled else STAGES[:-1], force=force)
    _show_result(directory, settings)


@app.command()
def record(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
    """Train the early epochs and record the training dynamics."""
    _one_stage("record", place, run, overrides, force)


@app.command()
def score(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
    """Score every sample from its recorded dynamics."""
    _one_stage("score", place, run, overrides, force)


@app.command()
def select(
    place: Place,
    run: Run = None,
    method: Annotated[str | None, typer.Option(help="Sampler; short for --set select.method=…")] = None,
    ratios: Annotated[str | None, typer.Option(help="Pruning ratios, such as 0.3,0.5,0.7,0.9, in one pass.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print what each selection is made of.")] = False,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Draw the samples to keep."""
    # Before the others: what --set says goes.
    short = [] if method is None else [f"select.method={method}"]
    short += [] if ratios is None else [f"select.ratio=[{ratios}]"]
    directory, settings = _one_stage("select", place, run, [*short, *(overrides or [])], force)
    _show_selections(directory, settings)
    if explain:
        from dualprune.cli.compare import show_explained
        from dualprune.stages.select.stage import selection_names

        for name in selection_names(settings):
            show_explained(directory, settings, name)


@app.command()
def export(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
    """Write the kept set: Parquet, mask."""
    directory, settings = _one_stage("export", place, run, overrides, force)
    _show_files(directory, settings)


@app.command()
def evaluate(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
    """Train on the full set, random subsets and the selections, and compare."""
    directory, _ = _one_stage("evaluate", place, run, overrides, force)
    _show_evaluation(directory)


def _one_stage(
    stage: str, place: str, run: str | None, overrides: list[str] | None, force: bool
) -> tuple[RunDirectory, Config]:
    directory, settings = resolve(place, run, overrides)
    run_stages(directory, settings, [stage], force=force)
    return directory, settings


def _show_result(run: RunDirectory, config: Config) -> None:
    _show_selections(run, config)
    if config.evaluate.enabled:
        _show_evaluation(run)
    _show_files(run, config)


def _show_selections(run: RunDirectory, config: Config) -> None:
    from dualprune.stages.select.stage import selection_names

    for name in selection_names(config):
        facts = (run.selection(name) / "selection.json").read_json()
        console.print(
            f"[bold]{name}[/bold]: kept {facts['num_kept']:,} of {facts['num_samples']:,} samples "
            f"(ratio {facts['ratio']:g}, {facts['method']} on {facts['score_method']})"
        )


def _show_evaluation(run: RunDirectory) -> None:
    from dualprune.stages.evaluate.stage import comparison_table, in_words

    summary = run.evaluation.read_json()["summary"]
    console.print(comparison_table(summary))
    for sentence in in_words(summary):
        console.print(sentence, highlight=False, markup=False)


def _show_files(run: RunDirectory, config: Config) -> None:
    from dualprune.stages.export import export_place
    from dualprune.stages.select.stage import selection_names

    for name in selection_names(config):
        console.print(f"kept ids: {run.selection(name)}/kept.parquet", soft_wrap=True, markup=False)
        console.print(f"exported: {export_place(run, config, name)}", soft_wrap=True, markup=False)
    console.print(f"all files: {run} (dualprune status {run})", soft_wrap=True, markup=False)
