"""How a job's program ends: one line of JSON, and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.errors import RunBusyError, RunError
from pipelines import entry

ROOT = Path(__file__).parents[2]


def ended(capsys: pytest.CaptureFixture[str], run: Path, work: entry.Work) -> tuple[int, dict]:
    """Return the exit code and the last line of a job that does `work`."""
    before = signal.getsignal(signal.SIGTERM)
    code = 0
    try:
        entry.finish("prune", str(ROOT / "pipelines/configs/digits.yaml"), str(run), None, False, work)
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_success_prints_the_run_and_the_result(capsys, tmp_path: Path) -> None:
    def work(run: RunDirectory, config: Config, force: bool) -> dict:
        print("something else")
        return {"source": config.data.source, "force": force}

    code, line = ended(capsys, tmp_path, work)
    assert code == 0
    result = {"source": "digits", "force": False}
    assert line == {"pipeline": "prune", "run": str(tmp_path), "status": "succeeded", "result": result}


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RunError("run x: what to do"), 2, "run x: what to do"),
        (OSError("disk full"), 1, "OSError: disk full"),
        (KeyboardInterrupt(), 143, "stopped by a signal; submit it again to go on"),
    ],
)
def test_a_failure_says_why_and_has_its_exit_code(capsys, tmp_path: Path, error, code: int, text: str) -> None:
    def work(run: RunDirectory, config: Config, force: bool) -> dict:
        raise error

    found, line = ended(capsys, tmp_path, work)
    assert found == code
    assert line["status"] == ("stopped" if code == 143 else "failed")
    assert line["error"] == text


def test_a_run_that_is_held_by_a_dead_job_is_waited_for(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(entry, "BUSY_POLL_S", 0.01)
    tries = []

    def work(run: RunDirectory, config: Config, force: bool) -> dict:
        tries.append(1)
        if len(tries) < 3:
            raise RunBusyError("held")
        return {"tries": len(tries)}

    assert ended(capsys, tmp_path, work)[1]["result"] == {"tries": 3}


def test_a_run_that_is_held_by_a_living_job_is_given_up(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(entry, "BUSY_POLL_S", 0.01)
    monkeypatch.setattr(entry, "LEASE_S", 0.0)
    monkeypatch.setattr(entry, "RENEW_S", 0.05)

    def work(run: RunDirectory, config: Config, force: bool) -> dict:
        raise RunBusyError("held by job 7")

    code, line = ended(capsys, tmp_path, work)
    assert (code, line["error"]) == (2, "held by job 7")


def test_sigterm_gives_the_run_back(tmp_path: Path) -> None:
    program = """
import time
from pipelines.entry import entry_point
def work(run, config, force):
    with run.exclusive():
        print("holding", flush=True)
        time.sleep(60)
entry_point("prune", work)
"""
    words = [sys.executable, "-c", program, "--config", str(ROOT / "pipelines/configs/digits.yaml"), "--run"]
    process = subprocess.Popen([*words, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    assert "pid" in (tmp_path / "run" / ".lock").read_text()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert json.loads(out)["status"] == "stopped"
    assert (tmp_path / "run" / ".lock").read_text() == ""


@pytest.mark.parametrize("module", ["prune", "score", "compare", "sweep"])
def test_every_pipeline_has_the_flags_of_the_command_line_and_exit_code_2(module: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", f"pipelines.{module}"]
    told = subprocess.run([*words, "--help"], capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"})
    for flag in ("--config", "--run", "--set", "--force", "--verbose"):
        assert flag in told.stdout
    wrong = subprocess.run(
        [*words, "--config", str(tmp_path / "none.yaml"), "--run", str(tmp_path)], capture_output=True, text=True
    )
    assert wrong.returncode == 2, wrong.stderr
    line = json.loads(wrong.stdout.splitlines()[-1])
    assert (line["pipeline"], line["status"]) == (module, "failed")
    assert "there is no such configuration file" in line["error"]


def test_a_sweep_takes_the_flags_of_tune_and_goes_on_by_itself(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pipelines.sweep"]
    told = subprocess.run([*words, "--help"], capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"})
    for flag in ("--resume", "--no-resume", "--max-trials", "--time-budget"):
        assert flag in told.stdout
    assert "default: resume" in told.stdout
    words += ["--config", str(ROOT / "pipelines/configs/digits_sweep.yaml"), "--run", str(tmp_path / "run")]
    wrong = subprocess.run([*words, "--time-budget", "soon"], capture_output=True, text=True)
    assert wrong.returncode == 2, wrong.stderr
    line = json.loads(wrong.stdout.splitlines()[-1])
    assert (line["status"], line["pipeline"]) == ("failed", "sweep")
    assert "--time-budget soon: expected a time above 0" in line["error"]
    assert not (tmp_path / "run").exists()
