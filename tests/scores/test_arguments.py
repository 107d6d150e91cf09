"""Whatever array a user has yields the same scores, or an error that says what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dualprune
from dualprune import selection
from dualprune.errors import ConfigError, DataError
from dualprune.scores import Dual, dual, dual_and_mean, from_probs, mean_prob
from tests.core.test_arrays import FORMS

torch = pytest.importorskip("torch")
logging.getLogger("hypothesis").setLevel(logging.ERROR)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dual": lambda prob, **options: dual(prob, 2, **options),
    "dual_and_mean": lambda prob, **options: dual_and_mean(prob, 2, **options).score,
    "mean_prob": mean_prob,
}
PROB = np.random.default_rng(0).random((9, 5)).astype(np.float32) * 0.9 + 0.05


@given(
    st.sampled_from(sorted(FUNCTIONS)),
    st.sampled_from(sorted(FORMS)),
    st.tuples(st.integers(1, 6), st.integers(2, 6)),
    st.sampled_from([None, "NT", "TN"]),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_every_layout_yields_the_same_scores(
    function: str, form: str, shape: tuple[int, int], axes: str | None, seed: int
) -> None:
    prob = (np.random.default_rng(seed).integers(0, 9, shape) / 8).astype(np.float32)
    given = FORMS[form](prob.T.copy() if axes == "TN" else prob)
    if axes is None and shape[1] > shape[0]:
        with pytest.raises(DataError, match=rf"target_prob has shape \({shape[0]}, {shape[1]}\); read as \[N, T\], .*"):
            FUNCTIONS[function](given)
        return
    found = FUNCTIONS[function](given, axes=axes)
    assert isinstance(found, torch.Tensor) == isinstance(given, torch.Tensor)
    expected = prob.astype(np.float64)
    windows = [expected[:, k : k + 2] for k in range(shape[1] - 1)]
    by_hand = np.mean([(1 - part.mean(axis=1)) * part.std(axis=1, ddof=1) for part in windows], axis=0)
    np.testing.assert_allclose(found, expected.mean(axis=1) if function == "mean_prob" else by_hand, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.log, r"45 values of target_prob are not in \[0, 1\].*; log-probabilities\? Pass the probability itself"),
        (lambda prob: 100 * prob, r"values of target_prob are not in \[0, 1\].*; percent\? Divide by 100"),
        (lambda prob: np.where(prob > 0.9, np.inf, prob), "values of target_prob .* such as inf"),
        (lambda prob: prob.T.copy(), r"shape \(5, 9\); read as \[N, T\], .*it holds 9 epochs of 5 samples"),
        (lambda prob: prob[:, 0], r"target_prob has shape \(9,\); expected \[N, T\], samples by epochs"),
        (lambda prob: prob[:, :0], r"target_prob has shape \(9, 0\), .*: it has no epochs"),
        (lambda prob: prob[:, :, None], r"target_prob has shape \(9, 5, 1\); expected \[N, T\]"),
    ],
)
def test_what_is_no_array_of_probabilities(name: str, kind: Any, change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FUNCTIONS[name](kind(change(PROB)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_value_that_is_missing(name: str, kind: Any) -> None:
    holes = PROB.copy()
    holes[[3, 7], [1, 4]] = np.nan
    with pytest.raises(
        DataError, match=r'2 values of target_prob are NaN, first that of sample 3 in epoch 1; pass missing="keep"'
    ):
        FUNCTIONS[name](kind(holes))
    found, whole = np.asarray(FUNCTIONS[name](kind(holes), missing="keep")), np.asarray(FUNCTIONS[name](kind(PROB)))
    assert np.isnan(found).nonzero()[0].tolist() == [3, 7]
    np.testing.assert_array_equal(np.delete(found, [3, 7]), np.delete(whole, [3, 7]))


def test_arguments_that_are_no_choice() -> None:
    with pytest.raises(ConfigError, match="axes: 'nt' is not one of"):
        dual(PROB, 2, axes="nt")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="missing: 'drop' is not one of 'raise', 'keep'"):
        dual(PROB, 2, missing="drop")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="epochs: 0 is not a whole number of 1 or more"):
        mean_prob(PROB, 0)
    for odd in (torch.zeros(3, 2).to_sparse(), torch.zeros(3, 2, dtype=torch.complex64)):
        with pytest.raises(DataError, match="expected real numbers, dense"):
            dual(odd, 2)


LOGITS = 3 * np.random.default_rng(1).normal(size=(20, 12, 5))
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)
LABELS = np.arange(20) % 5


def test_class_probabilities_in_every_layout() -> None:
    expected = from_probs("dual", PROBS, LABELS)
    np.testing.assert_array_equal(from_probs("dual", PROBS.swapaxes(0, 1), LABELS, axes="TN"), expected)
    np.testing.assert_array_equal(from_probs("dual", torch.from_numpy(PROBS), torch.from_numpy(LABELS)), expected)
    np.testing.assert_array_equal(from_probs("dual", PROBS.tolist(), LABELS.tolist()), expected)
    np.testing.assert_allclose(from_probs("dual", torch.from_numpy(PROBS).bfloat16(), LABELS), expected, atol=5e-3)
    holes = PROBS.copy()
    holes[4, 2, 1] = np.nan
    found = from_probs("dual", holes, LABELS, missing="keep")
    assert np.isnan(found).nonzero()[0].tolist() == [4]
    np.testing.assert_array_equal(np.delete(found, 4), np.delete(expected, 4))


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (PROBS.swapaxes(0, 1), LABELS, r"shape \(12, 20, 5\); read as \[N, T\].*20 epochs of 12 samples"),
        (PROBS.swapaxes(1, 2), LABELS % 3, r"sample 0 in epoch 0 sum to .*; expected softmax outputs, the classes on"),
        (np.log(PROBS), LABELS, "values of probs are not in .*; log-probabilities"),
        (100 * PROBS, LABELS, "values of probs are not in .*; percent"),
        (np.where(PROBS > 0.9, np.nan, PROBS), LABELS, "values of probs are NaN, first that of sample"),
        (PROBS, LABELS[:19], r"labels have shape \(19,\); expected \[20\]"),
        (PROBS, np.eye(5)[LABELS], r"labels have shape \(20, 5\)"),
        (PROBS, LABELS - 0.5, "20 labels are not whole numbers in 0 … 4, first that of sample 0: -0.5"),
        (PROBS, [str(label) for label in LABELS], "labels has the type <U1; expected numbers"),
    ],
)
def test_class_probabilities_that_are_wrong(probs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_probs("dual", probs, labels)


SCORE = np.random.default_rng(2).random(40)
DRAWS: dict[str, Callable[..., Any]] = {
    "top_k": lambda score, **options: selection.top_k(score, ratio=0.5, **options),
    "ccs": lambda score, **options: selection.ccs(score, ratio=0.5, **options),
    "beta": lambda score, **options: selection.beta(score, np.full(len(score), 0.5), ratio=0.5, **options),
}


@pytest.mark.parametrize("name", DRAWS)
def test_selection_takes_what_scoring_returns(name: str) -> None:
    score = SCORE.astype(np.float32)
    expected = DRAWS[name](score)
    for form in (list, torch.from_numpy, lambda s: torch.from_numpy(s).requires_grad_(), lambda s: s.astype(">f4")):
        np.testing.assert_array_equal(DRAWS[name](form(score)), expected)
    ids = np.arange(40)
    for same in (ids.tolist(), torch.from_numpy(ids), ids.astype(np.uint16)):
        np.testing.assert_array_equal(DRAWS[name](score, sample_ids=same), expected)


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(
    ("score", "ids", "message"),
    [
        (SCORE[:, None], None, r"score has shape \(40, 1\); expected \[n\], one number per sample"),
        (SCORE.astype(str), None, "score has the type <U.*; expected numbers"),
        (SCORE, np.arange(39), "sample_ids has 39 values, score has 40"),
        (SCORE, np.arange(40) // 2, "20 sample ids are not unique, such as 0; an id stands for one sample"),
        (SCORE, SCORE, r"sample_ids have the type float64 and shape \(40,\); expected \[n\] whole numbers or strings"),
        (SCORE, np.arange(80).reshape(40, 2), r"sample_ids have the type int64 and shape \(40, 2\)"),
    ],
)
def test_scores_and_ids_that_are_wrong(name: str, score: Any, ids: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DRAWS[name](score, sample_ids=ids)


def test_numbers_that_make_no_sense() -> None:
    for call, message in (
        (lambda: dual(PROB, 2.5), "score.options.dual.window: 2.5 is not a whole number of 2 or more"),
        (lambda: dual(PROB, 2, num_threads=0), "num_threads: 0 is not a whole number of 1 or more"),
        (lambda: selection.top_k(SCORE, ratio="half"), r"select.ratio: 'half' is not in \[0, 1\)"),
        (lambda: selection.top_k(SCORE, ratio=0.5, seed=-1), "seed: -1 is not a whole number of 0 or more"),
        (lambda: selection.top_k(SCORE, ratio=0.5, seed=True), "seed: True is not a whole number"),
        (lambda: selection.random(3.5, ratio=0.5), "num_samples: 3.5 is not a whole number of 1 or more"),
        (lambda: Dual.Options(window=1), "Options.window: 1 should be greater than or equal to 2"),
        (lambda: dualprune.Config(select={"ratio": 2}), r"config.select.ratio: 2 is not in \[0, 1\)"),
        (lambda: dualprune.Config(scroe={}), "config.scroe: unknown key; .* did you mean 'score'"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_mean_probabilities_and_labels_that_are_wrong() -> None:
    with pytest.raises(DataError, match=r"values of mean_prob are not in \[0, 1\].*; percent"):
        selection.beta(SCORE, 100 * SCORE, ratio=0.5)
    with pytest.raises(DataError, match="mean_prob has 3 values, score has 40"):
        selection.beta(SCORE, SCORE[:3], ratio=0.5)
    balanced = selection.arrays.SelectConfig(method="top_k", ratio=0.5, balance={"quota": "equal"})
    with pytest.raises(DataError, match="labels has 3 values, score has 40"):
        selection.select(balanced, SCORE, labels=[0, 1, 2])
