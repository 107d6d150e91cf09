"""The log of a sweep: one JSON file per point, written when its trial ends; a sweep resumes from it.

tune/trials/<key>.json   point, state, accuracy (mean over seeds), stderr, ratio, kept, objective, seconds, …
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dualprune.core.storage import Location, fingerprint

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
Record = dict[str, Any]


class TrialLog:
    """The trials of one sweep that have ended: finished, stopped early, or failed."""

    def __init__(self, place: Location) -> None:
        self.place = place

    @staticmethod
    def key(point: Mapping[str, Any]) -> str:
        """Return the name of a point: equal points have equal names."""
        return fingerprint(dict(point))

    def find(self, point: Mapping[str, Any]) -> Record | None:
        """Return the record of a point that needs no further trial, or None."""
        file = self.place / f"{self.key(point)}.json"
        record: Record | None = file.read_record() if file.exists() else None
        return record if record is not None and record["state"] != FAILED else None

    def write(self, record: Record) -> None:
        """Write the record of a trial that has ended."""
        (self.place / f"{record['key']}.json").write_json(record)

    def records(self) -> list[Record]:
        """Return all records, in the order in which the trials ended."""
        found = [file.read_record() for file in self.place.children() if file.name.endswith(".json")]
        return sorted(found, key=lambda record: (record["ended_at"], record["key"]))


def count_states(records: list[Record]) -> dict[str, int]:
    """Return the number of trials by state; `repeated` are points that were suggested again and not trained again."""
    states = Counter(record["state"] for record in records)
    repeated = sum(record["suggested"] - 1 for record in records)
    return {**{state: states[state] for state in (FINISHED, STOPPED, FAILED)}, "repeated": repeated}


def num_suggested(records: list[Record]) -> int:
    """Return how many of the wanted trials are done; the next session tries failed ones again."""
    return sum(record["suggested"] for record in records if record["state"] != FAILED)


def point_text(point: Mapping[str, Any]) -> str:
    """Return a point in words, such as `select.c_d 4.2, select.ratio 0.7`."""
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in point.items()
    )


def accuracy_text(result: Mapping[str, Any]) -> str:
    """Return the accuracy of a result or record in words, with its standard error; empty where there is none."""
    if result.get("accuracy") is None:
        return ""
    spread = "" if result.get("stderr") is None else f" ± {result['stderr']:.2%}"
    return f"{result['accuracy']:.2%}{spread}"
