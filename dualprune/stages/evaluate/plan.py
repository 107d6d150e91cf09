"""The trainings of a comparison: the full set, random subsets and selections, each with every seed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location, fingerprint
from dualprune.errors import RunError
from dualprune.exchange.kept import KEPT
from dualprune.stages.evaluate.jobs import AllSamples, Job, KeptSamples, RandomSamples, Samples
from dualprune.stages.select.facts import selection_facts

logger = logging.getLogger(__name__)
FULL, RANDOM = "full", "random"
# The folder, in evaluation/, of draws of selections with further seeds, while they are trained on.
DRAWS = "draws"


@dataclass(frozen=True)
class Training:
    """One training of a comparison; `fingerprint` identifies the scores of its subset and the recipe.

    `draw` 0 trains on the kept set of a selection, others on a new draw of it.
    """

    subset: str
    ratio: float
    kept: int
    seed: int
    budget: str
    fingerprint: str
    selection: str
    draw: int = 0

    def file(self, run: RunDirectory) -> Location:
        """Return the file of the result."""
        facts = asdict(self)
        if not self.draw:
            # Versions before had no further draws, and their trainings are still found.
            del facts["draw"]
        name = f"{self.subset}-{self.ratio:g}-{self.budget}-{self.seed}-{fingerprint(facts)}.json"
        return run.root / "evaluation" / name

    def job(self, run: RunDirectory, config: Config) -> Job:
        """Return it as a job for a worker."""
        samples: Samples = AllSamples()
        if self.selection:
            samples = KeptSamples(str(run.root.address), self.place(run), self.kept)
        elif self.subset == RANDOM:
            samples = RandomSamples.of(config, self.ratio, self.seed, plain_seed=self.seed)
        draw = self.seed if self.subset == RANDOM else self.draw
        return Job(self.subset, samples, config, self.ratio, self.seed, self.budget, draw)

    def place(self, run: RunDirectory) -> Location:
        """Return the place of the samples of its selection, or of another draw of it."""
        folder = run.selection(self.selection)
        if self.draw:
            folder = run.root / "evaluation" / DRAWS / f"{self.selection}-{self.draw}"
        return folder / KEPT


def plan_trainings(
    run: RunDirectory, config: Config, names: Sequence[str], fingerprints: Sequence[str]
) -> list[Training]:
    """Return every training of a comparison of the named selections, the full set first.

    `fingerprints` are those of the selections. A RunError where there is nothing to train.
    """
    evaluate = config.evaluate
    index = run.require("index", "record")
    # With stream 1, baselines are drawn as before there were streams.
    noise = [] if config.select.stream == 1 else [{"stream": config.select.stream}]
    subsets: list[tuple[str, float, int, str, str]] = []
    redrawn = set()
    for name, drawn in zip(names, fingerprints, strict=True):
        facts = selection_facts(run, name)
        subsets.append((name, facts["ratio"], facts["num_kept"], drawn, name))
        if evaluate.redraw and facts.get("by_chance", True):
            redrawn.add(name)
    if evaluate.random:
        sizes = dict.fromkeys((ratio, kept) for _, ratio, kept, _, _ in subsets)
        subsets = [(RANDOM, ratio, kept, index["fingerprint"], "") for ratio, kept in sizes] + subsets
    rows: list[tuple[str, float, int, str, str, str]]
    rows = [(*subset, budget) for subset in subsets for budget in evaluate.budget]
    if evaluate.full:
        total = index["summary"]["samples"]
        rows = [(FULL, 0.0, total, index["fingerprint"], "", budget) for budget in _full_budgets(config)] + rows
    trainings = [
        Training(
            subset,
            ratio,
            kept,
            seed,
            budget,
            fingerprint([drawn, _recipe(config, budget), *(noise if subset == RANDOM else [])]),
            selection,
            seed if subset in redrawn else 0,
        )
        for subset, ratio, kept, drawn, selection, budget in rows
        for seed in range(evaluate.seeds)
    ]
    if not trainings:
        raise RunError(
            "there is nothing to evaluate: no selection, and evaluate.full and evaluate.random are off; name "
            "selections in evaluate.selections, or turn one of these on"
        )
    return trainings


def tell_of_steps(config: Config) -> None:
    """Log what the budget `steps` means: older versions meant samples by it."""
    evaluate = config.evaluate
    if "steps" in evaluate.budget and evaluate.steps is None:
        logger.info(
            "evaluate.budget: with `steps` each subset takes as many optimizer steps as the full set; the equal number "
            "of samples that older versions called so is `samples`"
        )


def _full_budgets(config: Config) -> list[str]:
    """Return the budgets of the full set: with as much of anything as itself it is the same training, called epochs."""
    own = [] if config.evaluate.steps is None else ["steps"]
    return own if config.evaluate.budget == own else ["epochs", *own]


def _recipe(config: Config, budget: str) -> dict[str, Any]:
    evaluate = config.evaluate
    steps: list[Any] = []
    if budget == "steps":
        # A budget called "steps" alone stands in files of older versions, which meant samples.
        steps = ["optimizer"] if evaluate.steps is None else [evaluate.steps]
    return {
        "model": config.identity("model"),
        "train": config.identity("train"),
        **config.batches_identity(),
        "evaluate": [evaluate.epochs, evaluate.batch_size, *steps],
    }
