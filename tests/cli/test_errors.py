"""Every error ends in one line: a mistake or a failing disk with exit code 2, a fault of ours with 1 and its trace."""

from __future__ import annotations

import errno
import re
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Let `status` fail as nobody foresaw."""

    def fails(*_: object) -> None:
        raise KeyError("nobody\nforesaw this")

    monkeypatch.setattr("dualprune.stages.status.stage_states", fails)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return monkeypatch


def test_a_fault_of_ours_is_one_line_and_a_file(command: Command, fault: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = command("status", tmp_path)
    assert ended.code == 1
    assert len(ended.err.strip().splitlines()) == 1
    assert "error: KeyError: 'nobody\\nforesaw this' (this should not happen; the full trace is " in ended.err
    [place] = re.findall(r"trace is (\S+);", ended.err)
    trace = Path(place).read_text()
    assert trace.startswith("Traceback (most recent call last):")
    assert "in fails" in trace


def test_the_trace_is_printed_where_it_cannot_be_written(
    command: Command, fault: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    ended = command("status", tmp_path)
    assert ended.code == 1
    assert "in fails" in ended.err
    assert ended.err.strip().splitlines()[-1].endswith("the full trace is above; please report it)")


def test_debug_prints_the_trace(command: Command, fault: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "in fails" in command("--debug", "status", tmp_path).err
    refused = command("--debug", "score", tmp_path / "nowhere")
    assert refused.code == 2
    assert "Traceback" in refused.err
    assert "Traceback" not in command("score", tmp_path / "nowhere").err


def test_what_a_system_refuses_is_no_fault_of_ours(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full")

    monkeypatch.setattr("dualprune.stages.status.stage_states", fails)
    command("status", tmp_path).is_user_error("No space left on device: '/full'")
