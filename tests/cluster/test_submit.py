"""Errors that submitting raises before it sends anything, and the states by which a job is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ray.job_submission import JobStatus

from dualprune.cluster import jobs
from dualprune.core.config import Config
from tests.cluster.documents import ROOT

DIGITS = str(ROOT / "pipelines" / "configs" / "digits.yaml")


@pytest.mark.parametrize(
    ("pipeline", "run", "message"),
    [
        ("prone", "s3://b/r", "--pipeline prone: there is no such pipeline; one of prune, score, compare, sweep"),
        ("prune", "runs/digits", "--run runs/digits: every node of the cluster must reach it"),
    ],
)
def test_a_submission_that_cannot_run_is_refused(pipeline: str, run: str, message: str) -> None:
    with pytest.raises(jobs.SubmissionError, match=message):
        jobs.Submission(pipeline, Config(), run)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:8265", "expected the dashboard's address, such as http://127.0.0.1:8265"),
        ("http://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_an_address_that_is_no_job_port(address: str, message: str) -> None:
    with pytest.raises(jobs.SubmissionError, match=message):
        jobs.connect(address)


def test_the_given_address_counts_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:3")
    with pytest.raises(jobs.SubmissionError, match=r"Failed to connect to Ray at address: http://127.0.0.1:1\."):
        jobs.connect("http://127.0.0.1:1")
    assert (os.environ["RAY_ADDRESS"], os.environ["RAY_API_SERVER_ADDRESS"]) == (
        "http://127.0.0.1:2",
        "http://127.0.0.1:3",
    )
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    words = ["env", "RAY_ADDRESS=http://h:1", "ray", "job", "stop", "--address", "http://h:1", "j"]
    assert jobs.stop_command("http://h:1", "j").split() == words
    monkeypatch.delenv("RAY_ADDRESS")
    assert jobs.stop_command("http://h:1", "j").split() == words[2:]


class NoClient:
    """A client that fails the test when something is sent."""

    def get_address(self) -> str:
        return "http://nowhere"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("[a]", "expected keys of Ray's runtime environment"),
        ("env_vars: [a]", "expected keys of Ray's runtime environment"),
        ("a: [", "not valid YAML"),
        ("working_dir: .", "takes no working_dir; use --code"),
    ],
)
def test_a_runtime_environment_that_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "env.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(jobs.SubmissionError, match=message):
        jobs.submit(NoClient(), jobs.Submission("prune", Config(), "s3://b/r"), runtime_env=path)  # type: ignore[arg-type]


def test_code_must_be_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(jobs.SubmissionError, match="has no folder dualprune"):
        jobs.submit(NoClient(), jobs.Submission("prune", Config(), "s3://b/r"), code=tmp_path)  # type: ignore[arg-type]


class FlakyJob:
    """A job whose log ends early and whose port fails for a while; the status alone says when it is done."""

    def __init__(self) -> None:
        self.answers = [("RUNNING", "a\n"), None, ("RUNNING", "a\n"), ("RUNNING", "a\nb\n"), ("SUCCEEDED", "a\nb\nc\n")]

    def get_job_status(self, job_id: str) -> JobStatus:
        self.now = self.answers.pop(0)
        if self.now is None:
            raise RuntimeError("Request failed with status code 503")
        return JobStatus(self.now[0])

    def get_job_logs(self, job_id: str) -> str:
        assert self.now is not None
        return self.now[1]


def test_following_goes_by_the_status_and_shows_each_line_once(monkeypatch) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 0.0)
    monkeypatch.setattr(jobs, "SLOWEST_POLL_S", 0.0)
    shown: list[str] = []
    status = jobs.follow(FlakyJob(), "job", shown.append)  # type: ignore[arg-type]
    assert status == JobStatus.SUCCEEDED
    assert shown == ["a\n", "b\n", "c\n"]


def test_following_gives_up_a_port_that_stays_away_and_says_that_the_job_may_go_on(monkeypatch) -> None:
    monkeypatch.setattr(jobs, "SLOWEST_POLL_S", 0.01)
    monkeypatch.setattr(jobs, "UNREACHABLE_S", 0.02)
    job = FlakyJob()
    job.answers = [None] * 1000
    with pytest.raises(jobs.SubmissionError, match=r"it may still be running: `ray job status job` tells"):
        jobs.follow(job, "job", lambda text: None)  # type: ignore[arg-type]
