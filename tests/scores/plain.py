"""Scores from features as plain loops, written from the formulas and in no hurry."""

from __future__ import annotations

import numpy as np


def places(order: list[int]) -> np.ndarray:
    """Return 1 - (r + 1/2) / n of samples picked in this order."""
    score = np.zeros(len(order))
    for rank, sample in enumerate(order):
        score[sample] = 1 - (rank + 0.5) / len(order)
    return score


def rmd(features: np.ndarray, labels: np.ndarray, ridge: float = 1e-6) -> np.ndarray:
    n, d = features.shape
    mean = sum(features) / n
    means = {c: sum(features[labels == c]) / (labels == c).sum() for c in set(labels.tolist())}
    within, total = np.zeros((d, d)), np.zeros((d, d))
    for x, y in zip(features, labels.tolist(), strict=True):
        within += np.outer(x - means[y], x - means[y]) / n
        total += np.outer(x - mean, x - mean) / n
    within += ridge * np.trace(within) / d * np.eye(d)
    total += ridge * np.trace(total) / d * np.eye(d)
    return np.array(
        [
            (x - means[y]) @ np.linalg.solve(within, x - means[y]) - (x - mean) @ np.linalg.solve(total, x - mean)
            for x, y in zip(features, labels.tolist(), strict=True)
        ]
    )


def herding(features: np.ndarray) -> np.ndarray:
    mean, total, order = features.mean(axis=0), 0.0, []
    for j in range(len(features)):
        rest = [i for i in range(len(features)) if i not in order]
        best = min(rest, key=lambda i: np.linalg.norm((j + 1) * mean - total - features[i]))
        order.append(best)
        total = total + features[best]
    return places(order)


def k_center(features: np.ndarray) -> np.ndarray:
    mean = features.mean(axis=0)
    order = [min(range(len(features)), key=lambda i: np.linalg.norm(features[i] - mean))]
    while len(order) < len(features):
        rest = [i for i in range(len(features)) if i not in order]
        order.append(max(rest, key=lambda i: min(np.linalg.norm(features[i] - features[j]) for j in order)))
    return places(order)


def moderate_kept(features: np.ndarray, labels: np.ndarray, k: int) -> list[int]:
    distance = [
        np.linalg.norm(x - np.median(features[labels == y], axis=0)) for x, y in zip(features, labels, strict=True)
    ]
    start = (len(features) - k) // 2
    return sorted(np.argsort(distance)[start : start + k].tolist())


def nearest(features: np.ndarray, i: int, k: int) -> list[int]:
    rest = [j for j in range(len(features)) if j != i]
    return sorted(rest, key=lambda j: np.linalg.norm(features[i] - features[j]))[:k]


def d2(features: np.ndarray, score: np.ndarray, k: int = 5, gamma: float = 0.1) -> np.ndarray:
    n = len(features)
    near = [nearest(features, i, k) for i in range(n)]

    def apart(i: int, j: int) -> float:
        return float(np.linalg.norm(features[i] - features[j]))

    value = [score[i] + sum(np.exp(-apart(i, j)) * score[j] for j in near[i]) for i in range(n)]
    order: list[int] = []
    while len(order) < n:
        best = max((i for i in range(n) if i not in order), key=lambda i: value[i])
        order.append(best)
        for j in near[best]:
            value[j] -= np.exp(-gamma * apart(best, j)) * value[best]
    return places(order)


def kmeans(features: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unit = np.array([x / np.linalg.norm(x) for x in features])
    centroids = np.array([c / np.linalg.norm(c) for c in centroids])
    of = None
    for _ in range(100):
        now = np.array([int(np.argmax([x @ c for c in centroids])) for x in unit])
        if of is not None and (now == of).all():
            break
        of = now
        for c in set(of.tolist()):
            mean = unit[of == c].mean(axis=0)
            centroids[c] = mean / np.linalg.norm(mean)
    return of, centroids


def likeness(features: np.ndarray, of: np.ndarray, centroids: np.ndarray, sign: int = 1) -> np.ndarray:
    unit = np.array([x / np.linalg.norm(x) for x in features])
    result = np.zeros(len(features))
    for c in set(of.tolist()):
        order = sorted(np.flatnonzero(of == c), key=lambda i: -sign * (1 - unit[i] @ centroids[c]))
        for place, j in enumerate(order):
            result[j] = max([0.0, *(unit[i] @ unit[j] for i in order[:place])])
    return result


def zcore_hits(features: np.ndarray, coordinates: np.ndarray, points: np.ndarray) -> np.ndarray:
    score = np.zeros(len(features))
    for some, point in zip(coordinates, points, strict=True):
        part = features[:, some]
        i = int(np.argmin(np.abs(part - point).sum(axis=1)))
        score[i] += 1
        distance = {j: np.abs(part[j] - part[i]).sum() for j in range(len(features)) if j != i}
        closest = sorted(distance, key=distance.__getitem__)
        if distance[closest[0]] == 0:
            score[closest[0]] -= 1
            continue
        closest = closest[:1000]
        weight = sum(distance[j] ** -4 for j in closest)
        for j in closest:
            score[j] -= distance[j] ** -4 / weight
    return score
