"""Plug-ins as tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from dualprune.core.catalogue import Description


def kinds_table(found: Iterable[Description]) -> Table:
    """Return the names of plug-ins, one row per kind."""
    names: dict[str, list[str]] = {}
    for one in found:
        shown = f"{one.name}/NAME" if (one.traits or {}).get("family") else one.name
        names.setdefault(one.kind, []).append(f"{shown} (broken)" if one.broken else shown)
    table = Table("kind", "names")
    for kind, listed in names.items():
        table.add_row(kind, escape(", ".join(listed)))
    return table


def published_table(found: Iterable[Description]) -> Table:
    """Return what the plug-ins that were published read, cost and come from, one row each."""
    table = Table(title="published methods; `dualprune methods NAME` shows more", title_justify="left")
    for column in ("name", "kind", "reads", "cost", "source"):
        table.add_column(column, overflow="fold")
    for one in found:
        if one.source:
            table.add_row(*map(escape, (one.name, one.kind, ", ".join(one.reads), one.cost, one.source)))
    return table


def options_table(one: Description) -> Table:
    """Return the options of a plug-in, one row each."""
    table = Table(title=f"options, under {one.options_key}", title_justify="left")
    for column in ("option", "type", "default", "description"):
        table.add_column(column, overflow="fold")
    for option in one.options:
        default = option.default if isinstance(option.default, str) else json.dumps(option.default)
        table.add_row(*map(escape, (option.name, option.type, default, option.description)))
    return table


def plugin_in_words(one: Description) -> list[str]:
    """Return what a plug-in is, one line per fact."""
    lines = [f"{one.name}: {one.kind}", f"    {one.about}" if one.about else ""]
    if one.broken:
        return [lines[0], f"    cannot be loaded: {one.broken}"]
    if one.reads:
        lines.append(f"    reads: {', '.join(one.reads)}")
    for name in ("source", "cost"):
        if value := getattr(one, name):
            lines.append(f"    {name}: {value}")
    lines += [f"    differs: {difference['what']}: {difference['option']}" for difference in one.differences]
    if one.chosen_by:
        lines.append(f"    chosen by: {one.chosen_by}")
    if not one.options:
        lines.append("    no options")
    return [line for line in lines if line]
