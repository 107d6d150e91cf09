"""The terminal: lines as they are, errors in red, and the package's log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from dualprune.report.wording import as_options

console = Console()
MOST_CHARACTERS = 300


def say(text: str) -> None:
    """Print a line as it is: ids and addresses in it are no markup, and can be copied whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_error(error: BaseException) -> None:
    """Print the message of an error on standard error, with command-line options instead of Python arguments."""
    Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(as_options(str(error)))}", soft_wrap=True)


def print_unexpected(error: BaseException) -> None:
    """Print an error that is a fault of ours in one line on standard error, and its traceback into a file."""
    trace = "".join(traceback.format_exception(error))
    try:
        handle, place = tempfile.mkstemp(prefix="dualprune-error-", suffix=".txt")
        os.close(handle)
        Path(place).write_text(trace, encoding="utf-8", errors="replace")
    except OSError:
        # A full disk; the trace must not be lost with it.
        sys.stderr.write(trace)
        place = "above"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    shown = what if len(what) <= MOST_CHARACTERS else f"{what[:MOST_CHARACTERS]}…"
    print_error(RuntimeError(f"{shown} (this should not happen; the full trace is {place}; please report it)"))


def log_to_terminal(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the package's log to standard error: from INFO on, from DEBUG with `verbose`, from WARNING with `quiet`."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=verbose, log_time_format="%X")
    package = logging.getLogger("dualprune")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
