"""Draws a selection of a run again: as it was drawn, or with the noise of a further seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dualprune.core.config import Config
from dualprune.core.identity import with_baseline
from dualprune.core.plugins import make_sampler, plugin_class
from dualprune.core.run import RunDirectory
from dualprune.core.sections import SelectConfig
from dualprune.core.storage import Location, fingerprint
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import RunError
from dualprune.selection.engine.drawing import draw_all
from dualprune.selection.engine.rules import DrawRules
from dualprune.stages.inputs import select_inputs
from dualprune.stages.methods import other_scores
from dualprune.stages.select.stage import prepare, read_id_files, write_kept


def drawn_config(run: RunDirectory, config: Config, name: str) -> Config:
    """Return `config` with the `select` section by which a finished selection was drawn; it may be of any version.

    With `nested`, its ratios are those of the larger selections, and its own as the last.
    """
    settings = _plain(run.require(f"select.{name}", "select")["settings"])
    ratios = [*settings.pop("within", []), settings.pop("ratio")]
    settings.pop("reads", None)
    values = with_baseline(SelectConfig, {**settings, "ratio": ratios if len(ratios) > 1 else ratios[0]})
    method = values["method"]
    # Every option is set: none may follow the preset or the defaults of today.
    options = with_baseline(plugin_class("sampler", method).Options, values["options"].get(method, {}))
    select = SelectConfig.model_validate({**values, "options": {method: options}})
    return config.model_copy(update={"select": select})


def redraw(run: RunDirectory, config: Config, name: str, number: int, place: Location) -> None:
    """Draw a selection with its seed + `number`, and write the samples to `place`, in the form of `kept.parquet`.

    The noise is the sampler's own, also in a run of stream 1: there, that of a random baseline would be the same.

    Raises:
        RunError: what it was drawn from has changed since.
    """
    config = drawn_config(run, config, name)
    index = SampleIndex.load(run.index)
    ids = read_id_files(config, index)
    scored = select_inputs(run, config.select_score, other_scores(config))
    inputs = [*scored, *(fingerprint(values.to_pylist()) for values in ids.values())]
    if inputs != run.require(f"select.{name}", "select")["inputs"]:
        raise RunError(
            f"{run}: the scores or the id files of the selection {name!r} have changed since it was drawn, so it "
            "cannot be drawn again; select anew, or set evaluate.redraw to false"
        )
    scores, constraints = prepare(run, config, index, ids)
    rules = replace(DrawRules.of(config.select), seed=config.select.seed + number, stream=2)
    drawn = draw_all(scores.each, make_sampler(config), rules, constraints)[-1]
    write_kept(scores, [drawn], [place], index)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a stage without the versions of its sections."""
    return {
        key: _plain(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if key != "version"
    }
