"""The command line as a user calls it, in this process: arguments in, exit code and output out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from dualprune.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    def is_user_error(self, *parts: str) -> None:
        """Check for exit code 2 and one clear error that says each of `parts`."""
        assert self.code == 2, self.err
        assert "Traceback" not in self.out + self.err
        assert self.err.count("error: ") == 1, self.err
        message = self.err.partition("error: ")[2]
        for part in parts:
            assert part in message


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Return a function that runs `dualprune` with arguments."""
    package = logging.getLogger("dualprune")
    before = package.handlers[:], package.level, package.propagate
    # Ray's loggers keep the stream of the test that created them.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["dualprune", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    yield run
    package.handlers[:], package.level, package.propagate = before
