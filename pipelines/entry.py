"""Shared by the entry points for `ray job submit`: options in, one JSON line and an exit code out."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from dualprune.api import resolve
from dualprune.core.config import Config
from dualprune.core.lease import LEASE_S, RENEW_S
from dualprune.core.run import RunDirectory
from dualprune.errors import RunBusyError, UserError
from dualprune.report.console import log_to_terminal, print_error

logger = logging.getLogger(__name__)

FAILED = 1
INPUT_ERROR = 2
STOPPED = 128 + signal.SIGTERM
BUSY_POLL_S = 5.0

Work = Callable[[RunDirectory, Config, bool], dict[str, Any]]
ConfigFile = Annotated[str, typer.Option("--config", help="A YAML configuration, or a run directory.")]
Run = Annotated[str | None, typer.Option("--run", help="Run directory or address; default runs/NAME-OF-CONFIG.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as select.ratio=0.7.")
]
Force = Annotated[bool, typer.Option("--force", help="Run it again even where it is done.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]


def entry_point(pipeline: str, work: Work) -> None:
    """Run `work` as a program: read the options, do the work, and end the process.

    The last line on standard output is a JSON object with `pipeline`, `run` (the run directory's address), `status`
    (`succeeded`, `failed` or `stopped`) and `result` or `error`. Exit codes: 0, 1 for a failure, 2 for a mistake of
    the user's, 143 after SIGTERM. The next job resumes from what a stopped or killed one has committed.
    """

    def command(
        config: ConfigFile, run: Run = None, overrides: Overrides = None, force: Force = False, verbose: Verbose = False
    ) -> None:
        log_to_terminal(verbose=verbose)
        finish(pipeline, config, run, overrides, force, work)

    command.__doc__ = (work.__doc__ or "").partition("\n")[0]
    run_program(command)


def run_program(command: Callable[..., None]) -> None:
    """Run a command whose options typer declares, and end the process with its exit code."""
    try:
        typer.run(command)
    except SystemExit as end:
        if end.code == STOPPED:
            # Our work is done, and Ray's teardown may abort a process that a signal has interrupted.
            os._exit(STOPPED)
        raise


def finish(pipeline: str, config: str, run: str | None, overrides: list[str] | None, force: bool, work: Work) -> None:
    """Do the work and print how it ended; return on success and exit the process otherwise."""
    signal.signal(signal.SIGTERM, _stop)
    line: dict[str, Any] = {"pipeline": pipeline, "run": run}
    try:
        directory, settings = resolve(config, run, overrides or ())
        line["run"] = str(directory)
        result = _when_free(directory, lambda: work(directory, settings, force))
    except UserError as error:
        print_error(error)
        _end(line | {"status": "failed", "error": str(error)}, INPUT_ERROR)
    except (SystemExit, KeyboardInterrupt):
        _end(line | {"status": "stopped", "error": "stopped by a signal; submit it again to go on"}, STOPPED)
    except Exception as error:
        traceback.print_exc()
        _end(line | {"status": "failed", "error": f"{type(error).__name__}: {error}"}, FAILED)
    _tell(line | {"status": "succeeded", "result": result})


def _when_free(run: RunDirectory, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work as soon as no other process writes the run: the lease of a killed job expires."""
    give_up = time.monotonic() + LEASE_S + RENEW_S
    while True:
        try:
            return work()
        except RunBusyError as error:
            if time.monotonic() > give_up:
                raise
            logger.warning("%s: waiting, as the process that holds it may be dead (%s)", run, error)
            time.sleep(BUSY_POLL_S)


def _stop(signum: int, frame: object) -> NoReturn:
    # Raised in the main thread, so every `finally` runs: the lease is released and the manifest updated.
    raise SystemExit(STOPPED)


def _end(line: dict[str, Any], code: int) -> NoReturn:
    _tell(line)
    sys.exit(code)


def _tell(line: dict[str, Any]) -> None:
    sys.stderr.flush()
    print(json.dumps(line), flush=True)
