"""Measures scoring while recording, and stopping once scores have settled: the figures of docs/recording.md.

    python benchmarks/recording.py cost --samples 4000000
    python benchmarks/recording.py stop RUN [OTHER_RUN]
    python benchmarks/recording.py simulate

`cost` passes synthetic epochs of one owner to the running scores. It prints their seconds and bytes, the seconds of
writing the same epochs, and the seconds of one stability measurement.

`stop` takes a run that recorded all its epochs. It prints where rules of `record.stable` would have stopped it, and how
far scores and chances to be kept agree with those of all epochs. OTHER_RUN, the same with another `train.seed`, is the
yardstick: how far two trainings on all epochs agree.

`simulate` makes up dynamics whose ranking lasts, turns over, or is chance, and prints where the default rule stops.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections import Counter
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.run import RunDirectory
from dualprune.core.sections import StableConfig
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter, lay_out
from dualprune.scores import Dual, DualAccumulator, dual
from dualprune.scores.mean_prob import mean_prob
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.samplers.beta import Beta
from dualprune.selection.stability import Chances, Row, chances, movement, rank_correlation, settled_at
from dualprune.stages.score.running import RunningScores

WINDOW = 10
RATIOS = [0.3, 0.5, 0.7, 0.9]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cost = commands.add_parser("cost")
    cost.add_argument("--samples", type=int, default=4_000_000)
    cost.add_argument("--epochs", type=int, default=14)
    stop = commands.add_parser("stop")
    stop.add_argument("runs", nargs="+", metavar="RUN")
    stop.add_argument("--c-d", type=float, default=4.0)
    simulate = commands.add_parser("simulate")
    simulate.add_argument("--seeds", type=int, default=20)
    simulate.add_argument("--samples", type=int, default=1500)
    arguments = parser.parse_args()
    if arguments.command == "cost":
        measure_cost(arguments.samples, arguments.epochs)
    elif arguments.command == "simulate":
        measure_simulated(arguments.seeds, arguments.samples)
    else:
        measure_stop(arguments.runs, Beta(Beta.Options(c_d=arguments.c_d)))


def measure_cost(num_samples: int, num_epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(folder)
        labels = np.zeros(num_samples, dtype=np.int64)
        index = SampleIndex.build(
            run.index,
            [pa.record_batch({"sample_id": pa.array(np.arange(num_samples)), "label": pa.array(labels)})],
            num_samples=num_samples,
            num_buckets=default_num_buckets(num_samples, 1),
            classes=["a", "b"],
            fingerprint="x",
        )
        writer = DynamicsWriter(run.dynamics, index, ("target_prob",), "x")
        random = np.random.default_rng(0)
        warm = DualAccumulator(10, 2)
        for epoch in range(3):
            warm.update(epoch, {"target_prob": np.zeros(10, np.float32)}, np.ones(10, dtype=bool))
        scores = RunningScores(index, {"dual": Dual()})
        writes, early, late = [], [], []
        for epoch in range(num_epochs):
            for bucket in range(index.num_buckets):
                start, stop = index.bucket_range(bucket)
                values = random.random((1, stop - start), dtype=np.float32)
                started = time.perf_counter()
                dense, seen = lay_out(index, bucket, np.arange(start, stop), {"target_prob": values[0]})
                writer.write_dense(epoch, bucket, dense, seen)
                written = time.perf_counter()
                scores.update(epoch, bucket, dense, seen)
                writes.append(written - started)
                (late if epoch + 1 >= WINDOW else early).append(time.perf_counter() - written)
        per_million = index.num_buckets * 1e6 / num_samples
        print(f"{num_samples:,} samples, {index.num_buckets} buckets, {num_epochs} epochs, window {WINDOW}")
        print(f"write an epoch         {np.mean(writes) * per_million:8.3f} s per million samples")
        print(f"update, before window  {np.mean(early) * per_million:8.3f} s per million samples")
        print(f"update, from window on {np.mean(late) * per_million:8.3f} s per million samples")
        print(f"update / write         {np.mean(late) / np.mean(writes):8.2f}")
        print(f"memory                 {held_bytes(index) / num_samples:8.1f} bytes per sample")
    count = min(num_samples, 1_000_000)
    started = time.perf_counter()
    scores = random.random(count), random.random(count)
    first = chances(Beta(), DrawRules(tuple(RATIOS)), *scores, np.arange(count))
    movement(0, rank_correlation(*scores), first, dict(first))
    print(f"measure {count:,} samples at {len(RATIOS)} ratios {time.perf_counter() - started:8.2f} s")


def held_bytes(index: SampleIndex) -> int:
    """Return the bytes that running scores hold after a window of epochs."""
    tracemalloc.start()
    scores = RunningScores(index, {"dual": Dual()})
    for epoch in range(WINDOW):
        for bucket in range(index.num_buckets):
            start, stop = index.bucket_range(bucket)
            seen = np.ones(stop - start, dtype=bool)
            scores.update(epoch, bucket, {"target_prob": np.zeros(stop - start, np.float32)}, seen)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


class Curve(NamedTuple):
    """Scores and chances after each epoch, from the first window on; and the rows of the rule, by lag."""

    score: dict[int, NDArray[np.float64]]
    chance: dict[int, Chances]
    prob: NDArray[np.float32]

    def rows(self, lag: int) -> list[Row]:
        """Return what recording would have measured."""
        recent = max(WINDOW, lag)
        found = []
        for epoch in range(WINDOW + recent - 1, self.prob.shape[1]):
            parts = self.prob[:, : epoch + 1 - recent], self.prob[:, epoch + 1 - recent : epoch + 1]
            correlation = rank_correlation(*(dual(part, WINDOW) for part in parts))
            found.append(movement(epoch, correlation, self.chance[epoch], self.chance[epoch - lag]))
        return found

    def with_all(self, epoch: int) -> str:
        """Return in words how far an epoch agrees with all epochs."""
        last = max(self.score)
        row = movement(
            epoch, rank_correlation(self.score[epoch], self.score[last]), self.chance[epoch], self.chance[last]
        )
        return words(row)


def curve_of(prob: NDArray[np.float32], sampler: Beta, ids: Any) -> Curve:
    score, chance = {}, {}
    for epoch in range(WINDOW - 1, prob.shape[1]):
        part = prob[:, : epoch + 1]
        score[epoch] = dual(part, WINDOW)
        chance[epoch] = chances(sampler, DrawRules(tuple(RATIOS)), score[epoch], mean_prob(part), ids)
    return Curve(score, chance, prob)


def curve_of_run(run: str, sampler: Beta) -> Curve:
    store = DynamicsStore(run)
    prob = np.concatenate([store.read_bucket(bucket)["target_prob"] for bucket in range(store.num_buckets)])
    return curve_of(prob, sampler, store.index.read()["sample_id"].combine_chunks())


def measure_stop(runs: list[str], sampler: Beta) -> None:
    first, *others = (curve_of_run(run, sampler) for run in runs)
    last = max(first.score)
    print(f"{runs[0]}: {last + 1} epochs, window {WINDOW}, beta at {RATIOS}, c_d {sampler.options.c_d:g}")
    for name, other in zip(runs[1:], others, strict=True):
        correlation = rank_correlation(first.score[last], other.score[last])
        row = movement(last, correlation, first.chance[last], other.chance[last])
        print(f"all epochs of {name}, another seed: {words(row)}")
    print("\nepochs used | newest against older, chances against 3 epochs before | scores and chances of all epochs")
    for row in first.rows(lag=3):
        print(f"{row['epoch'] + 1:11} | {words(row)} | {first.with_all(row['epoch'])}")
    print("\nlag overlap correlation patience | epochs used, saved | scores and chances of all epochs")
    for lag, overlap, correlation, patience in product((1, 3, 5), (0.9, 0.95), (0.4, 0.5, 0.6, 0.75), (2,)):
        rule = StableConfig(overlap=overlap, correlation=correlation, lag=lag, patience=patience)
        settled = settled_at(first.rows(lag), rule)
        text = f"{lag:3} {overlap:7} {correlation:11} {patience:8} | "
        if settled is None:
            print(f"{text}does not stop")
            continue
        print(f"{text}{settled + 1:3} {1 - (settled + 1) / (last + 1):4.0%} | {first.with_all(settled)}")


def measure_simulated(num_seeds: int, num_samples: int) -> None:
    rule = StableConfig()
    print(
        f"{num_samples:,} samples, 30 epochs, window {WINDOW}, beta at {RATIOS}; epochs at which the default rule stops"
    )
    for name, turn, noise in SIMULATED:
        ends: Counter[str] = Counter()
        lowest, highest = 1.0, -1.0
        for seed in range(num_seeds):
            prob = simulated(turn, noise, num_samples, np.random.default_rng(seed))
            rows = curve_of(prob, Beta(), np.arange(num_samples)).rows(rule.lag)
            settled = settled_at(rows, rule)
            ends["never" if settled is None else str(settled + 1)] += 1
            lowest = min(lowest, *(row["correlation"] for row in rows))
            highest = max(highest, *(row["correlation"] for row in rows))
        found = ", ".join(f"{end}: {count}" for end, count in sorted(ends.items()))
        print(f"{name:40} correlation {lowest:6.3f} … {highest:5.3f} | {found}")


# A name, the share of the ranking's turn after each of 30 epochs (None: there is no ranking), and the noise.
EPOCHS = np.arange(30)
SIMULATED = [
    *((f"lasts, noise {noise:g}", np.zeros(30), noise) for noise in (0.5, 1.0, 2.0)),
    *((f"turns over after {epoch} epochs", (epoch <= EPOCHS).astype(float), 1.0) for epoch in (8, 12, 16)),
    ("turns over from epoch 5 to 25", np.clip((EPOCHS - 5) / 20, 0.0, 1.0), 1.0),
    ("chance", None, 1.0),
]


def simulated(
    turn: NDArray[np.float64] | None, noise: float, num_samples: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return probabilities [n, 30] of a model that learns; difficulty and volatility turn into others."""
    if turn is None:
        return random.random((num_samples, len(EPOCHS)), dtype=np.float32)
    difficulty = random.normal(0, 1.5, (2, num_samples, 1))
    volatility = noise * np.exp(random.normal(0, 0.5, (2, num_samples, 1)))
    weights = np.cos(turn * np.pi / 2), np.sin(turn * np.pi / 2)
    hard, spread = (sum(v * w for v, w in zip(pair, weights, strict=True)) for pair in (difficulty, volatility))
    learnt = 3 * np.log1p(EPOCHS) / np.log(30) - 0.5
    logit = learnt - hard + spread * random.normal(size=(num_samples, len(EPOCHS)))
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def words(row: Row) -> str:
    return f"{row['correlation']:.3f}  " + " ".join(f"{value:.3f}" for value in row["overlap"].values())


if __name__ == "__main__":
    main()
