"""Measures sweeps: the cost of a trial, a rerun of the best configuration, early stopping, c_D against accuracy.

    python benchmarks/sweep.py digits            # 40 trials over c_D, ratio and window; then runs best.yaml again
    python benchmarks/sweep.py asha              # the same random points with and without early stopping
    python benchmarks/sweep.py cifar DATA OUT    # c_D at ratios 0.7 and 0.9; DATA has cifar10_{train,test}.parquet

Prints tables, and one JSON line at the end; `cifar` also writes the picture OUT (SVG).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from dualprune.core.config import Config
from dualprune.core.config_file import load_config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import prune, run_stages
from dualprune.stages.tune import run_tune
from dualprune.stages.tune.trial_log import Record, TrialLog

DIGITS = "pipelines/configs/digits_sweep.yaml"
C_D = [1.0, 2.0, 3.0, 4.0, 5.5, 7.0, 9.0, 12.0]
RATIOS = [0.7, 0.9]


def swept(run: RunDirectory, config: Config) -> tuple[dict[str, Any], list[Record], float]:
    """Return summary, trials and seconds of a sweep on a recorded run."""
    started = time.perf_counter()
    summary = run_tune(run, config, force=True)
    return summary, TrialLog(run.root / "tune" / "trials").records(), time.perf_counter() - started


def digits(folder: str) -> dict[str, Any]:
    run, config = RunDirectory(f"{folder}/run"), load_config(DIGITS)
    started = time.perf_counter()
    run_stages(run, config, ("record",))
    recorded_s = time.perf_counter() - started
    summary, _, seconds = swept(run, config)
    best = summary["best"][0]
    checked = next(row for row in summary["test"] if row["subset"] == "best-0")
    # Another draw and twice the seeds: the result that a user of best.yaml gets.
    changes = ["select.seed=100", "evaluate.enabled=true", "evaluate.seeds=6", "evaluate.full=false"]
    again = load_config(run.root / "tune" / "best.yaml", [*changes, "evaluate.random=false"])
    evaluation = prune(again, run).evaluation
    assert evaluation is not None
    rerun = next(row for row in evaluation["summary"] if row["subset"].startswith("beta"))
    return {
        "record_s": recorded_s,
        "sweep_s": seconds,
        "search_s": summary["searched_s"],
        "trials": summary["num_trials"],
        "overhead_s_median": summary["overhead_s_median"],
        "overhead_s_max": summary["overhead_s_max"],
        "trained_s": summary["trained_s"],
        "scores_computed": summary["scores_computed"],
        "importance": summary["importance"],
        "best": best,
        "test": [{key: row[key] for key in ("subset", "ratio", "accuracy", "accuracy_std")} for row in summary["test"]],
        "best_checked": checked["accuracy"],
        "best_rerun": rerun["accuracy"],
        "best_rerun_std": rerun["accuracy_std"],
    }


def asha(folder: str) -> dict[str, Any]:
    results: dict[str, Any] = {}
    base = [
        "tune.search=random",
        "tune.num_trials=20",
        "tune.test_points=0",
        "select.ratio=0.7",
        "evaluate.epochs=20",
        (
            "tune.space={select.c_d: {uniform: [1, 12]}, score.window: {choice: [3, 5, 7]}, "
            "select.concentration: {loguniform: [4, 64]}}"
        ),
    ]
    run = RunDirectory(f"{folder}/run")
    run_stages(run, load_config(DIGITS, base), ("record",))
    for name in ("none", "asha"):
        config = load_config(DIGITS, [*base, f"tune.scheduler={name}", "tune.grace_epochs=3"])
        summary, records, seconds = swept(run, config)
        results[name] = {
            "seconds": seconds,
            "trained_s": summary["trained_s"],
            "trials": summary["num_trials"],
            "epochs": sum(record["progress"] for record in records),
            "best": summary["best"][0]["accuracy"],
            "overhead_s_median": summary["overhead_s_median"],
        }
    none, early = results["none"], results["asha"]
    results["time_ratio"] = early["seconds"] / none["seconds"]
    results["trained_ratio"] = early["trained_s"] / none["trained_s"]
    results["epochs_ratio"] = early["epochs"] / none["epochs"]
    results["best_difference"] = early["best"] - none["best"]
    return results


def cifar(folder: str, data: str, picture: str, samples: int, epochs: int, seeds: int) -> dict[str, Any]:
    overrides = [
        "data.source=parquet",
        f"data.path={data}/cifar10_train.parquet",
        f"data.test_path={data}/cifar10_test.parquet",
        f"data.max_samples={samples}",
        "data.image_size=16",
        "model={name: small_cnn, options: {width: 16}}",
        "train={epochs: 30, batch_size: 64, lr: 0.05, crop_padding: 2}",
        "record.epochs=10",
        "score.window=5",
        f"evaluate.epochs={epochs}",
        "evaluate.seeds=3",
        "evaluate.full=false",
        "evaluate.batch_size=32",
        "tune.search=grid",
        f"tune.seeds={seeds}",
        "tune.test_points=2",
        f"tune.space={{select.c_d: {{grid: {C_D}}}, select.ratio: {{grid: {RATIOS}}}}}",
    ]
    run, config = RunDirectory(f"{folder}/run"), load_config(None, overrides)
    run_stages(run, config, ("record",))
    summary, records, seconds = swept(run, config)
    Path(picture).write_text(plot(records, f"{samples} training images of CIFAR-10 at 16 × 16 pixels, {seeds} seeds"))
    picks = {}
    for ratio in RATIOS:
        rows = {r["point"]["select.c_d"]: r for r in records if r["ratio"] == ratio}
        best = max(rows.values(), key=lambda r: r["accuracy"])
        picks[str(ratio)] = {
            "picked": best["point"]["select.c_d"],
            "accuracy": {c_d: [rows[c_d]["accuracy"], rows[c_d]["stderr"]] for c_d in C_D if c_d in rows},
            "over_4": best["accuracy"] - rows[4.0]["accuracy"],
            "over_5.5": best["accuracy"] - rows[5.5]["accuracy"],
            "stderr_mean": fmean(row["stderr"] or 0.0 for row in rows.values()),
        }
    return {
        "seconds": seconds,
        "trained_s": summary["trained_s"],
        "overhead_s_median": summary["overhead_s_median"],
        "validation_samples": summary["validation_samples"],
        "candidates": summary["candidates"],
        "picks": picks,
        "test": [{key: row[key] for key in ("subset", "ratio", "accuracy", "accuracy_std")} for row in summary["test"]],
    }


def plot(records: list[Record], title: str) -> str:
    """Return an SVG of validation accuracy against c_D, one line per ratio, with standard errors."""
    width, height, left, top = 640, 300, 60, 40
    spans = [(r["accuracy"] - (r["stderr"] or 0.0), r["accuracy"] + (r["stderr"] or 0.0)) for r in records]
    low, high = min(s[0] for s in spans) - 0.005, max(s[1] for s in spans) + 0.005

    def x(c_d: float) -> float:
        return left + (c_d - min(C_D)) / (max(C_D) - min(C_D)) * (width - left - 110)

    def y(accuracy: float) -> float:
        return top + (high - accuracy) / (high - low) * (height - top - 45)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="{left}" y="20">{title}</text>'
        )
    ]
    for c_d in C_D:
        parts.append(f'<text x="{x(c_d):.1f}" y="{height - 25}" text-anchor="middle">{c_d:g}</text>')
    parts.append(f'<text x="{x(6.5):.1f}" y="{height - 8}" text-anchor="middle">c_D</text>')
    for tick in range(int(low * 100) + 1, int(high * 100) + 1, max(1, int((high - low) * 100 / 6))):
        at = y(tick / 100)
        parts.append(f'<line x1="{left}" x2="{width - 110}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{tick} %</text>')
    for ratio, colour in zip(RATIOS, ("#1f77b4", "#d62728"), strict=True):
        rows = sorted((r for r in records if r["ratio"] == ratio), key=lambda r: r["point"]["select.c_d"])
        points = [(x(r["point"]["select.c_d"]), r["accuracy"], r["stderr"] or 0.0) for r in rows]
        line = " ".join(f"{at:.1f},{y(accuracy):.1f}" for at, accuracy, _ in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        for at, accuracy, spread in points:
            ends = f'y1="{y(accuracy - spread):.1f}" y2="{y(accuracy + spread):.1f}"'
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" {ends} stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(accuracy):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{width - 100}" y="{y(points[-1][1]) + 4:.1f}" fill="{colour}">ratio {ratio:g}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["digits", "asha", "cifar"])
    parser.add_argument("paths", nargs="*", help="cifar: the folder of the data, and the picture to write")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        if chosen.what == "cifar":
            result = cifar(folder, *chosen.paths, chosen.samples, chosen.epochs, chosen.seeds)
        else:
            result = {"digits": digits, "asha": asha}[chosen.what](folder)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"what": chosen.what, "machine": machine, **result}, indent=2))
    print(json.dumps({"what": chosen.what, "machine": machine, **result}))


if __name__ == "__main__":
    main()
