"""The select stage: draws the samples to keep from the scores, exactly, without bringing them to the driver.

selections/<name>/kept.parquet/*.parquet   sample_id, position, label, score, weight, inclusion; in position order
selections/<name>/selection.json           method, parameters, counts per class, seed
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.core import parquet
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.own_folder import discard
from dualprune.core.parquet import without_nulls
from dualprune.core.plugins import make_sampler
from dualprune.core.run import RunDirectory, Stage
from dualprune.core.storage import Location, fingerprint
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import OWN_FILES, bucket_name, fast_encoding
from dualprune.dynamics.metadata import with_facts
from dualprune.exchange.kept import kept_place
from dualprune.selection.engine.drawing import check_reads, draw_all
from dualprune.selection.engine.outcome import Outcome
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.engine.screen import possibly_kept
from dualprune.selection.engine.spec import no_positions
from dualprune.selection.rows import Rows
from dualprune.stages.inputs import select_inputs
from dualprune.stages.methods import other_scores
from dualprune.stages.select.bucketed import Bucket, Scores
from dualprune.stages.select.duplicates import find_duplicates
from dualprune.stages.select.groups import find_groups
from dualprune.stages.select.id_files import check_apart, positions_of, read_ids
from dualprune.stages.select.names import selection_names
from dualprune.stages.select.shares import thin_in_words

logger = logging.getLogger(__name__)

COLUMNS = ["sample_id", "position", "label", "score"]
# Beside the score, for samplers that read more.
READABLE = ["mean_prob"]


def run_select(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Draw every ratio of the configuration, all in the same passes over the scores."""
    select, score = config.select, config.select_score
    sampler = make_sampler(config)
    others = other_scores(config)
    check_reads(sampler, [*READABLE, *others])
    scored = select_inputs(run, score, others)
    ratios = select.ratios if sampler.has_ratio else select.ratios[:1]
    index = SampleIndex.load(run.index)
    ids = read_id_files(config, index)
    inputs = [*scored, *(fingerprint(values.to_pylist()) for values in ids.values())]
    with ExitStack() as stages:
        pending: dict[float, tuple[str, Stage]] = {}
        for name, ratio in zip(selection_names(config), ratios, strict=True):
            settings = {**config.identity("select", exclude={"ratio", "score"}), "ratio": ratio, "score": score}
            if others:
                settings["reads"] = list(others)
            if select.nested:
                settings["within"] = sorted(smaller for smaller in set(ratios) if smaller < ratio)
            stage = stages.enter_context(run.stage(f"select.{name}", settings, inputs, force=force))
            if not stage.done:
                pending[ratio] = name, stage
        if pending:
            if select.stream == 1:
                logger.info(
                    "select.stream: 1, so that selections stay comparable with earlier ones of this run: a random draw "
                    "or baseline with the same seed shares their noise; set it to 2 for noise of their own"
                )
            scores, constraints = prepare(run, config, index, ids)
            wanted = ratios if select.nested else list(pending)
            rules = replace(DrawRules.of(select), ratios=tuple(wanted))
            drawn = dict(zip(wanted, draw_all(scores.each, sampler, rules, constraints), strict=True))
            facts, outputs = _write(run, config, scores, index, {pending[r][0]: drawn[r] for r in pending})
            for name, stage in pending.values():
                stage.outputs = outputs[name]
                stage.summary = {key: facts[name][key] for key in ("num_kept", "num_samples", "ratio")}
                for sentence in thin_in_words(facts[name]):
                    logger.warning(sentence)


def read_id_files(config: Config, index: SampleIndex) -> dict[str, pa.Array]:
    """Return the ids of the files that `config.select` names, by key."""
    paths = {"always_keep": config.select.always_keep, "never_keep": config.select.never_keep}
    return {key: read_ids(path, f"select.{key}", index) for key, path in paths.items() if path is not None}


def prepare(
    run: RunDirectory, config: Config, index: SampleIndex, ids: dict[str, pa.Array] | None = None
) -> tuple[Scores, Constraints]:
    """Return the scores to select from and the constraints of `config.select`, with ids as positions."""
    select = config.select
    run.require_whole(f"score.{config.select_score}", "score")
    ids = read_id_files(config, index) if ids is None else ids
    groups = find_groups(run, config, index, are_needed=make_sampler(config).needs_groups)
    others = other_scores(config)
    for name in others:
        run.require_whole(f"score.{name}", "score")
    scores = Scores(
        str(run.root.address), config.select_score, index.num_buckets, config.scaling, groups, others, index.bucket_rows
    )
    forced, excluded = (
        positions_of(scores, ids[key], str(getattr(select, key)), f"select.{key}") if key in ids else no_positions()
        for key in ("always_keep", "never_keep")
    )
    check_apart(forced, excluded)
    if select.deduplicate:
        excluded = np.union1d(excluded, find_duplicates(run, config, index))
    return scores, Constraints(forced, excluded, groups.names if groups else ("",))


def _write(
    run: RunDirectory, config: Config, scores: Scores, index: SampleIndex, drawn: dict[str, Outcome]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Output]]]:
    """Write the selections, and return by name what each one's `selection.json` holds, and the records of its files."""
    places = [kept_place(run, name) for name in drawn]
    per_class, sizes, written = write_kept(scores, list(drawn.values()), places, index)
    outputs = dict(zip(drawn, written, strict=True))
    select = config.select
    result = {}
    for (name, one), counts in zip(drawn.items(), per_class, strict=True):
        result[name] = {
            "name": name,
            "method": select.method,
            "score_method": scores.method,
            "ratio": one.ratio,
            "seed": select.seed,
            "stream": select.stream,
            "by_chance": one.by_chance,
            "preset": config.preset,
            "parameters": dict(one.draw.parameters),
            "constraints": _constraints(config),
            "num_samples": one.num_samples,
            "num_candidates": one.num_candidates,
            "num_kept": one.num_kept,
            "kept_per_class": dict(zip(index.classes, counts.tolist(), strict=True)),
            "samples_per_class": dict(zip(index.classes, sizes.tolist(), strict=True)),
        }
        place = run.selection(name) / "selection.json"
        place.write_json(result[name])
        outputs[name].append(Output.of(run.root, place))
    return result, outputs


def write_kept(
    scores: Scores, drawn: Sequence[Outcome], places: Sequence[Location], index: SampleIndex
) -> tuple[np.ndarray, np.ndarray, list[list[Output]]]:
    """Write the kept samples of each outcome to its place.

    Return their numbers by class, int64 [outcomes, C], those of all samples, int64 [C], and the records of each
    outcome's files.
    """
    for place in places:
        discard(place, OWN_FILES)
        place.make_folder()
    per_class = np.zeros((len(drawn) + 1, index.num_classes), dtype=np.int64)
    outputs: list[list[Output]] = [[] for _ in drawn]
    for counts, files in scores.each_bucket(partial(_write_bucket, Location(scores.run), drawn, places, index)):
        per_class += counts
        for known, file in zip(outputs, files, strict=True):
            known.append(file)
    *kept, sizes = per_class
    for one, counts in zip(drawn, kept, strict=True):
        assert counts.sum() == one.num_kept, f"kept {counts.sum()} samples, expected {one.num_kept}"
    return per_class[:-1], sizes, outputs


def _constraints(config: Config) -> dict[str, Any]:
    select = config.select
    given = select.model_dump(mode="json", include={"always_keep", "never_keep", "deduplicate", "nested"})
    found = {key: value for key, value in given.items() if value}
    return {**found, **({"balance": select.balance.model_dump(mode="json")} if select.balance.active else {})}


def _write_bucket(
    root: Location, drawn: Sequence[Outcome], places: Sequence[Location], index: SampleIndex, bucket: Bucket
) -> tuple[np.ndarray, list[Output]]:
    """Write a bucket's kept samples of each selection.

    Return their numbers by class, int64 [selections + 1, C], where the last row counts all samples of the bucket, and
    the records of the files.
    """
    tables: list[list[pa.Table]] = [[] for _ in drawn]
    cutoffs = [one.cutoff for one in drawn]
    counts = np.zeros((len(drawn) + 1, index.num_classes), dtype=np.int64)
    for whole in bucket.blocks():
        counts[-1] += np.bincount(whole.label, minlength=index.num_classes)
        rows = possibly_kept(whole, cutoffs)
        for one, pieces in zip(drawn, tables, strict=True):
            pieces.append(_kept_rows(one, rows.take(np.flatnonzero(one.cutoff.keeps(rows)))))
    files = []
    for place, pieces, into in zip(places, tables, counts[:-1], strict=True):
        table = without_nulls(pa.concat_tables(pieces))
        into += np.bincount(table["label"], minlength=index.num_classes)
        file = place / bucket_name(bucket.number)
        known = {**index.facts(bucket.number), "rows": table.num_rows}
        with file.open_output() as stream:
            parquet.write(with_facts(table, **known), stream, **fast_encoding(table.schema))
        files.append(Output.of(root, file, stream.written))
    return counts, files


def _kept_rows(one: Outcome, kept: Rows) -> pa.Table:
    columns = {name: getattr(kept, name) for name in COLUMNS}
    weight = one.cutoff.spec.weight(kept)
    inclusion = one.inclusion(kept)
    return pa.table({**columns, "weight": weight, "inclusion": inclusion})
