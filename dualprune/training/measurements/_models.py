"""Which model a measurement uses: the recorded one, new ones with random weights, or one from a file of weights."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from dualprune.core.hashing import stream_salt
from dualprune.core.section import Section
from dualprune.core.sections import ModelConfig
from dualprune.core.storage import Location
from dualprune.errors import ConfigError, DataError
from dualprune.training.measurements import Measurement, Recorded, TrainedModel

if TYPE_CHECKING:
    import torch
    from torch import nn

NonNegative = Annotated[int, Field(ge=0, lt=1 << 31)]
# Under these keys files of weights hold the weights, beside other things.
NESTED = ("model", "state_dict", "model_state_dict")


class ModelOptions(Section):
    """Options: which model to measure with."""

    baseline: ClassVar[Mapping[str, Any]] = {
        "weights": None,
        "architecture": None,
        "architecture_options": {},
        "initialisations": 0,
        "seed": 0,
    }
    # The content of the file counts, not its place.
    neutral = frozenset({"weights"})

    weights: str | None = Field(
        None, description="Measure with the weights of this file, saved by torch.save, in place of the recorded model."
    )
    architecture: str | None = Field(
        None, description="Name of the model that the weights belong to; null: `model.name`, with its options."
    )
    architecture_options: dict[str, Any] = Field(default_factory=dict, description="Options of `architecture`.")
    initialisations: NonNegative = Field(
        0,
        description="Average over this many models with new random weights; 0: the recorded model. `weights` go first.",
    )
    seed: NonNegative = Field(0, description="Seed of the random weights.")

    @field_validator("architecture")
    @classmethod
    def _is_there(cls, name: str | None) -> str | None:
        if name is not None:
            from dualprune.core.plugins import plugin_class

            try:
                plugin_class("model", name).check_name(name)
            except ConfigError as error:
                raise ValueError(f": {error}") from None
        return name

    @model_validator(mode="after")
    def _fit_together(self) -> ModelOptions:
        if self.weights is not None and self.initialisations and "initialisations" in self.model_fields_set:
            raise ValueError(
                f"initialisations: {self.initialisations} new models and a file of weights exclude each other; leave "
                "one out"
            )
        if self.weights is None and (self.architecture is not None or self.architecture_options):
            raise ValueError("architecture: it belongs to a file of weights; set weights, or leave it out")
        if self.architecture is None and self.architecture_options:
            raise ValueError("architecture_options: they belong to architecture; set it, or leave them out")
        return self


class ModelMeasurement(Measurement):
    """A measurement with the model that its options choose; its options derive from `ModelOptions`."""

    # Whether the model's logits must be those of the classes of the data.
    needs_classes: ClassVar[bool] = True

    class Options(ModelOptions):
        """Which model to measure with."""

    def own_inputs(self) -> list[str]:
        """Return the digest of the file of weights, if one is named."""
        return [] if self.options.weights is None else [_file(self.options.weights).digest("sha256")]

    def models(self, recorded: Recorded) -> Iterator[TrainedModel | None]:
        """Yield the recorded model, as many new ones as `initialisations`, or that of the file of weights."""
        if self.options.weights is not None:
            yield self._of_file(recorded)
        elif self.options.initialisations:
            yield from self._new(recorded)
        else:
            yield from super().models(recorded)

    def _new(self, recorded: Recorded) -> Iterator[TrainedModel]:
        import torch

        from dualprune.training.models import make_model

        plugin = make_model(recorded.model)
        for number in range(self.options.initialisations):
            # The same weights in every task, and nothing drawn from the process's own generator.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(stream_salt(self.options.seed, f"initialisation/{number}")) >> 1)
                module = plugin.build(recorded.num_classes, recorded.sample_shape)
            yield TrainedModel(plugin, module.eval())

    def _of_file(self, recorded: Recorded) -> TrainedModel:
        from dualprune.training.models import make_model

        chosen = recorded.model
        if self.options.architecture is not None:
            chosen = ModelConfig(name=self.options.architecture, options=self.options.architecture_options)
        weights = read_weights(self.options.weights)
        matrices = [array for array in weights.values() if array.ndim == 2]
        num_classes = len(matrices[-1]) if matrices else recorded.num_classes
        if self.needs_classes and num_classes != recorded.num_classes:
            raise DataError(
                f"{self.options.weights}: its model has {num_classes} classes, the data have {recorded.num_classes}, "
                f"and {self.name} needs the logits of their classes; name the weights of a model trained on these data"
            )
        plugin = make_model(chosen)
        module = plugin.build(num_classes, recorded.sample_shape)
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.options.weights}: its weights do not fit the model {chosen.name}: {reason[:400]}; name the "
                f"model that they belong to (measure.options.{self.name}.architecture)"
            ) from None
        return TrainedModel(plugin, module.eval())


def read_weights(place: str) -> dict[str, torch.Tensor]:
    """Return the weights by name in a file that torch.save wrote; a DataError where there are none.

    They may stand under `model`, as in checkpoints of a recording, or under `state_dict`. Nothing is unpickled but
    tensors and plain values.
    """
    import torch

    file = _file(place)
    try:
        found = torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises many kinds of errors for bytes that are not its own.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{file} cannot be read as weights: {reason[:200]}; save them by torch.save(model.state_dict(), file)"
        ) from None
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise DataError(
            f"{file} holds no weights by name, alone or under {', '.join(NESTED)}; save them by "
            "torch.save(model.state_dict(), file)"
        )
    return {str(name): value for name, value in found.items()}


def _file(place: str) -> Location:
    file = Location.of(place)
    if not file.is_file():
        raise DataError(f"{file}: there is no such file of weights; write the path of a file that torch.save wrote")
    return file


def last_linear(module: nn.Module) -> nn.Linear | None:
    """Return the last linear layer of a module, or None."""
    from torch import nn

    found = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return found[-1] if found else None
