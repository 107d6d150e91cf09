"""The sections of the configuration: one pydantic model per section. Defaults live here and in `train_section`.

Ratios are pruning ratios: the share that is removed. Epochs count from 0. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator

from dualprune.core.baseline import BASELINES
from dualprune.core.budgets import Budget, as_budgets
from dualprune.core.section import Section
from dualprune.core.train_section import CurriculumConfig as CurriculumConfig
from dualprune.core.train_section import TrainConfig as TrainConfig

Ratio = Annotated[float, Field(ge=0.0, lt=1.0)]
Paths = str | Annotated[list[str], Field(min_length=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Images = Literal["link", "copy"]
KeptList = Literal["ids", "indices", "mask", "uids"]
# Names become folders: no separators, and nothing that leads out.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+-]*$", max_length=200)]


class DataConfig(Section):
    """What to prune."""

    baseline = BASELINES["data"]
    # Which rows `layout` and `subset` choose stands in the source's fingerprint.
    neutral = frozenset({"path", "test_path", "max_pixels", "layout", "subset"})
    of_run = frozenset({"layout", "subset"})

    source: str = Field("digits", description="Name of a registered source (`dualprune methods` lists them).")
    path: Paths | None = Field(
        None,
        description="File, folder, address or glob of the training set, or a list of them, as the source takes it.",
    )
    test_path: Paths | None = Field(
        None, description="File, folder, address or glob of the test set, or a list of them, as the source takes it."
    )
    layout: Literal["splits", "flat"] = Field(
        "splits",
        description="splits: a folder is read with its subfolders, and files named after a split belong to it; flat: "
        "the files in the folder itself are training data, whatever their names.",
    )
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="Share split off for testing, by class, where there is no test set; null: 0.2 of the digits, "
        "none of others.",
    )
    image_size: Annotated[int, Field(gt=0, le=16_384)] | None = Field(
        None, description="Resize the shorter side to this many pixels and crop the centre; null: images are alike."
    )
    channels: Literal[1, 3] | None = Field(
        None, description="Channels of the images: 1 is gray; null: 1 where no training image has colour, else 3."
    )
    max_samples: PositiveInt | None = Field(None, description="Use only this many training samples.")
    subset: Literal["stratified", "first"] = Field(
        "stratified",
        description="How `max_samples` are chosen: each class's share by a hash of ids and `seed`, or the first rows.",
    )
    max_pixels: PositiveInt = Field(50_000_000, description="Refuse an encoded image of more pixels than this.")
    on_error: Literal["raise", "skip"] = Field(
        "raise", description="What to do with an image that cannot be decoded: stop, or leave the sample out."
    )
    seed: NonNegativeInt = Field(0, description="Seed of the test split and of the subset.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the source: `dualprune methods NAME`."
    )


class ModelConfig(Section):
    """The model that is trained while samples are recorded."""

    baseline = BASELINES["model"]

    name: str = Field(
        "resnet18", description="small_cnn, resnet18 (CIFAR form), or torchvision/NAME; linear or mlp for arrays."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the model: `dualprune methods NAME`.")


class StableConfig(Section):
    """When `record.stop: stable` ends recording: when the newest epochs say what those before say, and little moves."""

    baseline = BASELINES["stable"]

    overlap: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.9,
        description="How alike the chances to be kept must be to those `lag` epochs earlier, at every ratio of "
        "`select.ratio`; 1: the same, 0: as random sets are.",
    )
    correlation: Annotated[float, Field(ge=-1.0, le=1.0)] = Field(
        0.75,
        description="Smallest rank correlation (Spearman's) of the scores of the newest epochs alone with those of all "
        "epochs before.",
    )
    lag: PositiveInt = Field(
        3,
        description="Compare selections with those of this many epochs earlier. The newest epochs are this many, or as "
        "many as a score needs.",
    )
    patience: PositiveInt = Field(2, description="Stop once both have held for this many consecutive epochs.")
    max_samples: PositiveInt = Field(1_000_000, description="Compare at most this many samples, chosen by hash.")


class RecordConfig(Section):
    """Which training dynamics are recorded, and for how long."""

    baseline = BASELINES["record"]
    neutral = frozenset({"max_state_bytes"})

    epochs: PositiveInt = Field(
        30, description="Train and record this many epochs, then stop; with `stable`, at most this many."
    )
    stop: Literal["fixed", "stable"] = Field(
        "fixed", description="Stop after `epochs`, or as soon as scores and kept sets have settled."
    )
    stable: StableConfig = StableConfig()
    online: bool = Field(
        True,
        description="Score while recording, so that the score stage has nothing to read. DUAL takes 4 · (window + 4) "
        "bytes of memory per sample, divided among the workers.",
    )
    statistics: list[str] | None = Field(
        None, description="Statistics to record; null: those that the score methods read."
    )
    num_buckets: PositiveInt | None = Field(
        None, description="Number of buckets of samples; null: about a million samples each, at least one per worker."
    )
    checkpoint_every: PositiveInt = Field(1, description="Epochs between model checkpoints, from which a run resumes.")
    max_state_bytes: PositiveInt = Field(
        8 << 30,
        description="Refuse to record where a worker would hold more bytes than this of values that the store does "
        "not keep, such as class probabilities of the last epoch.",
    )


class MeasureConfig(Section):
    """How the measurements that scores read are taken."""

    baseline = BASELINES["measure"]

    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Options by measurement, such as `grand: {layers: all}`: `dualprune methods NAME`.",
    )


class ScoreConfig(Section):
    """How samples are scored from their dynamics."""

    baseline = BASELINES["score"]
    neutral = frozenset({"max_bytes"})

    methods: list[str] = Field(["dual"], min_length=1, description="Score methods, computed in one read.")
    epochs: PositiveInt | None = Field(None, description="Score by the first T recorded epochs; null: all.")
    on_nan: Literal["raise", "drop"] = Field(
        "raise", description="Where a recorded value is NaN: stop, or leave the sample without a score."
    )
    mean_epochs: PositiveInt | Literal["all"] | None = Field(
        None,
        description="Average `mean_prob` over this many of the first scored epochs, or over all; null: as the preset "
        "says.",
    )
    max_bytes: PositiveInt = Field(
        4 << 30, description="Refuse a score that needs more bytes than this of columns at once (scopes class and all)."
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options by method, such as `dual: {window: 5}`: `dualprune methods NAME`."
    )


class BalanceConfig(Section):
    """How the kept samples are divided among groups; works with any sampler."""

    baseline = BASELINES["balance"]

    by: str = Field("label", description="label, or a column of the Parquet source whose values are the groups.")
    quota: Literal["none", "proportional", "equal"] | dict[str, PositiveFloat] = Field(
        "none",
        description="Share of each group: as drawn, by its size, the same for all, or by weights `{name: weight}`.",
    )
    minimum: NonNegativeInt = Field(0, description="Keep at least this many samples of each group.")
    short: Literal["raise", "redistribute"] = Field(
        "raise",
        description="Where a quota is larger than its group: stop, or keep the whole group and spread the rest.",
    )

    @field_validator("quota", mode="before")
    @classmethod
    def _names_are_text(cls, quota: Any) -> Any:
        # YAML reads `{0: 1, 1: 2}` with whole numbers as keys; classes are known by their text.
        if not isinstance(quota, Mapping):
            return quota
        return {str(name) if type(name) is int else name: weight for name, weight in quota.items()}

    @property
    def active(self) -> bool:
        """Whether a quota or a minimum is set."""
        return self.quota != "none" or self.minimum > 0


class SelectConfig(Section):
    """Which samples are kept."""

    baseline = BASELINES["select"]
    neutral = frozenset({"name"})
    of_run = frozenset({"stream"})

    name: Name | None = Field(
        None, description="Name of the selection; null: the method and the ratio, such as beta-0.7."
    )
    method: str = Field("beta", description="Name of a registered sampler.")
    score: str | None = Field(None, description="Score method to select by; null: the first of `score.methods`.")
    ratio: Ratio | Annotated[list[Ratio], Field(min_length=1)] = Field(
        0.7, description="Pruning ratio, the share removed; or a list of them."
    )
    seed: NonNegativeInt = 0
    stream: Literal[1, 2] = Field(
        2,
        description="2: the draws of every sampler, and random baselines, have noise of their own; 1: they share that "
        "of the seed, as in versions before. A run keeps its own unless this is set.",
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options by sampler, such as `beta: {c_d: 5.5}`: `dualprune methods NAME`."
    )
    balance: BalanceConfig = BalanceConfig()
    always_keep: str | None = Field(
        None, description="File of ids to keep: text with one id per line, or Parquet with a column `sample_id`."
    )
    never_keep: str | None = Field(None, description="File of ids to remove, in the same forms.")
    deduplicate: bool = Field(
        False, description="Of samples with identical image bytes, keep only the one with the lowest id."
    )
    nested: bool = Field(False, description="Draw each ratio from the samples that the next smaller ratio keeps.")

    @property
    def ratios(self) -> list[float]:
        """The ratios to draw, as a list."""
        return list(self.ratio) if isinstance(self.ratio, list) else [self.ratio]


class ExportConfig(Section):
    """How the kept set is written."""

    baseline = BASELINES["export"]
    of_run = frozenset({"lists"})

    path: str | None = Field(None, description="Folder or address to write to; null: inside the run directory.")
    lists: list[KeptList] = Field(
        ["ids", "indices", "mask"],
        description="Lists of the kept samples: `ids` (kept_ids.txt), `indices` (kept_indices.npy, the positions), "
        "`mask` (kept_mask.npy) and `uids` (kept_uids.npy, as DataComp has them, of ids that are 32 hexadecimal "
        "digits or UUIDs). A run keeps its own unless this is set.",
    )
    images: Images = Field(
        "link",
        description="Kept images of a folder: `link` to those of the source (hard links, symbolic ones where the "
        "export lies on another file system), or `copy` them. Images are copied from and to addresses.",
    )
    removed: bool = Field(False, description="Also write the ids of the removed samples.")
    max_rows_per_file: PositiveInt = Field(1_000_000, description="Rows per file of the exported Parquet set.")

    @field_validator("lists")
    @classmethod
    def _in_order(cls, value: list[KeptList]) -> list[KeptList]:
        # The same lists in another order are the same export.
        return [one for one in get_args(KeptList) if one in value]


class EvaluateConfig(Section):
    """How selections are compared: training from scratch on each, and accuracy on the test set."""

    baseline = BASELINES["evaluate"]
    neutral = frozenset({"enabled", "parallel"})
    of_run = frozenset({"redraw"})

    enabled: bool = Field(False, description="Evaluate as the last stage of `prune`; it trains on the full set too.")
    selections: list[Name] | None = Field(None, description="Names of selections; null: those of `select`.")
    full: bool = Field(True, description="Train on the full set as well.")
    random: bool = Field(True, description="Train on a random subset of each selection's size as well.")
    seeds: PositiveInt = Field(3, description="Trainings per subset, each with a seed of its own.")
    redraw: bool = Field(
        True,
        description="Train each further seed on a new draw of the selection, so that the spread contains the chance of "
        "the draw; false: all seeds on the kept set itself. A run keeps its own unless this is set.",
    )
    epochs: PositiveInt | None = Field(None, description="Epochs of each training; null: `train.epochs`.")
    steps: PositiveInt | None = Field(
        None,
        description="Optimizer steps of each training, including the full set's, at any ratio; needs `budget: steps`.",
    )
    budget: Annotated[list[Budget], BeforeValidator(as_budgets, json_schema_input_type=Budget | list[Budget])] = Field(
        ["epochs"],
        min_length=1,
        description="What each subset's training has in common with the full set's: as many `epochs` of its own, as "
        "many `samples` seen, or as many optimizer `steps`; or a list of these.",
    )
    batch_size: PositiveInt | Literal["paper"] | None = Field(
        None, description="null: `train.batch_size`; paper: half of it from ratio 0.8, a quarter from 0.9."
    )
    parallel: Literal["auto", "runs", "data"] = Field(
        "auto", description="Divide the trainings among the workers (runs), or each training (data)."
    )


class TuneConfig(Section):
    """What `dualprune tune` searches, and how; `evaluate` sets how each trial trains."""

    baseline = BASELINES["tune"]
    neutral = frozenset(
        {"num_trials", "max_concurrent", "workers_per_trial", "max_failures", "time_budget_s", "test_points", "loggers"}
    )

    space: dict[str, dict[str, list[Any]]] = Field(
        default_factory=dict,
        description="Dotted keys of this configuration, each with one of `uniform`, `loguniform`, `quniform`, `int`, "
        "`choice`, `grid` and its list, such as `select.c_d: {uniform: [1, 12]}`.",
    )
    search: Literal["optuna", "random", "grid"] = Field(
        "optuna", description="optuna: by TPE, learning from the trials so far; grid: every combination."
    )
    scheduler: Literal["none", "asha", "median"] = Field(
        "none", description="Stop trials early whose validation accuracy lags behind, epoch by epoch."
    )
    grace_epochs: PositiveInt = Field(3, description="asha, median: epochs that every trial trains.")
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        3, description="asha: one of this many trials continues at each rung."
    )
    objective: Literal["accuracy", "largest_ratio", "pareto"] = Field(
        "accuracy",
        description="accuracy: the highest; largest_ratio: the largest ratio that loses at most `epsilon` against the "
        "full set; pareto: ratio against accuracy.",
    )
    epsilon: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.01, description="largest_ratio, pareto: accuracy that may be lost, as a share of all validation samples."
    )
    num_trials: PositiveInt = Field(40, description="Points to try; grid: at most this many.")
    seeds: PositiveInt = Field(1, description="Draws and trainings per point; their mean accuracy counts.")
    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.2, description="Share of the training set, by class, that trials are measured on; it is never selected."
    )
    max_concurrent: PositiveInt | None = Field(
        None, description="Concurrent trials; null: as many as the cluster has room for."
    )
    workers_per_trial: PositiveInt = Field(
        1, description="Data-parallel workers of each trial; above 1, Ray Train starts for each (about 30 s)."
    )
    max_failures: NonNegativeInt = Field(1, description="How often a failed trial is tried again.")
    time_budget_s: Annotated[float, Field(gt=0.0, le=1e9)] | None = Field(
        None, description="Start no trial after this time, and stop those that are running."
    )
    test_points: NonNegativeInt = Field(
        3,
        description="How many of the best points to check on the test set, `evaluate.seeds` trainings each; 0: none.",
    )
    loggers: list[Literal["csv", "json", "tensorboard", "mlflow", "wandb"]] = Field(
        ["csv", "tensorboard"], description="What Ray Tune writes of every trial, in tune/logs."
    )
    seed: NonNegativeInt = Field(0, description="Seed of the search and of the validation split.")


class ScalingConfig(Section):
    """The part of the cluster that training uses."""

    baseline = BASELINES["scaling"]
    neutral = frozenset({"num_workers", "use_gpu", "cpus_per_worker", "max_failures", "address"})

    num_workers: PositiveInt | None = Field(
        None, description="Data-parallel workers; null: one per GPU, or two without GPUs."
    )
    use_gpu: bool | None = Field(None, description="Train on GPUs; null: if the cluster has any.")
    cpus_per_worker: Annotated[float, Field(gt=0.0, le=65_536.0)] = 1.0
    partitions: Annotated[int, Field(gt=0, le=65_536)] = Field(
        64,
        description="Partitions of the training set, divided among the workers: at least as many as workers. "
        "Batches depend on it, not on the number of workers, so a run keeps it.",
    )
    max_failures: Annotated[int, Field(ge=-1)] = Field(
        3, description="How often training restarts after a failure; -1: without limit."
    )
    address: str | None = Field(
        None, description="Ray cluster to join, or `local` to start one on this machine; null: RAY_ADDRESS, or `local`."
    )
