"""Builds the overlays and navigates their documents; the checks and the tests of the checks share it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dualprune.cluster.kubernetes import build

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
OVERLAYS = sorted(path.name for path in (CLUSTER / "overlays").iterdir())
PIPELINES = ("prune", "sweep", "compare", "score")

Document = dict[str, Any]


@lru_cache
def _built(overlay: str) -> list[Document]:
    return build(CLUSTER / "overlays" / overlay)


def built(overlay: str) -> list[Document]:
    """Return the documents of an overlay, as a copy that the caller may change."""
    return copy.deepcopy(_built(overlay))


def find(documents: list[Document], kind: str, name: str) -> Document:
    """Return the one document of that kind and name."""
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return found[0]


def cluster_spec(document: Document) -> Document | None:
    """Return the Ray cluster's spec of a RayCluster or RayJob."""
    if document["kind"] == "RayCluster":
        return document["spec"]
    return document["spec"].get("rayClusterSpec") if document["kind"] == "RayJob" else None


class Pod(NamedTuple):
    """A pod template and where it stands."""

    where: str
    group: str | None  # "head", a worker group's name, or None for what is no Ray node
    template: Document
    ray_start_params: dict[str, str]

    @property
    def spec(self) -> Document:
        """The pod's spec."""
        return self.template["spec"]


def pods(documents: list[Document]) -> Iterator[Pod]:
    """Yield every pod template."""
    for document in documents:
        kind = document["kind"]
        where = f"{kind} {document['metadata']['name']}"
        spec = cluster_spec(document)
        if spec is not None:
            for name, group in groups(spec):
                yield Pod(f"{where}, group {name}", name, group["template"], group.get("rayStartParams", {}))
        elif kind == "Deployment":
            yield Pod(where, None, document["spec"]["template"], {})
        elif kind == "CronJob":
            yield Pod(where, None, document["spec"]["jobTemplate"]["spec"]["template"], {})


def groups(spec: Document) -> Iterator[tuple[str, Document]]:
    """Yield the head group and the worker groups of a Ray cluster."""
    yield "head", spec["headGroupSpec"]
    for group in spec.get("workerGroupSpecs", []):
        yield group["groupName"], group


def containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield every container, that of the autoscaler among them."""
    for pod in pods(documents):
        for container in [*pod.spec.get("initContainers", []), *pod.spec["containers"]]:
            yield f"{pod.where}, container {container['name']}", container
    for document in documents:
        spec = cluster_spec(document) or {}
        if spec.get("enableInTreeAutoscaling"):
            where = f"{document['kind']} {document['metadata']['name']}, the autoscaler"
            yield where, spec.get("autoscalerOptions", {})
