"""Commands that show things: the state of a run, the plug-ins, a configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from dualprune.cli.app import Overrides, app

config_app = typer.Typer(no_args_is_help=True, help="About configurations.")
app.add_typer(config_app, name="config")


@app.command()
def status(run: Annotated[str, typer.Argument(help="A run directory.")]) -> None:
    """Show what is done, what is missing and what it cost."""
    from dualprune.core.run import RunDirectory
    from dualprune.report import facts
    from dualprune.report.console import console, say
    from dualprune.report.text import stability_table, status_table
    from dualprune.stages.status import next_command, stage_states

    directory = RunDirectory(run)
    rows = stage_states(directory)
    say(str(directory))
    console.print(status_table(rows))
    if (measured := facts.stability(directory)) is not None:
        console.print(stability_table(measured))
    if (holder := directory.holder()) is not None:
        say(f"running: {holder}; until it ends, no other command can write to this run")
    if command := next_command(directory, rows):
        say(f"next: {command}")


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(help="Print what this plug-in is, what it reads, and its options.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the plug-ins: score methods, samplers, sources, models, statistics, and those of other packages."""
    from dualprune.core.catalogue import catalogue, described

    found = catalogue() if name is None else described(name)
    if as_json:
        import json

        typer.echo(json.dumps([one.to_json() for one in found], indent=2, ensure_ascii=False))
        return
    from dualprune.report.console import console, say
    from dualprune.report.plugins import kinds_table, options_table, plugin_in_words, published_table

    if name is None:
        console.print(kinds_table(found))
        console.print(published_table(found))
        found = [one for one in found if one.broken]
    for one in found:
        for line in plugin_in_words(one):
            say(line)
        if one.options:
            console.print(options_table(one))


@config_app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    import json

    from dualprune.core.catalogue import config_schema

    typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@config_app.command()
def show(config: str, overrides: Overrides = None) -> None:
    """Print a configuration with every default written out."""
    from dualprune.core.config_file import dump_config, load_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)
