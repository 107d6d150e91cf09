"""What all commands share: the application, the options that several take, and how they find run and configuration."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from dualprune.core.config import Config
from dualprune.core.config_file import load_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.errors import UserError
from dualprune.stages.pipeline import default_run

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Prune training sets."
)

console = Console()

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as select.ratio=0.7.")
]
Run = Annotated[str | None, typer.Option("--run", help="Run directory or address; default runs/NAME-OF-CONFIG.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again, also where it is done.")]
Place = Annotated[str, typer.Argument(metavar="RUN_OR_CONFIG", help="A run directory, or a YAML configuration.")]


def say(text: str) -> None:
    """Print a line as it is: ids and addresses in it are no markup, and can be copied whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


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


def resolve(place: str, run: str | None, overrides: list[str] | None) -> tuple[RunDirectory, Config]:
    """Return the run directory and configuration of what the user named: a YAML file, or a run directory."""
    location = Location.of(place)
    if location.name.endswith((".yaml", ".yml")):
        settings = load_config(location, overrides or ())
        return RunDirectory(run or default_run(location.name.rpartition(".")[0])), settings
    if run is not None:
        raise UserError(f"--run {run}: give either a configuration and --run, or the run directory {place} alone")
    directory = RunDirectory(location)
    return directory, directory.load_config(overrides or ())
