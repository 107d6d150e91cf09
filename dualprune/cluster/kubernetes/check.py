"""Compares the resources that a configuration needs with those in an overlay's manifests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from dualprune.cluster.kubernetes.capacity import Cluster, clusters
from dualprune.cluster.kubernetes.manifests import build
from dualprune.core.config import Config
from dualprune.core.sections import ScalingConfig
from dualprune.errors import UserError


@dataclass(frozen=True)
class Finding:
    """A configuration that will not run: `key` asks for more than `cluster` has; `message` names both numbers."""

    key: str
    cluster: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message} ({self.cluster})"


def check(config: Config, overlay: str | os.PathLike[str]) -> list[Finding]:
    """Return what prevents `config` from running on an overlay; an empty list where it fits.

    An autoscaling group counts with its largest size. Clusters of the same size are reported once.

    Args:
        config: The configuration; only its `scaling` section matters.
        overlay: A kustomize folder, or a YAML file built from one.

    Raises:
        UserError: The overlay cannot be built, or has no Ray cluster.
    """
    found = clusters(build(overlay))
    if not found:
        raise UserError(f"{overlay}: holds neither a RayCluster nor a RayJob with a cluster of its own")
    return [finding for cluster in _distinct(found) for finding in _findings(config.scaling, cluster)]


def _distinct(found: Iterable[Cluster]) -> list[Cluster]:
    """Put clusters of the same groups together under all of their names."""
    names: dict[object, list[str]] = {}
    for cluster in found:
        names.setdefault(cluster.groups, []).append(cluster.name)
    by_groups = {cluster.groups: cluster for cluster in found}
    return [Cluster(", ".join(names[groups]), groups) for groups in by_groups]


def _findings(scaling: ScalingConfig, cluster: Cluster) -> list[Finding]:
    offer = f"the overlay has {cluster.describe()}"
    if scaling.use_gpu and cluster.gpus == 0:
        asked = scaling.num_workers or "at least 1"
        return [Finding("scaling.use_gpu", cluster.name, f"{asked} GPUs are needed, the overlay has 0; {offer}")]
    use_gpu = cluster.gpus > 0 if scaling.use_gpu is None else scaling.use_gpu
    wanted = scaling.num_workers
    if wanted is None:
        wanted = cluster.gpus if use_gpu else 2
    per_worker = scaling.cpus_per_worker
    if use_gpu and wanted > cluster.gpus:
        message = f"{wanted} workers need {wanted} GPUs, the overlay has {cluster.gpus}; {offer}"
        return [Finding("scaling.num_workers", cluster.name, message)]
    if wanted * per_worker > cluster.cpus:
        message = f"{wanted} workers need {wanted * per_worker:g} CPUs, the overlay has {cluster.cpus}; {offer}"
        return [Finding("scaling.num_workers", cluster.name, message)]
    fitting = cluster.workers(per_worker, use_gpu)
    if wanted > fitting:
        each = f"{per_worker:g} CPUs" + (" and a GPU" if use_gpu else "")
        message = f"{wanted} workers of {each} are needed, {fitting} fit into the pods; {offer}"
        return [Finding("scaling.cpus_per_worker", cluster.name, message)]
    return []
