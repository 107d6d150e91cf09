"""The section `train` of the configuration: the training recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from dualprune.core.baseline import BASELINES
from dualprune.core.section import Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
BelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]


class CurriculumConfig(Section):
    """The curriculum, which chooses the samples of each epoch while training."""

    baseline = BASELINES["curriculum"]

    name: str | None = Field(None, description="Name of a registered curriculum; null: every epoch trains on all.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the curriculum: `dualprune methods NAME`."
    )


class TrainConfig(Section):
    """The training recipe; the defaults are those of DUAL's authors for CIFAR."""

    baseline = BASELINES["train"]

    epochs: PositiveInt = Field(200, description="Length of the full schedule, which the learning rate follows.")
    batch_size: PositiveInt = Field(128, description="Samples per step, over all workers together.")
    lr: PositiveFloat = Field(0.1, le=1e6, description="Highest learning rate.")
    min_lr: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Learning rate at the end of the cosine.")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="adamw needs a much lower `lr` than the default, such as 0.001."
    )
    momentum: BelowOne = Field(0.9, description="sgd: momentum.")
    nesterov: bool = Field(True, description="sgd: Nesterov's form of momentum.")
    betas: list[BelowOne] = Field(
        [0.9, 0.999], min_length=2, max_length=2, description="adamw: decay of the means of gradients and squares."
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=1e6)] = 5e-4
    warmup_epochs: NonNegativeInt = Field(0, description="Epochs over which the learning rate rises linearly.")
    schedule: Literal["cosine", "constant"] = "cosine"
    label_smoothing: BelowOne = Field(
        0.0, description="Share of the target that all classes get alike in the training loss, never in statistics."
    )
    augment: Literal["crop_flip", "crop", "random_resized_crop", "none"] = Field(
        "crop_flip",
        description="Zero padding and a random crop, mirrored at random or not, or a random part of the image resized "
        "to the whole and mirrored at random.",
    )
    crop_padding: Annotated[int, Field(ge=0, le=16_384)] = Field(
        4, description="crop, crop_flip: pixels of zero padding before the random crop."
    )
    crop_scale: list[Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        [0.08, 1.0],
        min_length=2,
        max_length=2,
        description="random_resized_crop: smallest and largest share of the image's area.",
    )
    color_jitter: BelowOne = Field(
        0.0, description="Change brightness, contrast and saturation by up to this share, at random; 0: not at all."
    )
    mean: list[Share] | None = Field(
        None,
        min_length=1,
        description="Subtract this from pixels in [0, 1], one value per channel; null: the mean of the training set.",
    )
    std: list[Annotated[float, Field(gt=0.0, le=1.0)]] | None = Field(
        None,
        min_length=1,
        description="Divide by this afterwards, one value per channel; null: the standard deviation of the training "
        "set.",
    )
    accumulate: PositiveInt = Field(
        1,
        description="Parts in which each worker computes its share of a step, to save memory; the batch stays as it "
        "is. Batch normalisation sees one part at a time.",
    )
    sync_batch_norm: bool = Field(
        False, description="Batch normalisation over the batches of all workers, instead of each worker's own."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU.")
    compile: bool = Field(False, description="Use torch.compile.")
    seed: NonNegativeInt = 0
    curriculum: CurriculumConfig = CurriculumConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov: true, but momentum is 0; set momentum above 0, or nesterov to false")
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale: {self.crop_scale} is not in order; write the smaller share first")
        if self.sync_batch_norm and self.accumulate > 1:
            raise ValueError(
                f"accumulate: {self.accumulate}, but sync_batch_norm is for statistics of the whole batch; set "
                "accumulate to 1, or sync_batch_norm to false"
            )
        return self
