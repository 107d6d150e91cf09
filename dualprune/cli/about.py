"""Commands that tell: what a run holds, what is registered, what a configuration is."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from dualprune.cli.app import Overrides, app, console, say
from dualprune.core.config import Config
from dualprune.core.config_file import load_config
from dualprune.core.run import RunDirectory

config_app = typer.Typer(no_args_is_help=True, help="About configurations.")
app.add_typer(config_app, name="config")


@app.command()
def status(run: Annotated[str, typer.Argument(help="A run directory.")]) -> None:
    """Show what is done, what is missing and what it cost."""
    from dualprune.stages.status import next_command, stability_table, stage_states, status_table

    directory = RunDirectory(run)
    rows = stage_states(directory)
    say(str(directory))
    console.print(status_table(rows))
    if (table := stability_table(directory)) is not None:
        console.print(table)
    if command := next_command(directory, rows):
        say(f"next: {command}")


@app.command()
def methods() -> None:
    """List what is registered: score methods, samplers, sources, models, statistics."""
    from dualprune.data.source import SOURCES
    from dualprune.dynamics.statistics import STATISTICS
    from dualprune.scores.score import SCORES
    from dualprune.selection.sampler import SAMPLERS
    from dualprune.training.models import MODELS

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
    from dualprune.core.config_file import dump_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)
