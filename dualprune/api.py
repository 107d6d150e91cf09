"""A run for people: runs the stages, returns scores and kept sets, and shows its progress.

run = dualprune.Run("runs/digits", config="pipelines/configs/digits.yaml")
run.prune()
run.select({"select.method": "top_k", "select.ratio": 0.5})
run.kept("top_k-0.5").positions
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.config import Config
from dualprune.core.config_file import load_config, make_config, with_overrides
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import RunError, UserError
from dualprune.exchange.kept import read_kept
from dualprune.stages.pipeline import PruneResult, default_run, prune_run, run_stages
from dualprune.stages.status import next_stage, stage_states

# Dotted keys of the configuration, as `--set` takes them, and their values.
Overrides = Mapping[str, Any]
_GIVE_CONFIG = "with a configuration: dualprune.Run(place, config=…)"


class Kept(NamedTuple):
    """A kept set, in position order.

    `sample_ids` [k] are int64, or strings as objects; `positions` is int64 [k], ascending; `mask` is bool [N].
    """

    sample_ids: NDArray[Any]
    positions: NDArray[np.int64]
    mask: NDArray[np.bool_]


class Run:
    """A run directory, local or at a `pyarrow.fs` address, with all that can be done with it.

    `config` is a `Config`, nested plain values, or the path of a YAML file; the first stage stores it in the directory.
    Without it, the stored configuration is used. Each stage takes overrides by dotted key, such as
    `run.select({"select.ratio": 0.5})`, which are stored, too. A stage that is done is skipped unless its configuration
    or its inputs have changed, or `force` is true.
    """

    def __init__(
        self,
        place: RunDirectory | Location | str | os.PathLike[str],
        config: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> None:
        self.directory = RunDirectory(place)
        self._given = None if config is None else as_config(config)

    @property
    def config(self) -> Config:
        """The configuration; a RunError where none was given and none is stored."""
        return self._given if self._given is not None else self.directory.load_config()

    def record(self, overrides: Overrides | None = None, *, force: bool = False) -> None:
        """Train the early epochs and record the training dynamics."""
        self._do("record", overrides, force)

    def measure(self, overrides: Overrides | None = None, *, force: bool = False) -> None:
        """Measure what the score methods read once per sample."""
        self._do("measure", overrides, force)

    def score(self, overrides: Overrides | None = None, *, force: bool = False) -> None:
        """Score every sample from its recorded dynamics."""
        self._do("score", overrides, force)

    def select(self, overrides: Overrides | None = None, *, force: bool = False) -> None:
        """Draw the samples to keep."""
        self._do("select", overrides, force)

    def export(self, overrides: Overrides | None = None, *, force: bool = False) -> None:
        """Write the kept sets in the forms that training code reads."""
        self._do("export", overrides, force)

    def evaluate(self, overrides: Overrides | None = None, *, force: bool = False) -> dict[str, Any]:
        """Train on the full set, random subsets and the selections; return what `evaluation.json` holds."""
        compared: dict[str, Any] = self._do("evaluate", overrides, force)
        return compared

    def tune(
        self,
        overrides: Overrides | None = None,
        *,
        force: bool = False,
        resume: bool = False,
        max_trials: int | None = None,
        time_budget_s: float | None = None,
    ) -> dict[str, Any]:
        """Search `tune.space` for the best settings to select by; return what `tune/summary.json` holds.

        `resume` goes on with a sweep that was interrupted. `max_trials` (of the whole sweep) and `time_budget_s` (of
        this call) stand in for `tune.num_trials` and `tune.time_budget_s`.
        """
        found: dict[str, Any] = self._do(
            "tune", overrides, force, resume=resume, max_trials=max_trials, time_budget_s=time_budget_s
        )
        return found

    def prune(self, overrides: Overrides | None = None, *, force: bool = False) -> PruneResult:
        """Run all stages that the configuration asks for, in order."""
        result = prune_run(self.directory, self._config(overrides), force=force)
        self._given = None
        return result

    def scores(self, method: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the scores of a method, in position order: sample_id, label, position, score, mean_prob.

        Without `method`, those that the configuration selects by. A RunError where they are not finished.
        """
        from dualprune.stages.score.files import read_scores

        name = self.config.select_score if method is None else method
        self.directory.require_whole(f"score.{name}", "score")
        buckets = range(SampleIndex.load(self.directory.index).num_buckets)
        return pa.concat_tables(read_scores(self.directory, name, bucket, columns) for bucket in buckets)

    def kept(self, name: str | None = None) -> Kept:
        """Return a kept set; without `name`, the only one. A RunError names the selections that are there."""
        there = self.directory.selection_names()
        if name is None and len(there) == 1:
            name = there[0]
        if name not in there:
            asked = "no single selection" if name is None else f"no finished selection {name!r}"
            raise RunError(f"{self.directory} has {asked}; there are: {', '.join(there) or 'none'}")
        table = read_kept(self.directory, name, ["sample_id", "position"])
        positions = np.asarray(table["position"])
        mask = np.zeros(SampleIndex.load(self.directory.index).num_samples, dtype=bool)
        mask[positions] = True
        return Kept(table["sample_id"].to_numpy(), positions, mask)

    def status(self) -> list[dict[str, Any]]:
        """Return one row per stage result: stage, state, seconds, summary and attempts, see `dualprune status`.

        Stages that share a pass have its whole time each; `attempts` are the times at which each began and ended.
        """
        return stage_states(self.directory)

    def __str__(self) -> str:
        return str(self.directory)

    def __repr__(self) -> str:
        try:
            facts = self._facts()
        except (UserError, OSError, ValueError, KeyError) as error:
            facts = [f"cannot be read: {error}"]
        return "\n    ".join([f"Run({str(self)!r})", *facts])

    def _facts(self) -> list[str]:
        if not self.directory.has_config and not self.directory.manifests():
            if self._given is not None:
                return ["nothing is there yet", "next: run.record()"]
            return [f"nothing is there yet; begin {_GIVE_CONFIG}"]
        rows = self.status()
        summaries = {row["stage"]: row["summary"] for row in rows}
        samples = summaries.get("index", {}).get("samples")
        facts = (
            [] if samples is None else [f"{samples:,} samples, {summaries['record'].get('epochs', 0)} epochs recorded"]
        )
        for state in dict.fromkeys(row["state"] for row in rows):
            facts.append(f"{state}: {', '.join(row['stage'] for row in rows if row['state'] == state)}")
        if (holder := self.directory.holder()) is not None:
            facts.append(f"being written by {holder}")
        stage = next_stage(self.directory, rows)
        if stage is not None:
            known = self._given is not None or self.directory.has_config
            facts.append(f"next: run.{stage.name}()" + ("" if known else f", {_GIVE_CONFIG}"))
        return facts

    def _config(self, overrides: Overrides | None) -> Config:
        if not overrides:
            return self.config
        return with_overrides(self.config, [f"{key}={json.dumps(value)}" for key, value in overrides.items()])

    def _do(self, stage: str, overrides: Overrides | None, force: bool, **options: Any) -> Any:
        [result] = run_stages(self.directory, self._config(overrides), [stage], force=force, **options)
        # From here on the directory's own configuration counts; it includes the overrides.
        self._given = None
        return result


def as_config(config: Config | Mapping[str, Any] | str | os.PathLike[str]) -> Config:
    """Return the checked configuration of a `Config`, nested plain values, or the path of a YAML file."""
    if isinstance(config, Config):
        return config
    return load_config(config) if isinstance(config, str | os.PathLike) else make_config(config)


def resolve(place: str, run: str | None = None, overrides: Sequence[str] = ()) -> tuple[RunDirectory, Config]:
    """Return the run directory and the configuration that a program was given.

    `place` is a YAML file or a run directory. With a YAML file, the run directory is `run`, or is named after the file;
    a run directory has its own configuration. `overrides` are texts such as `select.ratio=0.7`.
    """
    location = Location.of(place)
    if location.name.endswith((".yaml", ".yml")):
        return RunDirectory(run or default_run(location)), load_config(location, overrides)
    if run is not None:
        raise UserError(f"--run {run}: give either a configuration and --run, or the run directory {place} alone")
    directory = RunDirectory(location)
    return directory, directory.load_config(overrides)
