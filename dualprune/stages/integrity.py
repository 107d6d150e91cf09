"""Checks a whole run for damage: index, dynamics, columns, scores, selections, exports, and their records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dualprune.core.json_file import REMEDY
from dualprune.core.outputs import damaged_outputs
from dualprune.core.records import problems
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.check import Finding, check_store
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.commit import COMMIT
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.state import has_state
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import MissingPluginError, UserError
from dualprune.exchange.kept import read_kept
from dualprune.stages.score.files import read_scores
from dualprune.stages.table import STAGES

# Folders of results, with the stage of each folder in them.
RESULTS = {"scores": ("score", "method="), "selections": ("select", ""), "exports": ("export", "")}


def check_run(run: RunDirectory | Location | str | os.PathLike[str]) -> list[Finding]:
    """Return what is wrong with a run; every file that a record names is read and compared with it.

    Stages that are unfinished or have not begun are not wrong.
    """
    directory = RunDirectory(run)
    findings = list(_settings(directory))
    manifests: dict[str, Mapping[str, Any]] = {}
    for key in directory.manifest_keys():
        try:
            manifest = directory.manifest(key)
        except UserError as error:
            findings.append(Finding(f"manifests/{key}.json", str(error), REMEDY))
            continue
        if manifest is not None:
            manifests[key] = manifest
            for problem in damaged_outputs(directory.root, manifest, "all"):
                findings.append(Finding(str(problem.place), f"it {problem.what}", _again(directory, key)))
    findings += _of_another_run(directory, manifests)
    checks: tuple[Callable[[RunDirectory], Iterable[Finding]], ...] = (check_store, _columns, _states)
    for check in checks:
        try:
            findings += check(directory)
        except UserError as error:
            # Without the index, or with a damaged record, the rest cannot be checked.
            findings.append(Finding(str(directory), str(error), "mend this first, and check again"))
            break
    for key, known in manifests.items():
        if "outputs" not in known:
            findings += _older(directory, key, known)
    return [*findings, *_without_manifest(directory)]


def _settings(run: RunDirectory) -> Iterator[Finding]:
    keys = run.manifest_keys()
    if not keys and not run.has_config:
        # Dynamics that were written without stages.
        return
    for key in ("index", "record"):
        if key not in keys:
            yield Finding(f"manifests/{key}.json", "it is missing", "restore it from a copy, or record again")
    if not run.has_config:
        yield Finding("config.yaml", "it is missing", "restore it from a copy, or run a stage with the configuration")
        return
    try:
        run.load_config()
    except MissingPluginError:
        # Nothing is wrong with the file.
        return
    except UserError as error:
        yield Finding("config.yaml", str(error), "restore it from a copy, or run a stage with the configuration")


def _of_another_run(run: RunDirectory, manifests: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the manifests of the recording that do not belong to the index and the epochs that are there."""
    try:
        store = DynamicsStore(run)
        there = {
            "index": {store.index.fingerprint},
            "record": {commit["fingerprint"] for commit in store.commits.values()},
        }
    except UserError:
        # Reported by the check of the store.
        return
    for key, fingerprints in there.items():
        if key in manifests and fingerprints and manifests[key]["fingerprint"] not in fingerprints:
            yield Finding(f"manifests/{key}.json", "it belongs to another run", "restore it from a copy")


def _again(run: RunDirectory, key: str) -> str:
    stage = next((stage.name for stage in STAGES.values() if stage.owns(key)), "select")
    return f"run `dualprune {stage} {run}`, which makes it again"


def _columns(run: RunDirectory) -> Iterator[Finding]:
    columns = ColumnStore(run)
    for name in columns.names():
        files = [(columns.location / name / file["name"], file) for file in columns.record(name)["files"]]
        for problem in problems(files, "all"):
            yield Finding(str(problem.place), f"it {problem.what}", columns.remedy(name))


def _states(run: RunDirectory) -> Iterator[Finding]:
    store = DynamicsStore(run)
    for epoch in store.epochs:
        if has_state(store.location, epoch):
            folder = store.file(epoch, 0).parent / "state"
            files = [(folder / file["name"], file) for file in (folder / COMMIT).read_record()["files"]]
            for problem in problems(files, "all"):
                yield Finding(str(problem.place), f"it {problem.what}", store.remedy(epoch))


def _older(run: RunDirectory, key: str, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with results of a version that recorded no outputs: whatever reading them shows."""
    stage, _, name = key.partition(".")
    try:
        if stage == "select":
            read_kept(run, name, ["sample_id", "position"])
        elif stage == "score":
            buckets = range(SampleIndex.load(run.index).num_buckets)
            rows = sum(read_scores(run, name, bucket).num_rows for bucket in buckets)
            expected = manifest["summary"].get("samples", rows)
            if rows != expected:
                yield Finding(key, f"its files have {rows:,} rows instead of {expected:,}", _again(run, key))
    except UserError as error:
        yield Finding(key, str(error), f"run `dualprune {stage} {run} --force`")


def _without_manifest(run: RunDirectory) -> Iterator[Finding]:
    keys = run.manifest_keys()
    found: list[tuple[Location, str]] = [(run.evaluation, "evaluate")]
    for folder, (stage, prefix) in RESULTS.items():
        for place in (run.root / folder).children():
            if place.name.startswith(prefix) and not place.is_file():
                found.append((place, f"{stage}.{place.name.removeprefix(prefix)}"))
    for place, key in found:
        if key not in keys and place.exists():
            yield Finding(str(place), f"manifests/{key}.json is missing", _again(run, key))
