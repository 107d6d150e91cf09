"""Any classification set of torchvision, named by its class, such as FashionMNIST, CIFAR100 or Food101."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import fingerprint
from dualprune.data.decoding import Wanted, from_image, pixel_limit
from dualprune.data.image_source import ImageSource
from dualprune.data.source import SOURCES, ImageBatch, Shard, Split, chosen_subset, even_shards
from dualprune.errors import ConfigError, DataError

SHARD_ROWS = 2048


@dataclass
class _Row:
    """A row of a split; its label is known when its image has been read."""

    split: Split
    number: int
    label: int = 0


@SOURCES.register("torchvision")
class TorchvisionSource(ImageSource):
    """A torchvision data set with its own training and test split; sample ids are row numbers."""

    class Options(Section):
        """Options of torchvision's sets; options that are not listed are passed on to the set's class."""

        model_config = ConfigDict(extra="allow")
        baseline: ClassVar[Mapping[str, Any]] = {"name": None, "root": "data", "download": False}
        neutral = frozenset({"root", "download"})

        name: str | None = Field(None, description="Class name of the data set, such as FashionMNIST.")
        root: str = Field("data", description="Folder that holds the data set.")
        download: bool = Field(False, description="Download the data set into `root` where it is missing.")

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        self._sets: dict[Split, Any] = {}
        labels = _labels(self._dataset("train"))
        self._rows = chosen_subset(np.arange(len(labels)), labels, config)
        self.labels = labels[self._rows]

    def __getstate__(self) -> dict[str, Any]:
        # Tasks open the files themselves.
        return {**self.__dict__, "_sets": {}}

    @property
    def classes(self) -> list[str]:
        names = getattr(self._dataset("train"), "classes", None)
        if names is None:
            return [str(label) for label in range(int(self.labels.max(initial=-1)) + 1)]
        return ["/".join(name) if isinstance(name, tuple) else str(name) for name in names]

    @property
    def num_samples(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        facts = ["torchvision", self.options.name, self.labels.tolist()]
        first = np.array_equal(self._rows, np.arange(len(self._rows)))
        return fingerprint(facts if first else [*facts, self._rows.tolist()])

    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"sample_id": self._rows, "label": self.labels})

    def shards(self, split: Split) -> list[Shard]:
        if split == "test":
            return even_shards(split, len(self._dataset("test")), SHARD_ROWS)
        return even_shards(split, self.num_samples, SHARD_ROWS)

    def read(self, shard: Shard) -> ImageBatch:
        rows = list(range(shard.start, shard.start + shard.num_rows))
        if shard.split == "train":
            rows = self._rows[rows].tolist()
        read = [_Row(shard.split, row) for row in rows]
        images, failed = self.stack(read, rows, lambda number: f"row {rows[number]} of the {shard.split} set")
        return ImageBatch(images, np.asarray([row.label for row in read], dtype=np.int64), failed)

    @property
    def origin(self) -> str:
        return f"torchvision.{self.options.name}"

    def training_images(self) -> Iterator[_Row]:
        return (_Row("train", row) for row in self._rows.tolist())

    def pixels(self, image: _Row, wanted: Wanted) -> NDArray[np.uint8]:
        from PIL import Image

        dataset = self._dataset(image.split)
        # Most of torchvision's sets decode the whole image before they return it.
        with pixel_limit(self.config.max_pixels):
            found, image.label = dataset[image.number]
        if not isinstance(found, Image.Image):
            raise DataError(f"torchvision.{self.options.name} yields {type(found).__name__} objects; expected images")
        return from_image(found, wanted)

    def _dataset(self, split: Split) -> Any:
        if split not in self._sets:
            self._sets[split] = _open(self.options, split)
        return self._sets[split]


def _open(options: Any, split: Split) -> Any:
    from torchvision import datasets

    known = [name for name in datasets.__all__ if _takes_split(getattr(datasets, name))]
    if options.name is None:
        raise ConfigError(
            "data.options.name: null; set it to torchvision's class name of the set, such as FashionMNIST"
        )
    if options.name not in known:
        raise ConfigError(
            f"data.options.name: torchvision has no classification set {options.name!r} with a training and a test "
            f"split{nearest(options.name, known)}"
        )
    kind = getattr(datasets, options.name)
    parameters = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"root": options.root, **(options.model_extra or {})}
    if "download" in parameters:
        arguments["download"] = options.download
    choices: list[dict[str, Any]] = [{"train": split == "train"}] if "train" in parameters else [{"split": split}]
    if "train" not in parameters and split == "test":
        choices.append({"split": "val"})
    errors = []
    for choice in choices:
        try:
            return kind(**arguments, **choice)
        except ValueError as error:
            errors.append(str(error))
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"torchvision.{options.name} cannot be opened in data.options.root = {options.root!r}: {error}; "
                "put the files there, or set data.options.download to true"
            ) from None
    raise DataError(f"torchvision.{options.name} has no {split} split: {'; '.join(errors)}")


def _takes_split(kind: Any) -> bool:
    return inspect.isclass(kind) and bool({"train", "split"} & set(inspect.signature(kind).parameters))


def _labels(dataset: Any) -> NDArray[np.int64]:
    for name in ("targets", "labels", "_labels", "y"):
        values = getattr(dataset, name, None)
        if values is not None and len(values) == len(dataset):
            return np.asarray(values).astype(np.int64)
    for name in ("samples", "_samples", "_image_files"):
        pairs = getattr(dataset, name, None)
        if pairs and isinstance(pairs[0], tuple):
            return np.asarray([pair[1] for pair in pairs], dtype=np.int64)
    return np.asarray([dataset[row][1] for row in range(len(dataset))], dtype=np.int64)
