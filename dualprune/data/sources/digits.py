"""scikit-learn's handwritten digits: 1 797 gray images of 8 × 8 pixels, embedded in that package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa

from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import fingerprint
from dualprune.data.source import (
    SOURCES,
    ImageBatch,
    Shard,
    Source,
    Split,
    chosen_subset,
    even_shards,
    split_off_test,
)
from dualprune.errors import ConfigError

TEST_FRACTION = 0.2


@SOURCES.register("digits")
class Digits(Source):
    """The digits, with a test set split off by class; sample ids are row numbers of the original set."""

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise ConfigError("data.source: 'digits' needs scikit-learn; install it with pip install 'dualprune[demo]'")
        # Read from its file: importing scikit-learn takes a second or two in every process that decodes.
        table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
        # Gray values are 0 … 16.
        self._images = np.round(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
        self._labels = table[:, -1].astype(np.int64)
        train, test = split_off_test(
            np.arange(len(self._labels)), self._labels, config.test_fraction or TEST_FRACTION, config.seed
        )
        self._rows = {"train": train[chosen_subset(train, self._labels[train], config)], "test": test}

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    @property
    def num_samples(self) -> int:
        return len(self._rows["train"])

    def fingerprint(self) -> str:
        return fingerprint(["digits", self._rows["train"].tolist()])

    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        rows = self._rows["train"]
        yield pa.record_batch({"sample_id": rows, "label": self._labels[rows]})

    def shards(self, split: Split) -> list[Shard]:
        return even_shards(split, len(self._rows[split]), rows_each=1024)

    def read(self, shard: Shard) -> ImageBatch:
        rows = self._rows[shard.split][shard.start : shard.start + shard.num_rows]
        return ImageBatch(self._images[rows], self._labels[rows], {})
