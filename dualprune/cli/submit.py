"""`dualprune submit`: submits a pipeline to a Ray cluster and shows its log here."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from dualprune.cli.app import Force, Overrides, app

# The exit code of a command that Ctrl-C ended: in `dualprune submit … && next`, `next` must not run.
LEFT = 128 + signal.SIGINT


@app.command()
def submit(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    address: Annotated[
        str,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard's address, such as http://127.0.0.1:8265."),
    ],
    run: Annotated[str, typer.Option("--run", help="Address of the run directory, which every node can reach.")],
    pipeline: Annotated[str, typer.Option(help="prune, score, compare or sweep.")] = "prune",
    overrides: Overrides = None,
    force: Force = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the log until the job ends.")] = True,
    code: Annotated[Path | None, typer.Option(help="Checkout whose code the job uses instead of the image's.")] = None,
    runtime_env: Annotated[Path | None, typer.Option(help="YAML file of Ray's runtime environment.")] = None,
    submission_id: Annotated[str | None, typer.Option(help="Id of the job; default: Ray makes one.")] = None,
) -> None:
    """Submit a pipeline as a job to a Ray cluster; Ctrl-C leaves the log while the job continues."""
    from dualprune.cluster import jobs
    from dualprune.core.config_file import load_config
    from dualprune.report.console import say

    submission = jobs.Submission(pipeline, load_config(config, overrides or ()), run, force)
    client = jobs.connect(address)
    job_id = jobs.submit(client, submission, code=code, runtime_env=runtime_env, job_id=submission_id)
    stop = jobs.stop_command(address, job_id)
    say(f"job {job_id} is submitted; to stop it: {stop}")
    if not wait:
        return
    try:
        status = jobs.follow(client, job_id, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        say(f"\nleft the log; job {job_id} continues. To stop it: {stop}")
        raise typer.Exit(LEFT) from None
    say(f"job {job_id}: {status}")
    if status != "SUCCEEDED":
        say(jobs.words_of_failure(client, job_id))
        raise typer.Exit(1)
