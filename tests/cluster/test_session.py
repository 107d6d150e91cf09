"""Which Ray cluster a run uses: one that is named, and no other that happens to be on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualprune.cluster import session
from dualprune.core.sections import ScalingConfig
from dualprune.errors import RunError
from tests.cluster.nodes import started

# Does some work on two buckets, and prints where.
WORK = """
import sys
from dualprune.cluster.tasks import over_buckets
from dualprune.errors import UserError
try:
    assert list(over_buckets(lambda bucket: bucket + 1, [3, 4])) == [4, 5]
except UserError as error:
    sys.exit(str(error))
import ray
print(ray.get_runtime_context().gcs_address)
"""


@pytest.mark.parametrize(
    ("configured", "variable", "joined"),
    [
        (None, None, None),
        (None, "", None),
        (None, "local", None),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379"),
        ("local", "10.0.0.1:6379", None),
    ],
)
def test_only_a_named_cluster_is_joined(
    configured: str | None, variable: str | None, joined: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert session.cluster_address(ScalingConfig(address=configured)) == joined


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"])
def test_a_named_cluster_that_is_not_there_is_an_error_at_once(address: str) -> None:
    with pytest.raises(RunError, match=r"RAY_ADDRESS: the Ray cluster at .* cannot be joined: .*refused"):
        session._join(address, "RAY_ADDRESS")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of Ray's: sockets in it need a short path."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as name:
        yield Path(name)


def work(**env: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    plain |= {"RAY_AUTH_MODE": "disabled", **env}
    return subprocess.run([sys.executable, "-c", WORK], env=plain, capture_output=True, text=True, timeout=300)


def read_when_there(file: Path) -> str:
    end = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < end, f"{file} is not there"
        time.sleep(0.1)
    return file.read_text().strip()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_on_the_machine_is_left_alone_unless_it_is_named(folder: Path) -> None:
    with started([1], {}) as nodes:
        # What `ray start --head` writes, and Ray reads where no address is given.
        (folder / "ray").symlink_to(nodes.folders[0])
        running = read_when_there(folder / "ray" / "ray_current_cluster")
        own = work(RAY_TMPDIR=str(folder))
        assert own.returncode == 0, own.stderr
        assert own.stdout.strip() != running
        tokens = {key: value for key, value in nodes.env.items() if key.startswith("RAY_AUTH")}
        joined = work(RAY_ADDRESS=running, **tokens)
        assert joined.returncode == 0, joined.stderr
        assert joined.stdout.strip() == running
        assert [node["state"] for node in nodes.state("nodes")] == ["ALIVE"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_address_of_a_cluster_that_has_ended_is_passed_over(folder: Path) -> None:
    (folder / "ray").mkdir()
    stale = folder / "ray" / "ray_current_cluster"
    stale.write_text("127.0.0.1:1")
    stale.chmod(0o444)
    own = work(RAY_TMPDIR=str(folder))
    assert own.returncode == 0, own.stderr
    assert own.stdout.strip() not in ("", "127.0.0.1:1")
    assert stale.read_text() == "127.0.0.1:1"


@pytest.mark.slow
def test_a_machine_where_ray_cannot_start_is_an_error(folder: Path) -> None:
    (folder / "file").touch()
    failed = work(RAY_TMPDIR=str(folder / "file"))
    assert failed.returncode == 1
    assert "Ray cannot start on this machine" in failed.stderr
    assert "Traceback" not in failed.stderr
