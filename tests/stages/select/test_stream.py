"""The stream of a run's draws: its own unless it is set, and what selections of either stream say of themselves."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualprune
from dualprune.core.config_file import load_config, make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import run_stages
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.inspect import inspect
from dualprune.stages.select.stage import run_select
from tests.conftest import MakeDynamics
from tests.stages.test_upgrade import RUNS, kept

SAME_NOISE = "select.stream: 1, so that selections stay comparable"


@pytest.fixture
def old(tmp_path: Path) -> RunDirectory:
    with tarfile.open(RUNS / "9e3f2f6.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    return RunDirectory(tmp_path / "finished")


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("dualprune").propagate = True
    caplog.set_level(logging.INFO, logger="dualprune")
    return caplog


def facts(run: RunDirectory, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (run.selection(name) / "selection.json").read_json()
    return found


def test_a_new_selection_in_an_old_run_has_the_noise_of_the_others(
    old: RunDirectory, ray_cluster: None, messages: pytest.LogCaptureFixture
) -> None:
    from_file = load_config(RUNS / "finished.yaml", ["select.method=random", "select.ratio=0.5"])
    assert from_file.select.stream == 2
    run_stages(old, from_file, ["select"])
    assert facts(old, "random-0.5")["stream"] == 1
    assert SAME_NOISE in messages.text
    assert (old.load_config().select.stream, old.load_config().evaluate.redraw) == (1, False)
    messages.clear()
    # From Python, with overrides over a configuration that is given anew; and from what is stored.
    dualprune.Run(old, config=RUNS / "finished.yaml").select({"select.method": "random", "select.ratio": 0.5})
    dualprune.Run(old).select({"select.method": "random", "select.ratio": 0.5})
    assert messages.text.count("select.random-0.5: done already, skipped") == 2
    first = kept(old, "random-0.5")
    messages.clear()
    dualprune.Run(old).select({"select.method": "random", "select.ratio": 0.5, "select.stream": 2})
    assert facts(old, "random-0.5")["stream"] == 2
    assert SAME_NOISE not in messages.text
    assert kept(old, "random-0.5") != first
    # From here on it is the run's.
    assert old.load_config().select.stream == 2


def settings(**select: Any) -> Any:
    return make_config(
        {
            "score": {"options": {"dual": {"window": 4}}},
            "record": {"epochs": 6},
            "train": {"epochs": 6},
            "select": {"ratio": 0.9, **select},
        }
    )


def scored(make_dynamics: MakeDynamics, prob: np.ndarray) -> RunDirectory:
    run = make_dynamics(prob, num_buckets=1)
    with run.stage("record", {}) as done:
        done.summary = {"epochs": 6}
    run_score(run, settings())
    return run


@pytest.mark.parametrize("stream", [1, 2])
def test_what_a_random_draw_keeps_too_is_chance(make_dynamics: MakeDynamics, stream: int) -> None:
    run = scored(make_dynamics, np.random.default_rng(5).random((4000, 6)))
    for method, by_chance in {"beta": True, "random": True, "top_k": False}.items():
        config = settings(method=method, stream=stream)
        run_select(run, config)
        found = inspect(run, config, f"{method}-0.9")
        assert (found["stream"], found["by_chance"]) == (stream, by_chance)
        # 400 of 4000 share 40 ± 5.7 with 400 others.
        assert abs(found["overlap"]["random"] - 0.1) < 4 * 5.7 / 400
    assert found["overlap"]["top_k"] == 1.0


def test_where_everything_is_learnt_each_sample_has_the_chance_of_the_draw(make_dynamics: MakeDynamics) -> None:
    run = scored(make_dynamics, np.ones((80, 6)))
    for method in ("beta", "random", "top_k", "ccs"):
        with np.errstate(all="raise", under="ignore"):
            run_select(run, settings(method=method, ratio=0.5))
        table = (run.selection(f"{method}-0.5") / "kept.parquet").read_table()
        assert table["inclusion"].to_pylist() == [0.5] * 40
