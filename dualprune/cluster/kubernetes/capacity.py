"""Reads what the Ray nodes of a manifest offer, as KubeRay works it out: pods, and the CPUs and GPUs of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dualprune.errors import UserError

_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<milli>m?)")


@dataclass(frozen=True)
class Group:
    """Ray nodes of one kind: at most `pods` of them, each with `cpus` and `gpus` as Ray counts them."""

    name: str
    pods: int
    cpus: int
    gpus: int

    def workers(self, cpus_per_worker: float, use_gpu: bool) -> int:
        """Return how many training workers fit; each stands in one pod, and takes one GPU with `use_gpu`."""
        a_pod = math.floor(self.cpus / cpus_per_worker + 1e-9)
        return self.pods * (min(a_pod, self.gpus) if use_gpu else a_pod)


@dataclass(frozen=True)
class Cluster:
    """One Ray cluster of a manifest: `name` is that of the RayCluster or RayJob."""

    name: str
    groups: tuple[Group, ...]

    @property
    def cpus(self) -> int:
        """CPUs of all pods."""
        return sum(group.pods * group.cpus for group in self.groups)

    @property
    def gpus(self) -> int:
        """GPUs of all pods."""
        return sum(group.pods * group.gpus for group in self.groups)

    def workers(self, cpus_per_worker: float, use_gpu: bool) -> int:
        """Return how many training workers of this size fit."""
        return sum(group.workers(cpus_per_worker, use_gpu) for group in self.groups)

    def describe(self) -> str:
        """Return the groups that have CPUs or GPUs, such as `gpu: 2 pods of 32 CPUs and 4 GPUs`."""
        parts = []
        for group in self.groups:
            if group.pods and (group.cpus or group.gpus):
                gpus = f" and {group.gpus} GPUs" if group.gpus else ""
                parts.append(f"{group.name}: {group.pods} pods of {group.cpus} CPUs{gpus}")
        return "; ".join(parts) or "no CPUs or GPUs for Ray"


def clusters(documents: Iterable[Mapping[str, Any]]) -> list[Cluster]:
    """Return the Ray clusters of a manifest's documents: RayClusters, and those that RayJobs create for themselves."""
    found = []
    for document in documents:
        kind, spec = document.get("kind"), document.get("spec") or {}
        if kind == "RayJob":
            spec = spec.get("rayClusterSpec")
        if kind in ("RayCluster", "RayJob") and spec:
            name = f"{kind} {(document.get('metadata') or {}).get('name', '?')}"
            found.append(Cluster(name, tuple(_groups(spec, name))))
    return found


def cpu_count(quantity: str | float) -> int:
    """Return a Kubernetes CPU quantity such as `"16"`, `2.5` or `"500m"` as Ray's CPUs: KubeRay rounds it up."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise UserError(f"resource quantity {quantity!r}: expected a number such as 4, 0.5 or 500m")
    return math.ceil(float(match["number"]) / (1000 if match["milli"] else 1))


def _groups(spec: Mapping[str, Any], name: str) -> Iterable[Group]:
    scales = bool(spec.get("enableInTreeAutoscaling"))
    yield _group(spec.get("headGroupSpec") or {}, "head", 1, name)
    for group in spec.get("workerGroupSpecs") or []:
        pods = group.get("maxReplicas") if scales else group.get("replicas", group.get("minReplicas"))
        if group.get("suspend"):
            pods = 0
        hosts = group.get("numOfHosts") or 1
        yield _group(group, group.get("groupName", "?"), int(pods or 0) * hosts, name)


def _group(group: Mapping[str, Any], group_name: str, pods: int, cluster: str) -> Group:
    try:
        limits = group["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    except (KeyError, IndexError, TypeError):
        raise UserError(f"{cluster}, group {group_name}: has no container; add one to its pod template") from None
    params = group.get("rayStartParams") or {}
    ray = group.get("resources") or {}
    gpu_limit = sum(cpu_count(amount) for key, amount in limits.items() if key.endswith("/gpu"))
    # As in KubeRay: the group's own `resources` first, then rayStartParams, then the container's limits.
    cpus = ray.get("CPU", params.get("num-cpus", limits.get("cpu", 0)))
    gpus = ray.get("GPU", params.get("num-gpus", gpu_limit))
    return Group(group_name, pods, cpu_count(cpus), cpu_count(gpus))
