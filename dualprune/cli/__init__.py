"""The command line. Thin: commands read arguments, call the library and print; a file a group of commands."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from dualprune.cli import about, cluster, compare, stages, store, submit, tune
from dualprune.cli.app import app
from dualprune.errors import UserError

__all__ = ["about", "app", "cluster", "compare", "main", "stages", "store", "submit", "tune"]
INPUT_ERROR = 2


def main() -> None:
    """Run the command line; a mistake in the input ends with exit code 2 and no traceback."""
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        sys.exit(INPUT_ERROR)
