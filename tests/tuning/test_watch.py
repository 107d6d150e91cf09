"""The log that is written as trials end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dualprune.storage import Location
from dualprune.tuning.trial_log import TrialLog, count_states, num_suggested
from dualprune.tuning.watch import LogWriter


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
