"""One writer per run directory: a kernel lock on a local disk, a renewed lease on an object store."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dualprune.core.cleanup import cleaning_up
from dualprune.core.storage import Location
from dualprune.errors import RunBusyError, RunError

# The only files of a run directory that exist before its first stage.
LOCK = ".lock"
LEASE = "_lease.json"
LEASE_S = 90.0
RENEW_S = 20.0
# Two writers that start together both find no lease; after this time one of them sees the other's.
SETTLE_S = 1.0


@contextmanager
def exclusive(root: Location) -> Iterator[None]:
    """Hold the run directory `root` for writing; a RunBusyError where another process holds it."""
    with _flock(root) if root.is_local else _lease(root):
        yield


def _me() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def _busy(root: Location, holder: str) -> RunBusyError:
    return RunBusyError(
        f"run directory {root} is being written by another process ({holder}); "
        "wait until it ends, stop it, or use another run directory"
    )


@contextmanager
def _flock(root: Location) -> Iterator[None]:
    folder = Path(root.address)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+b", buffering=0)
    except OSError as error:
        raise RunError(f"run directory {root} cannot be written: {error}; choose another") from None
    # The kernel frees the lock however the process ends, so no stale lock is left behind.
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise _busy(root, file.read().decode(errors="replace").strip() or "unknown") from None
        me = _me()
        # Who holds it is for people; the lock itself needs no space on a full disk.
        with suppress(OSError):
            file.truncate(0)
            file.write(f"pid {me['pid']} on {me['host']} since {me['since']}".encode())
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _lease(root: Location) -> Iterator[None]:
    place = root / LEASE
    owner = uuid.uuid4().hex
    stop = threading.Event()

    def renew() -> None:
        place.write_json({"owner": owner, "expires_at": time.time() + LEASE_S, **_me()})

    def check() -> None:
        held = place.read_record().expect(owner=str, expires_at=float)
        if held["owner"] != owner and held["expires_at"] > time.time():
            raise _busy(root, f"pid {held['pid']} on {held['host']} since {held['since']}")

    def keep() -> None:
        while not stop.wait(RENEW_S):
            # The lease outlasts a few failures.
            with cleaning_up(f"renewing the lease {place}"):
                renew()

    if place.exists():
        check()
    renew()
    time.sleep(SETTLE_S)
    check()
    keeper = threading.Thread(target=keep, name="run-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        with cleaning_up(f"releasing the lease {place}"):
            place.delete()
