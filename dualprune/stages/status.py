"""Reports the state of a run directory: which stages are done, which are not, what they cost, and what is next."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dualprune.core.config import Config
from dualprune.core.lease import Holder
from dualprune.core.outputs import damaged_outputs
from dualprune.core.run import RunDirectory
from dualprune.errors import DataError, MissingPluginError, RunError, UserError
from dualprune.stages.table import STAGES, Stage

logger = logging.getLogger(__name__)
OPEN = ("missing", "unfinished", "outdated", "damaged")


def stage_states(run: RunDirectory) -> list[dict[str, Any]]:
    """Return one row per manifest, stage by stage, then those of helpers: stage (its key), state, seconds, summary.

    States: `done`; `outdated`, its inputs have changed since; `damaged`, a file of it is missing or has another size;
    `running`, under way in another process; `unfinished`,
    interrupted; `missing`; `off`, a stage that the configuration does not ask for. `attempts` lists when each attempt
    of a stage began and ended, in seconds since 1970; for the time of several rows, see `total_seconds`.
    """
    # Looked up before and after, as a stage may begin or end in between.
    holder, manifests = run.holder(), run.manifests()
    holder = holder or run.holder()
    if not manifests and not run.has_config:
        raise RunError(
            f"{run} is not a run directory: it has no manifests; "
            "start one with `dualprune prune` (in Python: dualprune.Run(place, config=…))"
        )
    config = _config(run)
    rows = []
    for stage in STAGES.values():
        for key in _shown(stage, config, manifests):
            if key in manifests:
                row = _row(key, _state(run, config, stage, manifests[key], holder), manifests[key])
                if row["state"] in ("unfinished", "running"):
                    row["summary"] = row["summary"] or dict(stage.so_far(run, config))
                    if row["state"] == "running" and (left := stage.time_left(run, config, manifests[key])) is not None:
                        row["summary"]["left_s"] = left
                rows.append(row)
            else:
                rows.append(_row(key, "missing" if _wanted(stage, config) else "off"))
    helpers = sorted(key for key in manifests if not any(stage.owns(key) for stage in STAGES.values()))
    return rows + [_row(key, _begun(manifests[key], holder) or "done", manifests[key]) for key in helpers]


def total_seconds(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the time that the stages of some rows took together; what several did in one pass counts once."""
    total, until = 0.0, -math.inf
    for began, ended in sorted(attempt for row in rows for attempt in row["attempts"]):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def next_stage(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> Stage | None:
    """Return the first stage with work left; None where nothing is left to do, or a process is doing it."""
    if run.holder() is not None:
        return None
    config = _config(run)
    for row in rows:
        stage = next((stage for stage in STAGES.values() if stage.owns(row["stage"])), None)
        if stage is None or row["state"] not in OPEN:
            continue
        # A manifest of an earlier configuration does not count: no command would do that stage now.
        if config is None or row["stage"] in (stage.name, *stage.keys(config)):
            return stage
    return None


def next_command(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the command that runs the first stage with work left; None as for `next_stage`."""
    stage = next_stage(run, rows)
    return None if stage is None else f"dualprune {stage.name} {run}{stage.resume_flag}"


def _config(run: RunDirectory) -> Config | None:
    """Return the stored configuration; None where there is none, or it names a plug-in that is not installed here."""
    try:
        return run.load_config() if run.has_config else None
    except MissingPluginError as error:
        logger.warning("%s: its configuration cannot be used here, so only existing results are listed: %s", run, error)
        return None


def is_outdated(run: RunDirectory, config: Config | None, stage: Stage, manifest: Mapping[str, Any]) -> bool:
    """Whether a finished result was made from other inputs than the stage would find now."""
    try:
        now = stage.inputs(run, config, manifest)
    except (UserError, KeyError):
        # Its inputs are gone, so the result stands.
        return False
    return now is not None and list(now) != manifest["inputs"][: len(now)]


def _shown(stage: Stage, config: Config | None, manifests: Mapping[str, Any]) -> list[str]:
    """Return the keys to list: those that the configuration asks for and those that have manifests."""
    there = [key for key in manifests if stage.owns(key)]
    wanted = _wanted(stage, config)
    if there or stage.families:
        asked = stage.keys(config) if config is not None and wanted else list(stage.families)
        return list(dict.fromkeys([*asked, *there]))
    # A stage that has not begun is one row, unless no configuration can ask for it.
    return [stage.name] if wanted or stage.switch else []


def _wanted(stage: Stage, config: Config | None) -> bool:
    return stage.wanted(Config() if config is None else config)


def _row(key: str, state: str, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    if manifest is None:
        return {"stage": key, "state": state, "seconds": None, "summary": {}, "attempts": []}
    seconds, attempts, now = manifest["seconds"], list(manifest["attempts"]), time.time()
    if state == "running":
        seconds += max(0.0, now - manifest["started_at"])
        attempts.append([manifest["started_at"], now])
    summary = dict(manifest["summary"])
    return {"stage": key, "state": state, "seconds": seconds, "summary": summary, "attempts": attempts}


def _begun(manifest: Mapping[str, Any], holder: Holder | None) -> str | None:
    """Return the state of a stage that has begun and not ended; None for one that is done."""
    if manifest["status"] == "done":
        return None
    # What began before the run directory was taken by its present writer was interrupted.
    return "running" if holder and manifest["started_at"] >= (holder.since or 0.0) else "unfinished"


def _state(
    run: RunDirectory, config: Config | None, stage: Stage, manifest: Mapping[str, Any], holder: Holder | None
) -> str:
    begun = _begun(manifest, holder)
    if begun is not None:
        return begun
    if is_outdated(run, config, stage, manifest):
        return "outdated"
    return "damaged" if _is_damaged(run, manifest) else "done"


def _is_damaged(run: RunDirectory, manifest: Mapping[str, Any]) -> bool:
    """Whether a file of a finished result is missing or has another size; nothing is read for it."""
    from dualprune.dynamics.check import damaged_files
    from dualprune.dynamics.store import DynamicsStore

    if damaged_outputs(run.root, manifest, "none"):
        return True
    try:
        return manifest["stage"] == "record" and bool(damaged_files(DynamicsStore(run), "none"))
    except RunError:
        # Dynamics may be deleted to save space.
        return False
    except DataError:
        return True
