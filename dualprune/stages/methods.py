"""The score methods that a configuration names, and what they read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dualprune.core.config import Config
from dualprune.core.plugins import make_sampler, make_score
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.score import SAMPLE_ID, SCORES, ColumnScore, EpochScore, ScoreMethod

# The prefix of what a ColumnScore reads from another method's scores.
SCORE = "score:"
# In such a name, between the method and another run's directory.
OTHER_RUN = "@"


def score_methods(config: Config) -> dict[str, ScoreMethod]:
    """Return the score methods to compute by name, each after those whose scores it reads.

    They are those of `score.methods`, the one of `select.score`, those that the sampler reads beside it, and those that
    these read.
    """
    methods: dict[str, ScoreMethod] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfigError(
                f"score.methods: {' reads '.join([*path, name])}, but a score cannot depend on itself; remove one"
            )
        if name in methods:
            return
        method: ScoreMethod = make_score(config, name)
        for read in scores_read(method):
            if OTHER_RUN not in read:
                add(read, (*path, name))
        methods[name] = method

    for name in [*config.score.methods, config.select_score, *other_scores(config)]:
        add(name, ())
    return methods


def other_scores(config: Config) -> tuple[str, ...]:
    """Return the score methods whose scores the sampler reads beside those that it selects by."""
    return tuple(name for name in make_sampler(config).reads if name in SCORES)


def scores_read(method: ScoreMethod) -> list[str]:
    """Return the names of the methods whose scores a method reads; NAME@RUN is a method's score in another run."""
    return [name.removeprefix(SCORE) for name in method.reads if name.startswith(SCORE)]


def run_and_score(run: RunDirectory, name: str) -> tuple[RunDirectory, str]:
    """Return the run that holds a score, and its method, of a name that `scores_read` returned."""
    method, _, other = name.partition(OTHER_RUN)
    return (RunDirectory(other) if other else run), method


def epoch_scores(methods: Mapping[str, ScoreMethod]) -> dict[str, EpochScore]:
    """Return the methods that read recorded epochs."""
    return {name: method for name, method in methods.items() if isinstance(method, EpochScore)}


def column_scores(methods: Mapping[str, ScoreMethod]) -> dict[str, ColumnScore]:
    """Return the methods that read columns."""
    return {name: method for name, method in methods.items() if isinstance(method, ColumnScore)}


def statistics_read(methods: Mapping[str, ScoreMethod]) -> tuple[str, ...]:
    """Return the statistics that scoring by these methods reads, with `target_prob` for every file's `mean_prob`."""
    return _union((TARGET_PROB,), *(method.reads for method in epoch_scores(methods).values()))


def columns_read(methods: Mapping[str, ScoreMethod]) -> tuple[str, ...]:
    """Return the columns of the run that scoring by these methods reads."""
    names = _union(*(method.reads for method in column_scores(methods).values()))
    return tuple(name for name in names if not name.startswith(SCORE) and name != SAMPLE_ID)


def measurements_read(config: Config) -> list[str]:
    """Return the columns that the configured scores read and a measurement makes."""
    from dualprune.training.measurements import MEASUREMENTS

    return [name for name in columns_read(score_methods(config)) if name in MEASUREMENTS]


def _union(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))
