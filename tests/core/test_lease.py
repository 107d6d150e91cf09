from __future__ import annotations

import subprocess
import sys
import time

import pytest

from dualprune.core import lease
from dualprune.core.storage import Location
from dualprune.errors import RunError

HOLD = """
import sys, time
from dualprune.core.lease import exclusive
from dualprune.core.storage import Location
with exclusive(Location.of(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_directory(tmp_path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=rf"is being written by another process \(pid {holder.pid} on "),
            lease.exclusive(Location.of(tmp_path)),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
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
        assert (root / "_lease.json").exists()
    assert not (root / "_lease.json").exists()


def test_a_lease_that_ran_out_is_taken_over(s3, monkeypatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.05)
    root = Location.of(s3)
    (root / "_lease.json").write_json(
        {"owner": "dead", "expires_at": time.time() - 1, "host": "h", "pid": 1, "since": "then"}
    )
    with lease.exclusive(root):
        assert (root / "_lease.json").read_json()["owner"] != "dead"
