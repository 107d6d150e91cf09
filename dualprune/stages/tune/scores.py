"""Scores for trials: each (method, its parameters, epochs) is computed once from the store and shared by all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from dualprune.core.config import Config
from dualprune.core.plugins import make_score
from dualprune.core.storage import fingerprint
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError
from dualprune.scores.score import EpochScore
from dualprune.stages.score.files import score_tables
from dualprune.stages.score.stage import ScoreJob, chosen_epochs, scored_blocks

COLUMNS = ["sample_id", "label", "position", "score", "mean_prob"]


@dataclass(frozen=True)
class ScoreRequest:
    """Everything that a score depends on: the method with its parameters, the epochs used, the treatment of NaN."""

    method: str
    built: EpochScore
    epochs: int | None
    on_nan: str
    mean_epochs: int | None = None

    @classmethod
    def of(cls, config: Config) -> ScoreRequest:
        """Return the scores that `config` selects by."""
        name = config.select_score
        built = make_score(config, name)
        if not isinstance(built, EpochScore):
            raise ConfigError(
                f"select.score: {name} reads columns, but a sweep needs a score of recorded epochs; select by another"
            )
        return cls(name, built, config.score.epochs, config.score.on_nan, config.mean_epochs)

    @property
    def key(self) -> str:
        """A key that is equal for equal scores."""
        options = self.built.options.model_dump(mode="json")
        return fingerprint([self.method, options, self.epochs, self.on_nan, self.mean_epochs])


def compute_scores(run: str, excluded: NDArray[np.int64] | None, request: ScoreRequest) -> pa.Table:
    """Return sample_id, label, position, score and mean_prob of all samples with a score, in position order.

    The positions in `excluded` are left out.
    """
    store = DynamicsStore(run)
    epochs = chosen_epochs(store, request.epochs)
    job = ScoreJob(run, {request.method: request.built}, epochs, request.on_nan, request.mean_epochs)
    tables = [
        score_tables(block, bucket, epochs, request.on_nan)[request.method]
        for bucket in range(store.num_buckets)
        for block in scored_blocks(store, bucket, job)
    ]
    table = pa.concat_tables(tables).select(COLUMNS)
    if excluded is not None:
        table = table.filter(pa.array(~np.isin(np.asarray(table["position"]), excluded)))
    return table.combine_chunks()


def check_methods(run: str, config: Config, methods: Sequence[str]) -> None:
    """Raise a ConfigError where a method needs a statistic that the run has not recorded."""
    recorded = DynamicsStore(run).columns
    for name in methods:
        missing = [column for column in make_score(config, name).reads if column not in recorded]
        if missing:
            raise ConfigError(
                f"select.score: {name} needs the statistic {missing[0]!r}, and {run} has recorded: "
                f"{', '.join(recorded)}; record it by naming {name} in score.methods"
            )


def _called(compute: Callable[[ScoreRequest], Any], request: ScoreRequest) -> Any:
    return compute(request)


class ScoreCache:
    """An actor that has each score computed at the first request, and returns a reference to everyone who asks."""

    def __init__(self, compute: Callable[[ScoreRequest], Any]) -> None:
        # It asks for no CPU: trials may hold all of them while they wait for this.
        self._task = ray.remote(num_cpus=0)(_called)
        self._compute = ray.put(compute)
        self._found: dict[str, Any] = {}
        self._computed: Counter[str] = Counter()

    def get(self, request: ScoreRequest) -> list[Any]:
        """Return a list of one reference to the scores; Ray would resolve a bare reference to its value."""
        key = request.key
        if key not in self._found:
            self._found[key] = self._task.remote(self._compute, request)
            self._computed[key] += 1
        return [self._found[key]]

    def computed(self) -> dict[str, int]:
        """Return how often each key was computed."""
        return dict(self._computed)
