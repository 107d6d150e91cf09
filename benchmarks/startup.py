"""Measures the startup time of commands and stages, and the phases of a demo run.

    python benchmarks/startup.py                             # this checkout
    python benchmarks/startup.py --beside ../old --runs 2    # alternating with another checkout on the same machine

Seconds are wall-clock time. CPU seconds are those of a command's own process, without Ray's workers; they vary less on
a busy machine. The phases of the demo follow from the times at which its files were written. Prints tables and one line
of JSON at the end.
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
import time
from pathlib import Path
from statistics import median
from typing import Any

HEAVY = ("torch", "torchvision", "ray", "ray.data", "ray.train", "pandas", "numba", "scipy", "sklearn", "rich")
# Runs the command line and writes the names of the heavy modules that it loaded.
PROBE = """
import atexit, os, sys
atexit.register(lambda: os.write(3, " ".join(m for m in {heavy!r} if m in sys.modules).encode()))
from dualprune.cli import main
main()
"""
# Phase: the file whose writing ends it. If several files match, the first or the last of them counts.
PHASES: dict[str, tuple[str, Any]] = {
    "imports, configuration, index": ("index/_index.json", min),
    "Ray starts, images are decoded": ("checkpoints/*/.validate_storage_marker", min),
    "Ray Train starts, first epoch": ("dynamics/epoch=0000/_commit.json", min),
    "the other epochs": ("dynamics/*/_commit.json", max),
    "Ray Train ends, scores": ("manifests/record.json", max),
    "select": ("manifests/select.*.json", max),
    "export": ("manifests/export.*.json", max),
    "workers start, first training": ("evaluation/*.json", min),
    "the other trainings": ("manifests/evaluate.json", max),
}


def measured(command: list[str], checkout: Path, **options: Any) -> tuple[float, float, str]:
    """Run a command of a checkout; return its seconds, its CPU seconds and the text that it wrote to descriptor 3."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "RAY_AUTH_MODE": "disabled"}
    read, write = os.pipe()
    before, started = _cpu_s(), time.perf_counter()
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3>&{write}', "bash", *command],
        cwd=checkout,
        env=environment,
        pass_fds=[write],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    os.close(write)
    said = os.read(read, 1 << 16).decode()
    os.close(read)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} in {checkout} failed:\n{output.decode()}")
    return seconds, _cpu_s() - before, said


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(checkout: Path, run: Path, num_rounds: int) -> dict[str, dict[str, Any] | None]:
    """Return seconds, CPU seconds and heavy modules of commands that only look, and of two single stages.

    None stands for a command that the checkout does not have.
    """
    asked = {
        "--version": ["--version"],
        "--help": ["--help"],
        "methods": ["methods"],
        "status": ["status", str(run)],
        "score (one bucket)": ["score", str(run), "--force"],
        "select (one bucket)": ["select", str(run), "--force"],
    }
    found: dict[str, dict[str, Any] | None] = {}
    for name, arguments in asked.items():
        probe = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments]
        try:
            rounds = [measured(probe, checkout) for _ in range(num_rounds)]
        except RuntimeError:
            found[name] = None
            continue
        found[name] = {
            "seconds": median(round_[0] for round_ in rounds),
            "cpu_s": median(round_[1] for round_ in rounds),
            "loads": rounds[0][2].split(),
        }
    return found


def demo(checkout: Path, config: str, folder: Path, settings: list[str]) -> tuple[dict[str, float], float]:
    """Run the demo; return the seconds of each phase and of the whole."""
    run = folder / "run"
    options = [word for setting in settings for word in ("--set", setting)]
    began = time.time()
    command = [sys.executable, "-m", "dualprune", "prune", config, "--run", str(run), *options]
    seconds, _, _ = measured(command, checkout)
    phases, last = {}, began
    for phase, (pattern, which) in PHASES.items():
        files = list(run.glob(pattern))
        if files:
            at = which(file.stat().st_mtime for file in files)
            phases[phase], last = at - last, at
    phases["Ray is left"] = began + seconds - last
    return phases, seconds


def compared(checkouts: list[Path], config: str, num_rounds: int, num_runs: int) -> list[dict[str, Any]]:
    """Return the results of `commands` and `demo` for each checkout: medians of alternating runs."""
    results: list[dict[str, Any]] = []
    for checkout in checkouts:
        with tempfile.TemporaryDirectory(prefix="startup-") as folder:
            # Everything is in one bucket, so these stages need no cluster.
            settings = ["record.num_buckets=1", "evaluate.enabled=false", "scaling.num_workers=1"]
            demo(checkout, config, Path(folder), settings)
            results.append(
                {"checkout": str(checkout), "commands": commands(checkout, Path(folder) / "run", num_rounds)}
            )
    runs: list[list[Any]] = [[] for _ in checkouts]
    for _ in range(num_runs):
        for checkout, found in zip(checkouts, runs, strict=True):
            with tempfile.TemporaryDirectory(prefix="startup-") as folder:
                found.append(demo(checkout, config, Path(folder), []))
    for result, found in zip(results, runs, strict=True):
        if found:
            phases = found[0][0]
            result["phases"] = {phase: median(one[0][phase] for one in found) for phase in phases}
            result["demo_s"] = [round(one[1], 1) for one in found]
    return results


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print the results, one column per checkout."""
    for number, result in enumerate(results):
        print(f"[{number}] {result['checkout']}")
    print(f"\n{'command':<34}" + "".join(f"[{n}] seconds  CPU s   " for n in range(len(results))))
    for name in results[0]["commands"]:
        found = [result["commands"][name] for result in results]
        numbers = (f"{one['seconds']:>10.2f}{one['cpu_s']:>8.2f}" if one else f"{'not there':>18}" for one in found)
        print(f"{name:<34}" + "    ".join(numbers))
        for number, one in enumerate(found):
            if one is None:
                continue
            print(f"    [{number}] loads: {', '.join(one['loads']) or 'none of ' + ', '.join(HEAVY)}")
    if "phases" in results[0]:
        print(f"\n{'phase of the demo':<34}" + "".join(f"[{n}] seconds   " for n in range(len(results))))
        for phase in results[0]["phases"]:
            print(f"{phase:<34}" + "".join(f"{result['phases'][phase]:>10.1f}    " for result in results))
        print(f"{'the whole demo':<34}" + "".join(f"{median(result['demo_s']):>10.1f}    " for result in results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="another checkout to measure alternately with this one")
    parser.add_argument("--runs", type=int, default=1, help="demo runs per checkout; 0: none")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per command")
    parser.add_argument("--config", default="pipelines/configs/digits.yaml")
    asked = parser.parse_args()
    checkouts = [Path(__file__).resolve().parents[1], *([asked.beside.resolve()] if asked.beside else [])]
    results = compared(checkouts, asked.config, asked.rounds, asked.runs)
    print_tables(results)
    print(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores", "results": results}))


if __name__ == "__main__":
    main()
