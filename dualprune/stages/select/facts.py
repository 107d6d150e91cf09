"""Reads what a selection is: `selection.json`, which the select stage writes."""

from __future__ import annotations

from dualprune.core.json_file import Record
from dualprune.core.run import RunDirectory

FACTS = "selection.json"


def selection_facts(run: RunDirectory, name: str) -> Record:
    """Return the facts about a selection; a DataError where the file is damaged or is another selection's."""
    facts = (run.selection(name) / FACTS).read_record()
    facts.expect(name=str, method=str, score_method=str, ratio=float, seed=int, parameters=dict, constraints=dict)
    facts.expect(num_samples=int, num_candidates=int, num_kept=int, kept_per_class=dict)
    if facts["name"] != name:
        raise facts.damaged(f"it is that of {facts['name']!r}")
    return facts
