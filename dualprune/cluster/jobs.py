"""Sends a pipeline to a Ray cluster's job port, and follows it there."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from dualprune.core.config import Config
from dualprune.core.config_file import dump_config
from dualprune.core.storage import Location
from dualprune.core.yaml_file import parse_yaml
from dualprune.errors import ConfigError, UserError

logger = logging.getLogger(__name__)

PIPELINES = ("prune", "score", "compare", "sweep")
CONFIG_FILE = "config.yaml"
POLL_S = 1.0
SLOWEST_POLL_S = 5.0
# Replacing a head takes a few minutes, during which the job continues.
UNREACHABLE_S = 600.0
STOP_WAIT_S = "30"
ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class SubmissionError(UserError):
    """A job cannot be submitted, or followed."""


@dataclass(frozen=True)
class Submission:
    """What to run: a pipeline by name, its checked configuration, and the run directory that every node reaches."""

    pipeline: str
    config: Config
    run: str
    force: bool = False

    def __post_init__(self) -> None:
        if self.pipeline not in PIPELINES:
            raise SubmissionError(
                f"--pipeline {self.pipeline}: there is no such pipeline; one of {', '.join(PIPELINES)}"
            )
        if "://" not in self.run and not Path(self.run).is_absolute():
            raise SubmissionError(
                f"--run {self.run}: every node of the cluster must reach it; give an address such as "
                "s3://bucket/runs/name, or the absolute path of a file system that all nodes mount"
            )

    def entrypoint(self) -> str:
        """Return the job's command line, quoted for the shell that reads it."""
        words = ["python", "-m", f"pipelines.{self.pipeline}", "--config", CONFIG_FILE, "--run", self.run]
        return shlex.join(words + (["--force"] if self.force else []))


def connect(address: str) -> JobSubmissionClient:
    """Return a client of the job port at `address`; a SubmissionError where it cannot be reached or refuses us."""
    if not address.startswith(("http://", "https://")):
        raise SubmissionError(f"--address {address}: expected the dashboard's address, such as http://127.0.0.1:8265")
    with _told(address), _without_addresses():
        return JobSubmissionClient(address, create_cluster_if_needed=False)


def submit(
    client: JobSubmissionClient,
    submission: Submission,
    *,
    code: Path | None = None,
    runtime_env: Path | None = None,
    job_id: str | None = None,
) -> str:
    """Submit, and return the job's id.

    The configuration is sent as the job's working directory, with every default written out. `code` is a checkout whose
    packages `dualprune` and `pipelines` are sent, too, and replace the image's. `runtime_env` is a YAML file of Ray's
    runtime environment.
    """
    environment = _environment(runtime_env)
    environment["env_vars"] = {"RAY_JOB_STOP_WAIT_TIME_S": STOP_WAIT_S, **environment.get("env_vars", {})}
    with tempfile.TemporaryDirectory(prefix="dualprune-job-") as folder:
        (Path(folder) / CONFIG_FILE).write_text(dump_config(submission.config))
        for package in ("dualprune", "pipelines") if code is not None else ():
            _bring(Path(str(code)) / package, Path(folder) / package)
        environment["working_dir"] = folder
        with _told(client.get_address()):
            found: str = client.submit_job(
                entrypoint=submission.entrypoint(),
                runtime_env=environment,
                submission_id=job_id,
                metadata={"pipeline": submission.pipeline, "run": str(Location.of(submission.run))},
            )
            return found


def follow(client: JobSubmissionClient, job_id: str, show: Callable[[str], None]) -> JobStatus:
    """Show the job's log as it grows, and return the status in which it ended.

    Only the status tells whether a job is done: a log may stop, or be out of reach for a while.
    """
    shown, pause, lost_at = 0, POLL_S, None
    while True:
        try:
            status = client.get_job_status(job_id)
            log = client.get_job_logs(job_id)
        except (RuntimeError, OSError) as error:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > UNREACHABLE_S:
                raise SubmissionError(
                    f"no answer about job {job_id} for {UNREACHABLE_S:.0f} s ({error}); it may still be running: "
                    f"`ray job status {job_id}` tells"
                ) from None
            time.sleep(SLOWEST_POLL_S)
            continue
        lost_at = None
        if len(log) > shown:
            show(log[shown:])
            pause = POLL_S
        else:
            pause = min(pause * 1.5, SLOWEST_POLL_S)
        shown = max(shown, len(log))
        if status.is_terminal():
            return status
        time.sleep(pause)


def stop_command(address: str, job_id: str) -> str:
    """Return the command line that stops a job; what it has committed stays."""
    # Ray lets these variables of the environment override the option.
    variables = [f"{name}={address}" for name in ADDRESSES if os.environ.get(name, address) != address]
    return shlex.join([*(["env", *variables] if variables else []), "ray", "job", "stop", "--address", address, job_id])


def words_of_failure(client: JobSubmissionClient, job_id: str) -> str:
    """Return what Ray says about a job that did not succeed."""
    return str(client.get_job_info(job_id).message or "no reason is given")


def _environment(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    if not path.is_file():
        raise SubmissionError(f"--runtime-env {path}: there is no such file")
    try:
        values = parse_yaml(path.read_bytes(), f"--runtime-env {path}")
    except ConfigError as error:
        raise SubmissionError(str(error)) from None
    if not isinstance(values, dict) or not isinstance(values.get("env_vars", {}), dict):
        raise SubmissionError(f"--runtime-env {path}: expected keys of Ray's runtime environment, such as env_vars")
    if "working_dir" in values:
        raise SubmissionError(f"--runtime-env {path}: takes no working_dir; use --code to send a checkout")
    return values


def _bring(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise SubmissionError(f"--code {source.parent}: has no folder {source.name}; expected a checkout of dualprune")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


@contextmanager
def _without_addresses() -> Iterator[None]:
    """Hide the variables of the environment that Ray would prefer to the address that it is given."""
    hidden = {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turn what the client raises into a SubmissionError about the address, the token or the request."""
    try:
        yield
    except AuthenticationError:
        raise SubmissionError(
            f"{address} refuses us: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the "
            "cluster's token"
        ) from None
    except (ConnectionError, requests.exceptions.RequestException) as error:
        raise SubmissionError(
            f"{address} cannot be reached: {error}; is the port forwarded "
            "(kubectl port-forward service/dualprune-head-svc 8265)?"
        ) from None
    except RuntimeError as error:
        raise SubmissionError(f"{address} rejects the job: {error}") from None
