"""The whole configuration of a run, and what its sections must have to do with each other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dualprune.core.baseline import BASELINES
from dualprune.core.presets import PRESETS
from dualprune.core.section import Section
from dualprune.core.sections import (
    DataConfig,
    EvaluateConfig,
    ExportConfig,
    MeasureConfig,
    ModelConfig,
    RecordConfig,
    ScalingConfig,
    ScoreConfig,
    SelectConfig,
    TrainConfig,
    TuneConfig,
)


class Config(Section):
    """The whole configuration of a run."""

    baseline = BASELINES["config"]

    preset: Literal["authors-code", "paper"] = Field(
        "authors-code",
        description="Where the sources of DUAL disagree, constants that are not set follow this one: the code that its "
        "authors published, or the paper (as a reader reported it; not verified).",
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    record: RecordConfig = RecordConfig()
    measure: MeasureConfig = MeasureConfig()
    score: ScoreConfig = ScoreConfig()
    select: SelectConfig = SelectConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tune: TuneConfig = TuneConfig()
    scaling: ScalingConfig = ScalingConfig()

    @property
    def select_score(self) -> str:
        """The score method that the selection ranks by."""
        return self.select.score or self.score.methods[0]

    def batches_identity(self) -> dict[str, Any]:
        """Return what the batches of a training depend on beside its recipe; empty where it is the baseline."""
        scaling = self.identity("scaling")
        return {} if scaling == {"version": 1} else {"scaling": scaling}

    def identity(self, section: str, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Return what results depend on in a section, as plain values; see `dualprune.core.identity`."""
        from dualprune.core.identity import section_identity
        from dualprune.core.plugins import preset_options

        values = getattr(self, section).model_dump(mode="json")
        if section == "score":
            # The effective number counts: with fewer than 30 epochs, "the first 30" means all.
            few = self.mean_epochs is not None and self.mean_epochs < (self.score.epochs or self.record.epochs)
            values["mean_epochs"] = self.mean_epochs if few else "all"
        return section_identity(section, preset_options(self.preset, section, values), exclude)

    @property
    def mean_epochs(self) -> int | None:
        """The number of first scored epochs over which `mean_prob` is averaged; None: all."""
        chosen = self.score.mean_epochs
        if chosen is None:
            return PRESETS[self.preset].mean_epochs
        return None if chosen == "all" else chosen

    def _least_epochs(self) -> dict[str, int]:
        """Return how many epochs each score of recorded epochs needs, by method."""
        from dualprune.core.plugins import make_score, registry

        methods = {name: make_score(self, name) for name in [*self.score.methods, self.select_score]}
        statistics = registry("statistic")
        # Some statistics have no value in the first epoch.
        first = {
            name: max([0, *(statistics[read].first_epoch for read in method.reads if read in statistics)])
            for name, method in methods.items()
        }
        return {name: first[name] + getattr(method, "min_epochs", 1) for name, method in methods.items()}

    @field_validator("select")
    @classmethod
    def _one_name_for_one_ratio(cls, select: SelectConfig) -> SelectConfig:
        if select.name is not None and len(select.ratios) > 1:
            raise ValueError(
                f"name: {select.name!r} cannot name {len(select.ratios)} selections; leave it out, and each is named "
                "after its ratio"
            )
        names = [f"{ratio:g}" for ratio in select.ratios]
        for ratio, name in zip(select.ratios, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"ratio: {ratio!r} is there twice, or rounds to the same name ({name}); keep one")
        return select

    @model_validator(mode="after")
    def _plugins_fit(self) -> Config:
        from dualprune.core.plugins import check

        check(self)
        return self

    @model_validator(mode="after")
    def _recipe_fits(self) -> Config:
        curriculum = self.train.curriculum
        if curriculum.name is None and curriculum.options:
            raise ValueError(
                f"train.curriculum.options: {dict(curriculum.options)!r} belong to no curriculum; set "
                "train.curriculum.name, or leave them out"
            )
        if self.train.min_lr > self.train.lr:
            raise ValueError(f"train.min_lr: {self.train.min_lr:g} is above train.lr = {self.train.lr:g}")
        if self.evaluate.steps is not None and "steps" not in self.evaluate.budget:
            raise ValueError(
                f"evaluate.steps: {self.evaluate.steps} is a number of steps, but evaluate.budget is "
                f"{', '.join(self.evaluate.budget)}; set evaluate.budget to steps, or leave evaluate.steps out"
            )
        return self

    @model_validator(mode="after")
    def _epochs_fit(self) -> Config:
        if self.record.epochs > self.train.epochs:
            raise ValueError(
                f"record.epochs: {self.record.epochs} is more than the schedule's train.epochs = {self.train.epochs}"
            )
        used = self.score.epochs if self.score.epochs is not None else self.record.epochs
        if used > self.record.epochs:
            raise ValueError(f"score.epochs: {used} is more than record.epochs = {self.record.epochs}")
        for name, least in self._least_epochs().items():
            if used < least:
                raise ValueError(
                    f"score.methods: {name} needs {least} epochs, which do not fit into {used} recorded epochs; "
                    f"record more epochs, or set options with which fewer are enough (score.options.{name})"
                )
        return self

    @model_validator(mode="after")
    def _can_stop(self) -> Config:
        if self.record.stop == "stable" and not self.record.online:
            raise ValueError("record.online: false, but record.stop: stable follows the scores; set it to true")
        return self
