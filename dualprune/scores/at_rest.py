"""Scores by a model at rest: any score from statistics of epochs, with one model's predictions as the only epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dualprune.core.plugins import make, plugin_class
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.errors import UserError
from dualprune.scores.score import SCORES, ColumnScore, Result, Values
from dualprune.scores.statistics import from_log_probs, needs_numpy_forms


@SCORES.register("at_rest")
class AtRest(ColumnScore):
    """Another score by one model, such as that of a file of weights, in place of recorded epochs."""

    reads = ("log_probs",)
    # Some of the methods are.
    signed = True
    source = "ours; entropy by a trained model as in selection via proxy, arXiv 1906.11829"
    cost = "a forward pass per sample; 4 · K bytes per sample"
    differences = (Difference("published scores by one model take the last epoch's", "of: el2n, entropy, loss, …"),)

    class Options(Section):
        """Options of `at_rest`."""

        baseline: ClassVar[Mapping[str, Any]] = {"of": "el2n", "options": {}}
        of: str = Field("el2n", description="The score method, one for which a single epoch is enough.")
        options: dict[str, Any] = Field(default_factory=dict, description="Options of that method.")

        @model_validator(mode="after")
        def _is_enough(self) -> AtRest.Options:
            try:
                method = method_for_one_epoch(self.of, self.options)
                needs_numpy_forms(method)
            except UserError as error:
                raise ValueError(f"of: {error}") from None
            if method.min_epochs > 1:
                raise ValueError(
                    f"of: {self.of} needs {method.min_epochs} epochs, and a model at rest is one; choose a method for "
                    "which one is enough, such as el2n or loss"
                )
            return self

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Result:
        assert labels is not None
        method = method_for_one_epoch(self.options.of, self.options.options)
        return from_log_probs(method, columns["log_probs"].astype(np.float64), labels)


def method_for_one_epoch(name: str, options: Mapping[str, Any]) -> Any:
    """Return a score method with these options; one that averages over epochs takes the first."""
    one = {"last_epoch": 0} if "last_epoch" in plugin_class("score method", name).Options.model_fields else {}
    return make("score method", name, {**one, **options}, "score.options.at_rest.options")
