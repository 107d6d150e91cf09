"""A Ray cluster of several `ray start` processes on this machine, each node with ports and folders of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

BIN = Path(sys.executable).parent
START_S = 60


@dataclass(frozen=True)
class Nodes:
    """The running cluster: the job port, the nodes' metrics ports, and the environment of a client with the token."""

    address: str
    metrics_ports: list[int]
    env: dict[str, str]
    folders: list[Path]

    def state(self, what: str) -> list[dict[str, Any]]:
        """Return the cluster's `nodes` or `actors`."""
        return self._get(f"v0/{what}?limit=1000&detail=true")["data"]["result"]["result"]

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that were submitted."""
        return [job["submission_id"] for job in self._get("jobs/")]

    def job_status(self, job: str) -> str:
        """Return a job's status."""
        return self._get(f"jobs/{job}")["status"]

    def job_log(self, job: str) -> str:
        """Return what a job has printed."""
        return self._get(f"jobs/{job}/logs")["logs"]

    def _get(self, path: str) -> Any:
        # Not with Ray's command line, which takes two seconds of a core per query.
        headers = {"Authorization": f"Bearer {self.env['RAY_AUTH_TOKEN']}"}
        answer = requests.get(f"{self.address}/api/{path}", headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def metrics(self) -> str:
        """Return the metrics that all nodes publish for Prometheus."""
        return "".join(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text for port in self.metrics_ports)

    def ray(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run Ray's command line against the cluster."""
        words = [str(BIN / "ray"), *arguments]
        return subprocess.run(words, env=env or self.env, capture_output=True, text=True, timeout=300)


@contextmanager
def started(cpus: list[int], env: dict[str, str]) -> Iterator[Nodes]:
    """Start a head and workers in turn, with `cpus` each; end them and all processes that they started."""
    ports = _free_ports(2 + 2 * len(cpus))
    gcs, dashboard, *others = ports
    # The nodes' folders hold sockets, whose paths must be short.
    root = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    # No Ray settings of this process but these; the token also identifies the processes to end.
    token = secrets.token_hex(16)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTEST_"))}
    plain |= {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, **env}
    nodes = Nodes(f"http://127.0.0.1:{dashboard}", others[: len(cpus)], plain, [])
    processes: list[subprocess.Popen] = []
    try:
        for number, num_cpus in enumerate(cpus):
            folder = root / f"n{number}"
            (folder / "work").mkdir(parents=True)
            nodes.folders.append(folder)
            words = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", f"--num-cpus={num_cpus}"]
            words += [f"--temp-dir={folder}", f"--object-store-memory={200 << 20}"]
            words += [f"--metrics-export-port={others[number]}"]
            words += [f"--dashboard-agent-listen-port={others[len(cpus) + number]}"]
            if number == 0:
                words += ["--head", "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}"]
            else:
                words += [f"--address=127.0.0.1:{gcs}"]
            _start_one(words, plain, folder, nodes, number + 1, processes)
        yield nodes
    finally:
        _end(processes, token)
        subprocess.run(["rm", "-rf", str(root)], check=False)


def _start_one(
    words: list[str], env: dict[str, str], folder: Path, nodes: Nodes, expected: int, processes: list[subprocess.Popen]
) -> None:
    log = folder / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            words, env=env, cwd=folder / "work", stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    processes.append(process)
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if len([node for node in nodes.state("nodes") if node["state"] == "ALIVE"]) >= expected:
                return
        except (requests.RequestException, KeyError):
            pass
        time.sleep(0.3)
    raise AssertionError(f"node {expected} is not there after {START_S} s: {log.read_text()}")


def _end(processes: list[subprocess.Popen], token: str) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
    # Some of Ray's processes have sessions of their own; all carry the token that was made for them.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                ours = f"RAY_AUTH_TOKEN={token}".encode() in (entry / "environ").read_bytes()
                if ours:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
