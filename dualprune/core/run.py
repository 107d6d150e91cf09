"""The run directory: where each stage's files are, and manifests that tell which stages are done."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from dualprune.core import lease, metrics
from dualprune.core.cleanup import cleaning_up
from dualprune.core.config import Config
from dualprune.core.config_file import load_stored_config, store_config, with_values_of_run
from dualprune.core.identity import inner_section
from dualprune.core.migration import VERSION, upgraded
from dualprune.core.outputs import Output, damaged_outputs
from dualprune.core.storage import Location, fingerprint
from dualprune.errors import DataError, RunError

logger = logging.getLogger(__name__)
# Of damaged files.
SHOWN = 5


@dataclass
class Stage:
    """A stage that is about to run, or is found `done` with the same settings and inputs.

    `damaged` are the files for which a stage that was done runs again. `outputs` are the files that it has made, while
    which are there and unchanged it counts as done.
    """

    key: str
    fingerprint: str
    done: bool
    summary: dict[str, Any] = field(default_factory=dict)
    damaged: list[Location] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)


class RunDirectory:
    """The folder, local or at a `pyarrow.fs` address, that every stage of one run reads and writes.

    A stage runs inside `with run.stage(key, settings, inputs) as stage`: when `stage.done`, its outputs are there
    already and it returns at once; else it does its work, fills `stage.summary`, and the manifest
    `manifests/<key>.json` is written when the block ends without an exception. A stage whose `stage.outputs` have been
    damaged or removed since runs again.
    """

    def __init__(self, place: RunDirectory | Location | str | os.PathLike[str]) -> None:
        self.root: Location = place.root if isinstance(place, RunDirectory) else Location.of(place)

    def __str__(self) -> str:
        return str(self.root)

    @property
    def index(self) -> Location:
        """The sample index."""
        return self.root / "index"

    @property
    def dynamics(self) -> Location:
        """The recorded statistics."""
        return self.root / "dynamics"

    @property
    def stability(self) -> Location:
        """How much the scores moved from epoch to epoch, where recording followed it."""
        return self.root / "dynamics" / "stability.json"

    @property
    def checkpoints(self) -> Location:
        """The model checkpoints of recording."""
        return self.root / "checkpoints"

    @property
    def evaluation(self) -> Location:
        """The comparison of selections."""
        return self.root / "evaluation.json"

    def scores(self, method: str) -> Location:
        """The scores of one method."""
        return self.root / "scores" / f"method={method}"

    def selection(self, name: str) -> Location:
        """One kept set."""
        return self.root / "selections" / name

    def export(self, name: str) -> Location:
        """The exported form of one kept set."""
        return self.root / "exports" / name

    def selection_names(self) -> list[str]:
        """Return the names of the selections that are finished, sorted."""
        return [
            folder.name for folder in (self.root / "selections").children() if self.manifest(f"select.{folder.name}")
        ]

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the directory for writing; a RunError where another process writes it."""
        return lease.exclusive(self.root)

    def holder(self) -> lease.Holder | None:
        """Return the process that writes the directory now, or None."""
        return lease.holder(self.root)

    @property
    def has_config(self) -> bool:
        """Whether a configuration is stored here."""
        return (self.root / "config.yaml").exists()

    def save_config(self, config: Config) -> None:
        """Store the configuration, so that later commands need the run directory alone."""
        store_config(self.root / "config.yaml", config)

    def load_config(self, overrides: Sequence[str] = ()) -> Config:
        """Return the stored configuration with overrides such as `select.ratio=0.7`."""
        place = self.root / "config.yaml"
        if not self.has_config:
            raise RunError(
                f"{self.root} is not a run directory: "
                "it has no config.yaml; start one with `dualprune prune` (in Python: dualprune.Run(place, config=…))"
            )
        return load_stored_config(place, overrides)

    def settled_config(self, config: Config) -> Config:
        """Return a configuration whose fields `of_run` are those that this run began with, unless it sets them."""
        return with_values_of_run(config, self.root / "config.yaml") if self.has_config else config

    def manifest(self, key: str) -> dict[str, Any] | None:
        """Return the manifest of a finished stage, or None."""
        manifest = self._read_manifest(key)
        return manifest if manifest is not None and manifest["status"] == "done" else None

    def manifest_keys(self) -> list[str]:
        """Return the keys of all stages that have a manifest, sorted."""
        names = [file.name for file in (self.root / "manifests").children() if file.name.endswith(".json")]
        return [name.removesuffix(".json") for name in names]

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Return all manifests by stage key, those of unfinished stages too."""
        found = {key: self._read_manifest(key) for key in self.manifest_keys()}
        return {key: manifest for key, manifest in found.items() if manifest is not None}

    def require(self, key: str, command: str) -> dict[str, Any]:
        """Return the manifest of a stage that must be finished; else a RunError that names the command to run."""
        manifest = self.manifest(key)
        if manifest is None:
            raise RunError(f"{self.root}: stage {key!r} is not finished; run `dualprune {command} {self.root}` first")
        return manifest

    def require_whole(self, key: str, command: str) -> dict[str, Any]:
        """Return what `require` returns; a DataError where an output of the stage is damaged or missing."""
        manifest = self.require(key, command)
        found = damaged_outputs(self.root, manifest)
        if found:
            raise DataError(f"{found[0]}; run `dualprune {command} {self.root}`, which makes it again")
        return manifest

    @contextmanager
    def stage(
        self,
        key: str,
        settings: Mapping[str, Any],
        inputs: Sequence[str] = (),
        *,
        force: bool = False,
        refuse_change: bool = False,
        reopen: bool = False,
    ) -> Iterator[Stage]:
        """Enter a stage.

        `settings` are what its result depends on (see `dualprune.core.identity`), `inputs` the fingerprints of the
        stages before. Settings that differ from those that began the stage make it run again; with `refuse_change`
        they are an error. With `reopen`, a stage that is done continues where it ended.

        The stage keeps the fingerprint that it began with: it stands in commit records, in the index and in
        checkpoint names. A stage that an older version began keeps the fingerprint of that version.
        """
        known = None if force else self._read_manifest(key)
        same = known is not None and fingerprint([known["settings"], known["inputs"]]) == fingerprint(
            [settings, inputs]
        )
        own = known["fingerprint"] if known and same else fingerprint({"settings": settings, "inputs": list(inputs)})
        damaged: list[Location] = []
        if known is not None:
            if same and known["status"] == "done" and not reopen:
                damaged = self._report_damage(key, known)
            if same and known["status"] == "done" and not reopen and not damaged:
                logger.info("%s: done already, skipped", key)
                yield Stage(key, own, done=True, summary=known["summary"])
                return
            if refuse_change and not same:
                raise RunError(self._other_config(key, known, settings))
        started_at = time.time()
        before_s = known["seconds"] if known and same else 0.0
        earlier = list(known["attempts"]) if known and same else []
        body: dict[str, Any] = {
            "stage": key,
            "version": VERSION,
            "status": "running",
            "fingerprint": own,
            "settings": dict(settings),
            "inputs": list(inputs),
            "started_at": started_at,
            "seconds": before_s,
            "attempts": earlier,
            "summary": {},
        }
        place = self.root / "manifests" / f"{key}.json"
        place.write_json(body)
        stage = Stage(key, own, done=False, damaged=damaged)
        try:
            yield stage
        except BaseException:
            body.update(_timed(before_s, earlier, started_at))
            with cleaning_up(f"writing how long {key} took"):
                place.write_json(body)
            raise
        body.update(_timed(before_s, earlier, started_at), status="done", summary=stage.summary)
        if stage.outputs:
            body["outputs"] = [output.to_json() for output in stage.outputs]
        place.write_json(body)
        metrics.gauge("dualprune_stage_seconds", body["seconds"], run=str(self.root), stage=key)
        logger.info("%s: done in %.1f s", key, time.time() - started_at)

    def forget_recording(self) -> None:
        """Delete dynamics, checkpoints and the manifests of scores computed from them."""
        for key in self.manifests():
            if key.startswith("score."):
                (self.root / "manifests" / f"{key}.json").delete()
        self.dynamics.delete()
        self.checkpoints.delete()

    def _read_manifest(self, key: str) -> dict[str, Any] | None:
        place = self.root / "manifests" / f"{key}.json"
        if not place.exists():
            return None
        record = place.read_record()
        record.expect(stage=str, status=str, fingerprint=str, settings=dict, inputs=list, summary=dict)
        record.expect(started_at=float, seconds=float)
        if record["stage"] != key:
            raise record.damaged(f"it is that of stage {record['stage']!r}")
        return upgraded(key, record)

    def _report_damage(self, key: str, manifest: Mapping[str, Any]) -> list[Location]:
        found = damaged_outputs(self.root, manifest)
        for problem in found[:SHOWN]:
            logger.warning("%s: %s; it is made again", key, problem)
        if len(found) > SHOWN:
            logger.warning("%s: %d more files are missing or damaged", key, len(found) - SHOWN)
        return [problem.place for problem in found]

    def _other_config(self, key: str, known: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        before, now = _flat(known["settings"]), _flat(settings)
        changes = [
            f"{name}: {before.get(name, _baseline(name))!r} there, {now.get(name, _baseline(name))!r} now"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        return (
            f"run directory {self.root} belongs to another configuration ({'; '.join(changes) or 'other inputs'}); "
            f"use another run directory, or pass force=True to do {key!r} and all after it again"
        )


def _timed(before_s: float, earlier: list[list[float]], started_at: float) -> dict[str, Any]:
    """Return what a manifest says of the time that its attempts took, the last of which ends now."""
    now = time.time()
    return {"seconds": before_s + now - started_at, "attempts": [*earlier, [started_at, now]]}


def _baseline(name: str) -> Any:
    """Return the value that a dotted key has where settings leave it out."""
    from dualprune.core.config import Config

    section, _, key = name.partition(".")
    model = inner_section(Config, section)
    return None if model is None else model.baseline.get(key)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
