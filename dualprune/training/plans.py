"""The plans of a training, epoch by epoch: for the whole set or a subset, or for what a curriculum chooses of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualprune.core.plugins import make
from dualprune.core.sections import CurriculumConfig
from dualprune.data.arrangement import Arrangement
from dualprune.data.choice import Subset, Within
from dualprune.data.loader import Loader
from dualprune.data.plan import EpochPlan
from dualprune.dynamics.statistics import STATISTICS, Forward, make_statistics
from dualprune.errors import ConfigError
from dualprune.training import collectives
from dualprune.training.curricula import Curriculum, Facts
from dualprune.training.loop import Trainer

# The step that `Curriculum.update` gets for a sample that no step trained.
REFRESHED, NOT_SEEN = -1, -2
REFRESH_BATCH = 512


class Plans:
    """Makes the plan of each epoch, and passes what happened to the curriculum, if any. Every rank calls it alike.

    Args:
        arrangement: of the training set.
        batch_size: samples per step over all ranks.
        subset: the part of the set to train on; None: all of it.
        curriculum: chooses from the subset, whose samples are 0 … k-1 to it; None: every epoch trains on all of it.
        ranks: this rank, and how many there are.

    `chosen` says of each epoch of a curriculum how many samples it trained on (`visits`), in how many `steps`, how many
    it left out (`hidden`) and could leave out at most (`cap`), how many of those it forwarded once more (`refreshed`),
    and what it multiplied the learning rate by (`lr_factor`).
    """

    def __init__(
        self,
        arrangement: Arrangement,
        batch_size: int,
        *,
        subset: Subset | None = None,
        curriculum: Curriculum | None = None,
        ranks: tuple[int, int] = (0, 1),
    ) -> None:
        self._arrangement, self._batch_size, self._subset = arrangement, batch_size, subset
        self._curriculum, self._ranks = curriculum, ranks
        self._statistics = [] if curriculum is None else make_statistics(curriculum.reads)
        # The plan of an epoch without a curriculum, whose steps the schedule counts.
        self.whole = EpochPlan(arrangement, 0, batch_size, subset)
        if curriculum is not None:
            known = curriculum.facts.num_samples
            assert known == self.whole.num_samples, (
                f"the curriculum expects {known}, not {self.whole.num_samples} samples"
            )
        self.chosen: list[dict[str, Any]] = []
        self._positions: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def of_epoch(self, epoch: int) -> EpochPlan:
        """Return the plan of an epoch."""
        choice = None if self._curriculum is None else self._curriculum.plan(epoch)
        if choice is None:
            return self.whole.of_epoch(epoch)
        choice = choice if self._subset is None else Within(self._subset, choice)
        return EpochPlan(self._arrangement, epoch, self._batch_size, choice)

    @torch.no_grad()
    def observe(self, positions: torch.Tensor, forward: Forward) -> None:
        """Keep what the curriculum reads of a step: positions int64 [b] (-1 for padding) and its outputs."""
        if self._statistics:
            # A copy: a view would keep the larger tensor in memory.
            self._positions.append(positions.clone())
            values = [statistic.compute(forward).float() for statistic in self._statistics]
            self._values.append(torch.stack(values))

    def end_epoch(self, plan: EpochPlan, trainer: Trainer, loader: Loader) -> None:
        """Forward the samples that the plan refreshes, and pass the epoch to the curriculum."""
        if self._curriculum is None:
            return
        num_steps = len(self._positions)
        mine = plan.refresh(plan.partitions(*self._ranks))
        # Without a statistic to read, nothing is forwarded again.
        refreshed = sum(self._of_all(len(mine))) if self._statistics else 0
        self._note(plan, refreshed)
        if refreshed:
            trainer.forward(loader.as_is(mine, REFRESH_BATCH), self.observe)
        values, step = self._gathered(num_steps)
        rows = self._curriculum.facts.bucket_rows
        for bucket, start in enumerate(range(0, len(step), rows)):
            part = {name: column[start : start + rows] for name, column in values.items()}
            self._curriculum.update(plan.epoch, bucket, part, step[start : start + rows])

    def state_dict(self) -> dict[str, Any]:
        """Return the curriculum's state and what it chose; empty without one."""
        if self._curriculum is None:
            return {}
        return {"curriculum": self._curriculum.state_dict(), "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state after an epoch."""
        if self._curriculum is not None:
            self._curriculum.load_state_dict(state["curriculum"])
            self.chosen = list(state["chosen"])

    def _note(self, plan: EpochPlan, refreshed: int) -> None:
        """Note what an epoch trained on."""
        hidden = self.whole.num_samples - plan.num_samples
        self.chosen.append(
            {
                "epoch": plan.epoch,
                "visits": plan.num_samples,
                "steps": plan.num_steps,
                "hidden": hidden,
                "cap": hidden if plan.cap is None else plan.cap,
                "refreshed": refreshed,
                "lr_factor": plan.lr_factor,
            }
        )

    def _of_all(self, value: Any) -> list[Any]:
        return collectives.gather_objects(value) if self._ranks[1] > 1 else [value]

    def _gathered(self, num_steps: int) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
        """Return the values of all ranks, float32 [N] by name, and the step of each sample, int64 [N]."""
        assert self._curriculum is not None
        names = self._curriculum.reads
        step = np.full(self._arrangement.num_samples, NOT_SEEN, dtype=np.int64)
        values = {name: np.full(len(step), np.nan, dtype=np.float32) for name in names}
        if not names:
            return values, step if self._subset is None else step[self._subset.positions]
        numbers = [number if number < num_steps else REFRESHED for number in range(len(self._positions))]
        positions = torch.cat(self._positions)
        lengths = torch.tensor([len(part) for part in self._positions])
        steps = torch.repeat_interleave(torch.tensor(numbers), lengths).to(positions.device)
        columns = torch.cat(self._values, dim=1)
        self._positions, self._values = [], []
        real = positions >= 0
        parts: Sequence[torch.Tensor] = [positions[real], steps[real], *columns[:, real]]
        if self._ranks[1] > 1:
            parts = [collectives.gather_rows(part) for part in parts]
        where, when, *found = (part.cpu().numpy() for part in parts)
        # A sample that was trained on and refreshed has its fresh value.
        order = np.argsort(when == REFRESHED, kind="stable")
        step[where[order]] = when[order]
        for name, column in zip(names, found, strict=True):
            values[name][where[order]] = column[order]
        if self._subset is None:
            return values, step
        inside = self._subset.positions
        return {name: column[inside] for name, column in values.items()}, step[inside]


def make_curriculum(config: CurriculumConfig, facts: Facts, max_bytes: int) -> Curriculum | None:
    """Return the curriculum that the configuration names, ready to plan; None where it names none.

    Raises:
        ConfigError: it is not registered, has no such options, reads a statistic that curricula cannot read, or each
        worker would hold more than `max_bytes` of what it reads.
    """
    if config.name is None:
        return None
    curriculum: Curriculum = make("curriculum", config.name, config.options, "train.curriculum.options")
    for name in curriculum.reads:
        statistic = STATISTICS[name]
        if statistic.width != 1 or statistic.combines():
            raise ConfigError(
                f"train.curriculum.name: {config.name!r} reads {name!r}; a curriculum can only read statistics with "
                "one number per sample that do not compare epochs. Use another curriculum"
            )
    held = 4 * facts.num_samples * len(curriculum.reads)
    if held > max_bytes:
        raise ConfigError(
            f"record.max_state_bytes: each worker would hold {held:,} bytes of what {config.name!r} reads "
            f"({', '.join(curriculum.reads)}), but at most {max_bytes:,} are allowed; raise the limit, or use another "
            "curriculum"
        )
    curriculum.start(facts)
    return curriculum
