"""Rewords the library's messages for the command line: from arguments of Python to options of commands."""

from __future__ import annotations

import re

# Arguments of public functions that messages tell the reader to pass, each an option of the same name.
ARGUMENTS = ("axes", "force", "form", "missing", "repeated", "resume")
PASSED = re.compile(rf"\b({'|'.join(ARGUMENTS)})=(?:True\b|([\"'])(\w+)\2)")

OVERRIDE = re.compile(r"\Aoverride (?=\S)")


def as_options(message: str) -> str:
    """Return a message with `force=True` as `--force`, `axes="NT"` as `--axes NT`, and overrides as `--set`."""
    message = OVERRIDE.sub("--set ", message)
    return PASSED.sub(lambda found: f"--{found[1]}" + (f" {found[3]}" if found[3] else ""), message)


def count_of(number: int, what: str) -> str:
    """Return a number with a noun, which gets its plural s."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
