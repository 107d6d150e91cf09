"""The trainings of a comparison: the full set, random subsets and selections, each with every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location, fingerprint
from dualprune.errors import RunError
from dualprune.stages.evaluate.jobs import AllSamples, Job, KeptSamples, RandomSamples, Samples
from dualprune.stages.select.facts import selection_facts

FULL, RANDOM = "full", "random"


@dataclass(frozen=True)
class Training:
    """One training of a comparison; `fingerprint` identifies the scores of its subset and the recipe."""

    subset: str
    ratio: float
    kept: int
    seed: int
    budget: str
    fingerprint: str
    selection: str

    def file(self, run: RunDirectory) -> Location:
        """Return the file of the result."""
        name = f"{self.subset}-{self.ratio:g}-{self.budget}-{self.seed}-{fingerprint(asdict(self))}.json"
        return run.root / "evaluation" / name

    def job(self, run: RunDirectory, config: Config) -> Job:
        """Return it as a job for a worker."""
        samples: Samples = AllSamples()
        if self.selection:
            samples = KeptSamples(str(run.root.address), self.selection)
        elif self.subset == RANDOM:
            samples = RandomSamples(self.ratio, self.seed)
        return Job(self.subset, samples, config, self.ratio, self.seed, self.budget)


def plan_trainings(
    run: RunDirectory, config: Config, names: Sequence[str], fingerprints: Sequence[str]
) -> list[Training]:
    """Return every training of a comparison of the named selections, the full set first.

    `fingerprints` are those of the selections. A RunError where there is nothing to train.
    """
    evaluate = config.evaluate
    recipe = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        **config.batches_identity(),
        "evaluate": [evaluate.epochs, evaluate.batch_size, *([] if evaluate.steps is None else [evaluate.steps])],
    }
    budgets = ["epochs", "steps"] if evaluate.budget == "both" else [evaluate.budget]
    index = run.require("index", "record")
    whole = fingerprint([index["fingerprint"], recipe])
    subsets: list[tuple[str, float, int, str, str]] = []
    for name, drawn in zip(names, fingerprints, strict=True):
        facts = selection_facts(run, name)
        subsets.append((name, facts["ratio"], facts["num_kept"], fingerprint([drawn, recipe]), name))
    if evaluate.random:
        sizes = dict.fromkeys((ratio, kept) for _, ratio, kept, _, _ in subsets)
        subsets = [(RANDOM, ratio, kept, whole, "") for ratio, kept in sizes] + subsets
    trainings = [
        Training(subset, ratio, kept, seed, budget, drawn, selection)
        for subset, ratio, kept, drawn, selection in subsets
        for budget in budgets
        for seed in range(evaluate.seeds)
    ]
    if evaluate.full:
        total = index["summary"]["samples"]
        full_budget = "epochs" if evaluate.steps is None else "steps"
        trainings = [
            # With as many steps or epochs as itself, the full set is the same training; only a fixed number differs.
            *(Training(FULL, 0.0, total, seed, full_budget, whole, "") for seed in range(evaluate.seeds)),
            *trainings,
        ]
    if not trainings:
        raise RunError(
            "there is nothing to evaluate: no selection, and evaluate.full and evaluate.random are off; name "
            "selections in evaluate.selections, or turn one of these on"
        )
    return trainings
