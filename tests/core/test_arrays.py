"""Arrays in every form come out as the same numbers; axes in the wrong order and other ranges are refused."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dualprune.core.arguments import check_choice
from dualprune.core.arrays import Axes, as_array, as_axes, check_range, size_text
from dualprune.errors import ConfigError, DataError

torch = pytest.importorskip("torch")
logging.getLogger("hypothesis").setLevel(logging.ERROR)

# What holds an array [a, b] of multiples of 1/8, which every type below holds exactly.
FORMS = {
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a,
    "float64": lambda a: a.astype(np.float64),
    "columns first": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(">f4"),
    "read-only": lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    "nested lists": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "list of tensors": lambda a: [torch.from_numpy(row.copy()) for row in a],
    "lists of scalars": lambda a: [list(torch.from_numpy(row.copy())) for row in a],
    "objects": lambda a: a.astype(object),
    "masked, nothing hidden": lambda a: np.ma.masked_array(a, np.zeros(a.shape, bool)),
    "tensor": lambda a: torch.from_numpy(a.copy()),
    "bfloat16": lambda a: torch.from_numpy(a.copy()).bfloat16(),
    "half": lambda a: torch.from_numpy(a.copy()).half(),
    "with grad": lambda a: torch.from_numpy(a.copy()).requires_grad_() * 1,
    "transposed tensor": lambda a: torch.from_numpy(a.T.copy()).T,
    "bfloat16 rows with grad": lambda a: [torch.from_numpy(row.copy()).bfloat16().requires_grad_() for row in a],
}


@given(st.sampled_from(sorted(FORMS)), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_every_form_holds_the_same_numbers(form: str, rows: int, columns: int, seed: int) -> None:
    expected = (np.random.default_rng(seed).integers(0, 9, (rows, columns)) / 8).astype(np.float32)
    found = as_array(FORMS[form](expected), "x")
    np.testing.assert_array_equal(np.asarray(found, np.float32), expected)


def test_data_frames_and_whole_numbers_and_bools() -> None:
    pandas = pytest.importorskip("pandas")
    assert as_array(pandas.DataFrame({"a": [0.5, 1], "b": [0, 0.25]}), "x").tolist() == [[0.5, 0], [1, 0.25]]
    assert as_array([[True, False]], "x").dtype == bool
    assert as_array([[1, 2]], "x").tolist() == [[1, 2]]


def test_what_is_missing_is_nan() -> None:
    np.testing.assert_array_equal(as_array([[0.5, None]], "x"), [[0.5, np.nan]])
    hidden = np.ma.masked_array(np.float32([[0.5, 0.25]]), [[False, True]])
    np.testing.assert_array_equal(as_array(hidden, "x"), [[0.5, np.nan]])


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.zeros((2, 3), np.float32)
    assert np.shares_memory(as_array(array, "x"), array)
    assert np.shares_memory(as_array(torch.from_numpy(array), "x"), array)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.1, 0.2], [0.3]], "x cannot be read as one array of numbers: all input arrays must have the same shape"),
        ([["a", "b"]], "x has the type <U1; expected numbers"),
        (np.array([["0.5", 1]], object), "x cannot be read as one array of numbers: '0.5' is text"),
        ({"a": [1]}, "x cannot be read as one array of numbers"),
        (np.array([[1j]]), "x has the type complex128; expected numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "expected numbers"),
        (np.zeros(2, [("a", "f4")]), "expected numbers"),
        (torch.zeros(2, 2).to_sparse(), "x cannot be read as one array of numbers"),
        (None, "x cannot be read as one array of numbers|x has shape"),
    ],
)
def test_what_is_no_array_of_numbers(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_axes(as_array(values, "x"), None, "TN", "x")


@given(st.integers(1, 6), st.integers(0, 6), st.booleans(), st.sampled_from(["NT", "TN"]))
@settings(max_examples=60, deadline=None)
def test_axes_come_out_as_expected(num_epochs: int, more: int, as_tensor: bool, expected: Axes) -> None:
    by_axes: dict[Axes, Any] = {"TN": np.arange(num_epochs * (num_epochs + more)).reshape(num_epochs, -1)}
    by_axes["NT"] = by_axes["TN"].T.copy()
    if as_tensor:
        by_axes = {axes: torch.from_numpy(array) for axes, array in by_axes.items()}
    for axes, array in by_axes.items():
        found = as_axes(array, axes, expected, "x")
        assert found.tolist() == by_axes[expected].tolist()
    assert as_axes(by_axes[expected], None, expected, "x") is by_axes[expected]


def test_vectors_keep_their_last_axis() -> None:
    assert as_axes(np.zeros((3, 7, 5)), "TN", "NT", "x").shape == (7, 3, 5)
    assert as_axes(np.zeros((7, 3, 5)), None, "NT", "x").shape == (7, 3, 5)


@pytest.mark.parametrize(("shape", "expected"), [((100, 12), "TN"), ((12, 100), "NT"), ((12, 100, 3), "NT")])
def test_more_epochs_than_samples_are_refused_unless_axes_says_so(shape: tuple[int, ...], expected: Axes) -> None:
    other = expected[::-1]
    with pytest.raises(
        DataError, match=rf'it holds 100 epochs of 12 samples: more epochs .* axes="{other}" .* axes="{expected}" if'
    ):
        as_axes(np.zeros(shape), None, expected, "x")
    assert as_axes(np.zeros(shape), expected, expected, "x").shape == shape


def test_axes_that_are_none() -> None:
    with pytest.raises(ConfigError, match="axes: 'nt' is not one of 'NT', 'TN'"):
        as_axes(np.zeros((2, 2)), "nt", "TN", "x")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"x has shape \(3,\); expected \[T, N\], epochs by samples"):
        as_axes(np.zeros(3), None, "TN", "x")


def test_a_shape_in_words() -> None:
    assert size_text(6, 1_000) == "6 epochs of 1,000 samples"
    assert size_text(1, 1) == "1 epoch of 1 sample"


PROB = np.random.default_rng(0).random((5, 7)) * 0.9 + 0.05


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.log(PROB), r"35 values of x are not in \[0, 1\], such as .*; log-probabilities\? Pass the probability"),
        (100 * PROB, r"35 values of x are not in \[0, 1\], such as .*; percent\? Divide by 100"),
        (np.where(PROB > 0.9, -3.0, 5 * PROB), "log-probabilities or logits"),
        (1000 * PROB, "; correct them"),
        (np.full((2, 2), np.inf), "4 values of x .* such as inf"),
        (np.full((2, 2), -np.inf), "4 values of x .* such as -inf.*; log-probabilities"),
    ],
)
def test_what_is_no_probability(kind: Any, values: NDArray[np.float64], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_range(kind(values), "x")


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_what_is_in_range(kind: Any) -> None:
    check_range(kind(np.array([[0.0, 1.0, np.nan, 1 + 1e-6, -1e-6]])), "x")
    check_range(kind(np.array([[-1.0, 3.0]])), "x", -1, 3)
    with pytest.raises(
        DataError, match=r"1 values of x are not in \[-1, 3\], such as 4; correct|such as 4 at \[0, 1\]"
    ):
        check_range(kind(np.array([[-1.0, 4.0]])), "x", -1, 3)


def test_a_choice() -> None:
    check_choice("axes", "NT", Axes)
    with pytest.raises(ConfigError, match=r"axes: \['NT'\] is not one of"):
        check_choice("axes", ["NT"], Axes)
