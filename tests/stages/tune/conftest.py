"""A recorded run of the digits, made once and copied for each sweep."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import run_stages

Sweep = tuple[RunDirectory, Config]
MakeSweep = Callable[..., Sweep]


def settings(space: dict[str, Any] | None = None, **sections: Any) -> Config:
    """Return the configuration of a small sweep on 300 digits."""
    tune = {"space": space or {}, "test_points": 0, "loggers": ["csv"], **sections.pop("tune", {})}
    values = {
        "data": {"max_samples": 300},
        "model": {"name": "small_cnn", "options": {"width": 4}},
        "train": {"epochs": 4, "batch_size": 32, "lr": 0.05, "augment": "none"},
        "record": {"epochs": 4},
        "score": {"window": 3},
        "evaluate": {"epochs": 2, "seeds": 2},
        "scaling": {"num_workers": 1},
        **sections,
        "tune": tune,
    }
    return make_config(values)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """Record the small run once."""
    place = tmp_path_factory.mktemp("recorded") / "run"
    run_stages(RunDirectory(place), settings(), ("record",))
    return place


@pytest.fixture
def make_sweep(recorded: Path, tmp_path: Path) -> MakeSweep:
    """Return a function that gives a recorded run of this test's own, and a configuration to sweep it."""

    def make(space: dict[str, Any], **sections: Any) -> Sweep:
        place = tmp_path / "run"
        if not place.exists():
            shutil.copytree(recorded, place)
        return RunDirectory(place), settings(space, **sections)

    return make
