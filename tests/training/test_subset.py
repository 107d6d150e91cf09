"""A training from scratch: the samples that it trains on, and its test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualprune.core.config_file import make_config
from dualprune.data.facts import DataFacts
from dualprune.data.resident import ResidentSplit
from dualprune.errors import DataError
from dualprune.training.subset import ScratchTraining, num_steps

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


@pytest.mark.parametrize(
    ("budget", "steps", "visits"),
    [
        # A pass over 20 samples takes two steps, of 16 and 4. The full set's 6 passes see 540 samples in 36 steps.
        ("epochs", 12, 6 * 20),
        ("samples", 54, 27 * 20),
        ("steps", 36, 18 * 20),
    ],
)
def test_a_subset_has_as_many_epochs_samples_or_steps_as_the_full_set(budget: str, steps: int, visits: int) -> None:
    training = scratch(np.arange(100, 120) % NUM, budget)
    training.train()
    assert (training.num_steps, training.steps, training.visits) == (steps, steps, visits)


def test_images_that_cannot_be_decoded_are_no_visits() -> None:
    training = scratch(None)
    training.train()
    assert (training.steps, training.visits) == (36, 6 * (NUM - 1))


@pytest.mark.parametrize(
    ("budget", "steps", "expected"),
    # Of 1,000: 200 at batch 64, and 100 at batch 32, since the paper's batches are smaller at high ratios.
    [
        ("epochs", None, {0.0: 80, 0.8: 40, 0.9: 40}),
        # Ten epochs of 1,000 are 50 passes over 200 samples, and 100 passes over 100.
        ("samples", None, {0.0: 80, 0.8: 200, 0.9: 400}),
        ("steps", None, {0.0: 80, 0.8: 80, 0.9: 80}),
        ("steps", 300, {0.0: 300, 0.8: 300, 0.9: 300}),
    ],
)
def test_steps_are_optimizer_steps_whatever_the_batch(
    budget: str, steps: int | None, expected: dict[float, int]
) -> None:
    evaluate = {"epochs": 10, "batch_size": "paper", "budget": budget, "steps": steps}
    config = make_config({"evaluate": evaluate})
    sizes = {0.0: 1000, 0.8: 200, 0.9: 100}
    assert {ratio: num_steps(config, budget, size, 1000, ratio) for ratio, size in sizes.items()} == expected


def test_a_seed_trains_the_same_model() -> None:
    trainings = [scratch(np.arange(40)) for _ in range(2)]
    for training in trainings:
        training.train()
    one, other = (list(training._trainer.model.parameters()) for training in trainings)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_subset_of_which_nothing_can_be_used() -> None:
    with pytest.raises(DataError, match="there is no sample to train on"):
        scratch(np.array([7]))
