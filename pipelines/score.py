"""Score a recorded run again as a Ray job: `python -m pipelines.score --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import run_stages
from pipelines.entry import entry_point


def score(run: RunDirectory, config: Config, force: bool) -> dict[str, Any]:
    """Score every sample from its recorded dynamics; reads no images."""
    run_stages(run, config, ["score"], force=force)
    scored = {method: run.require(f"score.{method}", "score")["summary"] for method in config.score.methods}
    return {"scores": scored, "places": {method: str(run.scores(method)) for method in scored}}


if __name__ == "__main__":
    entry_point("score", score)
