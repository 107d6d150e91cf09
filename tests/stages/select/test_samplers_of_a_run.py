"""Samplers that look at classes, at another score, or at ranks, in a run: as on arrays, however it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dualprune import selection
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError, RunError
from dualprune.scores import dual_and_mean
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.drawn import redraw
from dualprune.stages.select.inspect import inspect
from dualprune.stages.select.stage import run_select
from dualprune.stages.status import stage_states
from tests.conftest import MakeDynamics

NUM, K = 211, 4
RNG = np.random.default_rng(5)
PROB = RNG.random((NUM, 6)).astype(np.float32)
MARGIN = (2 * RNG.random((NUM, 6)) - 1).astype(np.float32)
LABELS = RNG.choice(K, NUM, p=[0.5, 0.3, 0.15, 0.05])
SCORE, MEAN = dual_and_mean(PROB, 4)
AUM = -MARGIN.astype(float).mean(axis=1)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> None:
    """Process all buckets in this process."""

    def over_buckets(function: Any, buckets: Sequence[int], *_: Any, **__: Any) -> Iterator[Any]:
        return map(function, buckets)

    for module in ("bucketed", "groups"):
        monkeypatch.setattr(f"dualprune.stages.select.{module}.over_buckets", over_buckets)


def settings(score: str = "dual", **select: Any) -> Config:
    return make_config(
        {
            "score": {"methods": [score], "options": {"dual": {"window": 4}}},
            "record": {"epochs": 6},
            "train": {"epochs": 6},
            "select": {"name": "s", "ratio": 0.6, "seed": 3, **select},
        }
    )


@pytest.fixture(params=[1, 5])
def run(make_dynamics: MakeDynamics, request: pytest.FixtureRequest) -> RunDirectory:
    run = make_dynamics(PROB, labels=LABELS, num_classes=K, num_buckets=request.param, margin=MARGIN)
    with run.stage("record", {}) as done:
        done.summary = {"epochs": 6}
    return run


def kept(run: RunDirectory) -> list[int]:
    return (run.selection("s") / "kept.parquet").read_table()["position"].to_pylist()


def selected(run: RunDirectory, config: Config) -> list[int]:
    run_score(run, config)
    run_select(run, config)
    return kept(run)


def test_ccs_drops_the_hardest_by_aum(run: RunDirectory) -> None:
    config = settings(method="ccs", options={"ccs": {"drop": 0.2}})
    found = selected(run, config)
    assert found == selection.ccs(SCORE, ratio=0.6, aum=AUM, drop=0.2, seed=3).tolist()
    assert not {*found} & {*np.argsort(-AUM)[:42].tolist()}
    # What it reads is scored with it, and a selection depends on it.
    assert run.require("score.aum", "score")["summary"]["samples"] == NUM
    run.save_config(config)
    assert [row["stage"] for row in stage_states(run) if row["state"] == "outdated"] == []
    assert inspect(run, config, "s")["num_kept"] == len(found)
    place = run.root / "again"
    redraw(run, config, "s", 1, place)
    logits = settings(method="ccs", options={"ccs": {"drop": 0.2}})
    changed = logits.model_copy(
        update={"score": logits.score.model_copy(update={"options": {"aum": {"last_epoch": 3}, "dual": {"window": 4}}})}
    )
    run_score(run, changed)
    assert [row["stage"] for row in stage_states(run) if row["state"] == "outdated"] == ["select.s"]
    with pytest.raises(RunError, match=r"scores or the id files of the selection 's' have changed since it was drawn"):
        redraw(run, changed, "s", 1, place)


def test_ccs_by_aum_without_its_scores(run: RunDirectory) -> None:
    run_score(run, settings())
    with pytest.raises(RunError, match=r"score.aum"):
        run_select(run, settings(method="ccs", options={"ccs": {"drop": 0.2}}))


def test_flexrand_and_floors_look_at_classes(run: RunDirectory) -> None:
    found = selected(run, settings(method="flexrand", options={"flexrand": {"split": 0.3}}))
    assert found == selection.flexrand(SCORE, LABELS, ratio=0.6, split=0.3, seed=3).tolist()
    run_select(run, floor := settings(method="top_k", options={"top_k": {"floor": 0.5}}), force=True)
    assert kept(run) == selection.top_k(SCORE, ratio=0.6, floor=0.5, labels=LABELS, seed=3).tolist()
    assert inspect(run, floor, "s")["num_kept"] == 84
    redraw(run, floor, "s", 1, run.root / "again")


def test_signed_scores_are_weighted_by_ranks(run: RunDirectory) -> None:
    run_score(run, settings("aum"))
    with pytest.raises(ConfigError, match=r"the lowest is -0.\d+; set select.options.beta.weight: rank"):
        run_select(run, settings("aum", method="beta"))
    ranks = settings("aum", method="beta", options={"beta": {"weight": "rank"}})
    run_select(run, ranks)
    assert kept(run) == selection.beta(AUM, MEAN, ratio=0.6, weight="rank", seed=3).tolist()
    assert 84 < inspect(run, ranks, "s")["effective"] < NUM
