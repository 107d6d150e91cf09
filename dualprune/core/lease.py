"""One writer per run directory: a kernel lock on a local disk, a renewed lease on an object store."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dualprune.core.cleanup import cleaning_up
from dualprune.core.storage import Location
from dualprune.errors import DataError, RunBusyError, RunError, StorageError

# The only files of a run directory that exist before its first stage.
LOCK = ".lock"
LEASE = "_lease.json"
LEASE_S = 90.0
RENEW_S = 20.0
# Two writers that start together both find no lease; after this time one of them sees the other's.
SETTLE_S = 1.0
# `holder` locks a free directory for an instant, which must not turn a writer away.
LOCK_TRIES = 10
LOCK_RETRY_S = 0.02
SINCE = "%Y-%m-%dT%H:%M:%S%z"


@dataclass(frozen=True)
class Holder:
    """The process that writes a run directory, in words, and since when: in whole seconds since 1970, None: unknown."""

    words: str
    since: float | None

    def __str__(self) -> str:
        return self.words

    @classmethod
    def of(cls, words: str) -> Holder:
        """Return the holder that `_me` described in these words."""
        found = re.search(r"since (\S+)$", words)
        try:
            return cls(words, datetime.strptime(found[1], SINCE).timestamp() if found else None)
        except ValueError:
            return cls(words, None)


@contextmanager
def exclusive(root: Location) -> Iterator[None]:
    """Hold the run directory `root` for writing; a RunBusyError where another process holds it."""
    with _flock(root) if root.is_local else _lease(root):
        yield


def holder(root: Location) -> Holder | None:
    """Return the process that writes the run directory `root` now; None where there is none, or it cannot be told."""
    return _holder_of_lock(Path(root.address) / LOCK) if root.is_local else _holder_of_lease(root / LEASE)


def _holder_of_lock(place: Path) -> Holder | None:
    try:
        with place.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Holder.of(file.read().strip() or "unknown")
    except (OSError, ValueError):
        pass
    return None


def _holder_of_lease(place: Location) -> Holder | None:
    try:
        held = place.read_record() if place.exists() else None
    except StorageError:
        # It may have ended in between.
        if place.exists():
            raise
        held = None
    return Holder.of(_words(held)) if held is not None and _is_live(place, held) else None


def _is_live(place: Location, held: Mapping[str, Any]) -> bool:
    expires_at = held["expires_at"]
    if not isinstance(expires_at, int | float):
        raise DataError(f"{place} is damaged: expires_at is {expires_at!r}, not a time; delete it if nothing runs")
    return expires_at > time.time()


def _me() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime(SINCE)}


def _words(me: Mapping[str, object]) -> str:
    return f"pid {me['pid']} on {me['host']} since {me['since']}"


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
            locked = _locked(file)
        except OSError as error:
            raise RunError(f"run directory {root} cannot be locked: {error}; choose another") from None
        if not locked:
            file.seek(0)
            raise _busy(root, file.read().decode(errors="replace").strip() or "unknown")
        # Who holds it is for people; the lock itself needs no space on a full disk.
        with suppress(OSError):
            file.truncate(0)
            file.write(_words(_me()).encode())
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)


def _locked(file: IO[bytes]) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_RETRY_S)
        else:
            return True
    return False


@contextmanager
def _lease(root: Location) -> Iterator[None]:
    place = root / LEASE
    owner = uuid.uuid4().hex
    stop = threading.Event()

    def renew() -> None:
        place.write_json({"owner": owner, "expires_at": time.time() + LEASE_S, **_me()})

    def check() -> None:
        held = place.read_record()
        if held["owner"] != owner and _is_live(place, held):
            raise _busy(root, _words(held))

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
