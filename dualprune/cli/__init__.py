"""The command line. Thin: commands read arguments, call the library and print; one file per group of commands.

What a command needs is imported when it runs, so that `--help` and `status` answer at once.
"""

from __future__ import annotations

import sys

from dualprune.cli import about, cluster, compare, stages, store, submit, tune
from dualprune.cli.app import app, debugging
from dualprune.errors import UserError

__all__ = ["about", "app", "cluster", "compare", "main", "stages", "store", "submit", "tune"]
FAILURE = 1
INPUT_ERROR = 2


def main() -> None:
    """Run the command line; every error ends in one line.

    A mistake in the input, and a disk or service that does not do what it should, end with exit code 2. Anything else
    is a fault of ours: exit code 1, and the traceback is written to a file that the line names. With `--debug`,
    tracebacks are printed.
    """
    try:
        app()
    except Exception as error:
        from dualprune.report.console import print_error, print_unexpected

        is_known = isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is not None)
        if debugging():
            import traceback

            traceback.print_exc()
        if is_known:
            print_error(error)
        else:
            print_unexpected(error)
        sys.exit(INPUT_ERROR if is_known else FAILURE)
