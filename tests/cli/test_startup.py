"""Commands that only read load nothing heavy; each runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import dualprune
from dualprune.core.config_file import make_config
from tests.conftest import MakeDynamics

HEAVY = ("ray", "torch", "torchvision", "scipy", "numba", "optuna", "sklearn", "pandas")
PROGRAM = f"""
import resource, sys
from dualprune.cli import main
sys.argv[0] = "dualprune"
try:
    main()
except SystemExit as ended:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("loaded", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
    print(f"processor time {{used.ru_utime + used.ru_stime:.2f}} s", file=sys.stderr)
    raise
"""


def ran(*arguments: object) -> str:
    words = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    print(*arguments, ended.stderr.splitlines()[-1])
    assert "loaded []" in ended.stderr
    return ended.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["methods"], ["methods", "beta", "--json"], ["config", "schema"]])
def test_what_only_tells_loads_nothing_heavy(arguments: list[str]) -> None:
    assert ran(*arguments)


def test_the_version() -> None:
    assert ran("--version") == f"dualprune {dualprune.__version__}\n"


def test_status_loads_nothing_heavy(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(np.full((7, 3), 0.5))
    run.save_config(make_config({"score": {"window": 2}}))
    for key in ("index", "record"):
        with run.stage(key, {}) as stage:
            stage.summary = {"samples": 7, "epochs": 3}
    assert f"next: dualprune score {run}" in ran("status", run)
