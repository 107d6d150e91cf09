from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dualprune.core.config_file import dump_config
from dualprune.stages.tune import run_tune
from dualprune.stages.tune.trial_log import TrialLog
from tests.stages.tune.conftest import MakeSweep

WANTED = 8


@pytest.mark.slow
def test_a_killed_sweep_goes_on_without_training_a_finished_point_again(make_sweep: MakeSweep) -> None:
    run, config = make_sweep(
        {"select.c_d": {"uniform": [1, 12]}, "select.ratio": {"uniform": [0.1, 0.9]}},
        tune={"num_trials": WANTED},
        evaluate={"epochs": 8},
    )
    (run.root / "sweep.yaml").write_text(dump_config(config))
    command = [sys.executable, "-m", "dualprune", "tune", f"{run}/sweep.yaml", "--run", str(run)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    log = TrialLog(run.root / "tune" / "trials")
    sweep = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while len(log.place.children()) < WANTED // 2:
            assert sweep.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < deadline, "the sweep did not get halfway"
            time.sleep(0.02)
    finally:
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    before = {file.name: file.read_bytes() for file in log.place.children()}
    assert WANTED // 2 <= len(before) < WANTED
    summary = run_tune(run, config, resume=True)
    assert summary["num_trials"] == {"finished": WANTED, "stopped": 0, "failed": 0, "repeated": 0}
    after = {file.name: file.read_bytes() for file in log.place.children()}
    assert len(after) == WANTED
    assert {name: after[name] for name in before} == before
    trained_again = [row for row in log.records() if f"{row['key']}.json" in before and row["suggested"] > 1]
    assert not trained_again
    assert (run.root / "tune" / "trials.parquet").read_table().num_rows == WANTED
