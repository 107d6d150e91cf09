"""Every score of recorded dynamics: equal to a plain loop and to numbers worked by hand, online and offline alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import dualprune.scores
from dualprune import selection
from dualprune.core.plugins import make
from dualprune.errors import ConfigError, DataError
from dualprune.scores import SCORES, EpochScore, from_probs
from dualprune.scores.arguments import RANGES
from dualprune.scores.score import split
from dualprune.scores.statistics import NUMPY_FORMS

N, T, K = 60, 14, 4
RANDOM = np.random.default_rng(0)
LOGITS = 2 * RANDOM.normal(size=(N, T, K)) + RANDOM.normal(size=(N, 1, K))
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)
LABELS = np.arange(N) % K
# Two classes, three samples, four epochs: the probability of the true class, which is class 0.
BY_HAND = np.array([[0.2, 0.4, 0.6, 0.8], [0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.9, 0.1]])
BY_HAND_PROBS = np.stack([BY_HAND, 1 - BY_HAND], axis=2)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float], ddof: int) -> float:
    return math.sqrt(sum((x - mean(values)) ** 2 for x in values) / (len(values) - ddof))


def windows(values: list[float], length: int) -> list[list[float]]:
    return [values[k : k + length] for k in range(len(values) - length + 1)]


def others(p: list[float], y: int) -> float:
    return max(x for c, x in enumerate(p) if c != y)


def plain_dyn_unc(
    prob: list[list[float]], y: int, window: int = 10, last_window: bool = True, zeros: str = ""
) -> float:
    held = [0.0] * window
    found = []
    for t, p in enumerate(prob):
        if p[y] != 0.0 or zeros != "unseen":
            held = [*held[1:], p[y]]
        if t >= window - 1 and (last_window or t < len(prob) - 1):
            found.append(spread(held, 1))
    return mean(found)


def plain_tdds(prob: list[list[float]], y: int, window: int = 10, decay: float = 0.9) -> float:
    d = [
        sum(abs(p * (math.log(p + 1e-8) - math.log(q + 1e-8))) for p, q in zip(now, before, strict=True))
        for before, now in pairwise(prob)
    ]
    last = len(prob) - window
    total = 0.0
    for k in range(last + 1):
        part = d[k : k + window - 1]
        total += decay * (1 - decay) ** (last - k) * math.sqrt(sum((x - mean(part)) ** 2 for x in part))
    return total


def plain_el2n(prob: list[list[float]], y: int, first_epoch: int = 0, last_epoch: int | None = 9) -> float:
    used = prob[first_epoch : None if last_epoch is None else last_epoch + 1]
    return mean([math.sqrt(sum((x - (c == y)) ** 2 for c, x in enumerate(p))) for p in used])


def plain_forgetting(prob: list[list[float]], y: int, never: str = "highest") -> float:
    right = [max(range(len(p)), key=lambda c, p=p: p[c]) == y for p in prob]
    if not any(right):
        return float(len(prob)) if never == "highest" else 0.0
    return float(sum(before and not now for before, now in pairwise(right)))


def plain_aum(
    prob: list[list[float]], y: int, space: str = "prob", first_epoch: int = 0, last_epoch: int | None = None
) -> float:
    used = prob[first_epoch : None if last_epoch is None else last_epoch + 1]
    change = math.log if space == "logit" else float
    return -mean([change(p[y]) - change(others(p, y)) for p in used])


def plain_entropy(prob: list[list[float]], y: int, epoch: int | None = None) -> float:
    return -sum(x * math.log(x) for x in prob[-1 if epoch is None else epoch])


def plain_loss(prob: list[list[float]], y: int, first_epoch: int = 0) -> float:
    return mean([-math.log(p[y]) for p in prob[first_epoch:]])


def plain_variance(prob: list[list[float]], y: int, include_ci: bool = False, last_epoch: int | None = None) -> float:
    values = [p[y] for p in prob][: None if last_epoch is None else last_epoch + 1]
    v = spread(values, 0) ** 2
    return math.sqrt(v + v * v / (len(values) - 1) if include_ci else v)


def plain_confidence(prob: list[list[float]], y: int) -> float:
    return 1 - mean([p[y] for p in prob])


def plain_correctness(prob: list[list[float]], y: int) -> float:
    return float(sum(max(range(len(p)), key=lambda c, p=p: p[c]) != y for p in prob))


def plain_logit_history(prob: list[list[float]], y: int) -> float:
    z = [mean([math.log(p[c]) for p in prob]) for c in range(len(prob[0]))]
    soft = [math.exp(x) / sum(map(math.exp, z)) for x in z]
    return -sum(x * math.log(x) for x in soft)


def plain_dual(prob: list[list[float]], y: int, window: int = 10) -> float:
    return mean([(1 - mean(part)) * spread(part, 1) for part in windows([p[y] for p in prob], window)])


# Method, options, and the same worked by a loop.
CASES: list[tuple[str, dict[str, Any], Callable[..., float]]] = [
    ("dual", {}, plain_dual),
    ("dyn_unc", {}, plain_dyn_unc),
    ("dyn_unc", {"window": 4, "last_window": False}, plain_dyn_unc),
    ("dyn_unc", {"window": 5, "zeros": "unseen"}, plain_dyn_unc),
    ("dyn_unc", {"window": 5, "zeros": "unseen", "last_window": False}, plain_dyn_unc),
    ("tdds", {}, plain_tdds),
    ("tdds", {"window": 5, "decay": 0.3}, plain_tdds),
    ("tdds", {"window": 14, "decay": 1.0}, plain_tdds),
    ("el2n", {}, plain_el2n),
    ("el2n", {"first_epoch": 11, "last_epoch": 11}, plain_el2n),
    ("el2n", {"first_epoch": 3, "last_epoch": None}, plain_el2n),
    ("forgetting", {}, plain_forgetting),
    ("forgetting", {"never": "zero"}, plain_forgetting),
    ("aum", {}, plain_aum),
    ("aum", {"space": "logit"}, plain_aum),
    ("aum", {"first_epoch": T - 1}, plain_aum),
    ("entropy", {}, plain_entropy),
    ("entropy", {"epoch": 3}, plain_entropy),
    ("loss", {}, plain_loss),
    ("loss", {"first_epoch": T - 1}, plain_loss),
    ("variance", {}, plain_variance),
    ("variance", {"include_ci": True}, plain_variance),
    ("variance", {"last_epoch": 5}, plain_variance),
    ("confidence", {}, plain_confidence),
    ("correctness", {}, plain_correctness),
    ("logit_history", {}, plain_logit_history),
]
METHODS = sorted({name for name, _, _ in CASES})
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options, _ in CASES]


def statistics(method: EpochScore, probs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a method reads, float32 [n, T] each, as the store would."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in method.reads}
    before = None
    for t in range(probs.shape[1]):
        now = np.log(probs[:, t])
        for name, values in found.items():
            value = NUMPY_FORMS[name](now, labels, before)
            if value is not None:
                values.append(value.astype(np.float32))
        before = now
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def built(name: str, options: dict[str, Any]) -> EpochScore:
    method: EpochScore = make("score method", name, options, f"score.options.{name}")
    return method


def test_every_method_of_recorded_dynamics_is_among_the_cases() -> None:
    ours = {name for name in SCORES.names() if issubclass(SCORES[name], EpochScore)}
    assert ours == {*METHODS}


@pytest.mark.parametrize(("name", "options", "plain"), CASES, ids=IDS)
def test_equals_the_plain_loop(name: str, options: dict[str, Any], plain: Callable[..., float]) -> None:
    probs = PROBS.copy()
    if options.get("zeros") == "unseen":
        # Exactly 0 for some targets, the rest scaled up.
        probs[5, 2, LABELS[5]] = probs[7, 0, LABELS[7]] = probs[9, 13, LABELS[9]] = 0.0
        probs /= probs.sum(axis=2, keepdims=True)
    expected = [plain(probs[i].tolist(), int(LABELS[i]), **options) for i in range(N)]
    found = from_probs(name, probs, LABELS, **options)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "expected", "tolerance"),
    [
        ("dual", {"window": 3}, [0.1, 0.0, 0.230940], 1e-6),
        ("dyn_unc", {"window": 3}, [0.2, 0.0, 0.461880], 1e-6),
        ("dyn_unc", {"window": 3, "last_window": False}, [0.2, 0.0, 0.461880], 1e-6),
        ("tdds", {"window": 3}, [0.026175, 0.0, 0.0], 1e-6),
        ("el2n", {"last_epoch": None}, [0.7071, 0.7071, 0.7071], 1e-4),
        ("aum", {}, [0.0, 0.0, 0.0], 1e-9),
        ("entropy", {}, [0.500402, 0.693147, 0.325083], 1e-6),
        ("loss", {}, [0.815, 0.693, 1.204], 1e-3),
        ("variance", {}, [0.223607, 0.0, 0.4], 1e-6),
        ("variance", {"include_ci": True}, [(0.05 + 0.0025 / 3) ** 0.5, 0.0, (0.16 + 0.0256 / 3) ** 0.5], 1e-9),
        ("confidence", {}, [0.5, 0.5, 0.5], 1e-9),
    ],
)
def test_numbers_worked_by_hand(name: str, options: dict[str, Any], expected: list[float], tolerance: float) -> None:
    found = from_probs(name, BY_HAND_PROBS, np.zeros(3, int), axes="NT", **options)
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_right_and_wrong_worked_by_hand() -> None:
    correct = BY_HAND > 0.5
    assert dualprune.scores.forgetting(correct, axes="NT").tolist() == [0, 4, 2]
    assert dualprune.scores.forgetting(correct, never="zero", axes="NT").tolist() == [0, 0, 2]
    assert dualprune.scores.correctness(correct, axes="NT").tolist() == [2, 4, 2]
    # Right in the last epoch alone, and forgotten right after the first.
    seen = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 1, 0]])
    assert dualprune.scores.forgetting(seen, axes="NT").tolist() == [0, 1, 2]
    # log 2, as both logits are equal on average; then a clear first class.
    logits = np.array([[[3.0, -3.0], [-3.0, 3.0]], [[2.0, 0.0], [2.0, 0.0]]])
    p = 1 / (1 + math.exp(-2))
    expected = [math.log(2), -p * math.log(p) - (1 - p) * math.log(1 - p)]
    np.testing.assert_allclose(dualprune.scores.logit_history(logits), expected)


@pytest.mark.parametrize(("name", "options", "plain"), CASES, ids=IDS)
def test_online_equals_offline_and_state_goes_on(name: str, options: dict[str, Any], plain: object) -> None:
    method = built(name, options)
    values = statistics(method, PROBS, LABELS)
    offline, extras = split(method.score(values))
    epochs = next(iter(values.values())).shape[1]
    accumulator = method.accumulator(N)
    everyone = np.ones(N, dtype=bool)
    for t in range(epochs):
        if t == 6:
            # A resumed recording goes on from the state alone.
            state = {key: np.asarray(value).copy() for key, value in accumulator.state_dict().items()}
            accumulator = method.accumulator(N)
            accumulator.load_state_dict(state)
        accumulator.update(t, {key: array[:, t] for key, array in values.items()}, everyone)
    np.testing.assert_array_equal(accumulator.result(), offline)
    np.testing.assert_array_equal(accumulator.result(), offline)
    for key, array in extras.items():
        np.testing.assert_array_equal(accumulator.extras()[key], array)


@pytest.mark.parametrize(("name", "options", "plain"), CASES, ids=IDS)
def test_partitions_and_order_do_not_matter(name: str, options: dict[str, Any], plain: object) -> None:
    method = built(name, options)
    values = statistics(method, PROBS, LABELS)
    whole = split(method.score(values))[0]
    order = RANDOM.permutation(N)
    shuffled = split(method.score({key: array[order] for key, array in values.items()}))[0]
    np.testing.assert_array_equal(shuffled, whole[order])
    parts = [
        split(method.score({key: array[rows] for key, array in values.items()}))[0]
        for rows in (slice(0, 1), slice(1, 37), slice(37, N))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    # The memory of the store: epochs one after another.
    strided = {key: np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, 0)), 0, 1) for key, array in values.items()}
    np.testing.assert_array_equal(split(method.score(strided))[0], whole)
    # The numbering of the classes does not matter either.
    renamed = from_probs(name, PROBS[:, :, ::-1], K - 1 - LABELS, **options)
    np.testing.assert_allclose(renamed, from_probs(name, PROBS, LABELS, **options), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_that_lacks_a_value_has_no_score_and_no_effect(name: str) -> None:
    method = built(name, {})
    values = statistics(method, PROBS, LABELS)
    holes = {key: array.copy() for key, array in values.items()}
    for array in holes.values():
        array[3, 2] = np.nan
        array[8] = np.nan
    found = split(method.score(holes))[0]
    assert np.isnan(found).nonzero()[0].tolist() == [3, 8]
    np.testing.assert_array_equal(np.delete(found, [3, 8]), np.delete(split(method.score(values))[0], [3, 8]))


CONSTANT = {
    "dual": 0.0,
    "dyn_unc": 0.0,
    "tdds": 0.0,
    "el2n": math.sqrt(0.5**2 + 0.3**2 + 0.2**2),
    "forgetting": 0.0,
    "aum": -0.2,
    "entropy": -sum(p * math.log(p) for p in (0.5, 0.3, 0.2)),
    "loss": -math.log(0.5),
    "variance": 0.0,
    "confidence": 0.5,
    "correctness": 0.0,
    "logit_history": -sum(p * math.log(p) for p in (0.5, 0.3, 0.2)),
}


@pytest.mark.parametrize("name", METHODS)
def test_constant_predictions(name: str) -> None:
    probs = np.tile([0.5, 0.3, 0.2], (T, T, 1))
    found = from_probs(name, probs, np.zeros(T, int))
    np.testing.assert_allclose(found, CONSTANT[name], atol=1e-12)
    # Ties stay ties, to the bit.
    assert len(set(found.tolist())) == 1
    if CONSTANT[name] == 0.0:
        assert not found.any()


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_is_certain_of_one_class(name: str) -> None:
    probs = np.zeros((T, T, 2))
    probs[:, :, 0] = 1.0
    right, wrong = from_probs(name, probs, np.zeros(T, int)), from_probs(name, probs, np.ones(T, int))
    np.testing.assert_allclose(right, -1.0 if name == "aum" else 0.0, atol=1e-30)
    assert np.isfinite(wrong).all()
    assert (wrong >= right).all()
    with pytest.raises(DataError, match=r"probs has shape \(14, 14, 1\): 1 classes; expected two or more"):
        from_probs(name, probs[:, :, :1], np.zeros(T, int))


LEAST = {"dual": 10, "dyn_unc": 10, "tdds": 10, "el2n": 10}


@pytest.mark.parametrize("name", METHODS)
def test_too_few_epochs_are_named(name: str) -> None:
    least = LEAST.get(name, 1)
    from_probs(name, PROBS[:, :least], LABELS)
    if least > 1:
        with pytest.raises(ConfigError, match=rf"{name}: \d+ recorded epochs are fewer than the \d+ that it needs"):
            from_probs(name, PROBS[:, : least - 1], LABELS)
    accumulator = built(name, {}).accumulator(N)
    if least > 1:
        with pytest.raises(ConfigError, match=f"{name}: 0 recorded epochs are fewer than"):
            accumulator.result()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tdds", {"window": 2}, "tdds.window: 2 should be greater than or equal to 3"),
        ("tdds", {"decay": 0}, "tdds.decay: 0 should be greater than 0"),
        ("el2n", {"first_epoch": 10}, "last_epoch: 9 is before first_epoch = 10"),
        ("aum", {"space": "logits"}, "aum.space: 'logits' is not one of 'prob' or 'logit'"),
        ("forgetting", {"never": "T"}, "forgetting.never: 'T' is not one of"),
        ("entropy", {"epoch": -1}, "entropy.epoch: -1 should be greater than or equal to 0"),
        ("entropy", {"epoch": 14}, "entropy: 14 recorded epochs are fewer than the 15 that it needs"),
        ("dyn_unc", {"window": 14, "last_window": False}, "dyn_unc: 14 recorded epochs are fewer than the 15"),
        ("logit_history", {"outlier": 1.5}, "logit_history.outlier: 1.5 should be less than or equal to 1"),
    ],
)
def test_options_that_are_wrong(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_probs(name, PROBS, LABELS, **options)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["numpy", "tensor", "bfloat16", "half", "lists", "TN"])
def test_a_function_per_method(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    method = built(name, {})
    [(statistic, values)] = statistics(method, PROBS, LABELS).items()
    values = values.astype(np.float16).astype(np.float32) if kind == "half" else values
    values = torch.from_numpy(values).bfloat16().float().numpy() if kind == "bfloat16" else values
    tensor = torch.from_numpy(values).requires_grad_()
    given = {
        "numpy": values,
        "tensor": tensor,
        "bfloat16": tensor.bfloat16(),
        "half": tensor.half(),
        "lists": values.tolist(),
        "TN": np.moveaxis(values, 1, 0),
    }[kind]
    found = getattr(dualprune.scores, name)(given, axes="TN" if kind == "TN" else None)
    assert isinstance(found, torch.Tensor) == (kind in ("tensor", "bfloat16", "half"))
    np.testing.assert_allclose(np.asarray(found), split(method.score({statistic: values}))[0], rtol=1e-6, atol=1e-7)
    swapped = np.moveaxis(values, 1, 0)
    with pytest.raises(DataError, match=rf"{statistic} has shape .*: more epochs than samples"):
        getattr(dualprune.scores, name)(swapped)
    low, high = RANGES[statistic]
    outside = values.copy()
    outside[0] = np.inf if math.isinf(high) else 2 * high + 1
    with pytest.raises(DataError, match=rf"values of {statistic} are not in \[{low:g}, {high:g}\]"):
        getattr(dualprune.scores, name)(outside)
    with pytest.raises(DataError, match=rf"{statistic} has shape .*; expected \[N, T\]"):
        getattr(dualprune.scores, name)(values[..., None])


@pytest.mark.parametrize("name", METHODS)
def test_what_is_known_of_a_method_is_said(name: str) -> None:
    method = SCORES[name]
    assert method.source
    assert method.cost
    assert method.differences
    assert all(difference.what and difference.option for difference in method.differences)


def test_the_order_of_probabilities_and_of_logits_differs_only_where_it_should() -> None:
    """Scale and shift of logits: margins scale, probabilities do not see a shift."""
    shifted = LOGITS + RANDOM.normal(size=(N, T, 1))
    for name in METHODS:
        probs = np.exp(shifted) / np.exp(shifted).sum(axis=2, keepdims=True)
        np.testing.assert_allclose(from_probs(name, probs, LABELS), from_probs(name, PROBS, LABELS), atol=1e-9)
    margin = statistics(built("aum", {"space": "logit"}), PROBS, LABELS)["logit_margin"]
    np.testing.assert_allclose(
        dualprune.scores.aum(3 * margin, space="logit"), 3 * dualprune.scores.aum(margin, space="logit"), rtol=1e-6
    )
    history = dualprune.scores.logit_history(LOGITS)
    np.testing.assert_allclose(history, dualprune.scores.logit_history(shifted), rtol=1e-9)
    sums = LOGITS.mean(axis=1)
    score, extras = split(built("logit_history", {}).score({"class_logits": LOGITS}))
    np.testing.assert_array_equal(extras["mean_label"], sums.argmax(axis=1))
    np.testing.assert_allclose(score, history)


def test_the_band_of_losses_behind_the_highest() -> None:
    losses = RANDOM.permutation(200)[:, None] + RANDOM.random((200, 3)) / 10
    score = dualprune.scores.loss(losses)
    kept = selection.top_k(score, ratio=0.5, skip=0.05)
    # The ranks 5 % … 55 % from the top.
    assert sorted(kept) == sorted(np.argsort(-score)[10:110])
