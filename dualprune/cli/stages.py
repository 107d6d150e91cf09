"""Commands that run stages: `prune`, and one per stage of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualprune.cli.app import Force, Overrides, Place, Run, app
from dualprune.stages.table import STAGES

if TYPE_CHECKING:
    from dualprune.core.config import Config
    from dualprune.core.run import RunDirectory


@app.command()
def prune(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    run: Run = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Run all stages: record, score, select, export and, where evaluate.enabled, evaluate."""
    from dualprune.api import resolve
    from dualprune.stages.pipeline import prune_run

    directory, settings = resolve(config, run, overrides or ())
    prune_run(directory, settings, force=force)
    _show_selections(directory, settings)
    if settings.evaluate.enabled:
        _show_evaluation(directory, settings)
    _show_files(directory, settings)


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
    # These come first, so that --set overrides them.
    short = [] if method is None else [f"select.method={method}"]
    short += [] if ratios is None else [f"select.ratio=[{ratios}]"]
    directory, settings = do("select", place, run, [*short, *(overrides or [])], force)
    _show_selections(directory, settings)
    if explain:
        from dualprune.cli.compare import show_explained
        from dualprune.stages.select.names import selection_names

        for name in selection_names(settings):
            show_explained(directory, settings, name)


def do(
    stage: str, place: str, run: str | None, overrides: list[str] | None, force: bool
) -> tuple[RunDirectory, Config]:
    """Run one stage; return the run directory and the configuration."""
    from dualprune.api import resolve
    from dualprune.stages.pipeline import run_stages

    directory, settings = resolve(place, run, overrides or ())
    run_stages(directory, settings, [stage], force=force)
    return directory, settings


def _show_selections(run: RunDirectory, config: Config) -> None:
    from dualprune.report import facts
    from dualprune.report.console import console
    from dualprune.report.text import selection_in_words
    from dualprune.stages.select.names import selection_names

    for selection in facts.selections(run, selection_names(config)):
        console.print(f"[bold]{selection['name']}[/bold]: {selection_in_words(selection)}")


def _show_evaluation(run: RunDirectory, config: Config) -> None:
    from dualprune.report import facts
    from dualprune.report.comparison import comparison_in_words, comparison_table
    from dualprune.report.console import console

    found = facts.comparison(run)
    console.print(comparison_table(found["summary"]))
    for sentence in comparison_in_words(found):
        console.print(sentence, highlight=False, markup=False)


def _show_files(run: RunDirectory, config: Config) -> None:
    from dualprune.report.console import console
    from dualprune.stages.export import export_place
    from dualprune.stages.select.names import selection_names

    for name in selection_names(config):
        console.print(f"kept ids: {run.selection(name)}/kept.parquet", soft_wrap=True, markup=False)
        console.print(f"exported: {export_place(run, config, name)}", soft_wrap=True, markup=False)
    console.print(f"all files: {run} (dualprune status {run})", soft_wrap=True, markup=False)


# Commands with options of their own. `tune` stands in another module.
OWN: dict[str, Callable[..., None]] = {"select": select}
ELSEWHERE = ("tune",)
# What a stage's command prints when it is done.
SHOWN: dict[str, Callable[[RunDirectory, Config], Any]] = {"export": _show_files, "evaluate": _show_evaluation}


def _plain(stage: str) -> Callable[..., None]:
    def command(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
        directory, settings = do(stage, place, run, overrides, force)
        if stage in SHOWN:
            SHOWN[stage](directory, settings)

    return command


for _stage in STAGES.values():
    if _stage.name not in ELSEWHERE:
        app.command(_stage.name, help=_stage.about)(OWN.get(_stage.name) or _plain(_stage.name))
