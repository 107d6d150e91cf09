"""A disk that takes no more: an error with exit code 2, and the same command succeeds once there is room again.

The limit is real: the kernel refuses to let a file of this process grow beyond it.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.reliability import sound
from tests.reliability.commands import COMMANDS, command_line
from tests.reliability.trials import Trials

WRITING = ("score --force", "select --force", "export --force", "store export", "store export (Parquet)")
BYTES = (0, 150, 700, 2500)


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", BYTES)
@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk(trials: Trials, here: None, tmp_path: Path, command: str, size: int) -> None:
    run = sound.copy(trials.sound, tmp_path / sound.RUN)
    with no_file_larger_than(size):
        ended = COMMANDS[command](run, tmp_path)
    assert "Traceback" not in ended.said
    if ended.code:
        assert ended.code == 2, ended.said
        assert "error: " in ended.said
        assert "File too large" in ended.said
    again = COMMANDS[command](run, tmp_path)
    assert (again.code, again.result) == (0, trials.expected[command]), again.said
    assert not list(tmp_path.rglob(".tmp-*"))


def test_an_error_while_tidying_up_does_not_hide_the_first(trials: Trials, here: None, tmp_path: Path) -> None:
    run = sound.copy(trials.sound, tmp_path / sound.RUN)
    file = run / "dynamics" / "epoch=0002" / "bucket=00000.parquet"
    file.write_bytes(file.read_bytes()[:100])
    first = command_line("score", str(run), "--force")
    # The manifest gets longer when the stage has failed; this time there is no room for that.
    with no_file_larger_than((run / "manifests" / "score.dual.json").stat().st_size - 40):
        ended = command_line("score", str(run), "--force")
    assert "writing how long score.dual took did not work" in " ".join(ended.said.split())
    for one in (first, ended):
        assert one.code == 2, one.said
        assert f"error: {file} " in one.said
