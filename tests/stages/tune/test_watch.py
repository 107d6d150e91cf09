"""The log that is written as trials end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dualprune.core.storage import Location
from dualprune.stages.tune.trial_log import TrialLog, count_states, num_suggested
from dualprune.stages.tune.watch import LogWriter


def ended(point: dict[str, Any], **result: Any) -> Any:
    return SimpleNamespace(config=point, last_result={"objective": 0.5, "finished": True, **result})


def test_a_point_that_ran_twice_side_by_side_is_one_record_that_counts_for_both(tmp_path: Path) -> None:
    log = TrialLog(Location.of(tmp_path))
    writer = LogWriter(log, None)
    for trial in (
        ended({"select.ratio": 0.1}),
        ended({"select.ratio": 0.9}),
        ended({"select.ratio": 0.9}, repeated=True),
        ended({"select.ratio": 0.9}),
    ):
        writer.on_trial_complete(0, [], trial)
    assert num_suggested(log.records()) == 4
    assert count_states(log.records()) == {"finished": 2, "stopped": 0, "failed": 0, "repeated": 2}


def test_a_failed_trial_is_logged_with_the_last_line_of_its_traceback(tmp_path: Path) -> None:
    # Before Ray Tune has copied the file to the run's storage, `get_error` finds none there.
    written = tmp_path / "error.txt"
    written.write_text("Failure # 1\n  in step\nConfigError: a quota is too large\n")
    log = TrialLog(Location.of(tmp_path / "trials"))
    writer = LogWriter(log, None)
    for number, file in enumerate((written, tmp_path / "none.txt", None)):
        point = {"select.ratio": 0.1 * (number + 1)}
        writer.on_trial_error(0, [], SimpleNamespace(config=point, error_file=file, get_error=lambda: None))
    errors = sorted(record["error"] for record in log.records())
    assert errors == ["ConfigError: a quota is too large", "for an unknown reason", "for an unknown reason"]
    assert count_states(log.records())["failed"] == 3
