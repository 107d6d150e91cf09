"""Compares the time of exact selection with reading its input and with numpy's draw without replacement.

    python benchmarks/selection.py                 # 50 M scores in a run directory, and numpy at 1.28 M and 50 M
    python benchmarks/selection.py --samples 5000000 --skip-numpy
    python benchmarks/selection.py --samples 20000000 --ablation   # the gain of each accelerator, in one process

Prints JSON, at the end all of it in one line. Needs 2.5 GB of disk for 50 M scores and removes them afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import INDEX_FILE
from dualprune.dynamics.layout import ROW_GROUP_ROWS, bucket_name
from dualprune.scores import Dual
from dualprune.stages.score.files import Gaps, ScoredBlock, write_bucket

BUCKET_ROWS = 1_000_000
RATIO = 0.9
DRAWS = {"one_ratio": [RATIO], "four_ratios": [0.3, 0.5, 0.7, 0.9]}
ROUNDS = 3


def made_up(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and mean probabilities, distributed like those of DUAL."""
    # A stream that no sketch uses.
    rng = np.random.default_rng([7, start])
    mean = rng.beta(1.5, 0.7, stop - start)
    return 0.3 * mean * (1.0 - mean) * rng.random(stop - start), mean


def make_run(folder: str, num_samples: int) -> RunDirectory:
    run = RunDirectory(folder)
    num_buckets = -(-num_samples // BUCKET_ROWS)
    classes = [str(label) for label in range(1000)]
    body = {
        "num_samples": num_samples,
        "num_buckets": num_buckets,
        "bucket_rows": BUCKET_ROWS,
        "id_type": "int64",
        "num_classes": len(classes),
        "classes": classes,
        "fingerprint": "made-up",
    }
    (run.index / INDEX_FILE).write_json(body)
    for bucket in range(num_buckets):
        rows = range(bucket * BUCKET_ROWS, min((bucket + 1) * BUCKET_ROWS, num_samples))
        write_bucket(run, bucket, blocks(rows), {"dual": Dual()}, [0], "raise")
    with run.stage("score.dual", {}) as stage:
        stage.summary = {"samples": num_samples}
    return run


def blocks(positions: range) -> Iterator[ScoredBlock]:
    """Yield scores of a range of positions in the form that the scoring stage writes to files."""
    scores, means = made_up(positions.start, positions.stop)
    for start in range(0, len(positions), ROW_GROUP_ROWS):
        ids = np.asarray(positions[start : start + ROW_GROUP_ROWS])
        score, mean = scores[start : start + len(ids)], means[start : start + len(ids)]
        index = pa.table({"sample_id": ids, "label": ids % 1000})
        yield ScoredBlock(int(ids[0]), index, {"dual": score}, mean, no_gaps)


def no_gaps() -> Gaps:
    raise AssertionError("no score is NaN")


def column_bytes(bucket: Any) -> int:
    return int(sum(rows.score.nbytes for rows in bucket.blocks()))


class PeakMemory:
    """Peak resident memory of this process while the block runs, above that at its start, in bytes."""

    def __enter__(self) -> PeakMemory:
        self._before = self._highest = rss()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._highest = max(self._highest, rss())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.bytes = self._highest - self._before


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def at_scale(num_samples: int) -> dict[str, Any]:
    from dualprune.cluster.session import ensure_ray
    from dualprune.stages.select.bucketed import Scores

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        run = make_run(folder, num_samples)
        num_buckets = -(-num_samples // BUCKET_ROWS)
        config = make_config({"select": {"ratio": RATIO}})
        ensure_ray(config.scaling)
        scores = Scores(str(run.root.address), "dual", num_buckets)
        # Workers start, modules load and kernels compile here, outside the timed part.
        select(run, [RATIO])
        drawn = {name: partial(select, run, ratios) for name, ratios in DRAWS.items()}
        # The sides alternate for several rounds, and the fastest of each counts, to exclude other load on the machine.
        sides = {
            "tasks": lambda: [sum(scores.each_bucket(column_bytes)) for _ in range(3)],
            "pyarrow": lambda: plain_read(run, num_buckets),
            **drawn,
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, work in sides.items():
                seconds[name].append(timed(work))
        # Ray Data comes last, since its results fill the object store.
        reading = {name: min(seconds[name]) for name in ("tasks", "pyarrow")}
        reading["ray_data"] = min(timed(partial(ray_data_read, run, num_samples)) for _ in range(2))
        result: dict[str, Any] = {"samples": num_samples, "read_three_times_s": reading}
        for name, draw in drawn.items():
            with PeakMemory() as memory:
                draw()
            kept = (run.selection(f"beta-{RATIO:g}") / "selection.json").read_json()["num_kept"]
            assert kept == round((1 - RATIO) * num_samples), "k is exact"
            result[name] = {
                "seconds": min(seconds[name]),
                "all_seconds": seconds[name],
                "times_reading": {how: min(seconds[name]) / read_s for how, read_s in reading.items()},
                "driver_memory_mb": memory.bytes / 1e6,
            }
        return result


def select(run: RunDirectory, ratios: list[float]) -> None:
    from dualprune.stages.select.stage import run_select

    run_select(run, make_config({"select": {"ratio": ratios}}), force=True)


def ablation(num_samples: int) -> dict[str, Any]:
    """Return CPU seconds and passes of draws without each accelerator, bucket by bucket in this process."""
    from dualprune.selection.engine import search
    from dualprune.selection.engine.sketch import Sketch
    from dualprune.stages.select import bucketed, stage

    passes = []

    def serial(function: Any, buckets: Iterable[int], *_: object, **__: object) -> Iterator[Any]:
        passes.append(function)
        return (function(bucket) for bucket in buckets)

    def whole(rows: Any, *_: object) -> Any:
        return rows

    kth_highest = search.kth_highest
    without: dict[str, list[Any]] = {
        "everything": [],
        "no sketch": [
            patch("dualprune.selection.engine.drawing.kth_highest", lambda *given: kth_highest(*given[:-1], Sketch()))
        ],
        "no bounds": [patch.object(search, "narrowed", whole), patch.object(stage, "possibly_kept", whole)],
    }
    result: dict[str, Any] = {"samples": num_samples}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, ExitStack() as stack:
        run = make_run(folder, num_samples)
        stack.enter_context(patch.object(bucketed, "over_buckets", serial))
        select(run, [RATIO])
        seconds: dict[tuple[str, str], list[float]] = {}
        # The variants alternate for several rounds, and the fastest of each counts.
        for _ in range(ROUNDS):
            for draw, ratios in DRAWS.items():
                for name, patches in without.items():
                    passes.clear()
                    with ExitStack() as off:
                        for one in patches:
                            off.enter_context(one)
                        started = time.process_time()
                        select(run, ratios)
                        seconds.setdefault((draw, name), []).append(time.process_time() - started)
                    result.setdefault(draw, {})[name] = {
                        "cpu_s": round(min(seconds[draw, name]), 2),
                        "passes": len(passes),
                    }
    return result


def plain_read(run: RunDirectory, num_buckets: int) -> None:
    for _ in range(3):
        for bucket in range(num_buckets):
            with (run.scores("dual") / bucket_name(bucket)).open_input() as stream:
                pq.ParquetFile(stream).read(columns=["score"])


def ray_data_read(run: RunDirectory, num_samples: int) -> None:
    import ray.data

    for _ in range(3):
        dataset = ray.data.read_parquet(str(run.scores("dual"))).select_columns(["score"]).materialize()
        assert dataset.count() == num_samples


def timed(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def one_side(side: str, num_samples: int) -> None:
    """Draw in this process alone and print seconds and peak memory, without those of making the input."""
    from dualprune.selection.arrays import beta
    from dualprune.selection.rows import Rows
    from dualprune.selection.samplers.beta import BetaDraw

    parts = [made_up(s, min(s + BUCKET_ROWS, num_samples)) for s in range(0, num_samples, BUCKET_ROWS)]
    score, mean = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    del parts
    beta(score[:200_000], mean[:200_000], ratio=RATIO)
    count = round((1 - RATIO) * num_samples)

    def draw_numpy() -> Any:
        weight = np.exp(BetaDraw(10.0, 6.0).order(Rows.of(score=score, mean_prob=mean)))
        weight /= weight.sum()
        return np.random.default_rng(0).choice(num_samples, count, replace=False, p=weight)

    with PeakMemory() as memory:
        drawn: list[Any] = []
        seconds = timed(lambda: drawn.append(draw_numpy() if side == "numpy" else beta(score, mean, ratio=RATIO)))
    assert len(drawn[0]) == count
    print(json.dumps({"seconds": seconds, "memory_mb": memory.bytes / 1e6}))


def against_numpy(num_samples: int) -> dict[str, Any]:
    sides = {}
    for side in ("ours", "numpy"):
        done = subprocess.run(
            [sys.executable, __file__, "--side", side, "--samples", str(num_samples)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        sides[side] = json.loads(done.stdout.splitlines()[-1])
    ratios = {key: sides["numpy"][key] / sides["ours"][key] for key in ("seconds", "memory_mb")}
    return {"samples": num_samples, **sides, "numpy_over_ours": ratios}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=50_000_000)
    parser.add_argument("--side", choices=["ours", "numpy"])
    parser.add_argument("--skip-numpy", action="store_true")
    parser.add_argument("--only-numpy", action="store_true")
    parser.add_argument("--ablation", action="store_true", help="measure only the gain of each accelerator")
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    if chosen.side:
        one_side(chosen.side, chosen.samples)
        return
    if chosen.ablation:
        print(json.dumps(ablation(chosen.samples), indent=2))
        return
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    if not chosen.only_numpy:
        results["at_scale"] = at_scale(chosen.samples)
        print(json.dumps(results["at_scale"], indent=2), flush=True)
    if not chosen.skip_numpy:
        results["numpy"] = [against_numpy(number) for number in sorted({1_280_000, chosen.samples})]
        print(json.dumps(results["numpy"], indent=2))
    results["driver_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(results))


if __name__ == "__main__":
    main()
