"""The terminal: lines as they are, errors in red, and the package's log."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from dualprune.report.wording import as_options

console = Console()


def say(text: str) -> None:
    """Print a line as it is: ids and addresses in it are no markup, and can be copied whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_error(error: BaseException) -> None:
    """Print the message of an error on standard error, with command-line options instead of Python arguments."""
    Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(as_options(str(error)))}", soft_wrap=True)


def log_to_terminal(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the package's log to standard error: from INFO on, from DEBUG with `verbose`, from WARNING with `quiet`."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=verbose, log_time_format="%X")
    package = logging.getLogger("dualprune")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
