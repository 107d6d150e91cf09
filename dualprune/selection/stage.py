"""The select stage: draws the samples to keep from the scores, exactly, without bringing them to the driver.

selections/<name>/kept.parquet     sample_id, position, label, score, weight; in position order
selections/<name>/selection.json   method, parameters, counts per class, seed
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.buckets import over_buckets
from dualprune.config import Config
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import RunError
from dualprune.ray_session import ensure_ray, user_errors
from dualprune.run import RunDirectory
from dualprune.scoring import read_scores
from dualprune.selection.arrays import highest
from dualprune.selection.counts import some_kept
from dualprune.selection.ranking import TOP_BIT, Draw, Samples
from dualprune.selection.registry import SAMPLERS, Summary
from dualprune.selection.threshold import FEW, Range, Undecided, kept_mask, last_kept, undecided
from dualprune.storage import Location

logger = logging.getLogger(__name__)


def selection_names(config: Config) -> list[str]:
    """Return the names of the selections that the configuration draws, one a ratio."""
    select = config.select
    if select.name is not None:
        return [select.name]
    return [f"{select.method}-{ratio:g}" for ratio in select.ratios]


def run_select(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Draw every ratio of the configuration."""
    select = config.select
    score = config.select_score
    scored = run.require(f"score.{score}", "score")
    for name, ratio in zip(selection_names(config), select.ratios, strict=True):
        settings = {**select.model_dump(mode="json", exclude={"name", "ratio"}), "ratio": ratio, "score": score}
        with run.stage(f"select.{name}", settings, [scored["fingerprint"]], force=force) as stage:
            if not stage.done:
                count = some_kept(scored["summary"]["samples"], ratio)
                ensure_ray(config.scaling)
                with user_errors():
                    facts = _Selection(run, config, score).write(name, ratio, count)
                stage.summary = {key: facts[key] for key in ("num_kept", "num_samples", "ratio")}


class _Selection:
    """One score method's samples, looked at bucket by bucket."""

    def __init__(self, run: RunDirectory, config: Config, score: str) -> None:
        self._run, self._config, self._score = run, config, score
        self._index = SampleIndex.load(run.index)
        self._num_samples = int(run.require(f"score.{score}", "score")["summary"]["samples"])

    def write(self, name: str, ratio: float, count: int) -> dict[str, Any]:
        """Draw and write one selection, and return what `selection.json` holds."""
        select = self._config.select
        sampler = SAMPLERS[select.method](select)
        anchor = self._anchor(select.anchor_size) if sampler.needs_mean_prob else float("nan")
        draw, parameters = sampler.draw(ratio, Summary(self._num_samples, anchor))
        last = self._last_kept(draw, count)
        folder = self._run.selection(name)
        kept_per_class = self._write_kept(folder / "kept.parquet", draw, last)
        assert sum(kept_per_class) == count, f"kept {sum(kept_per_class)} samples, expected {count}"
        facts = {
            "name": name,
            "method": select.method,
            "score_method": self._score,
            "ratio": ratio,
            "seed": select.seed,
            "parameters": parameters,
            "num_samples": self._num_samples,
            "num_kept": count,
            "kept_per_class": dict(zip(self._index.classes, kept_per_class, strict=True)),
        }
        (folder / "selection.json").write_json(facts)
        return facts

    def _each(self, function: Any, *arguments: Any) -> Iterator[Any]:
        work = partial(function, self._run.root.address, self._score, *arguments)
        return over_buckets(work, range(self._index.num_buckets))

    def _anchor(self, size: int) -> float:
        best = pa.concat_tables(self._each(_highest, size))
        rows = highest(_samples(best), size)
        return float(np.mean(np.asarray(best["mean_prob"])[rows]))

    def _last_kept(self, draw: Draw, count: int) -> tuple[int, int, int]:
        part, left = Range(count), self._num_samples
        while left > FEW and not part.decided:
            histogram = np.sum(list(self._each(_histogram, draw, part)), axis=0)
            part = part.refined(histogram)
            left = int(histogram[part.prefix & 0xFFFF])
        parts = list(self._each(_undecided, draw, part))
        candidates = Undecided(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        last = last_kept(candidates, part.wanted)
        if last[0] < int(TOP_BIT) and self._config.select.method == "beta":
            logger.warning("beta: fewer samples have a positive weight than the %d to keep; next by score", count)
        return last

    def _write_kept(self, place: Location, draw: Draw, last: tuple[int, int, int]) -> list[int]:
        per_class = np.zeros(self._index.num_classes, dtype=np.int64)
        place.delete()
        if place.is_local:
            place.filesystem.create_dir(place.parent.path)
        with place.filesystem.open_output_stream(place.path) as stream:
            writer = None
            for table in self._each(_kept, draw, last):
                writer = writer or pq.ParquetWriter(stream, table.schema, compression="zstd")
                writer.write_table(table)
                per_class += np.bincount(np.asarray(table["label"]), minlength=len(per_class))
            if writer is None:
                raise RunError(f"{self._run} has no scores of {self._score!r}; run `dualprune score` first")
            writer.close()
        return [int(number) for number in per_class]


def _samples(table: pa.Table) -> Samples:
    ids = table["sample_id"].combine_chunks()
    return Samples(ids, np.asarray(table["score"]), np.asarray(table["mean_prob"]))


def _highest(run: str, score: str, size: int, bucket: int) -> pa.Table:
    table = read_scores(RunDirectory(run), score, bucket, ["sample_id", "score", "mean_prob"])
    return table.take(pa.array(highest(_samples(table), size)))


def _histogram(run: str, score: str, draw: Draw, part: Range, bucket: int) -> np.ndarray:
    table = read_scores(RunDirectory(run), score, bucket, ["sample_id", "score", "mean_prob"])
    return part.histogram(draw.ranked(_samples(table)).rank)


def _undecided(run: str, score: str, draw: Draw, part: Range, bucket: int) -> Undecided:
    table = read_scores(RunDirectory(run), score, bucket, ["sample_id", "score", "mean_prob", "position"])
    return undecided(draw.ranked(_samples(table)), np.asarray(table["position"]), part)


def _kept(run: str, score: str, draw: Draw, last: tuple[int, int, int], bucket: int) -> pa.Table:
    table = read_scores(RunDirectory(run), score, bucket)
    ranked = draw.ranked(_samples(table))
    mask = kept_mask(ranked, np.asarray(table["position"]), last)
    table = table.append_column("weight", pa.array(ranked.weight)).filter(pa.array(mask))
    return table.select(["sample_id", "position", "label", "score", "weight"])
