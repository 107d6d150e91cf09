from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from dualprune.core import lease
from dualprune.core.storage import Location
from dualprune.errors import DataError, RunError

HOLD = """
import sys, time
from dualprune.core.lease import exclusive
from dualprune.core.storage import Location
with exclusive(Location.of(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_directory(tmp_path) -> None:
    assert lease.holder(Location.of(tmp_path)) is None
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=rf"is being written by another process \(pid {holder.pid} on "),
            lease.exclusive(Location.of(tmp_path)),
        ):
            pass
        found = lease.holder(Location.of(tmp_path))
        assert found is not None
        assert f"pid {holder.pid} on " in str(found)
        assert found.since is not None
        assert 0 <= time.time() - found.since < 60
    finally:
        holder.kill()
        holder.wait()
    assert lease.holder(Location.of(tmp_path)) is None
    with lease.exclusive(Location.of(tmp_path)):
        pass


def test_the_lock_is_free_again_after_an_exception(tmp_path) -> None:
    with pytest.raises(KeyError), lease.exclusive(Location.of(tmp_path)):
        raise KeyError
    with lease.exclusive(Location.of(tmp_path)):
        pass


def test_an_object_store_is_held_by_a_lease(s3, monkeypatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.05)
    root = Location.of(s3)
    with lease.exclusive(root):
        with pytest.raises(RunError, match="is being written by another process"), lease.exclusive(root):
            pass
        found = lease.holder(root)
        assert found is not None
        assert f"pid {os.getpid()} on " in str(found)
    assert lease.holder(root) is None
    assert not (root / "_lease.json").exists()


def test_a_lease_that_ran_out_is_taken_over(s3, monkeypatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.05)
    root = Location.of(s3)
    (root / "_lease.json").write_json(
        {"owner": "dead", "expires_at": time.time() - 1, "host": "h", "pid": 1, "since": "then"}
    )
    with lease.exclusive(root):
        assert (root / "_lease.json").read_json()["owner"] != "dead"


def test_a_look_at_who_holds_a_directory_turns_no_writer_away(tmp_path) -> None:
    with lease.exclusive(Location.of(tmp_path)):
        pass
    with (tmp_path / ".lock").open() as file:
        # As `holder` does for an instant.
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with lease.exclusive(Location.of(tmp_path)):
            assert lease.holder(Location.of(tmp_path)) is not None


@pytest.mark.parametrize("text", ["", "unknown", "since yesterday", "pid 3 on h since 2026"])
def test_a_holder_that_does_not_say_since_when(text: str) -> None:
    assert lease.Holder.of(text) == lease.Holder(text, None)


def test_a_damaged_lease_is_named(s3) -> None:
    root = Location.of(s3)
    (root / "_lease.json").write_json({"owner": "x", "expires_at": "soon", "host": "h", "pid": 1, "since": "then"})
    for look in (lambda: lease.holder(root), lambda: lease.exclusive(root).__enter__()):
        with pytest.raises(DataError, match=r"_lease.json is damaged: expires_at is 'soon', not a time"):
            look()
