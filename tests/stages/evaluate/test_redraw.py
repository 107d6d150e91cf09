"""Which samples the trainings of a comparison train on: baselines and further draws have noise of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualprune import selection
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.sections import SelectConfig
from dualprune.errors import RunError
from dualprune.scores import dual_and_mean
from dualprune.stages.evaluate.plan import Training, plan_trainings
from dualprune.stages.inputs import selection_inputs
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.drawn import drawn_config, redraw
from dualprune.stages.select.names import selection_names
from dualprune.stages.select.stage import run_select
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(6).random((300, 6)).astype(np.float32)
SCORED = dual_and_mean(PROB, 4)


def settings(evaluate: dict[str, Any] | None = None, **select: Any) -> Config:
    return make_config(
        {
            "score": {"options": {"dual": {"window": 4}}},
            "record": {"epochs": 6},
            "train": {"epochs": 6, "seed": 5},
            "select": {"ratio": 0.7, **select},
            "evaluate": {"seeds": 3, **(evaluate or {})},
        }
    )


@pytest.fixture
def run(make_dynamics: MakeDynamics) -> RunDirectory:
    made = make_dynamics(PROB, num_buckets=1)
    for key, summary in {"index": {"samples": 300}, "record": {"epochs": 6}}.items():
        with made.stage(key, {}) as stage:
            stage.summary = summary
    run_score(made, settings())
    return made


def planned(run: RunDirectory, config: Config) -> dict[str, list[Training]]:
    run_select(run, config)
    names = selection_names(config)
    found: dict[str, list[Training]] = {}
    for training in plan_trainings(run, config, names, selection_inputs(run, names)):
        found.setdefault(training.subset, []).append(training)
    return found


def positions(run: RunDirectory, config: Config, training: Training) -> list[int]:
    if training.draw:
        redraw(run, config, training.selection, training.draw, training.place(run))
    return training.job(run, config).samples.positions(np.arange(300)).tolist()


def test_each_seed_trains_on_a_draw_of_its_own(run: RunDirectory) -> None:
    config = settings(seed=2)
    trainings = planned(run, config)
    assert [training.draw for training in trainings["beta-0.7"]] == [0, 1, 2]
    for number, training in enumerate(trainings["beta-0.7"]):
        expected = selection.beta(SCORED.score, SCORED.mean_prob, ratio=0.7, seed=2 + number)
        assert positions(run, config, training) == expected.tolist()
        assert training.job(run, config).draw == number
    baselines = [positions(run, config, training) for training in trainings["random"]]
    assert baselines == [
        selection.random(300, ratio=0.7, seed=5, purpose=f"baseline/{number}").tolist() for number in range(3)
    ]
    assert len({training.file(run).name for training in trainings["beta-0.7"]}) == 3


def test_without_redraw_all_seeds_train_on_the_kept_set(run: RunDirectory) -> None:
    config = settings({"redraw": False})
    trainings = planned(run, config)["beta-0.7"]
    assert [training.draw for training in trainings] == [0, 0, 0]
    # The first training is the same in both, and is not repeated.
    again = planned(run, settings())["beta-0.7"]
    assert again[0].file(run).name == trainings[0].file(run).name
    assert again[1].file(run).name != trainings[1].file(run).name


def test_what_no_chance_decides_is_not_drawn_again(run: RunDirectory) -> None:
    trainings = planned(run, settings(method="top_k"))
    assert [training.draw for training in trainings["top_k-0.7"]] == [0, 0, 0]


def test_stream_1_goes_on_with_its_baselines_and_trainings(run: RunDirectory) -> None:
    config = settings({"redraw": False}, stream=1)
    trainings = planned(run, config)
    assert [positions(run, config, training) for training in trainings["random"]] == [
        selection.random(300, ratio=0.7, seed=number, stream=1).tolist() for number in range(3)
    ]
    later = planned(run, settings({"redraw": False}))["random"]
    assert not {training.file(run).name for training in trainings["random"]} & {one.file(run).name for one in later}


@pytest.mark.parametrize(
    "select",
    [
        {"method": "beta", "options": {"beta": {"c_d": 5.5}}, "seed": 3, "stream": 1},
        {"method": "ccs", "options": {"ccs": {"strata": 7, "drop": 0.1, "drop_by": "score"}}},
        {"method": "random", "balance": {"quota": {"0": 1.0, "1": 2.0, "2": 0.5}, "minimum": 3}},
        {"method": "top_k", "options": {"top_k": {"skip": 0.1}}, "ratio": [0.3, 0.7], "nested": True},
        {"method": "threshold", "options": {"threshold": {"min_score": 0.05}}},
    ],
)
def test_the_configuration_of_a_selection_is_known_from_the_run(run: RunDirectory, select: dict[str, Any]) -> None:
    drawn_by = settings(**select)
    run_select(run, drawn_by)
    name = selection_names(drawn_by)[-1]
    found = drawn_config(run, make_config({"preset": "paper"}), name).select
    wanted = drawn_by.select.model_copy(update={"score": "dual"})
    own = found.options[found.method]
    assert found.model_copy(update={"options": {}}) == wanted.model_copy(update={"options": {}})
    assert {**own, **wanted.options.get(wanted.method, {})} == own
    if found.method == "beta":
        # The constant of the preset with which it was drawn, not of the one that is set now.
        assert own["concentration"] == 16.0
    assert isinstance(found, SelectConfig)


def test_what_changed_since_is_not_drawn_again(run: RunDirectory, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n2\n")
    config = settings(always_keep=str(ids))
    training = planned(run, config)["beta-0.7"][1]
    assert {1, 2} <= set(positions(run, config, training))
    ids.write_text("1\n3\n")
    with pytest.raises(RunError, match=r"the id files of the selection 'beta-0.7' have changed .* evaluate.redraw"):
        positions(run, config, training)
