"""The command line: one command a stage. Thin: it reads arguments, calls the library and prints."""

from __future__ import annotations

import json
import logging
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from dualprune.config import Config
from dualprune.config_file import load_config
from dualprune.errors import UserError
from dualprune.pipeline import STAGES, default_run, run_stages
from dualprune.run import RunDirectory
from dualprune.storage import Location

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Prune training sets."
)
config_app = typer.Typer(no_args_is_help=True, help="About configurations.")
app.add_typer(config_app, name="config")
console = Console()

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as select.ratio=0.7.")
]
Run = Annotated[str | None, typer.Option("--run", help="Run directory or address; default runs/NAME-OF-CONFIG.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again, also where it is done.")]
Place = Annotated[str, typer.Argument(metavar="RUN_OR_CONFIG", help="A run directory, or a YAML configuration.")]
INPUT_ERROR = 2


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
) -> None:
    """Prune training sets: record training dynamics, score every sample, keep what is worth training on."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=verbose, log_time_format="%X")
    package = logging.getLogger("dualprune")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False


@app.command()
def prune(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    run: Run = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Do all stages: record, score, select, export and, where evaluate.enabled, evaluate."""
    directory, settings = _resolve(config, run, overrides)
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
def select(place: Place, run: Run = None, overrides: Overrides = None, force: Force = False) -> None:
    """Draw the samples to keep."""
    directory, settings = _one_stage("select", place, run, overrides, force)
    _show_selections(directory, settings)


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


@app.command()
def status(run: Annotated[str, typer.Argument(help="A run directory.")]) -> None:
    """Show what is done, what is missing and what it cost."""
    from dualprune.status import status_table

    console.print(status_table(RunDirectory(run)))


@app.command()
def methods() -> None:
    """List what is registered: score methods, samplers, sources, models, statistics."""
    from dualprune.data.source import SOURCES
    from dualprune.scores.registry import SCORES
    from dualprune.selection.registry import SAMPLERS
    from dualprune.training.models import MODELS
    from dualprune.training.statistics import STATISTICS

    table = Table("kind", "names")
    registries: list[Any] = [SCORES, SAMPLERS, SOURCES, MODELS, STATISTICS]
    for registry in registries:
        names = registry.names() + (["torchvision/NAME"] if registry is MODELS else [])
        table.add_row(registry.kind, ", ".join(names))
    console.print(table)


@config_app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


@config_app.command()
def show(config: str, overrides: Overrides = None) -> None:
    """Print a configuration with every default written out."""
    from dualprune.config_file import dump_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)


def _resolve(place: str, run: str | None, overrides: list[str] | None) -> tuple[RunDirectory, Config]:
    """Return the run directory and configuration of what the user named: a YAML file, or a run directory."""
    location = Location.of(place)
    if location.name.endswith((".yaml", ".yml")):
        settings = load_config(location, overrides or ())
        return RunDirectory(run or default_run(location.name.rpartition(".")[0])), settings
    if run is not None:
        raise UserError(f"--run {run}: give either a configuration and --run, or the run directory {place} alone")
    directory = RunDirectory(location)
    return directory, directory.load_config(overrides or ())


def _one_stage(
    stage: str, place: str, run: str | None, overrides: list[str] | None, force: bool
) -> tuple[RunDirectory, Config]:
    directory, settings = _resolve(place, run, overrides)
    run_stages(directory, settings, [stage], force=force)
    return directory, settings


def _show_result(run: RunDirectory, config: Config) -> None:
    _show_selections(run, config)
    if config.evaluate.enabled:
        _show_evaluation(run)
    _show_files(run, config)


def _show_selections(run: RunDirectory, config: Config) -> None:
    from dualprune.selection.stage import selection_names

    for name in selection_names(config):
        facts = (run.selection(name) / "selection.json").read_json()
        console.print(
            f"[bold]{name}[/bold]: kept {facts['num_kept']:,} of {facts['num_samples']:,} samples "
            f"(ratio {facts['ratio']:g}, {facts['method']} on {facts['score_method']})"
        )


def _show_evaluation(run: RunDirectory) -> None:
    from dualprune.evaluation import comparison_table

    console.print(comparison_table(run.evaluation.read_json()["summary"]))


def _show_files(run: RunDirectory, config: Config) -> None:
    from dualprune.export import export_place
    from dualprune.selection.stage import selection_names

    for name in selection_names(config):
        console.print(f"kept ids: {run.selection(name)}/kept.parquet", soft_wrap=True)
        console.print(f"exported: {export_place(run, config, name)}", soft_wrap=True)


def main() -> None:
    """Run the command line; a mistake in the input ends with exit code 2 and no traceback."""
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {error}", soft_wrap=True, markup=True)
        sys.exit(INPUT_ERROR)


if __name__ == "__main__":
    main()
