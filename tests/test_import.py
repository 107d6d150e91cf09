from __future__ import annotations

import subprocess
import sys

import pytest

import dualprune


def test_importing_starts_nothing_heavy() -> None:
    code = "import sys, dualprune; print([m for m in ('ray', 'torch', 'pandas', 'numba') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_arithmetic_needs_neither_ray_nor_torch() -> None:
    code = (
        "import sys, dualprune; dualprune.scores.dual; dualprune.selection.beta([0.1, 0.3], [0.5, 0.5], ratio=0.5);"
        "print([m for m in ('ray', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in dualprune.__all__:
        assert getattr(dualprune, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dualprune.nothing  # noqa: B018 - the look-up is the test
