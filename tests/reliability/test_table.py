"""The table of docs/reliability.md is of the kinds of damage and the commands that the trials have today."""

from __future__ import annotations

from tests.reliability.commands import COMMANDS
from tests.reliability.table import PLACE, parsed
from tests.reliability.trials import Trials


def test_the_table_is_of_these_kinds_and_commands(trials: Trials) -> None:
    table = parsed(PLACE.read_text())
    assert table.kinds == sorted({damage.kind for damage in trials.damages(seed=0)})
    assert table.commands == list(COMMANDS)
    assert table.wrong == 0
    assert table.trials >= 2_000
