"""A training from scratch: the samples that it trains on, and its test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualprune.core.config_file import make_config
from dualprune.data.facts import DataFacts
from dualprune.data.resident import ResidentSplit
from dualprune.errors import DataError
from dualprune.training.subset import ScratchTraining

CPU = torch.device("cpu")
NUM = 90
CONFIG = make_config(
    {
        "model": {"name": "small_cnn", "options": {"width": 4}},
        "train": {"epochs": 6, "batch_size": 16, "lr": 0.05, "augment": "none"},
        "record": {"epochs": 2},
        "score": {"window": 2},
    }
)


def made_split() -> ResidentSplit:
    labels = torch.arange(NUM) % 3
    images = torch.zeros(NUM, 1, 8, 8, dtype=torch.uint8)
    # A class is a bright row.
    images[torch.arange(NUM), 0, 2 * labels] = 255
    return ResidentSplit(images, labels, np.arange(NUM) != 7)


FACTS = DataFacts(shape=(1, 8, 8), num_train=NUM, num_classes=3, mean=(0.1,), std=(0.3,), skipped_ids=())


def scratch(positions: np.ndarray | None, budget: str = "epochs") -> ScratchTraining:
    return ScratchTraining(
        CONFIG, FACTS, made_split(), CPU, positions=positions, ratio=0.0, seed=3, budget=budget, full_size=NUM
    )


def test_it_learns_and_is_tested_on_what_is_asked_for() -> None:
    training = scratch(None)
    assert training.num_steps == 6 * 6
    training.train()
    assert (training.epoch, training.progress) == (6, 1.0)
    split = made_split()
    assert training.accuracy(split) > 0.9
    right = [training.accuracy(split, np.array([position])) for position in range(5)]
    assert np.mean(right) == training.accuracy(split, np.arange(5))


@pytest.mark.parametrize(("budget", "steps", "epochs"), [("epochs", 12, 6), ("steps", 36, 18)])
def test_a_subset_takes_its_own_steps_or_the_full_sets(budget: str, steps: int, epochs: int) -> None:
    training = scratch(np.arange(20), budget)
    training.train()
    assert (training.num_steps, training.epoch) == (steps, epochs)


def test_a_seed_trains_the_same_model() -> None:
    trainings = [scratch(np.arange(40)) for _ in range(2)]
    for training in trainings:
        training.train()
    one, other = (list(training._trainer.model.parameters()) for training in trainings)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_subset_of_which_nothing_can_be_used() -> None:
    with pytest.raises(DataError, match="there is no sample to train on"):
        scratch(np.array([7]))
