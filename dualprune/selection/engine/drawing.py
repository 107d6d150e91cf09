"""Turns a sampler and its constraints into cutoffs, in passes over the samples that serve all ratios at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dualprune.errors import ConfigError
from dualprune.selection.engine.counts import some_kept
from dualprune.selection.engine.outcome import Outcome
from dualprune.selection.engine.quotas import group_quotas, minimums
from dualprune.selection.engine.ranks import TOP_BIT, ranks
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.engine.search import kth_highest
from dualprune.selection.engine.spec import Cutoff, DrawSpec, no_positions
from dualprune.selection.engine.survey import Each, Survey, all_scores, survey
from dualprune.selection.engine.ties import count_ties
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import ColumnDraw, Ints, Ranking, Sampler, Summary

logger = logging.getLogger(__name__)


def draw_all(each: Each, sampler: Sampler, rules: DrawRules, constraints: Constraints) -> list[Outcome]:
    """Draw every ratio in the same passes over the samples; with `rules.nested`, each from the one before."""
    drawing = _Drawing(each, sampler, rules, constraints)
    if not sampler.has_ratio:
        return drawing.draw(rules.ratios[:1])
    if not rules.nested:
        return drawing.draw(rules.ratios)
    done: dict[float, Outcome] = {}
    for ratio in sorted(set(rules.ratios)):
        [done[ratio]] = drawing.draw([ratio], list(done.values()))
    return [done[ratio] for ratio in rules.ratios]


def check_reads(sampler: Sampler, there: Sequence[str]) -> None:
    """Raise a ConfigError where a sampler reads a column that is not among those beside the score."""
    for column in sampler.reads:
        if column not in there:
            raise ConfigError(
                f"select.method: {sampler.name} with these options needs {column} beside the score, but there is only: "
                f"{', '.join(there) or 'the score'}; change select.options.{sampler.name}, or use another sampler"
            )


class _Drawing:
    """The state that the draws of all ratios share."""

    def __init__(self, each: Each, sampler: Sampler, rules: DrawRules, constraints: Constraints) -> None:
        self._each, self._sampler, self._rules = each, sampler, rules
        self._balance, self._groups = rules.balance, constraints.groups
        if sampler.keeps_shares and self._balance.quota == "none":
            self._balance = self._balance.model_copy(update={"quota": "proportional"})
        if self._balance.active and not sampler.has_ratio:
            raise ConfigError(
                f"select.balance: {sampler.name} keeps all within its limits, so groups have no quota; use another "
                "sampler"
            )
        num_groups = len(self._groups) if self._balance.active else 1
        salt = rules.salt(sampler.name)
        self._base = DrawSpec(ColumnDraw(), salt, num_groups, constraints.forced, constraints.excluded)
        cuts_groups = sampler.needs_groups and num_groups < len(self._groups)
        reads = [*sampler.reads, *(["group"] if cuts_groups else [])]
        self._seen = survey(each, self._base, sampler.num_top, reads)
        if self._seen.lowest == -np.inf:
            self._base = replace(self._base, has_unranked=True)
            self._seen = survey(each, self._base, sampler.num_top, reads)
        self._group_sizes = self._seen.available
        if cuts_groups:
            self._group_sizes = survey(each, replace(self._base, num_groups=len(self._groups))).available
        self._ranking: Ranking | None = None
        self._cutoffs: dict[Any, Cutoff] = {}
        # Surveys by a draw's own cells; ratios with equal cells share one.
        self._surveys: list[tuple[DrawSpec, Survey]] = []

    def draw(self, ratios: Sequence[float], larger: Sequence[Outcome] = ()) -> list[Outcome]:
        """Draw some ratios in the same passes, from what every one of the `larger` keeps."""
        total = self._seen.num_samples
        specs = [self._spec(ratio, tuple(outcome.cutoff for outcome in larger)) for ratio in ratios]
        surveys = [self._sizes(spec) for spec in specs]
        if self._sampler.has_ratio:
            counts = [some_kept(total, ratio) for ratio in ratios]
        else:
            counts = [self._all_of(seen) for seen in surveys]
            ratios = [1.0 - count / total for count in counts]
        for ratio, count, seen in zip(ratios, counts, surveys, strict=True):
            self._check_count(ratio, count, seen)
        available = [seen.available for seen in surveys]
        if self._balance.active and self._balance.quota == "none":
            specs = self._with_minimums(specs, surveys, counts)
            available = [np.array([of.sum()]) for of in available]
            wanted = [np.array([count]) for count in counts]
        else:
            wanted = [self._budgets(*one) for one in zip(specs, surveys, counts, strict=True)]
        outcomes = []
        cutoffs = self._search(specs, wanted, available)
        for ratio, count, cutoff, seen, number, of in zip(
            ratios, counts, cutoffs, surveys, wanted, available, strict=True
        ):
            forced = seen.forced if len(seen.forced) == len(of) else np.array([seen.forced.sum()])
            outcome = Outcome(ratio, total, count, int(of.sum()), cutoff, number - forced, of - forced, tuple(larger))
            self._warn(outcome)
            outcomes.append(outcome)
        return outcomes

    def _spec(self, ratio: float, within: tuple[Cutoff, ...]) -> DrawSpec:
        """Find the sampler's cuts among all candidates, and return its draw with all constraints."""
        seen, sizes = self._seen, self._group_sizes
        kept = some_kept(seen.num_samples, ratio) if self._sampler.has_ratio else int(sizes.sum())
        cuts = []
        for place, cut in enumerate(self._sampler.cuts(ratio, sizes, kept)):
            key = (cut.column, cut.end, tuple(cut.count.tolist()))
            if key not in self._cutoffs:
                # Samples that are always kept count here like the others, where the column ranks them. With the noise
                # of the draw, those that the cut's ties leave would be drawn less often than others.
                spec = replace(
                    self._base,
                    draw=ColumnDraw(cut.column, cut.end),
                    salt=self._rules.salt(self._sampler.name, f"/cut{place}"),
                    num_groups=len(cut.count),
                    forced=no_positions(),
                )
                of = survey(self._each, spec).available if len(self._base.forced) else sizes
                of = of if len(of) == len(cut.count) else np.array([of.sum()])
                [self._cutoffs[key]] = self._search([spec], [np.minimum(cut.count, of)], [of])
            cuts.append(self._cutoffs[key])

        def beyond(number: int) -> Summary:
            others = self._sizes(replace(self._base, cuts=(cuts[number],)))
            return Summary(int(others.available.sum()), others.lowest, others.highest)

        top = tuple(mean for _, _, mean in seen.hardest[: self._sampler.num_top])
        summary = Summary(int(seen.available.sum()), seen.lowest, seen.highest, top, beyond, self._rank_all)
        return replace(self._base, draw=self._sampler.draw(ratio, summary), cuts=tuple(cuts), within=within)

    def _rank_all(self) -> Ranking:
        """Return the ranking of the candidates' scores, the same for all ratios."""
        if self._ranking is None:
            self._ranking = Ranking.of_all(all_scores(self._each, self._base))
        return self._ranking

    def _sizes(self, spec: DrawSpec) -> Survey:
        """Return a survey of the samples that take part in a draw."""
        if not spec.has_own_cells and not spec.within:
            return self._seen
        for known, seen in self._surveys:
            same_cells = known.draw == spec.draw or not (known.has_own_cells or spec.has_own_cells)
            if same_cells and known.cuts == spec.cuts and known.within == spec.within:
                return seen
        self._surveys.append((spec, survey(self._each, spec)))
        return self._surveys[-1][1]

    def _search(self, specs: Sequence[DrawSpec], wanted: Sequence[Ints], available: Sequence[Ints]) -> list[Cutoff]:
        cutoffs = kth_highest(self._each, specs, wanted, available, self._seen.sketch)
        count_ties(self._each, cutoffs)
        return cutoffs

    def _with_minimums(
        self, specs: Sequence[DrawSpec], surveys: Sequence[Survey], counts: Sequence[int]
    ) -> list[DrawSpec]:
        """Put the best samples of each group first, so that each group keeps its minimum."""
        if any(spec.draw.num_cells > 1 for spec in specs):
            raise ConfigError(
                f"select.balance.minimum: {self._sampler.name} draws a number from each stratum, over all groups "
                "together; set select.balance.quota to proportional to draw group by group"
            )
        wanted = []
        for seen, count in zip(surveys, counts, strict=True):
            least = np.maximum(seen.forced, minimums(self._balance, self._groups, seen.available, count))
            if least.sum() > count:
                raise ConfigError(
                    f"select.always_keep and select.balance.minimum ask for {least.sum()} samples, but only {count} "
                    "are kept; lower the pruning ratio, or one of these"
                )
            wanted.append(least)
        best = self._search(specs, wanted, [seen.available for seen in surveys])
        return [replace(spec, num_groups=1, first=(cutoff,)) for spec, cutoff in zip(specs, best, strict=True)]

    def _budgets(self, spec: DrawSpec, seen: Survey, count: int) -> Ints:
        shape = (spec.num_groups, spec.draw.num_cells)
        available, forced = seen.available.reshape(shape), seen.forced.reshape(shape)
        quotas = np.array([count])
        if self._balance.active:
            quotas = group_quotas(self._balance, self._groups, available.sum(1), forced.sum(1), count)
        return np.concatenate(
            [
                must + spec.draw.budgets(sizes - must, int(quota) - int(must.sum()))
                for sizes, must, quota in zip(available, forced, quotas, strict=True)
            ]
        )

    def _all_of(self, seen: Survey) -> int:
        if not (count := int(seen.available.sum())):
            raise ConfigError(f"select.method: {self._sampler.name} keeps none of the samples; widen its limits")
        return count

    def _check_count(self, ratio: float, count: int, seen: Survey) -> None:
        candidates, forced = int(seen.available.sum()), int(seen.forced.sum())
        total = self._seen.num_samples
        if count > candidates:
            raise ConfigError(
                f"select.ratio: {ratio:g} of {total} samples keeps {count}, but only {candidates} may be kept "
                "(scores of -inf, select.never_keep, deduplicate and the sampler's skip or drop exclude the others); "
                "raise the pruning ratio"
            )
        if forced > count:
            raise ConfigError(
                f"select.always_keep: {forced} samples are always kept, but ratio {ratio:g} of {total} samples "
                f"keeps {count}; lower the pruning ratio or shorten the file"
            )

    def _warn(self, outcome: Outcome) -> None:
        """Warn where samples without a weight were kept."""
        if not outcome.draw.weighted or outcome.draw.uniform:
            return
        partly = (outcome.cells_drawn > 0) & (outcome.cells_drawn < outcome.cells_candidates)
        if (outcome.cutoff.rank[partly] >= TOP_BIT).all():
            return
        count, candidates = outcome.num_kept, outcome.num_candidates
        positive = sum(self._each(partial(_num_weighted, outcome.cutoff.spec)))
        if positive == 0:
            logger.warning(
                "%s: all %d candidates have weight zero; the %d kept are the next by score, ties by chance",
                self._sampler.name, candidates, count,
            )  # fmt: skip
        elif positive < count:
            logger.warning(
                "%s: %d of %d candidates have weight zero, and only %d have a positive one; the other %d of the %d "
                "kept are the next by score",
                self._sampler.name, candidates - positive, candidates, positive, count - positive, count,
            )  # fmt: skip


def _num_weighted(spec: DrawSpec, blocks: Iterable[Rows]) -> int:
    """Return how many samples that take part have a weight."""
    return sum(
        int(np.count_nonzero((spec.cells(rows)[0] >= 0) & (ranks(spec.draw, rows, spec.salt) >= TOP_BIT)))
        for rows in blocks
    )
