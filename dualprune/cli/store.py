"""Commands about the dynamics store: check it, import dynamics from elsewhere, export them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dualprune.cli.app import Force, Overrides, app

store_app = typer.Typer(no_args_is_help=True, help="About recorded dynamics.")
app.add_typer(store_app, name="store")
SHOWN = 50


@store_app.command()
def check(run: Annotated[str, typer.Argument(help="A run directory.")]) -> None:
    """Check every file of a run: presence, checksums, rows, NaN, values out of range."""
    from dualprune.dynamics.store import DynamicsStore
    from dualprune.errors import DataError
    from dualprune.report.console import say
    from dualprune.stages.integrity import check_run

    findings = check_run(run)
    if findings:
        more = [f"and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
        lines = [*map(str, findings[:SHOWN]), *more]
        raise DataError(f"{len(findings)} problems in {run}:\n" + "\n".join(lines))
    store = DynamicsStore(run)
    say(f"{run}: {store.num_samples:,} samples, {len(store.epochs)} epochs, {store.num_buckets} buckets: all is well")


@store_app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help=".npy [T, N], .npz, or Parquet in wide or long form.")],
    run: Annotated[str, typer.Option("--run", help="The run directory to make.")],
    axes: Annotated[
        Literal["NT", "TN"] | None,
        typer.Option(help="Of arrays: TN, epochs by samples, which is the default; NT, samples by epochs."),
    ] = None,
    missing: Annotated[
        Literal["raise", "keep"], typer.Option(help="raise: a missing value is an error; keep: it stays missing.")
    ] = "raise",
    repeated: Annotated[
        Literal["first", "mean", "error"],
        typer.Option(
            help="Which value to take where a long table has several different ones for one sample and epoch."
        ),
    ] = "error",
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Make a run from dynamics that were recorded elsewhere, to score and select."""
    from dualprune.core.config_file import override_values
    from dualprune.exchange.importing import import_file
    from dualprune.report.console import say

    config = override_values(overrides or ())
    import_file(file, run, axes=axes, config=config, missing=missing, repeated=repeated, force=force)
    say(f"imported into {run}; next: dualprune score {run}")


@store_app.command("export")
def export_(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    to: Annotated[str, typer.Option("--to", help="NAME.npz, or a folder for Parquet files.")],
    form: Annotated[
        Literal["wide", "long"], typer.Option(help="Of Parquet: one row per sample, or one per sample and epoch.")
    ] = "wide",
    force: Force = False,
) -> None:
    """Write a run's dynamics for other programs."""
    from dualprune.exchange.exporting import export_dynamics
    from dualprune.report.console import say

    count = export_dynamics(run, to, form=form, force=force)
    say(f"exported {count:,} samples to {to}")
