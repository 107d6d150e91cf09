"""Tells what a run directory holds: which stages are done, which are not, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.layout import COMMIT
from dualprune.errors import RunError
from dualprune.stages.pipeline import STAGES

# Stages whose inputs are fingerprints of a stage before, as its manifest has it now.
_AFTER = {"select": "score.", "export": "select.", "evaluate": "select."}
# So many names of a list are shown.
FEW = 5


def stage_states(run: RunDirectory) -> list[dict[str, Any]]:
    """Return a row a stage, in order, then what stages had to find out beside: key, state, seconds and summary.

    States: `done`; `outdated`, done from what a stage before has changed since; `unfinished`, interrupted or under way;
    `missing`; `off`, an evaluation that the configuration does not ask for.
    """
    manifests = run.manifests()
    if not manifests and not run.has_config:
        raise RunError(f"{run} is not a run directory: it has no manifests; start one by `dualprune prune`")
    config = run.load_config() if run.has_config else None
    rows = []
    helpers = sorted({key.partition(".")[0] for key in manifests} - {"index", *STAGES})
    for stage in ("index", *STAGES, *helpers):
        keys = [key for key in manifests if key.partition(".")[0] == stage]
        for key in keys:
            rows.append(
                {
                    "stage": key,
                    "state": _state(stage, manifests[key], manifests, config.score.epochs if config else None),
                    "seconds": manifests[key]["seconds"],
                    "summary": manifests[key]["summary"] or _so_far(run, key, config),
                }
            )
        if not keys:
            off = stage == "evaluate" and config is not None and not config.evaluate.enabled
            rows.append({"stage": stage, "state": "off" if off else "missing", "seconds": None, "summary": {}})
    return rows


def status_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the states as a table for a terminal, with the sum of their cost."""
    table = Table()
    for column in ("stage", "state", "seconds", "what"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:,.1f}"
        what = ", ".join(_in_words(name, value) for name, value in row["summary"].items() if value is not None)
        table.add_row(row["stage"], row["state"], seconds, what)
    table.add_section()
    table.add_row("all", "", f"{sum(row['seconds'] or 0.0 for row in rows):,.1f}", "")
    return table


def stability_table(run: RunDirectory) -> Table | None:
    """Return how much scores and kept sets moved, an epoch a row; None where recording did not follow it."""
    if not run.stability.exists():
        return None
    measured = run.stability.read_json()
    rule, settled = measured["rule"], measured["settled"]
    looked_at = f"{measured['samples']:,} of {measured['of_samples']:,} samples"
    table = Table(
        title=f"{measured['score']} scores and {measured['sampler']} selections against {rule['lag']} epochs before "
        f"({looked_at})",
        caption="not settled" if settled is None else f"settled by epoch {settled}",
    )
    table.add_column("epoch", justify="right")
    table.add_column(f"correlation (≥ {rule['correlation']:g})", justify="right")
    for ratio in measured["ratios"]:
        table.add_column(f"overlap at {ratio:g} (≥ {rule['overlap']:g})", justify="right")
    for row in measured["epochs"]:
        overlaps = (f"{overlap:.3f}" for overlap in row["overlap"].values())
        table.add_row(str(row["epoch"]), f"{row['correlation']:.3f}", *overlaps)
    return table


def next_command(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the command that does the first stage which is not done; None where nothing is left to do."""
    asked = _asked_for(run.load_config()) if run.has_config else None
    for row in rows:
        stage = row["stage"].partition(".")[0]
        if asked is not None and "." in row["stage"] and row["stage"] not in asked:
            # Of an earlier configuration: no command would do it now.
            continue
        if stage in ("index", *STAGES) and row["state"] not in {"done", "off"}:
            # The index is part of recording.
            return f"dualprune {'record' if stage == 'index' else stage} {run}"
    return None


def _asked_for(config: Config) -> set[str]:
    """Return the stages by method or selection that the configuration names."""
    from dualprune.stages.select.stage import selection_names

    names = selection_names(config)
    methods = [*config.score.methods, config.select_score]
    return {
        *(f"score.{method}" for method in methods),
        *(f"{stage}.{name}" for stage in ("select", "export") for name in names),
    }


def _state(
    stage: str, manifest: Mapping[str, Any], manifests: Mapping[str, Mapping[str, Any]], limit: int | None
) -> str:
    if manifest["status"] != "done":
        return "unfinished"
    if stage == "score":
        recorded, used = (
            manifests.get("record", {}).get("summary", {}).get("epochs"),
            manifest["settings"].get("epochs"),
        )
        return "done" if recorded is None or limit is not None or recorded == used else "outdated"
    if stage in _AFTER:
        before = {other["fingerprint"] for key, other in manifests.items() if key.startswith(_AFTER[stage])}
        # After the scores, a selection's inputs are its id files.
        used = manifest["inputs"][:1] if stage == "select" else manifest["inputs"]
        if not before.issuperset(used):
            return "outdated"
    return "done"


def _so_far(run: RunDirectory, key: str, config: Config | None) -> dict[str, Any]:
    """Return how far an unfinished stage is, where that can be seen."""
    if key == "record":
        committed = sum((folder / COMMIT).exists() for folder in run.dynamics.children())
        return {"epochs": f"{committed} of {config.record.epochs}" if config else committed}
    if key == "evaluate":
        return {"trainings": sum(file.name.endswith(".json") for file in (run.root / "evaluation").children())}
    return {}


def _in_words(name: str, value: Any) -> str:
    if name == "skipped":
        first = ", ".join(value["first"])
        return f"{value['count']:,} images skipped" + (f" ({first})" if first else "")
    return f"{name.removeprefix('num_').replace('_per_s', '/s').replace('_', ' ')} {_number(name, value)}"


def _number(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if name.endswith("accuracy") else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value[:FEW])) + (f" and {len(value) - FEW:,} more" if len(value) > FEW else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(key, item)}" for key, item in value.items())
    return str(value)
