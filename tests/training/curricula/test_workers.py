"""The built-in curricula train the same samples on 1, 2 and 3 workers, and after a kill, and save what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualprune.core.plugins import make
from dualprune.core.storage import Location
from dualprune.training import checkpoint, collectives
from tests.training.processes import run_on_ranks
from tests.training.test_plans import EPOCHS, NUM, Training

OPTIONS: dict[str, dict[str, Any]] = {
    "rs2": {"replacement": "without"},
    "dynamic_random": {},
    "infobatch": {},
    # The model of this test is never sure.
    "kakurenbo": {"tau": 0.35},
    "orderdp": {},
    "seta": {},
    "bls": {},
    "repb": {},
    "rcap": {},
}
# Sample visits per epoch where they follow from the settings alone: 103 samples.
PROMISED = {"rs2": 52, "dynamic_random": 52, "orderdp": 30, "rcap": 52}


def training(name: str, rank: int = 0, world_size: int = 1) -> Training:
    curriculum = make("curriculum", name, OPTIONS[name], "train.curriculum.options")
    return Training(rank, world_size, curriculum=curriculum)


def train_rank(rank: int, world_size: int, folder: str) -> None:
    if world_size > 1:
        torch.set_num_threads(1)
    found = {}
    for name in OPTIONS:
        one = training(name, rank, world_size)
        results = one.train(range(EPOCHS))
        assert [result.num_samples for result in results] == [row["visits"] for row in one.plans.chosen]
        found[name] = {"seen": one.seen, "chosen": one.plans.chosen}
        assert collectives.gather_objects(found[name]["chosen"]) == [found[name]["chosen"]] * world_size
    if world_size > 1:
        # Positions travel as int64: floats would round these.
        large = torch.tensor([2**24 + 1, 2**53 + 1 + rank])
        gathered = collectives.gather_rows(large).tolist()
        assert gathered == [n for r in range(world_size) for n in (2**24 + 1, 2**53 + 1 + r)]
    if rank == 0:
        (Path(folder) / f"{world_size}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("world_size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_workers_trains_the_same_samples(world_size: int, tmp_path: Path) -> None:
    train_rank(0, 1, str(tmp_path))
    alone = json.loads((tmp_path / "1.json").read_text())
    run_on_ranks(train_rank, world_size, world_size, str(tmp_path))
    assert json.loads((tmp_path / f"{world_size}.json").read_text()) == alone
    for name, one in alone.items():
        rows = one["chosen"]
        assert all(row["visits"] + row["hidden"] == NUM for row in rows)
        assert all(row["hidden"] <= row["cap"] for row in rows)
        # Each visit is one of a batch, and a sample has one visit per epoch at most.
        assert sum(map(len, one["seen"])) == sum(row["visits"] for row in rows)
        assert any(row["hidden"] for row in rows), name
        if name in PROMISED:
            assert [row["visits"] for row in rows] == [PROMISED[name]] * EPOCHS
    hidden = [(row["hidden"], row["cap"], row["refreshed"]) for row in alone["kakurenbo"]["chosen"]]
    # Caps: int(0.3 · 103), then a factor of 0.8 and 0.6; what is hidden is refreshed.
    assert [cap for _, cap, _ in hidden] == [0, 30, 24, 18]
    assert all(number == refreshed for number, _, refreshed in hidden)
    assert 0 < hidden[1][0] < 30


@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    straight = training(name)
    straight.train(range(EPOCHS))
    first = training(name)
    first.train(range(2))
    place = Location.of(tmp_path) / checkpoint.checkpoint_name(1)
    with checkpoint.written(first.trainer, 1, {"plans": first.plans.state_dict()}) as folder:
        for file in folder.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    # What is lost with the process.
    first.train(range(2, 3))
    second = training(name)
    second.plans.load_state_dict(checkpoint.restore(second.trainer, place)["plans"])
    second.train(range(2, EPOCHS))
    assert straight.seen[-len(second.seen) :] == second.seen
    assert second.plans.chosen == straight.plans.chosen
    for one, other in zip(second.trainer.model.parameters(), straight.trainer.model.parameters(), strict=True):
        assert torch.equal(one, other)
    states = [some.curriculum.state_dict() for some in (second, straight)]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])
        assert states[0][key].dtype == states[1][key].dtype
