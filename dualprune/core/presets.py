"""Constants that the published sources of DUAL disagree on, by the source that `preset` names.

`authors-code` is what the functions in use in the authors' repository (behaapyy/dual-pruning at 4ab525d) compute; the
repository as a whole does not run unchanged. `paper` is the paper (arXiv 2502.06905) as a reader reported it in the
repository's first pull request; it is not verified. Values that a configuration sets take precedence over its preset.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Options by kind and name of plug-in, and the first epochs that `mean_prob` averages (None: all scored)."""

    options: dict[tuple[str, str], dict[str, Any]]
    mean_epochs: int | None


PRESETS: dict[str, Preset] = {
    # a + b = 16. The program for CIFAR takes the mean over p_y[:30], the one for ImageNet over all recorded epochs.
    "authors-code": Preset({("sampler", "beta"): {"concentration": 16.0}}, mean_epochs=30),
    # a + b = 15, and the mean over the T epochs that are scored.
    "paper": Preset({("sampler", "beta"): {"concentration": 15.0}}, mean_epochs=None),
}
