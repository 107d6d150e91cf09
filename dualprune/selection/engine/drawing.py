"""From `config.select` to decisions: which questions are put to the samples, in what order, for all ratios at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dualprune.core.config import SelectConfig
from dualprune.errors import ConfigError
from dualprune.selection.engine.cells import Ints
from dualprune.selection.engine.counts import num_kept, some_kept
from dualprune.selection.engine.question import Decision, Question, Strata, no_positions
from dualprune.selection.engine.quotas import group_quotas, minimums, stratum_budgets
from dualprune.selection.engine.search import find_last
from dualprune.selection.engine.sketch import Sample
from dualprune.selection.engine.survey import Each, Survey, survey
from dualprune.selection.sampler import SAMPLERS, Draw, Sampler, Summary
from dualprune.selection.samplers.plain import ScoreDraw

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Constraints:
    """Positions that are always or never kept, ascending, and the names of the groups that `balance` is about."""

    forced: Ints = field(default_factory=no_positions)
    excluded: Ints = field(default_factory=no_positions)
    groups: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Drawn:
    """One ratio's decision, with the parameters of the sampler and, by cell, what was drawn of how many."""

    ratio: float
    num_samples: int
    num_kept: int
    num_candidates: int
    decision: Decision
    parameters: dict[str, Any]
    cells_drawn: Ints
    cells_candidates: Ints


def draw_all(
    each: Each,
    config: SelectConfig,
    ratios: Sequence[float],
    constraints: Constraints,
    known: Survey | None = None,
) -> list[Drawn]:
    """Draw every ratio in the same passes over the samples; with `config.nested`, each from the one before.

    `known` is a survey of all samples, where there is one already.
    """
    sampler = SAMPLERS[config.method](config)
    _check(config, sampler)
    grouped = config.balance.active
    base = Question(
        ScoreDraw(config.seed),
        num_groups=len(constraints.groups) if grouped else 1,
        forced=constraints.forced,
        excluded=constraints.excluded,
        score_range=sampler.score_range,
    )
    anchor_size = config.anchor_size if sampler.needs_mean_prob else 0
    seen = survey(each, base, anchor_size, known)
    total, anchor, sample = seen.num_samples, seen.anchor(anchor_size), seen.sample
    if sampler.skipped > 0.0:
        base = _without_skipped(each, base, sampler, seen)
        seen = survey(each, base)
    if sampler.num_strata > 1:
        base = replace(base, strata=Strata(sampler.num_strata, seen.lowest, seen.highest))
        seen = survey(each, base)
    summary = Summary(total, anchor, seen.lowest, seen.highest)
    work = _Drawing(each, config, constraints, sampler, summary, total, sample)
    if not sampler.has_ratio:
        count = int(seen.available.sum())
        if count == 0:
            raise ConfigError(
                f"select.min_score, select.max_score: no score lies in {list(sampler.score_range)}; scores go from "
                f"{work.score_bounds(base)}"
            )
        return work.draw(base, seen, [1.0 - count / total], [count])
    if not config.nested:
        return work.draw(base, seen, ratios, [some_kept(total, ratio) for ratio in ratios])
    done: dict[float, Drawn] = {}
    for ratio in sorted(set(ratios)):
        [done[ratio]] = work.draw(base, seen, [ratio], [some_kept(total, ratio)])
        base = replace(base, within=(*base.within, done[ratio].decision))
        seen = survey(each, base)
    return [done[ratio] for ratio in ratios]


def _check(config: SelectConfig, sampler: Sampler) -> None:
    balance = config.balance
    if balance.active and not sampler.has_ratio:
        raise ConfigError(
            f"select.balance: {config.method} keeps what its limits say, so groups have no quota; use another sampler"
        )
    if balance.quota == "none" and balance.minimum and sampler.num_strata > 1:
        raise ConfigError(
            f"select.balance.minimum: {config.method} draws a number from each stratum, over all groups together; "
            "set select.balance.quota to proportional to draw group by group"
        )


def _without_skipped(each: Each, base: Question, sampler: Sampler, seen: Survey) -> Question:
    """Return the question without the share of samples at one end of the score that is passed over."""
    candidates = int(seen.available.sum())
    count = candidates - num_kept(candidates, sampler.skipped)
    draw = ScoreDraw(base.draw.seed, sampler.skipped_end, seen.lowest, seen.highest)
    # Who is always kept is not in the way here, and stays where its score puts it.
    question = replace(base, draw=draw, num_groups=1, forced=no_positions())
    of = survey(each, question).available if len(base.forced) else np.array([candidates])
    [last] = find_last(each, [question], [np.array([min(count, int(of[0]))])], [of], seen.sample)
    return replace(base, without=(Decision(question, last),))


class _Drawing:
    """What the draws of all ratios share."""

    def __init__(
        self,
        each: Each,
        config: SelectConfig,
        constraints: Constraints,
        sampler: Sampler,
        summary: Summary,
        total: int,
        sample: Sample,
    ) -> None:
        self._each, self._config, self._constraints = each, config, constraints
        self._sampler, self._summary, self._total, self._sample = sampler, summary, total, sample

    def draw(self, base: Question, seen: Survey, ratios: Sequence[float], counts: Sequence[int]) -> list[Drawn]:
        """Return a decision a ratio."""
        candidates, forced = int(seen.available.sum()), int(seen.forced.sum())
        draws: list[Draw] = []
        facts: list[dict[str, Any]] = []
        for ratio, count in zip(ratios, counts, strict=True):
            self._check_count(ratio, count, candidates, forced)
            draw, parameters = self._sampler.draw(ratio, self._summary)
            draws.append(draw)
            facts.append(parameters)
            self._warn(draw, count, candidates, seen.num_positive)
        questions, available = [replace(base, draw=draw) for draw in draws], seen.available
        balance = self._config.balance
        if balance.active and balance.quota == "none":
            questions = self._promoted(questions, seen, counts)
            available = np.array([candidates])
            wanted = [np.array([count]) for count in counts]
        else:
            wanted = [self._cell_counts(base, seen, count) for count in counts]
        lasts = find_last(self._each, questions, wanted, [available] * len(questions), self._sample)
        forced_of = seen.forced if len(seen.forced) == len(available) else np.array([forced])
        return [
            Drawn(
                ratio,
                self._total,
                count,
                candidates,
                Decision(question, last),
                parameters,
                number - forced_of,
                available - forced_of,
            )
            for ratio, count, question, last, parameters, number in zip(
                ratios, counts, questions, lasts, facts, wanted, strict=True
            )
        ]

    def _promoted(self, questions: list[Question], seen: Survey, counts: Sequence[int]) -> list[Question]:
        """Put the best of each group first, so that the least number of each is kept."""
        names = self._constraints.groups
        wanted = [
            np.maximum(seen.forced, minimums(self._config.balance, names, seen.available, count)) for count in counts
        ]
        for count, least in zip(counts, wanted, strict=True):
            if least.sum() > count:
                raise ConfigError(
                    f"select.always_keep and select.balance.minimum ask for {least.sum()} samples, but only {count} "
                    "are kept; lower the pruning ratio"
                )
        lasts = find_last(self._each, questions, wanted, [seen.available] * len(questions), self._sample)
        return [
            replace(question, num_groups=1, promoted=(Decision(question, last),))
            for question, last in zip(questions, lasts, strict=True)
        ]

    def _cell_counts(self, base: Question, seen: Survey, count: int) -> Ints:
        shape = (base.num_groups, base.strata.count)
        available, forced = seen.available.reshape(shape), seen.forced.reshape(shape)
        quotas = np.array([count])
        if self._config.balance.active:
            names = self._constraints.groups
            quotas = group_quotas(self._config.balance, names, available.sum(1), forced.sum(1), count)
        budgets = [
            must + stratum_budgets(sizes - must, int(quota) - int(must.sum()))
            for sizes, must, quota in zip(available, forced, quotas, strict=True)
        ]
        return np.concatenate(budgets)

    def _check_count(self, ratio: float, count: int, candidates: int, forced: int) -> None:
        if count > candidates:
            raise ConfigError(
                f"select.ratio: {ratio:g} of {self._total} samples keeps {count}, but only {candidates} may be kept "
                "(select.never_keep, deduplicate, skip and drop_hardest leave out the others); raise the pruning ratio"
            )
        if forced > count:
            raise ConfigError(
                f"select.always_keep: {forced} samples are always kept, but ratio {ratio:g} of {self._total} samples "
                f"keeps {count}; lower the pruning ratio or shorten the file"
            )

    def _warn(self, draw: Draw, count: int, candidates: int, positive: int) -> None:
        if draw.chance != "weight" or positive >= count:
            return
        if positive == 0:
            logger.warning(
                "%s: all %d candidates have weight zero; the %d kept are the next by score, ties by chance",
                self._config.method, candidates, count,
            )  # fmt: skip
        else:
            logger.warning(
                "%s: %d of %d candidates have weight zero, and only %d have a positive one; the other %d of the %d "
                "kept are the next by score",
                self._config.method, candidates - positive, candidates, positive, count - positive, count,
            )  # fmt: skip

    def score_bounds(self, base: Question) -> str:
        """Return the range of all scores, in words."""
        found = survey(self._each, replace(base, score_range=(-np.inf, np.inf)))
        return f"{found.lowest:g} to {found.highest:g}"
