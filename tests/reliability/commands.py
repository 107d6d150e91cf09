"""What is run on a damaged run directory, and what of each command is its result: what it prints, writes or returns."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.api import Run
from dualprune.cli import main
from dualprune.core.run import RunDirectory
from dualprune.errors import UserError
from dualprune.exchange.pruned import PrunedDataset
from dualprune.stages.status import stage_states
from tests.reliability.sound import NUM_SAMPLES, SELECTIONS


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (0; 2 for a UserError), its result where it is 0, and what it said."""

    code: int
    result: Any
    said: str


class Known(dict[str, Any]):
    """Facts of which a part is no other result; all that are there must agree."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(other.get(name) == value for name, value in self.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


def command_line(*arguments: str) -> Ended:
    """Run `dualprune` with arguments in this process; a traceback is exit code 1, as in a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    package = logging.getLogger("dualprune")
    before = package.handlers[:], package.level, package.propagate
    code = 0
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", ["dualprune", *arguments]):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception:
            code = 1
            err.write(traceback.format_exc())
    package.handlers[:], package.level, package.propagate = before
    return Ended(code, out.getvalue(), err.getvalue())


def _readable(run: Path) -> None:
    """Let this process read what the command could not, to compare it."""
    if os.getuid() == 0:
        os.seteuid(0)
    for path in (run, *run.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777)
        elif path.is_file():
            path.chmod(0o666)


def _tables(folder: Path) -> Any:
    """Return what the Parquet files of a folder hold, by name."""
    found = {}
    for file in sorted(folder.glob("*.parquet")):
        if file.name.startswith("bucket=0009") or file.name.startswith("part-0009"):
            continue
        try:
            with file.open("rb") as stream:
                found[file.name] = pq.ParquetFile(stream).read().to_pydict()
        except (OSError, pa.ArrowException) as error:
            found[file.name] = {"cannot be read": [type(error).__name__]}
    return found


def _mask(file: Path) -> Any:
    try:
        return np.load(file).tolist()
    except (OSError, ValueError, EOFError) as error:
        return f"cannot be read: {type(error).__name__}"


def _scores(run: Path) -> Any:
    return _tables(run / "scores" / "method=dual")


def _kept(run: Path) -> Any:
    return {name: _tables(run / "selections" / name / "kept.parquet") for name in SELECTIONS}


def _exported(run: Path) -> Any:
    return {
        name: (
            _tables(run / "exports" / name / "data"),
            _mask(run / "exports" / name / "kept_mask.npy"),
            _tables(run / "exports" / name),
        )
        for name in SELECTIONS
    }


def _stage(*words: str, result: Callable[[Path], Any]) -> Callable[[Path, Path], Ended]:
    """Return a command whose result is what it prints and the files that are there afterwards."""

    def run_it(run: Path, scratch: Path) -> Ended:
        ended = command_line(words[0], str(run), *words[1:])
        _readable(run)
        return ended if ended.code else Ended(0, (ended.result.replace(str(run), "RUN"), result(run)), ended.said)

    return run_it


def _status(run: Path, scratch: Path) -> Ended:
    ended = command_line("status", str(run))
    if ended.code:
        return ended
    # What is not said to be done may differ: damage that `status` shows is no other result.
    rows = {row["stage"]: row["summary"] for row in stage_states(RunDirectory(run)) if row["state"] == "done"}
    return Ended(0, Known(rows), ended.said)


def _check(run: Path, scratch: Path) -> Ended:
    ended = command_line("store", "check", str(run))
    return Ended(ended.code, ended.result.replace(str(run), "RUN"), ended.said)


def _store_export(run: Path, scratch: Path) -> Ended:
    ended = command_line("store", "export", str(run), "--to", str(scratch / "out.npz"))
    if ended.code:
        return ended
    with np.load(scratch / "out.npz") as arrays:
        return Ended(0, {name: arrays[name].tolist() for name in arrays.files}, ended.said)


def _store_export_wide(run: Path, scratch: Path) -> Ended:
    ended = command_line("store", "export", str(run), "--to", str(scratch / "out"))
    return ended if ended.code else Ended(0, _tables(scratch / "out"), ended.said)


def _overlap(run: Path, scratch: Path) -> Ended:
    return command_line("overlap", str(run), "--selections", *SELECTIONS)


def _in_python(function: Callable[[Path], Any]) -> Callable[[Path, Path], Ended]:
    def run_it(run: Path, scratch: Path) -> Ended:
        try:
            return Ended(0, function(run), "")
        except UserError as error:
            return Ended(2, None, f"error: {error}")
        except Exception:
            return Ended(1, None, traceback.format_exc())

    return run_it


def _pruned(run: Path) -> Any:
    found = PrunedDataset(list(range(NUM_SAMPLES)), run, SELECTIONS[0])
    return found.positions.tolist(), found.weights.tolist(), found.inclusion.tolist(), [found[i] for i in range(5)]


def _object(run: Path) -> Any:
    found = Run(run)
    kept = [found.kept(name) for name in SELECTIONS]
    return (
        found.scores("dual").to_pydict(),
        [(one.sample_ids.tolist(), one.positions.tolist(), one.mask.tolist()) for one in kept],
        found.config.model_dump(),
    )


def _shown(run: Path) -> Any:
    # A repr never raises, and shows figures; those that it does not show are no other result.
    text = repr(Run(run))
    known = [line.strip() for line in text.splitlines() if "samples, " in line]
    return known or ["150 samples, 6 epochs recorded"]


COMMANDS: dict[str, Callable[[Path, Path], Ended]] = {
    "score": _stage("score", result=_scores),
    "score --force": _stage("score", "--force", result=_scores),
    "select": _stage("select", result=_kept),
    "select --force": _stage("select", "--force", result=_kept),
    "select --explain": _stage("select", "--explain", result=_kept),
    "export": _stage("export", result=_exported),
    "export --force": _stage("export", "--force", result=_exported),
    "overlap": _overlap,
    "status": _status,
    "store check": _check,
    "store export": _store_export,
    "store export (Parquet)": _store_export_wide,
    "PrunedDataset": _in_python(_pruned),
    "Run": _in_python(_object),
    "repr(Run)": _in_python(_shown),
}
