"""Commands that inspect selections: `overlap`, and what `select --explain` prints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualprune.cli.app import Overrides, Place, Run, app

if TYPE_CHECKING:
    from dualprune.core.config import Config
    from dualprune.core.run import RunDirectory

logger = logging.getLogger(__name__)
Selections = Annotated[list[str], typer.Option("--selections", help="Name of a selection; pass the option twice.")]
More = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="The other selection's name.")]


@app.command()
def overlap(
    place: Place, selections: Selections, more: More = None, run: Run = None, overrides: Overrides = None
) -> None:
    """Print how two selections overlap and which samples differ."""
    from rich.table import Table

    from dualprune.api import resolve
    from dualprune.errors import UserError
    from dualprune.report.console import console
    from dualprune.stages.select.overlap import overlap as overlap_of

    names = [*selections, *(more or [])]
    if len(names) != 2:
        raise UserError(f"--selections: {len(names)} names are given ({', '.join(names)}); expected two")
    directory, settings = resolve(place, run, overrides or ())
    found = overlap_of(directory, settings, *names)
    table = Table("samples", "number", "such as")
    table.add_row("in both", f"{found.in_both:,}", "")
    table.add_row(f"only in {names[0]}", f"{found.only_first:,}", _ids(found.first_examples))
    table.add_row(f"only in {names[1]}", f"{found.only_second:,}", _ids(found.second_examples))
    console.print(table)
    console.print(f"Jaccard overlap: {found.jaccard:.4f}")


@app.command(deprecated=True)
def compare(
    place: Place, selections: Selections, more: More = None, run: Run = None, overrides: Overrides = None
) -> None:
    """The older name of `dualprune overlap`."""
    logger.warning("`dualprune compare` is `dualprune overlap` now")
    overlap(place, selections, more, run, overrides)


def show_explained(run: RunDirectory, config: Config, name: str) -> None:
    """Print what a selection is made of."""
    from rich.table import Table

    from dualprune.report.console import console
    from dualprune.stages.select.inspect import inspect
    from dualprune.stages.select.shares import thin_in_words

    facts: dict[str, Any] = inspect(run, config, name)
    table = Table(title=name, show_header=False)
    for key, value in facts["parameters"].items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
    table.add_row("candidates", f"{facts['num_candidates']:,} of {facts['num_samples']:,} samples")
    table.add_row("effective number of candidates", f"{facts['effective']:,.1f}")
    for label, count in facts["kept_per_class"].items():
        table.add_row(f"kept of class {_plain(label)}", f"{count:,} of {facts['samples_per_class'][label]:,}")
    for title, count in zip(("hardest", "second", "third", "easiest"), facts["per_quartile"], strict=True):
        table.add_row(f"kept of the {title} quarter", f"{count:,} ({count / facts['num_kept']:.1%})")
    for method, share in facts["overlap"].items():
        table.add_row(f"also kept by {method}", f"{share:.1%}")
    console.print(table)
    for sentence in thin_in_words(facts):
        console.print(sentence, highlight=False, markup=False)


def _ids(ids: Sequence[Any]) -> str:
    from rich.markup import escape

    return escape(", ".join(map(repr, ids)))


def _plain(label: str) -> str:
    from rich.markup import escape

    # Ids and classes come from the data: markup and terminal control sequences in them must have no effect.
    return escape(label if label.isprintable() else repr(label))
