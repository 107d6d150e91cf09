"""An object store that refuses or is away: an error with exit code 2 that names the place, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dualprune.core.storage import Location
from tests.reliability import sound
from tests.reliability.commands import COMMANDS, Ended, command_line
from tests.reliability.trials import Trials

DIGITS = Path(__file__).parents[2] / "pipelines" / "configs" / "digits.yaml"
READING = (["status"], ["score"], ["record"], ["select"], ["export"], ["store", "check"], ["overlap", "--selections"])
ANSWERS = {"AccessDenied": 403, "InvalidAccessKeyId": 403, "SignatureDoesNotMatch": 403, "NoSuchBucket": 404}


@pytest.fixture(params=ANSWERS, scope="module")
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a server that answers every request as S3 does for one kind of failure, and yield a run's address there."""
    name, body = request.param, f"<Error><Code>{request.param}</Code><Message>refused</Message></Error>".encode()

    class Refusing(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(ANSWERS[name])
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
        setattr(Refusing, f"do_{method}", Refusing.answer)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(key, "test")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"s3://bucket/run?endpoint_override=http://127.0.0.1:{server.server_address[1]}&region=us-east-1"
        server.shutdown()


def check(ended: Ended, *parts: str) -> None:
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert ended.said.count("error: ") == 1
    for part in ("s3://bucket/run", *parts):
        assert part in ended.said


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_run_in_a_store_that_refuses(refusing: str, words: list[str]) -> None:
    names = ["a", "b"] if "--selections" in words else []
    first, *more = words
    arguments = [first, refusing, *more, *names] if first != "store" else [*words, refusing]
    check(command_line(*arguments))


@pytest.mark.parametrize("stage", ["prune", "record", "score"])
def test_a_run_that_cannot_begin_in_a_store_that_refuses(refusing: str, stage: str) -> None:
    check(command_line(stage, str(DIGITS), "--run", refusing))


def test_an_export_into_a_store_that_refuses_leaves_the_run_as_it_was(
    refusing: str, trials: Trials, here: None, tmp_path: Path
) -> None:
    run = sound.copy(trials.sound, tmp_path / sound.RUN)
    before = {path: path.read_bytes() for path in (run / "exports").rglob("*") if path.is_file()}
    out = refusing.replace("bucket/run", "bucket/run/out")
    check(command_line("export", str(run), "--set", f"export.path={out}"), "out")
    check(command_line("store", "export", str(run), "--to", refusing.replace("bucket/run", "bucket/run/out.npz")))
    assert {path: path.read_bytes() for path in (run / "exports").rglob("*") if path.is_file()} == before
    assert COMMANDS["export --force"](run, tmp_path).result == trials.expected["export --force"]


@pytest.mark.slow
def test_a_store_that_is_away(object_store: str) -> None:
    check(command_line("status", "s3://bucket/run?endpoint_override=http://127.0.0.1:1&region=us-east-1"))


def test_a_run_in_a_bucket_with_a_damaged_file(trials: Trials, here: None, s3: str, tmp_path: Path) -> None:
    copied = Location.of(s3)
    for path in (trials.sound / sound.RUN).rglob("*"):
        if path.is_file() and path.name != ".lock":
            (copied / str(path.relative_to(trials.sound / sound.RUN))).write_bytes(path.read_bytes())
    assert command_line("status", copied.address).code == 0
    (copied / "manifests" / "record.json").write_bytes(b"")
    ended = command_line("status", copied.address)
    assert ended.code == 2, ended.said
    assert "manifests/record.json is damaged" in ended.said
