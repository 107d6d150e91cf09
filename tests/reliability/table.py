"""Makes the table of docs/reliability.md: kind of damage × command → outcomes.

python -m tests.reliability.table [TRIALS_PER_CELL]     runs the trials and rewrites the table in the page
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reliability.commands import COMMANDS
from tests.reliability.sound import work_in_this_process
from tests.reliability.trials import OTHER, REFUSED, SAME, TRACEBACK, WRONG, Trials

PLACE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
PER_CELL = 16
SEED = 1


class Table(NamedTuple):
    """What a table says: its rows, columns, number of trials, and how many of them are wrong."""

    kinds: list[str]
    commands: list[str]
    trials: int
    wrong: int


def measured(per_cell: int) -> dict[str, dict[str, Counter[str]]]:
    """Run up to `per_cell` trials of each kind and command, and count their outcomes."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        work_in_this_process(monkeypatch)
        Path(folder).chmod(0o755)
        trials = Trials(Path(folder) / "runs")
        for damage, command in trials.pairs(SEED):
            cell = counts[damage.kind][command]
            if cell.total() < per_cell:
                outcome = trials.trial(damage, command)
                cell[outcome.outcome] += 1
                if outcome.outcome in WRONG:
                    print(outcome, file=sys.stderr)
    return counts


def printed(counts: dict[str, dict[str, Counter[str]]]) -> str:
    """Return the table in Markdown: per cell the trials with the same result and those with an error."""
    lines = [f"| damage | {' | '.join(COMMANDS)} |", f"|---|{'---|' * len(COMMANDS)}"]
    for kind in sorted(counts):
        cells = []
        for command in COMMANDS:
            cell = counts[kind][command]
            bad = "".join(f" **{cell[one]} {one}**" for one in (OTHER, TRACEBACK) if cell[one])
            cells.append(f"{cell[SAME]} · {cell[REFUSED]}{bad}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parsed(page: str) -> Table:
    """Return what the table of the page says."""
    head, _, *rows = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    numbers = [[int(number) for number in re.findall(r"\d+", cell)] for row in cells for cell in row[1:]]
    return Table(
        [row[0] for row in cells],
        [cell.strip() for cell in head.strip("|").split("|")][1:],
        sum(map(sum, numbers)),
        sum(sum(cell[2:]) for cell in numbers),
    )


def main(per_cell: int = PER_CELL) -> None:
    """Run the trials and rewrite the table in the page."""
    page = PLACE.read_text()
    table = printed(measured(per_cell))
    PLACE.write_text(f"{page.partition(BEGIN)[0]}{BEGIN}\n\n{table}\n\n{END}{page.partition(END)[2]}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
