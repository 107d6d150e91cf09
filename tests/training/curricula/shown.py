"""Facts of small trainings, and what curricula are shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.plugins import make
from dualprune.training.curricula import Curriculum, Facts

NOT_SEEN = -2


def facts(num: int, **others: Any) -> Facts:
    known = {
        "labels": np.arange(num) % 2,
        "num_classes": 2,
        "epochs": 200,
        "batch_size": 4,
        "bucket_rows": 7,
        "seed": 5,
    }
    return Facts(num_samples=num, **{**known, **others})


def made(name: str, known: Facts, **options: Any) -> Any:
    curriculum = make("curriculum", name, options, "train.curriculum.options")
    curriculum.start(known)
    return curriculum


def weights(curriculum: Curriculum, epoch: int) -> NDArray[np.float32]:
    count = curriculum.facts.num_samples
    choice = curriculum.plan(epoch)
    return np.ones(count, dtype=np.float32) if choice is None else choice.weights(np.arange(count))


def show(
    curriculum: Curriculum,
    epoch: int,
    loss: Sequence[float] | NDArray[np.floating],
    *,
    step: NDArray[np.int64] | None = None,
    prob: Sequence[float] | NDArray[np.floating] | None = None,
    correct: Sequence[float] | NDArray[np.floating] | None = None,
) -> None:
    """Show an epoch, bucket by bucket; by default all samples were trained on, in order."""
    count, rows = curriculum.facts.num_samples, curriculum.facts.bucket_rows
    step = np.arange(count) // curriculum.facts.batch_size if step is None else step
    known = {"loss": loss, "target_prob": np.exp(-np.asarray(loss)) if prob is None else prob}
    known["correct"] = np.ones(count) if correct is None else correct
    values = {name: np.asarray(known[name], dtype=np.float32) for name in curriculum.reads}
    for name in values:
        values[name] = np.where(step == NOT_SEEN, np.float32(np.nan), values[name])
    for bucket, start in enumerate(range(0, count, rows)):
        part = {name: column[start : start + rows] for name, column in values.items()}
        curriculum.update(epoch, bucket, part, step[start : start + rows])


def step_of(trained: NDArray[np.bool_], batch: int = 4) -> NDArray[np.int64]:
    """Return the steps that train these samples, in order."""
    step = np.full(len(trained), NOT_SEEN)
    step[trained] = np.arange(np.count_nonzero(trained)) // batch
    return step
