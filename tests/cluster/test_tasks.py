"""The results and errors of a function over buckets, in this process and in Ray."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import ray.exceptions

from dualprune.cluster.tasks import over_buckets
from dualprune.errors import DataError, RunError

pytestmark = pytest.mark.usefixtures("ray_cluster")


def _late_ones_first(bucket: int) -> int:
    return bucket * bucket


def _broken(bucket: int) -> int:
    if bucket == 3:
        raise DataError(f"bucket {bucket} is broken")
    return 1 // (bucket - 4)


@pytest.mark.parametrize("light", [False, True])
def test_results_come_in_the_order_of_the_buckets(light: bool) -> None:
    assert list(over_buckets(_late_ones_first, [5, 3, 8], light=light)) == [25, 9, 64]
    assert list(over_buckets(_late_ones_first, [], light=light)) == []


def test_a_users_mistake_comes_as_it_is_and_any_other_as_a_failure_of_ray() -> None:
    with pytest.raises(DataError, match=r"^bucket 3 is broken$"):
        list(over_buckets(_broken, [3, 5]))
    with pytest.raises(ray.exceptions.RayTaskError, match="ZeroDivisionError"):
        list(over_buckets(_broken, [4, 5]))


def test_one_bucket_is_worked_on_here_without_importing_ray() -> None:
    program = """
import os, sys
from dualprune.cluster.tasks import over_buckets
assert list(over_buckets(lambda bucket: (bucket, os.getpid()), [7], light=True, title="x")) == [(7, os.getpid())]
assert not {"ray", "rich"} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    with pytest.raises(DataError, match=r"^bucket 3 is broken$"):
        list(over_buckets(_broken, [3]))


def test_a_plugin_that_workers_cannot_import_is_an_error_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here_alone.py").write_text("def score(bucket):\n    return bucket\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    score = importlib.import_module("here_alone").score
    with pytest.raises(RunError, match=r"cannot load .* No module named 'here_alone'; make the modules of plug-ins"):
        list(over_buckets(score, [0, 1]))
    del sys.modules["here_alone"]
