"""The application, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Prune training sets."
)

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as select.ratio=0.7.")
]
Run = Annotated[str | None, typer.Option("--run", help="Run directory or address; default runs/NAME-OF-CONFIG.")]
Force = Annotated[bool, typer.Option("--force", help="Run it again even where it is done.")]
Place = Annotated[str, typer.Argument(metavar="RUN_OR_CONFIG", help="A run directory, or a YAML configuration.")]


_debug = [False]


def debugging() -> bool:
    """Return whether `--debug` was given."""
    return _debug[0]


def _print_version(wanted: bool) -> None:
    if wanted:
        import dualprune

        typer.echo(f"dualprune {dualprune.__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Prune training sets: record training dynamics, score every sample, keep what is worth training on."""
    from dualprune.report.console import log_to_terminal

    _debug[0] = debug
    log_to_terminal(verbose=verbose, quiet=quiet)
