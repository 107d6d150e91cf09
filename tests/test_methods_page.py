"""docs/methods.md says of every method what its class says: the rows of its tables are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dualprune.core.catalogue import Description, catalogue

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def rows_of(one: Description) -> Iterator[str]:
    """Yield the row of a method in the table of its kind, and those of its differences."""
    yield row(f"`{one.name}`", one.about.rstrip("."), ", ".join(one.reads), one.cost, one.source)
    for difference in one.differences:
        yield row(f"`{one.name}`", difference["what"], difference["option"])


def test_the_page_has_what_is_known_of_every_method() -> None:
    lines = set(PAGE.read_text().splitlines())
    published = [one for one in catalogue() if one.source]
    assert len(published) >= 13
    missing = [line for one in published for line in rows_of(one) if line not in lines]
    assert missing == [], "add to docs/methods.md:\n" + "\n".join(missing)


def test_every_row_of_the_page_is_of_a_method_that_there_is() -> None:
    known = {line for one in catalogue() for line in rows_of(one)}
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert [line for line in rows if line not in known] == []
