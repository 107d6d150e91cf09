"""Repeated rows of one sample and epoch in a long table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dualprune
from dualprune.errors import ConfigError, DataError
from dualprune.exchange.repeats import Cells, Repeated, take_one_each

T, N = 3, 8
SHORT = {"score": {"window": 3}}
PROB = np.random.default_rng(0).random((T, N), dtype=np.float32)


def long_table(extra: list[tuple[int, int, float]]) -> pa.Table:
    """Return all rows, then further ones as (sample, epoch, target_prob)."""
    rows = [(sample, epoch, float(PROB[epoch, sample])) for epoch in range(T) for sample in range(N)]
    ids, epochs, values = zip(*rows, *extra, strict=True)
    return pa.table({"sample_id": ids, "epoch": epochs, "target_prob": values})


def imported(tmp_path: Path, table: pa.Table, **options: Any) -> np.ndarray:
    pq.write_table(table, tmp_path / "d.parquet")
    run = dualprune.import_file(tmp_path / "d.parquet", tmp_path / "run", config=SHORT, **options)
    return dualprune.DynamicsStore(run).read_bucket(0)["target_prob"].T


@pytest.mark.parametrize("repeated", ["first", "mean", "error"])
def test_equal_rows_count_once(tmp_path: Path, repeated: Repeated) -> None:
    padding = [(sample, epoch, float(PROB[epoch, sample])) for epoch in range(T) for sample in (0, 1, 1)]
    np.testing.assert_array_equal(imported(tmp_path, long_table(padding), repeated=repeated), PROB)


def test_different_rows_are_an_error_or_chosen_from(tmp_path: Path) -> None:
    table = long_table([(2, 1, 0.5), (2, 1, 0.25)])
    with pytest.raises(
        DataError,
        match=r"1 pairs .* more than once with different values, such as sample 2 in epoch 1 \(3 times\); "
        'keep one row of each, or pass repeated="first" or repeated="mean"',
    ):
        imported(tmp_path, table)
    np.testing.assert_array_equal(imported(tmp_path, table, repeated="first"), PROB)
    expected = PROB.copy()
    expected[1, 2] = (np.float64(PROB[1, 2]) + 0.75) / 3
    np.testing.assert_array_equal(imported(tmp_path, table, repeated="mean", force=True), expected)


def test_an_unknown_choice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"repeated: 'frist' is not one of .*; did you mean 'first'\?"):
        imported(tmp_path, long_table([]), repeated="frist")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_as_plain_python_would_choose(data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 0.5, 1.0, float("nan")])
    rows = data.draw(st.lists(st.tuples(st.integers(0, 5), values, values), min_size=1, max_size=20))
    repeated = data.draw(st.sampled_from(["first", "mean", "error"]))
    groups: dict[int, list[tuple[float, float]]] = {}
    for number, *row in rows:
        groups.setdefault(number, []).append((row[0], row[1]))
    cells = Cells("x", pa.array(["a", "b"]), first_epoch=0, num_epochs=3)
    columns = np.array([row[1:] for row in rows], np.float32).T
    arguments = (cells, np.array([row[0] for row in rows]), dict(zip("pq", columns, strict=True)))
    if repeated == "error" and any(len({str(row) for row in group}) > 1 for group in groups.values()):
        with pytest.raises(DataError, match="with different values"):
            take_one_each(*arguments, repeated=repeated, keep_missing=True)
        return
    numbers, found = take_one_each(*arguments, repeated=repeated, keep_missing=True)
    assert sorted(numbers) == sorted(groups)
    for row, number in enumerate(numbers.tolist()):
        for place, name in enumerate("pq"):
            own = [pair[place] for pair in groups[number]]
            if repeated == "mean":
                known = [value for value in own if value == value]
                expected = sum(known) / len(known) if known else float("nan")
            else:
                expected = own[0]
            np.testing.assert_allclose(found[name][row], expected, rtol=1e-6)
