"""What a sweep optimises: the value of a trial, and the best of all trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dualprune.core.sections import TuneConfig
from dualprune.stages.tune.trial_log import FINISHED, Record

ACCURACY, LARGEST_RATIO, PARETO = "accuracy", "largest_ratio", "pareto"
# Names of the values that Ray Tune maximises.
METRIC = "objective"
METRICS = ["ratio", "accuracy"]


@dataclass(frozen=True)
class Objective:
    """The objective of `config.tune`; `full_accuracy` is that of the full set on the same validation split."""

    kind: str
    epsilon: float
    full_accuracy: float | None = None

    @classmethod
    def of(cls, config: TuneConfig, full_accuracy: float | None) -> Objective:
        """Return the objective that a configuration asks for."""
        assert full_accuracy is not None or config.objective != LARGEST_RATIO, "the largest ratio needs a baseline"
        return cls(config.objective, config.epsilon, full_accuracy)

    def value(self, accuracy: float, ratio: float) -> float:
        """Return the value to maximise.

        For the largest ratio it is the ratio if accuracy ≥ full - ε, else the (negative) lack of accuracy. So every
        point that meets the condition is above every other point, and the others are ordered by how close they come.
        """
        if self.kind != LARGEST_RATIO:
            return accuracy
        assert self.full_accuracy is not None
        margin = accuracy - (self.full_accuracy - self.epsilon)
        return ratio if margin >= 0.0 else margin

    def values(self, record: Record) -> list[float]:
        """Return the values by which the search ranks a trial: one, or ratio and accuracy."""
        if self.kind == PARETO:
            return [record["ratio"], record["accuracy"]]
        return [record["objective"]]

    def best(self, records: Iterable[Record]) -> list[Record]:
        """Return the best of the trials that finished, the chosen one first.

        accuracy: the best of each ratio, the highest accuracy first. largest_ratio: by value, ties by accuracy, from
        the highest on. pareto: the front, of which the chosen one has the largest ratio within ε of the front's
        highest accuracy; the others follow by ratio.
        """
        finished = [record for record in records if record["state"] == FINISHED]
        if self.kind == PARETO:
            return _chosen_first(front(finished), self.epsilon)
        ranked = sorted(finished, key=lambda r: (-r["objective"], -r["accuracy"], r["key"]))
        if self.kind == LARGEST_RATIO:
            return ranked[:10]
        first_of_ratio: dict[float, Record] = {}
        for record in ranked:
            first_of_ratio.setdefault(record["ratio"], record)
        return list(first_of_ratio.values())[:10]


def front(records: Sequence[Record]) -> list[Record]:
    """Return the trials that no other beats in both ratio and accuracy, by ratio; of equal trials the first."""
    ranked = sorted(records, key=lambda r: (-r["ratio"], -r["accuracy"], r["key"]))
    kept: list[Record] = []
    for record in ranked:
        if not kept or record["accuracy"] > kept[-1]["accuracy"]:
            kept.append(record)
    return kept[::-1]


def _chosen_first(records: list[Record], epsilon: float) -> list[Record]:
    if not records:
        return []
    highest = max(record["accuracy"] for record in records)
    chosen = max((r for r in records if r["accuracy"] >= highest - epsilon), key=lambda r: r["ratio"])
    return [chosen, *(record for record in records if record is not chosen)]
