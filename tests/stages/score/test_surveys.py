"""What scoring leaves for selection: the same that a look at all scores finds, and the same draws."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.selection.engine.survey import survey
from dualprune.stages.methods import epoch_scores, score_methods
from dualprune.stages.score.stage import ScoreJob, run_score, score_bucket
from dualprune.stages.score.surveys import ALL, NUM_HARDEST, READS, SURVEY, known_survey
from dualprune.stages.select.bucketed import Scores
from dualprune.stages.select.stage import run_select
from tests.conftest import MakeDynamics

NUM = 9000
RNG = np.random.default_rng(11)
PROB = RNG.beta(2.0, 1.0, (NUM, 12)).astype(np.float32)
IDS: list[Any] = [np.arange(NUM) * 3 - 500, [f"bild/{i:05d}-ü" for i in range(NUM)]]


@pytest.fixture(params=IDS, ids=["int64", "string"])
def scored(request: pytest.FixtureRequest, ray_cluster: None, make_dynamics: MakeDynamics) -> RunDirectory:
    prob = PROB.copy()
    # Never seen: it has no score.
    prob[17] = np.nan
    run = recorded(make_dynamics(prob, ids=request.param, num_buckets=5))
    run_score(run, make_config({}))
    return run


def recorded(run: RunDirectory) -> RunDirectory:
    with run.stage("record", {}) as stage:
        stage.summary = {"epochs": 12}
    return run


def kept(run: RunDirectory) -> list[Any]:
    return (run.selection("beta-0.7") / "kept.parquet").read_table().to_pylist()


def test_it_says_what_a_look_at_all_scores_says(scored: RunDirectory) -> None:
    folder = scored.scores("dual")
    found = known_survey(folder)
    assert found is not None
    looked = survey(Scores(str(scored.root.address), "dual", 5).each, ALL, NUM_HARDEST, READS)
    for name in ("num_samples", "lowest", "highest", "num_hardest", "hardest"):
        assert getattr(found, name) == getattr(looked, name), name
    assert found.num_samples == NUM - 1
    assert found.available.tolist() == looked.available.tolist() == [NUM - 1]
    rows = found.sketch.rows(4)
    assert 20 <= len(rows) <= 40
    tables = [(folder / f"bucket=0000{bucket}.parquet").read_table() for bucket in range(5)]
    everything = {
        pair
        for table in tables
        for pair in zip(table["score"].to_pylist(), table["mean_prob"].to_pylist(), strict=True)
    }
    assert set(zip(rows.score.tolist(), rows.mean_prob.tolist(), strict=True)) <= everything


def test_draws_are_the_same_without_it_and_where_more_is_asked(scored: RunDirectory) -> None:
    run_select(scored, make_config({"select": {"ratio": 0.7}}))
    with_it = kept(scored)
    assert len(with_it) == round(0.3 * (NUM - 1))
    (scored.scores("dual") / SURVEY).delete()
    run_select(scored, make_config({"select": {"ratio": 0.7}}), force=True)
    assert kept(scored) == with_it
    for select in ({"anchor_size": NUM_HARDEST + 1}, {"balance": {"quota": "proportional"}}):
        run_select(scored, make_config({"select": {"ratio": 0.7, **select}}), force=True)
        assert len(kept(scored)) == len(with_it)


def test_a_survey_of_an_older_version_is_read(scored: RunDirectory) -> None:
    file = scored.scores("dual") / SURVEY
    table = file.read_table()
    facts = json.loads(table.schema.metadata[b"survey"]) | {"num_positive": NUM}
    older = table.append_column("id_bits", pa.array(np.zeros(len(table), dtype=np.uint64)))
    file.write_table(
        older.append_column("position", pa.array(np.arange(len(table)))).replace_schema_metadata(
            {"survey": json.dumps(facts)}
        )
    )
    found = known_survey(scored.scores("dual"))
    assert found is not None
    assert (found.num_samples, len(found.sketch)) == (NUM - 1, len(table))


def test_buckets_of_an_interrupted_scoring_keep_theirs(
    ray_cluster: None, make_dynamics: MakeDynamics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = recorded(make_dynamics(PROB, num_buckets=5)), make_config({})
    store = DynamicsStore(run)
    whole = recorded(make_dynamics(PROB, num_buckets=5, place=str(tmp_path / "whole")))
    run_score(whole, config)

    def fails(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("dualprune.stages.score.stage.over_buckets", fails)
    with pytest.raises(KeyboardInterrupt):
        run_score(run, config)
    monkeypatch.undo()
    job = partial(
        score_bucket, ScoreJob(str(run.root.address), epoch_scores(score_methods(config)), store.epochs, "raise")
    )
    assert job(0)["dual"].num_samples == 1800
    run_score(run, config)
    files = [r.scores("dual") / SURVEY for r in (run, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    # The stage is done once more where its manifest was not written any more.
    for manifest in (run.root / "manifests").children():
        if "score" in manifest.name:
            manifest.delete()
    run_score(run, config)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_bucket_without_a_score_and_small_ones(ray_cluster: None, make_dynamics: MakeDynamics) -> None:
    prob = PROB[:30].copy()
    prob[:10] = np.nan
    run = recorded(make_dynamics(prob, num_buckets=3))
    run_score(run, make_config({}))
    found = known_survey(run.scores("dual"))
    assert found is not None
    assert (found.num_samples, len(found.sketch), len(found.hardest)) == (20, 0, 20)
    run_select(run, make_config({"select": {"ratio": 0.7}}))
    assert len(kept(run)) == 6
