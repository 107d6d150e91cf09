"""The command line. Thin: commands read arguments, call the library and print; one file per group of commands.

What a command needs is imported when it runs, so that `--help` and `status` answer at once.
"""

from __future__ import annotations

import sys

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
        from dualprune.report.console import print_error

        print_error(error)
        sys.exit(INPUT_ERROR)
