"""What a subset's training has in common with the full set's: `evaluate.budget`, and what older versions meant by it.

Older versions had one word, not a list: `steps` there is `samples` now (except with `evaluate.steps`, a fixed number of
optimizer steps), and `both` is `[epochs, samples]`. Today's configurations are stored with a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Budget = Literal["epochs", "samples", "steps"]
BUDGETS: tuple[str, ...] = get_args(Budget)
BOTH = ["epochs", "samples"]


def as_budgets(value: Any) -> Any:
    """Return what a configuration has under `evaluate.budget` as a list without repetition, in the order of BUDGETS.

    What is no budget is left to the check of the type.
    """
    listed = BOTH if value == "both" else [value] if isinstance(value, str) else value
    if isinstance(listed, list | tuple) and listed and all(one in BUDGETS for one in listed):
        return [one for one in BUDGETS if one in listed]
    return listed


def former_budgets(word: str, steps: int | None) -> list[str]:
    """Return what an older version meant by one word; `steps` is `evaluate.steps` beside it."""
    if word == "both":
        return list(BOTH)
    return ["samples"] if word == "steps" and steps is None else [word]


def former_budget(word: str, steps: int | None) -> str:
    """Return what an older version's result with this budget is called now."""
    return former_budgets(word, steps)[0]


def former_space(space: Mapping[str, Any], samples: str = "samples") -> dict[str, Any]:
    """Return an older version's `tune.space` where a searched `steps` is called `samples`, as it is now."""
    key = "evaluate.budget"
    if key not in space:
        return dict(space)
    domain = {kind: [samples if word == "steps" else word for word in words] for kind, words in space[key].items()}
    return {**space, key: domain}


def budget_identity(budgets: Any) -> Any:
    """Return a list of budgets as the identity of a run has it, where the baseline is the word `epochs`."""
    return "epochs" if budgets == ["epochs"] else budgets


def upgraded_evaluate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `evaluate`, or a part of them, with an older version's word as a list."""
    if not has_former_budget(values):
        return dict(values)
    return {**values, "budget": former_budgets(values["budget"], values.get("steps"))}


def has_former_budget(values: Mapping[str, Any]) -> bool:
    """Whether the values of `evaluate` are of an older version, with a word for a budget."""
    # A person who edits a stored configuration of today may write a word, too.
    return isinstance(values.get("budget"), str) and "redraw" not in values
