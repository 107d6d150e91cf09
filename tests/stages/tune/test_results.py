from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dualprune.core.storage import Location
from dualprune.errors import ConfigError
from dualprune.stages.tune.loggers import check_loggers, make_loggers
from dualprune.stages.tune.results import costs, importance, trials_table
from dualprune.stages.tune.space import Domain
from dualprune.stages.tune.trial import reported
from dualprune.stages.tune.trial_log import TrialLog, count_states, num_suggested
from dualprune.stages.tune.watch import trial_progress

SPACE = {"select.c_d": Domain("uniform", (1, 12)), "select.skip": Domain("uniform", (0, 1))}


def record(point: dict[str, Any], accuracy: float | None, state: str = "finished") -> dict[str, Any]:
    return {
        "key": TrialLog.key(point),
        "point": point,
        "state": state,
        **reported({"accuracy": accuracy}),
        "error": None,
        "suggested": 1,
        "ended_at": 0.0,
    }


def test_the_key_that_decides_is_the_important_one() -> None:
    rng = np.random.default_rng(0)
    points = [
        {"select.c_d": float(a), "select.skip": float(b)}
        for a, b in zip(rng.uniform(1, 12, 60), rng.random(60), strict=True)
    ]
    records = [record(point, 1 - abs(point["select.c_d"] - 5) / 12) for point in points]
    found = importance(records, SPACE, "accuracy")
    assert found is not None
    assert sum(found.values()) == pytest.approx(1)
    assert found["select.c_d"] > 0.7
    assert importance(records[:9], SPACE, "accuracy") is None
    assert importance([{**r, "accuracy": 0.5} for r in records], SPACE, "accuracy") is None


def test_values_of_several_types_are_a_column_of_text() -> None:
    space = {"evaluate.batch_size": Domain("choice", ("paper", 64)), "score.window": Domain("int", (3, 5))}
    points = [{"evaluate.batch_size": "paper", "score.window": 3}, {"evaluate.batch_size": 64, "score.window": 4}]
    table = trials_table([record(points[0], 0.5), record(points[1], None, "failed")], space)
    assert table["evaluate.batch_size"].to_pylist() == ["paper", "64"]
    assert table["score.window"].to_pylist() == [3, 4]
    assert table["accuracy"].to_pylist() == [0.5, None]


def test_the_log_knows_what_needs_no_trial(tmp_path: Any) -> None:
    log = TrialLog(Location.of(tmp_path))
    done, failed = {"select.c_d": 2.0}, {"select.c_d": 3.0}
    log.write({**record(done, 0.9), "suggested": 3, "ended_at": 2.0})
    log.write(record(failed, None, "failed"))
    assert log.find(done)["accuracy"] == 0.9  # type: ignore[index]
    assert log.find(failed) is None
    assert log.find({"select.c_d": 4.0}) is None
    records = log.records()
    assert [r["state"] for r in records] == ["failed", "finished"]
    assert count_states(records) == {"finished": 1, "stopped": 0, "failed": 1, "repeated": 2}
    assert num_suggested(records) == 3


def test_the_board_shows_each_trial_with_its_accuracy_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()
    console = Console(file=seen, force_terminal=True, width=120)
    monkeypatch.setattr("dualprune.cluster.progress.on_terminal", lambda: True)
    monkeypatch.setattr("dualprune.cluster.progress.Console", lambda stderr: console)
    with trial_progress(2) as progress:
        trials = [SimpleNamespace(trial_id=str(n), config={"select.c_d": n + 0.5}, last_result={}) for n in range(2)]
        for trial in trials:
            progress.on_trial_start(0, trials, trial)
        progress.on_trial_result(0, trials, trials[1], {"accuracy": 0.5, "progress": 3.0})
        trials[0].last_result = {"accuracy": 0.9, "stderr": 0.01, "finished": True}
        progress.on_trial_complete(0, trials, trials[0])
    text = seen.getvalue()
    assert "1 of 2 trials" in text
    assert re.search(r"select.c_d 1.5 .*50.00% .*epoch 3", text)
    assert re.search(r"select.c_d 0.5 .*90.00% ± 1.00% .*finished", text)


def test_costs_leave_out_the_first_trial_of_an_actor() -> None:
    rows = [
        {"seconds": 2.0, "overhead_s": None},
        {"seconds": 3.0, "overhead_s": 0.2},
        {"seconds": None, "overhead_s": None},
    ]
    found = costs(rows)
    assert found["trained_s"] == 5.0
    assert found["overhead_s_median"] == found["overhead_s_max"] == 0.2


def test_a_logger_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualprune.stages.tune.loggers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tune.loggers: wandb needs the package wandb, .*pip install wandb"):
        check_loggers(["csv", "wandb"])
    assert [type(callback).__name__ for callback in make_loggers(["csv"], "run")] == ["CSVLoggerCallback"]
