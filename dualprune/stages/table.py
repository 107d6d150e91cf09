"""The stages of a run, in order: what each is called, what it needs, and which manifests it writes.

The order of `prune`, the states and the next command of `status`, and the stage commands of the CLI follow from this
table. Importing it is cheap, as `--help` needs it: a stage, and what its row needs to look at a run, is imported when
it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dualprune.errors import ConfigError, UserError

if TYPE_CHECKING:
    from dualprune.core.config import Config
    from dualprune.core.run import RunDirectory


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Stage:
    """A stage.

    `entry` is the address of the function that runs it: `entry(run, config, *, force=False, **options)`. `after` are
    the stages whose results it reads. `keys(config)` are the keys of its manifests, each `name` or `name.part`.
    `wanted(config)` tells whether `prune` runs it; `switch` is the configuration key that decides this, where there is
    one. `so_far(run, config)` returns figures of an unfinished run, `time_left(run, config, manifest)` the seconds that
    one under way will still take, or None if that is unknown, and `inputs(run, config, manifest)` the fingerprints that
    a finished one would start from now, or None if they are unknown. `families` are the first parts of its keys where
    they differ from its name; `resume_flag` is the option with which its command continues.
    """

    name: str
    about: str
    entry: str
    after: tuple[str, ...]
    keys: Callable[[Config], list[str]]
    wanted: Callable[[Config], bool] = lambda config: True
    switch: str = ""
    so_far: Callable[[RunDirectory, Config | None], Mapping[str, Any]] = _nothing
    time_left: Callable[[RunDirectory, Config | None, Mapping[str, Any]], float | None] = lambda *_: None
    inputs: Callable[[RunDirectory, Config | None, Mapping[str, Any]], Sequence[str] | None] = lambda *_: None
    families: tuple[str, ...] = ()
    resume_flag: str = ""

    def owns(self, key: str) -> bool:
        """Whether a manifest is of this stage."""
        return key.partition(".")[0] in (self.families or (self.name,))

    def function(self) -> Callable[..., Any]:
        """Import and return the function that runs the stage."""
        module, _, name = self.entry.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), name)
        return found


def stage_named(name: str) -> Stage:
    """Return a stage; where there is none of that name, a ConfigError suggests the nearest."""
    if name not in STAGES:
        from dualprune.core.registry import nearest

        raise ConfigError(f"unknown stage {name!r}; there are: {', '.join(STAGES)}{nearest(name, STAGES)}")
    return STAGES[name]


def pruning_stages(config: Config) -> list[str]:
    """Return the names of the stages that `prune` runs, in order."""
    return [stage.name for stage in STAGES.values() if stage.wanted(config)]


def _score_keys(config: Config) -> list[str]:
    from dualprune.stages.methods import score_methods

    return [f"score.{method}" for method in score_methods(config)]


def _selection_keys(stage: str) -> Callable[[Config], list[str]]:
    def keys(config: Config) -> list[str]:
        from dualprune.stages.select.names import selection_names

        return [f"{stage}.{name}" for name in selection_names(config)]

    return keys


def _recorded_so_far(run: RunDirectory, config: Config | None) -> dict[str, Any]:
    from dualprune.dynamics.commit import read_commits

    committed = len(read_commits(run.dynamics))
    return {"epochs": f"{committed} of {config.record.epochs}" if config else committed}


def _recording_left(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> float | None:
    """Return the seconds until the last epoch is committed, at the pace at which this attempt committed its epochs."""
    from dualprune.core.pace import Pace
    from dualprune.dynamics.commit import read_commits

    if config is None or manifest["stage"] != "record":
        return None
    pace = Pace(config.record.epochs)
    for epoch, commit in read_commits(run.dynamics).items():
        if commit["written_at"] >= manifest["started_at"]:
            pace.note(epoch + 1, commit["written_at"])
    return pace.left(time.time())


def _evaluated_so_far(run: RunDirectory, config: Config | None) -> dict[str, Any]:
    return {"trainings": _num_json(run, "evaluation")}


def _tuned_so_far(run: RunDirectory, config: Config | None) -> dict[str, Any]:
    return {"trials": _num_json(run, "tune", "trials")}


def _num_json(run: RunDirectory, *folders: str) -> int:
    place = run.root
    for folder in folders:
        place = place / folder
    return sum(file.name.endswith(".json") for file in place.children())


def _score_inputs(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> list[str] | None:
    from dualprune.core.plugins import make_score
    from dualprune.dynamics.store import DynamicsStore
    from dualprune.scores.score import ColumnScore
    from dualprune.stages.inputs import column_score_inputs, score_inputs

    store = DynamicsStore(run)
    if not store.epochs:
        # Dynamics may be deleted to save space; their scores stay valid.
        return None
    limit = manifest["settings"].get("epochs") if config is None else config.score.epochs
    inputs = score_inputs(store, store.epochs[:limit])
    name = manifest["stage"].partition(".")[2]
    if config is not None:
        # Where the method is not installed, or a column is gone, the recorded epochs can be compared all the same.
        with suppress(UserError):
            method = make_score(config, name)
            if isinstance(method, ColumnScore):
                inputs += column_score_inputs(run, name, method)
    return inputs


def _measure_inputs(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> list[str]:
    from dualprune.core.plugins import make, make_measurement
    from dualprune.stages.inputs import measure_inputs

    name = manifest["stage"].partition(".")[2]
    if config is not None:
        return measure_inputs(run, make_measurement(config, name))
    return measure_inputs(run, make("measurement", name, {}, f"measure.options.{name}"))


def _measure_keys(config: Config) -> list[str]:
    from dualprune.stages.methods import measurements_read

    return [f"measure.{name}" for name in measurements_read(config)]


def _select_inputs(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> list[str]:
    from dualprune.stages.inputs import select_inputs

    return select_inputs(run, manifest["settings"]["score"], manifest["settings"].get("reads", ()))


def _export_inputs(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> list[str]:
    from dualprune.stages.inputs import selection_inputs

    return selection_inputs(run, [manifest["stage"].partition(".")[2]])


def _evaluate_inputs(run: RunDirectory, config: Config | None, manifest: Mapping[str, Any]) -> list[str]:
    from dualprune.stages.inputs import selection_inputs

    return selection_inputs(run, manifest["settings"]["selections"])


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "record",
            about="Train the early epochs and record the training dynamics.",
            entry="dualprune.stages.record.stage:run_record",
            after=(),
            keys=lambda config: ["index", "record"],
            so_far=_recorded_so_far,
            time_left=_recording_left,
            families=("index", "record"),
        ),
        Stage(
            "measure",
            about="Measure what the score methods read once per sample.",
            entry="dualprune.stages.measure:run_measure",
            after=("record",),
            keys=_measure_keys,
            wanted=lambda config: bool(_measure_keys(config)),
            inputs=_measure_inputs,
        ),
        Stage(
            "score",
            about="Score every sample from its recorded dynamics.",
            entry="dualprune.stages.score.stage:run_score",
            after=("record",),
            keys=_score_keys,
            inputs=_score_inputs,
        ),
        Stage(
            "select",
            about="Draw the samples to keep.",
            entry="dualprune.stages.select.stage:run_select",
            after=("score",),
            keys=_selection_keys("select"),
            inputs=_select_inputs,
        ),
        Stage(
            "export",
            about="Write the kept set: lists of it, and its rows.",
            entry="dualprune.stages.export:run_export",
            after=("select",),
            keys=_selection_keys("export"),
            inputs=_export_inputs,
        ),
        Stage(
            "evaluate",
            about="Train on the full set, random subsets and the selections, and compare.",
            entry="dualprune.stages.evaluate.stage:run_evaluate",
            after=("select",),
            keys=lambda config: ["evaluate"],
            wanted=lambda config: config.evaluate.enabled,
            switch="evaluate.enabled",
            so_far=_evaluated_so_far,
            inputs=_evaluate_inputs,
        ),
        Stage(
            "tune",
            about="Search the settings in tune.space, and check the best on the test set.",
            entry="dualprune.stages.tune.stage:run_tune",
            after=("record",),
            keys=lambda config: ["tune"],
            wanted=lambda config: False,
            so_far=_tuned_so_far,
            resume_flag=" --resume",
        ),
    )
}
