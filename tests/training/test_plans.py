"""A curriculum decides the same on any number of ranks, and continues from its state as if never interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dualprune.core.config_file import make_config
from dualprune.core.sections import CurriculumConfig, TrainConfig
from dualprune.core.storage import Location
from dualprune.data.arrangement import Scatter
from dualprune.data.choice import Choice, Subset
from dualprune.data.facts import DataFacts
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.dynamics.statistics import Forward
from dualprune.errors import ConfigError
from dualprune.training import checkpoint, collectives
from dualprune.training.curricula import CURRICULA, Curriculum, Facts
from dualprune.training.loop import EpochResult, Trainer
from dualprune.training.plans import NOT_SEEN, REFRESHED, Plans, make_curriculum
from tests.training.processes import run_on_ranks

NUM, BATCH, EPOCHS = 103, 16, 4
CPU = torch.device("cpu")
RECIPE = TrainConfig(epochs=EPOCHS, batch_size=BATCH, lr=0.1, augment="none")


class HardHalf(Choice):
    """The half of the highest losses, each counted twice; of the others, every fourth is refreshed."""

    lr_factor = 0.5

    def __init__(self, kept: NDArray[np.bool_]) -> None:
        self._kept = kept

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return 2.0 * self._kept[positions].astype(np.float32)

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return ~self._kept[positions] & (positions % 4 == 0)


class LeaveOut(Curriculum):
    """Trains on all in the first epoch, then on the half with the highest loss that it knows of."""

    name = "leave_out"
    reads = ("loss",)

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self.loss = np.zeros(facts.num_samples, dtype=np.float32)
        self.steps: list[list[int]] = []
        self.buckets: list[tuple[int, int]] = []

    def plan(self, epoch: int) -> Choice | None:
        if epoch == 0:
            return None
        kept = np.zeros(len(self.loss), dtype=bool)
        kept[np.argsort(-self.loss, kind="stable")[: len(kept) // 2]] = True
        return HardHalf(kept)

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        start = bucket * self.facts.bucket_rows
        seen = step != NOT_SEEN
        assert np.array_equal(seen, np.isfinite(values["loss"]))
        self.loss[start : start + len(step)][seen] = values["loss"][seen]
        self.buckets.append((epoch, bucket))
        self.steps.append(step.tolist())

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss = state["loss"]


FACTS = Facts(NUM, None, 3, EPOCHS, BATCH, bucket_rows=40, seed=3)


def made_split() -> ResidentSplit:
    images = torch.randint(256, (NUM, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    return ResidentSplit(images, torch.arange(NUM) % 3, np.ones(NUM, dtype=bool))


class Training:
    """The calls of a recording, without a store."""

    def __init__(
        self, rank: int = 0, world_size: int = 1, subset: Subset | None = None, curriculum: Any = None
    ) -> None:
        torch.manual_seed(0)
        model: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        if world_size > 1:
            model = nn.parallel.DistributedDataParallel(model)
        facts = DataFacts(shape=(1, 4, 4), num_train=NUM, num_classes=3, mean=(0.5,), std=(0.25,), skipped_ids=())
        self.loader = ResidentLoader(made_split(), facts, RECIPE, CPU, rank=rank, world_size=world_size)
        self.curriculum = LeaveOut() if curriculum is None else curriculum
        labels = None if curriculum is None else made_split().labels.numpy()
        count = NUM if subset is None else len(subset.positions)
        self.curriculum.start(replace(FACTS, num_samples=count, labels=labels))
        self.plans = Plans(
            Scatter(NUM, 8, seed=3), BATCH, subset=subset, curriculum=self.curriculum, ranks=(rank, world_size)
        )
        num_steps = self.plans.whole.num_steps
        self.trainer = Trainer(model, RECIPE, EPOCHS * num_steps, CPU, epoch_steps=num_steps)
        self.seen: list[list[int]] = []

    def train(self, epochs: range) -> list[EpochResult]:
        return [self.train_epoch(epoch) for epoch in epochs]

    def train_epoch(self, epoch: int) -> EpochResult:
        positions: list[torch.Tensor] = []

        def observe(shown: torch.Tensor, forward: Forward) -> None:
            positions.append(shown)
            self.plans.observe(shown, forward)

        plan = self.plans.of_epoch(epoch)
        result = self.trainer.train_epoch(self.loader, epoch, plan, observe)
        self.plans.end_epoch(plan, self.trainer, self.loader)
        everyone = collectives.gather_objects([part.tolist() for part in positions])
        # By step, over all ranks.
        self.seen += [sorted(p for part in step for p in part if p >= 0) for step in zip(*everyone, strict=True)]
        return result


def train_rank(rank: int, world_size: int, folder: str) -> None:
    training = Training(rank, world_size)
    training.train(range(EPOCHS))
    # Every rank holds all values.
    losses = collectives.gather_objects(training.curriculum.loss.tolist())
    assert losses == [losses[0]] * world_size
    if rank == 0:
        found = {"seen": training.seen, "steps": training.curriculum.steps, "loss": losses[0]}
        (Path(folder) / f"{world_size}.json").write_text(json.dumps(found))


def test_any_number_of_workers_chooses_and_trains_the_same(tmp_path: Path) -> None:
    train_rank(0, 1, str(tmp_path))
    alone = json.loads((tmp_path / "1.json").read_text())
    for world_size in (2, 3):
        run_on_ranks(train_rank, world_size, world_size, str(tmp_path))
        found = json.loads((tmp_path / f"{world_size}.json").read_text())
        assert found["seen"] == alone["seen"]
        assert found["steps"] == alone["steps"]
        np.testing.assert_allclose(found["loss"], alone["loss"], rtol=1e-4)


def test_what_a_curriculum_is_shown() -> None:
    training = Training()
    first, second, *_ = training.train(range(2))
    steps_each = training.plans.whole.num_steps
    assert first.loss > 0
    assert second.loss > 0
    assert training.curriculum.buckets == [(epoch, bucket) for epoch in range(2) for bucket in range(3)]
    assert [len(part) for part in training.curriculum.steps] == [40, 40, 23] * 2
    whole, half = (np.concatenate(training.curriculum.steps[at : at + 3]) for at in (0, 3))
    assert sorted(np.concatenate(training.seen[:steps_each]).tolist()) == list(range(NUM))
    for number, step in enumerate(training.seen[:steps_each]):
        assert (whole[step] == number).all()
    trained = np.sort(np.concatenate(training.seen[steps_each:]).astype(int))
    assert len(trained) == NUM // 2
    left_out = np.setdiff1d(np.arange(NUM), trained)
    assert (half[trained] >= 0).all()
    assert half.max() == -(-(NUM // 2) // BATCH) - 1
    assert (half[left_out[left_out % 4 == 0]] == REFRESHED).all()
    assert (half[left_out[left_out % 4 != 0]] == NOT_SEEN).all()
    # Refreshed samples have their values in evaluation mode.
    [batch] = training.loader.as_is(np.array([left_out[left_out % 4 == 0][0]]), 1)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(training.trainer.model(batch.inputs), batch.targets)
    assert training.curriculum.loss[int(batch.positions)] == pytest.approx(loss.item(), rel=1e-5)


def test_a_curriculum_chooses_within_a_subset() -> None:
    subset = np.arange(0, NUM, 2)
    training = Training(subset=Subset(subset, NUM))
    training.train(range(2))
    assert set(np.concatenate(training.seen).astype(int)) <= set(subset.tolist())
    # The subset's samples are 0 … k-1 to it, and it is shown what happened to those.
    assert training.plans.of_epoch(1).num_samples == len(subset) // 2
    first, second = (np.concatenate(training.curriculum.steps[at : at + 2]) for at in (0, 2))
    assert len(first) == len(second) == len(subset)
    assert (first >= 0).all()
    trained = np.sort(np.concatenate(training.seen[training.plans.whole.num_steps :]).astype(int))
    assert (subset[second >= 0] == trained).all()
    assert (second == REFRESHED).any()


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    straight = Training()
    straight.train(range(EPOCHS))
    first = Training()
    first.train(range(2))
    place = Location.of(tmp_path) / checkpoint.checkpoint_name(1)
    with checkpoint.written(first.trainer, 1, {"plans": first.plans.state_dict()}) as folder:
        for file in folder.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    second = Training()
    extra = checkpoint.restore(second.trainer, place)
    second.plans.load_state_dict(extra["plans"])
    second.train(range(2, EPOCHS))
    assert first.seen + second.seen == straight.seen
    assert np.array_equal(second.curriculum.loss, straight.curriculum.loss)
    for one, other in zip(second.trainer.model.parameters(), straight.trainer.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_of_any_form_is_kept(tmp_path: Path) -> None:
    state = {
        "a": np.arange(3, dtype=np.float32),
        "b": {"c": [1, 2.5, "x", None], "d": np.array([True])},
        "e": np.int64(4),
    }
    place = Location.of(tmp_path)
    training = Training()
    with checkpoint.written(training.trainer, 0, state) as folder:
        for file in folder.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    found = checkpoint.restore(training.trainer, place)
    np.testing.assert_equal(found, state)
    assert found["a"].dtype == np.float32


def test_a_curriculum_is_named_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CURRICULA._items, "leave_out", LeaveOut)
    config = make_config({"train": {"curriculum": {"name": "leave_out"}}})
    made = make_curriculum(config.train.curriculum, FACTS, 4 * NUM)
    assert isinstance(made, LeaveOut)
    assert make_curriculum(CurriculumConfig(), FACTS, 0) is None
    with pytest.raises(ConfigError, match=r"record\.max_state_bytes: each worker would hold 412 bytes of .*\(loss\)"):
        make_curriculum(config.train.curriculum, FACTS, 4 * NUM - 1)
    with pytest.raises(
        ConfigError, match=r"config\.train\.curriculum\.name: unknown curriculum 'leav_out'.*'leave_out'"
    ):
        make_config({"train": {"curriculum": {"name": "leav_out"}}})
    with pytest.raises(ConfigError, match=r"config\.train\.curriculum\.options\.ratio"):
        make_config({"train": {"curriculum": {"name": "leave_out", "options": {"ratio": 1}}}})


def test_only_what_changes_batches_changes_an_identity() -> None:
    assert "curriculum" not in make_config({}).identity("train")
    scaling = {"num_workers": 3, "cpus_per_worker": 2.0, "max_failures": 0}
    assert make_config({"scaling": scaling}).batches_identity() == {}
    assert make_config({"scaling": {"partitions": 32}}).batches_identity()["scaling"]["partitions"] == 32
