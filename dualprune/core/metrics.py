"""The figures that stages publish: a few values per epoch and stage, none per step.

This module only names them. Whoever runs the stages installs a sink, such as `dualprune.cluster.gauges`; without one
nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

# name: (what it is, its tags)
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "dualprune_epoch": ("Last epoch trained while recording, from 0.", ("run",)),
    "dualprune_epochs_planned": ("Epochs that recording will train.", ("run",)),
    "dualprune_samples_per_second": ("Samples trained per second in the last epoch, over all workers.", ("run",)),
    "dualprune_loss": ("Mean training loss of the last epoch.", ("run",)),
    "dualprune_train_accuracy": ("Share of training samples predicted right in the last epoch.", ("run",)),
    "dualprune_commit_seconds": ("Seconds by which the last commit of an epoch delayed training.", ("run",)),
    "dualprune_stage_seconds": ("Seconds that a stage took, interruptions included.", ("run", "stage")),
}

# Takes a name of `GAUGES`, the value and its tags.
Sink = Callable[[str, float, Mapping[str, str]], None]

_sink: Sink | None = None


def install(sink: Sink | None) -> None:
    """Publish the figures of this process through `sink` from now on; None turns that off."""
    global _sink
    _sink = sink


def gauge(name: str, value: float, **tags: str) -> None:
    """Publish a value of a gauge in `GAUGES`; all of its tags are required."""
    _, tag_keys = GAUGES[name]
    assert set(tags) == set(tag_keys), f"{name} has the tags {tag_keys}, not {sorted(tags)}"
    if _sink is not None:
        _sink(name, float(value), tags)
