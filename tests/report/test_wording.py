"""Messages name Python arguments; on the command line they name options."""

from __future__ import annotations

import pytest

from dualprune.report.wording import as_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("d exists; pass force=True to replace it", "d exists; pass --force to replace it"),
        ('pass axes="NT" if so', "pass --axes NT if so"),
        ("axes='TN' is for arrays", "--axes TN is for arrays"),
        ('repeated="first" or repeated="mean"', "--repeated first or --repeated mean"),
        ('pass missing="keep"', "pass --missing keep"),
        # Not an argument that is an option, or not passed.
        (
            "select.ratio=0.5, enforce=True, force=False, epoch=3",
            "select.ratio=0.5, enforce=True, force=False, epoch=3",
        ),
    ],
)
def test_arguments_become_options(message: str, expected: str) -> None:
    assert as_options(message) == expected
