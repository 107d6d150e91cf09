from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.errors import ConfigError
from dualprune.stages.tune.space import Domain, config_at, grid_points, parse_space, random_points


def settings(space: dict[str, Any], **sections: Any) -> Config:
    return make_config({"train": {"epochs": 20}, "record": {"epochs": 12}, "tune": {"space": space}, **sections})


def test_every_kind_is_a_domain_and_a_point_of_it_a_configuration() -> None:
    space = parse_space(
        settings(
            {
                "select.c_d": {"uniform": [1, 12]},
                "select.concentration": {"loguniform": [4, 64]},
                "select.ratio": {"choice": [0.3, 0.7]},
                "select.method": {"grid": ["beta", "top_k"]},
                "score.window": {"int": [3, 6]},
                "score.epochs": {"quniform": [6, 12, 3]},
                "select.balance.quota": {"choice": ["none", "equal"]},
                "evaluate.batch_size": {"choice": ["paper", 64]},
            }
        )
    )
    assert space["score.options.dual.window"].listed == (3, 4, 5, 6)
    assert space["score.epochs"].listed == (6, 9, 12)
    assert space["select.options.beta.c_d"].listed is None
    base = settings({"select.c_d": {"uniform": [1, 12]}}, select={"name": "mine"})
    for point in random_points(space, 20, seed=3):
        config = config_at(base, point)
        assert config.select.options["beta"]["c_d"] == point["select.options.beta.c_d"]
        assert 4 <= config.select.options["beta"]["concentration"] <= 64
        assert config.score.options["dual"]["window"] == point["score.options.dual.window"]
        assert config.score.epochs in (6, 9, 12)
        assert config.select.balance.quota == point["select.balance.quota"]
        assert config.select.name is None
        for key, domain in space.items():
            assert domain.distribution()._contains(domain.distribution().to_internal_repr(point[key]))


def test_random_points_are_seeded_and_go_on_where_a_shorter_list_ends() -> None:
    space = parse_space(settings({"select.c_d": {"uniform": [1, 12]}, "select.ratio": {"choice": [0.3, 0.7]}}))
    assert random_points(space, 9, seed=1)[:4] == random_points(space, 4, seed=1)
    assert random_points(space, 4, seed=1) != random_points(space, 4, seed=2)


def test_a_range_is_drawn_from_evenly() -> None:
    rng = np.random.default_rng(0)
    whole = [Domain("int", (3, 5)).sample(rng) for _ in range(3000)]
    assert min(np.bincount(whole)[3:]) > 900
    logarithmic = [Domain("loguniform", (1.0, 100.0)).sample(rng) for _ in range(3000)]
    assert np.mean(np.array(logarithmic) < 10) == pytest.approx(0.5, abs=0.04)


def test_a_grid_is_every_combination() -> None:
    space = parse_space(settings({"score.window": {"int": [3, 5]}, "select.ratio": {"grid": [0.3, 0.7]}}))
    points = grid_points(space)
    assert len(points) == 6
    assert {"score.options.dual.window": 4, "select.ratio": 0.7} in points
    with pytest.raises(
        ConfigError, match=r"tune.space.select.options.beta.c_d: a grid search cannot go through .* uniform"
    ):
        grid_points(parse_space(settings({"select.c_d": {"uniform": [1, 12]}})))
    many = Domain("quniform", (0.0, 1.0, 1e-4))
    with pytest.raises(ConfigError, match=r"a grid of 100,020,001 points is too large"):
        grid_points({"a": many, "b": many})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "config.tune.space: it is empty"),
        ({"select.cd": {"uniform": [1, 2]}}, r"space.select.cd: unknown key; .*did you mean 'select.c_d'"),
        ({"selekt.c_d": {"uniform": [1, 2]}}, r"unknown key; .*did you mean 'select.c_d'"),
        ({"select.c_d": {"uniform": [1, math.inf]}}, "a number that is not finite"),
        ({"select.c_d": {"uniform": [math.nan, 1]}}, "a number that is not finite"),
        ({"select.c_d": {"loguniform": [1, 1e999]}}, "a number that is not finite"),
        ({"select.options.threshold.min_score": {"uniform": [-1e308, 1e308]}}, "ends too far apart"),
        ({"select.c_d": {"quniform": [1, 2, math.nan]}}, "a number that is not finite"),
        ({"select.c_d": {"quniform": [1, 2, 3]}}, "the step leads beyond the high end"),
        ({"select.c_d": {"quniform": [1, 2, 1e-9]}}, "it has more than 1,000,000 values"),
        ({"score.window": {"int": [2, 10**12]}}, "it has more than 1,000,000 values"),
        ({"train.lr": {"uniform": [0.1, 0.2]}}, r"train.lr: it cannot be searched, as it changes what is recorded"),
        ({"record.epochs": {"int": [3, 9]}}, "search score.epochs"),
        ({"score.methods": {"choice": ["dual"]}}, "search select.score"),
        ({"select.seed": {"int": [0, 9]}}, "tune.seeds"),
        ({"evaluate.seeds": {"int": [1, 9]}}, "only evaluate.epochs, steps, batch_size and budget"),
        ({"select.c_d": {"unifrom": [1, 2]}}, r"c_d.unifrom: unknown kind; .*did you mean 'uniform'"),
        ({"select.c_d": {"uniform": [1, 2], "choice": [3]}}, "has 2 kinds"),
        ({"select.c_d": {"uniform": [2, 1]}}, "the low end is not below the high end"),
        ({"select.c_d": {"uniform": [1]}}, r"another form; expected \[low, high\]"),
        ({"select.c_d": {"loguniform": [0, 1]}}, "must be above 0"),
        ({"select.c_d": {"quniform": [1, 2, 0]}}, "step must be above 0"),
        ({"score.window": {"int": [2.5, 4]}}, "not whole"),
        ({"select.c_d": {"choice": []}}, "it is empty; expected a list"),
        ({"select.c_d": {"choice": [3, 3]}}, "a value twice"),
        ({"select.ratio": {"choice": [[0.3], 0.5]}}, "a list or a mapping"),
        ({"select.ratio": {"choice": [0.3, 1.2]}}, r"select.ratio: 1.2 cannot be used: .* 1.2 is not in"),
        ({"select.ratio": {"uniform": [-0.1, 0.5]}}, r"-0.1 cannot be used"),
        ({"score.window": {"uniform": [3, 6]}}, r"cannot be used: config.score.options.dual.window: 4.1"),
        ({"select.method": {"choice": ["beta", "gamma"]}}, "'gamma' cannot be used: config.select.method: unknown"),
        ({"score.epochs": {"int": [10, 13]}}, "score.epochs: 13 is more than the 12 epochs that are recorded"),
        ({"score.window": {"int": [3, 13]}}, "window of 13 epochs does not fit into score.epochs of 12"),
        (
            {"score.window": {"choice": [3, 8]}, "score.epochs": {"choice": [6, 12]}},
            "window of 8 epochs does not fit into score.epochs of 6",
        ),
    ],
)  # fmt: skip
def test_a_wrong_space_is_told(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_space(settings(space))
