"""What pruning cost, once: the recording in sample visits and steps, and the seconds of everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory


def pruning_cost(run: RunDirectory, config: Config, names: Sequence[str]) -> dict[str, Any]:
    """Return what the named selections cost before any training on them.

    `visits` and `steps` of recording, null where the dynamics were imported; scoring, measuring and selecting train on
    nothing. `record_s`, `score_s` (with measuring) and `select_s` are seconds of the machines that did it.
    """
    manifests = run.manifests()
    seconds = {key: manifest["seconds"] for key, manifest in manifests.items() if manifest["status"] == "done"}
    epochs = manifests["record"]["summary"].get("epochs") if "model" in manifests["record"]["settings"] else None
    samples = manifests["index"]["summary"]["samples"]
    chosen = manifests["record"]["summary"].get("curriculum", {})
    whole = (
        {} if epochs is None else {"visits": epochs * samples, "steps": epochs * -(-samples // config.train.batch_size)}
    )
    return {
        **{name: chosen.get(name, whole.get(name)) for name in ("visits", "steps")},
        "record_s": seconds.get("record"),
        "score_s": sum(own for key, own in seconds.items() if key.startswith(("score.", "measure."))),
        "select_s": sum(seconds.get(f"select.{name}", 0.0) for name in names),
    }
