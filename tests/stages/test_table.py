"""The table of stages, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

import dualprune
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError
from dualprune.stages.pipeline import run_stages
from dualprune.stages.table import STAGES, pruning_stages, stage_named


def test_the_order_of_prune_follows_from_the_table_and_the_configuration() -> None:
    assert pruning_stages(Config()) == ["record", "score", "select", "export"]
    assert pruning_stages(make_config({"evaluate": {"enabled": True}})) == [*pruning_stages(Config()), "evaluate"]


def test_a_stage_comes_after_those_that_it_reads() -> None:
    names = list(STAGES)
    for stage in STAGES.values():
        assert all(names.index(before) < names.index(stage.name) for before in stage.after)


@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_has_its_function_keys_and_method(name: str) -> None:
    stage = stage_named(name)
    assert callable(stage.function())
    assert all(stage.owns(key) for key in stage.keys(Config()))
    assert not any(other.owns(key) for other in STAGES.values() if other is not stage for key in stage.keys(Config()))
    assert callable(getattr(dualprune.Run, name))


def test_an_unknown_stage_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"unknown stage 'evalute'; there are: record, .*; did you mean 'evaluate'\?"):
        run_stages(run, Config(), ["record", "evalute"])
    assert not (tmp_path / "run").exists()
