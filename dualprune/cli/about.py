"""Commands that tell: what a run holds, what is registered, what a configuration is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dualprune.cli.app import Overrides, app

config_app = typer.Typer(no_args_is_help=True, help="About configurations.")
app.add_typer(config_app, name="config")


@app.command()
def status(run: Annotated[str, typer.Argument(help="A run directory.")]) -> None:
    """Show what is done, what is missing and what it cost."""
    from dualprune.core.run import RunDirectory
    from dualprune.report import facts
    from dualprune.report.console import console, say
    from dualprune.report.text import stability_table, status_table
    from dualprune.stages.status import next_command, stage_states

    directory = RunDirectory(run)
    rows = stage_states(directory)
    say(str(directory))
    console.print(status_table(rows))
    if (measured := facts.stability(directory)) is not None:
        console.print(stability_table(measured))
    if command := next_command(directory, rows):
        say(f"next: {command}")


@app.command()
def methods() -> None:
    """List what is registered: score methods, samplers, sources, models, statistics."""
    from rich.table import Table

    from dualprune.data.source import SOURCES
    from dualprune.dynamics.statistics import STATISTICS
    from dualprune.report.console import console
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
    import json

    from dualprune.core.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


@config_app.command()
def show(config: str, overrides: Overrides = None) -> None:
    """Print a configuration with every default written out."""
    from dualprune.core.config_file import dump_config, load_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)
