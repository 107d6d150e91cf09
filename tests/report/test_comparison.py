"""The sentences about an evaluation."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dualprune.cli.tune import show_summary
from dualprune.core.run import RunDirectory
from dualprune.report import facts
from dualprune.report.comparison import comparison_in_words, comparison_table
from dualprune.stages.evaluate.summary import comparison_of
from tests.stages.evaluate.test_stage import FULL, RUNS, trainings

COST = {"visits": 3000, "steps": 30, "record_s": 31.0, "score_s": 0.25, "select_s": 1.5}
# What one of the class keeps, of 100 each.
SELECTION = {
    "name": "beta-0.7",
    "method": "beta",
    "num_kept": 90,
    "constraints": {},
    "kept_per_class": {"shirt": 2, "coat": 40, "bag": 48},
    "samples_per_class": {"shirt": 100, "coat": 100, "bag": 100},
}


def said(rows: list[dict[str, Any]], cost: dict[str, Any] | None = None, *selections: dict[str, Any]) -> list[str]:
    return comparison_in_words({**comparison_of(rows, cost), "selections": list(selections)})


def pruned(random: list[float], beta: list[float], **facts: Any) -> list[dict[str, Any]]:
    return [*trainings("random", 300, random, **facts), *trainings("beta-0.7", 300, beta, **facts)]


def test_a_difference_has_its_interval_and_costs_are_visits_and_steps() -> None:
    full = trainings("full", 1000, [0.9, 0.92, 0.91])
    first, *notes = said([*full, *pruned([0.8, 0.81, 0.79], [0.85, 0.862, 0.84])])
    assert first == (
        "beta-0.7 at equal epochs: 85.1% with 300 samples; 5.1 points above as many random ones (interval +4.8 to "
        "+5.4); 5.9 points below all samples (interval -8.4 to -3.4); trained with 30% of the sample visits and 30% of "
        "the optimizer steps of a training on all."
    )
    assert notes == [
        "Intervals are 95 % by Student's t over pairs of equal seeds.",
        "With 3 seeds only large differences can be told from chance; evaluate.seeds: 5 or more narrows the intervals.",
        (
            "beta-0.7: one draw, trained with every seed, so the intervals leave out the chance of the draw "
            "(evaluate.redraw: true draws anew for each seed)."
        ),
    ]


def test_what_is_not_distinguishable_is_called_so() -> None:
    [sentence, *_] = said(pruned([0.8, 0.83], [0.81, 0.85]))
    assert "not distinguishable from as many random ones (+1.5 points, interval -4.9 to +7.9)" in sentence


def test_one_seed_claims_nothing() -> None:
    [sentence] = said([*trainings("full", 1000, [0.9]), *pruned([0.8], [0.9])])
    assert sentence == (
        "beta-0.7 at equal epochs: 90.0% with 300 samples; 10.0 points above as many random ones (one seed: no "
        "claim); 0.0 points above all samples (one seed: no claim); trained with 30% of the sample visits and 30% of "
        "the optimizer steps of a training on all."
    )
    [sentence, *_] = said(pruned([0.8, 0.8], [0.9, 0.9]))
    assert "(no spread over the seeds: no claim)" in sentence


def test_several_ratios_widen_the_intervals() -> None:
    rows = [*pruned([0.8, 0.81, 0.79], [0.85, 0.862, 0.84])]
    for kept in (100, 500):
        rows += [*trainings("random", kept, [0.8, 0.81, 0.79]), *trainings(f"beta-{kept}", kept, [0.81, 0.80, 0.8])]
    assert (
        "Intervals are 95 % by Student's t over pairs of equal seeds, widened for the 3 comparisons of a kind (Holm)."
        in (said(rows))
    )


def test_a_redrawn_or_fixed_selection_has_no_remark_about_its_draw() -> None:
    rows = pruned([0.8, 0.81], [0.85, 0.86])
    assert any("one draw" in text for text in said(rows))
    assert not any("one draw" in text for text in said([{**row, "draw": row["seed"]} for row in rows]))
    fixed = {**SELECTION, "by_chance": False, "samples_per_class": {}}
    assert not any("one draw" in text for text in said(rows, None, fixed))
    # A selection of an older version does not say whether chance had a part in it.
    older = {**SELECTION, "samples_per_class": {}}
    assert any("one draw" in text for text in said(rows, None, older))
    assert not any("one draw" in text for text in said(rows, None, {**older, "method": "top_k"}))


def test_what_pruning_cost_and_when_it_has_paid() -> None:
    rows = [*FULL, *pruned([0.8, 0.81], [0.85, 0.86]), *pruned([0.8, 0.81], [0.85, 0.86], budget="samples")]
    *_, visits, clock = said(rows, COST)
    assert visits == (
        "Pruning cost 3,000 sample visits (30 optimizer steps) of recording, 30% of a training on all. beta-0.7 at "
        "equal epochs pays after 1 training; beta-0.7 at equal samples saves hardly any visits, so it does not pay."
    )
    assert clock == (
        "On the clock, which whatever else ran moves and which includes starts: recording 31.0 s, scoring 0.2 s, "
        "selecting 1.5 s; a training on all 10.0 s."
    )
    assert "pays after 3 trainings" in said(rows, {**COST, "visits": 20_000})[-2]
    # Equal steps save what short last batches leave out, or a smaller batch.
    for visits, text in ((9_860, "saves hardly any visits"), (2_500, "equal steps pays after 1 training")):
        steps = pruned([0.8, 0.81], [0.85, 0.86], budget="steps", visits=visits)
        assert text in said([*FULL, *steps], COST)[-2]
    *_, visits, _ = said(rows, {**COST, "visits": None, "steps": None})
    assert visits == "The dynamics were imported, so that what recording them cost is not known."
    assert "30 optimizer steps) of recording." in said(pruned([0.8, 0.81], [0.85, 0.86]), COST)[-2]


def test_thin_classes_are_named_with_what_mends_it() -> None:
    assert said(pruned([0.8, 0.81], [0.85, 0.86]), None, SELECTION)[-1] == (
        "beta-0.7 keeps 1 of 3 classes at under a third of their share (shirt: 2 of 100, its share is 30). Accuracy on "
        "them may suffer; select.balance.quota: proportional keeps every class at its share."
    )


def test_without_selections_there_is_nothing_to_say() -> None:
    assert said([*FULL, *trainings("random", 300, [0.8, 0.81])]) == []


def test_an_older_run_is_shown_without_the_facts_that_it_lacks(tmp_path: Path) -> None:
    with tarfile.open(RUNS / "9e3f2f6.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    found = facts.comparison(RunDirectory(tmp_path / "finished"))
    out = io.StringIO()
    Console(file=out, width=80).print(comparison_table(found["summary"]))
    assert "beta-0.7" in out.getvalue()
    assert "…" not in out.getvalue()
    text = " ".join(comparison_in_words(found))
    assert "not distinguishable from as many random ones" in text
    assert "seconds" not in text
    assert "% of the optimizer steps of a training on all" in text


def test_an_older_sweep_is_shown_without_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(RUNS / "9e3f2f6.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    run = RunDirectory(tmp_path / "finished")
    show_summary(run, (run.root / "tune" / "summary.json").read_record())
    out = capsys.readouterr().out
    assert "best-0 at equal epochs: 10.2% with 72 samples." in out
    assert "The recorded model had trained on the validation samples" in out
